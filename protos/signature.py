"""How a callback is signed, so that its receiver knows who sent it, when, and that it is new.

HMAC-SHA256 (RFC 2104) over `id.attempt.timestamp.body`, in hexadecimal, with the secret that the
receiver gave. It is the scheme of Standard Webhooks 1.0.0 (webhook-id, webhook-timestamp,
webhook-signature over `id.timestamp.body`) but for this:

- There, a receiver knows a message by its id alone, so it cannot tell a retry from a copy that
  somebody recorded, and takes both as repeats. Here every attempt has a number, which is signed
  too: a copy of an attempt is refused, and an honest retry is not.
- There, an id should have no dot, so that a signed text can be split in one way only. Here it may:
  an attempt has at most 6 digits and a timestamp has 10, so any other split is not well formed.
- The signature is `v1=` and hexadecimal; there it is `v1,` and base64, one for each of several
  secrets.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

from orders.model import Update
from protos.problems import Refusal

WEBHOOK_ID = "Webhook-Id"
WEBHOOK_ATTEMPT = "Webhook-Attempt"
WEBHOOK_TIMESTAMP = "Webhook-Timestamp"
WEBHOOK_SIGNATURE = "Webhook-Signature"

TOLERANCE_S = 300
"""How far a timestamp may be from the receiver's clock."""
MAX_CALLBACK_BYTES = 65_536
"""What a receiver takes; an update has no document and a few hundred bytes."""

_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_ATTEMPT = re.compile(r"[1-9][0-9]{0,5}")
_TIMESTAMP = re.compile(r"[1-9][0-9]{9}")


@dataclass(frozen=True, slots=True)
class Stamp:
    """What is signed beside the body: which message, which attempt at sending it (from 1), and its
    time, in seconds since 1970."""

    id: str
    attempt: int
    timestamp: int


def message_id(update: Update) -> str:
    """The id of the callback that tells of an update: the order's for its end."""
    return update.order_id if update.final else f"{update.order_id}.{update.progress}"


def signed(secret: bytes, stamp: Stamp, body: bytes) -> dict[str, str]:
    """The headers that a callback needs."""
    return {
        WEBHOOK_ID: stamp.id,
        WEBHOOK_ATTEMPT: str(stamp.attempt),
        WEBHOOK_TIMESTAMP: str(stamp.timestamp),
        WEBHOOK_SIGNATURE: _signature(secret, stamp, body),
    }


def verified(secret: bytes, headers: Mapping[str, str], body: bytes, now_s: float) -> Stamp:
    """The stamp of a callback that was signed with `secret`, within TOLERANCE_S seconds of `now_s`.

    Raises Refusal: malformed where a header is absent or has not its form, bad_signature where
    signature or time do not fit.
    """
    stamp = Stamp(
        _header(headers, WEBHOOK_ID, _ID),
        int(_header(headers, WEBHOOK_ATTEMPT, _ATTEMPT)),
        int(_header(headers, WEBHOOK_TIMESTAMP, _TIMESTAMP)),
    )
    given = headers.get(WEBHOOK_SIGNATURE, "")
    expected = _signature(secret, stamp, body)
    if not hmac.compare_digest(given.encode(errors="replace"), expected.encode()):
        raise Refusal("bad_signature", "the signature is not that of this callback")
    if abs(now_s - stamp.timestamp) > TOLERANCE_S:
        raise Refusal("bad_signature", f"the timestamp is more than {TOLERANCE_S} s off")
    return stamp


def _signature(secret: bytes, stamp: Stamp, body: bytes) -> str:
    text = b"%s.%d.%d.%s" % (stamp.id.encode(), stamp.attempt, stamp.timestamp, body)
    return f"v1={hmac.new(secret, text, hashlib.sha256).hexdigest()}"


def _header(headers: Mapping[str, str], name: str, form: re.Pattern[str]) -> str:
    value = headers.get(name, "")
    if form.fullmatch(value) is None:
        raise Refusal("malformed", f"{name} is absent or not well formed")
    return value
