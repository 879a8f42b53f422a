"""P1: answers that several processes share, and that outlive them, in Redis."""

import asyncio
import logging
import secrets
from typing import Any, Protocol

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from orders.model import Confirmation, Update
from patterns.remembered import EXPIRY_S, require_same
from protos.codecs import PROTOBUF
from protos.problems import Refusal

log = logging.getLogger(__name__)

CLAIM_S = 75.0
"""How long a claim lives at most, when its owner has died; longer than any order's work."""
LIMIT_S = 2.5
"""How long it may take to have a connection to Redis, and then its answer."""
CONNECTIONS = 32
POLLS_S = (0.005, 0.05)
"""How long one who waits sleeps before it asks again: at first, and at most; doubled meanwhile."""

_KEEP = """
local known = redis.call('get', KEYS[1])
if known and known ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[2], 'px', ARGV[3])
return 1
"""
_RELEASE = """
if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end
return 0
"""
_CLAIMED, _KEPT = b"?", b"="


class AnswerCodec(Protocol):
    """How answers are written."""

    def encode(self, answer: Any) -> bytes:
        """As bytes."""

    def decode(self, written: bytes) -> Any:
        """What `encode` wrote, read."""


class OrderAnswers:
    """What the order service answers: confirmations and updates."""

    def encode(self, answer: Confirmation | Update) -> bytes:
        """See AnswerCodec.encode."""
        if isinstance(answer, Confirmation):
            return b"c" + PROTOBUF.encode_confirmation(answer)
        return b"u" + PROTOBUF.encode_update(answer)

    def decode(self, written: bytes) -> Confirmation | Update:
        """See AnswerCodec.decode."""
        if written[:1] == b"c":
            return PROTOBUF.decode_confirmation(written[1:])
        return PROTOBUF.decode_update(written[1:])


class RedisAnswers:
    """Answers (patterns.remembered) by request id, `expiry_s` seconds from when they were kept.

    The work is another's while its claim stands: until it is kept or released, or for `claim_s`
    seconds when its owner has died. An owner that works longer than that loses its claim: another
    does the work too, and who is first is remembered.
    """

    def __init__(
        self,
        address: str,
        namespace: str,
        codec: AnswerCodec,
        expiry_s: float = EXPIRY_S,
        claim_s: float = CLAIM_S,
    ) -> None:
        """`address`: redis://user:secret@host:port/number, or rediss. Raises ValueError."""
        self._redis = Redis.from_pool(
            BlockingConnectionPool.from_url(
                address,
                max_connections=CONNECTIONS,
                timeout=LIMIT_S,
                socket_timeout=LIMIT_S,
                socket_connect_timeout=LIMIT_S,
                # A connection that rested may have been closed since.
                retry=Retry(NoBackoff(), 1, (exceptions.ConnectionError,)),
            )
        )
        self._keep = self._redis.register_script(_KEEP)
        self._release = self._redis.register_script(_RELEASE)
        self._namespace = namespace
        self._codec = codec
        self._expiry_ms = max(1, round(expiry_s * 1e3))
        self._claim_ms = max(1, round(claim_s * 1e3))
        self._claims: dict[str, bytes] = {}
        self._undoing: set[asyncio.Task[None]] = set()

    async def claim(self, request_id: str, content: bytes) -> Any | None:
        """See Answers.claim. Contents have at most 255 bytes. Raises Refusal too: `overloaded` when
        Redis does not answer in time, `internal` when it fails."""
        claim = _written(_CLAIMED, content, secrets.token_bytes(16))
        pause_s, longest_s = POLLS_S
        while True:
            # What this process works on it does not claim again, though the claim be past.
            found = self._claims.get(request_id) or await self._try(request_id, claim)
            if found is None:
                return None
            kind, known, answer = _read(found)
            require_same(request_id, known, content)
            if kind == _KEPT:
                return self._codec.decode(answer)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, longest_s)

    async def keep(self, request_id: str, answer: Any) -> None:
        """See Answers.keep. An answer that cannot be kept is given all the same."""
        claim = self._claims.pop(request_id)
        _, content, _ = _read(claim)
        kept = _written(_KEPT, content, self._codec.encode(answer))
        try:
            if not await self._keep([self._key(request_id)], [claim, kept, self._expiry_ms]):
                log.warning("an answer was not remembered: another has the claim by now")
        except exceptions.RedisError as error:
            log.warning("an answer was not remembered: %s", type(error).__name__)

    async def release(self, request_id: str) -> None:
        """See Answers.release. Where Redis fails, the claim goes with its time."""
        await self._undo(request_id, self._claims.pop(request_id))

    async def check(self) -> None:
        """Ask whether Redis is there. Raises RedisError."""
        await self._redis.ping()

    async def close(self) -> None:
        """Give the connections back."""
        await self._redis.aclose()

    async def _try(self, request_id: str, claim: bytes) -> bytes | None:
        """What stands under an id; None if it is the claim, from now on."""
        try:
            key = self._key(request_id)
            found = await self._redis.set(key, claim, nx=True, get=True, px=self._claim_ms)
        except asyncio.CancelledError:
            undoing = asyncio.create_task(self._undo(request_id, claim))
            self._undoing.add(undoing)
            undoing.add_done_callback(self._undoing.discard)
            raise
        except exceptions.TimeoutError as error:
            raise Refusal("overloaded", "no answer from Redis in time") from error
        except exceptions.RedisError as error:
            raise Refusal("internal", f"Redis failed: {type(error).__name__}") from error
        # One that was asked twice, over a connection that broke, may find its own.
        if found is None or found == claim:
            self._claims[request_id] = claim
            return None
        assert isinstance(found, bytes)
        return found

    async def _undo(self, request_id: str, claim: bytes) -> None:
        try:
            await self._release([self._key(request_id)], [claim])
        except exceptions.RedisError as error:
            log.warning("a claim was not released: %s", type(error).__name__)

    def _key(self, request_id: str) -> str:
        return f"{self._namespace}.answers.{request_id}"


def _written(kind: bytes, content: bytes, rest: bytes) -> bytes:
    return kind + bytes([len(content)]) + content + rest


def _read(written: bytes) -> tuple[bytes, bytes, bytes]:
    """Kind, content, and what is after them."""
    end = 2 + written[1]
    return written[:1], written[2:end], written[end:]
