"""The run's own certificate authority: what a server over TLS shows, and what a client trusts."""

import os
from dataclasses import dataclass
from pathlib import Path

import trustme

from harness.rig.ports import LOOPBACK, LOOPBACK_NAMES


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files."""

    ca: Path
    """The authority's certificate, for clients."""
    certificate: Path
    """The server's chain, its own certificate first."""
    key: Path
    """The server's private key, which its owner alone may read."""


def make_authority(folder: Path, host: str = LOOPBACK) -> Certificates:
    """Write a new authority's certificate, and one for loopback and `host`, with its key, to
    `folder`.

    The authority's own key is written nowhere. Raises OSError when a file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    server = authority.issue_cert(*dict.fromkeys((*LOOPBACK_NAMES, host)))
    made = Certificates(folder / "ca.pem", folder / "server.pem", folder / "server.key")
    made.ca.write_bytes(authority.cert_pem.bytes())
    made.certificate.write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
    made.key.unlink(missing_ok=True)  # an old file would keep its mode, and whoever has it open
    with open(os.open(made.key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as key:
        key.write(server.private_key_pem.bytes())
    return made
