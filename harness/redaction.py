"""Addresses without the secrets that they may carry."""

import re

_USER_INFO = re.compile(r"(?<=//)[^/@\s]+@")
_QUERY = re.compile(r"([?&][^=&#\s]+)=[^&#\s]*")


def redacted(text: str) -> str:
    """A word of a command line without the secrets that an address in it may carry."""
    if "://" not in text and "@" not in text:
        return text
    return _QUERY.sub(r"\1=***", _USER_INFO.sub("***@", text))
