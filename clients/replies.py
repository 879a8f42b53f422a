"""What a broker's reply says."""

from clients.base import DriverError, Failure, refused
from orders.model import Confirmation
from protos.codec import Codec, MalformedReply
from protos.problems import known


def read_reply(codec: Codec, problem: str, body: bytes) -> Confirmation | DriverError:
    """The answer in a message's body; `problem` is the code of a refusal, empty for none."""
    if problem:
        return refused(known(problem, body.decode("utf-8", "replace")))
    try:
        return codec.decode_confirmation(body)
    except MalformedReply as malformed:
        return DriverError(Failure.PROTOCOL, str(malformed))
