"""On which machine an address leads: to whoever connects, loopback is its own."""

import contextlib
import ipaddress
import re
from urllib.parse import urlsplit


def on_loopback(host: str) -> bool:
    """Whether a name or an address leads each machine to itself."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def hosts_of(address: str) -> list[str]:
    """The hosts, without ports, of a URL or of `host:port`, which may have several with commas."""
    before, _, after = address.partition("://")
    authority = re.split("[/?#]", after or before, maxsplit=1)[0]
    found = []
    for place in authority.rpartition("@")[2].split(","):
        with contextlib.suppress(ValueError):
            found.append(urlsplit(f"//{place}").hostname)
    return [host for host in found if host]
