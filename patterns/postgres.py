"""Durable orders in PostgreSQL."""

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Self

import asyncpg

from orders.errors import KeyConflict
from orders.model import Confirmation, Order, Status
from protos.codecs import PROTOBUF
from protos.problems import Refusal

log = logging.getLogger(__name__)

CONNECTIONS = 8
"""For commits: PostgreSQL flushes those of several connections at once."""
LIMIT_S = 5.0
"""How long an order waits for the database before it is refused."""
POLL_S = 0.01
"""How often it is asked whether another service has ended its work."""

_SETTINGS = {"application_name": "orderbench", "synchronous_commit": "on"}
_FAILURES = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
)
_NAMESPACE = re.compile(r"[A-Za-z0-9.-]{1,40}")


class _Connections:
    """Connections that are opened as they are needed, and again when they fail."""

    def __init__(self, address: str, count: int) -> None:
        self._address = address
        self._free: asyncio.LifoQueue[asyncpg.Connection | None] = asyncio.LifoQueue()
        for _ in range(count):
            self._free.put_nowait(None)

    @asynccontextmanager
    async def one(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection for one use; it is given up if that fails. Raises Refusal: `overloaded`
        after LIMIT_S, `internal` when the database fails."""
        connection: asyncpg.Connection | None = None
        taken = False
        try:
            async with asyncio.timeout(LIMIT_S):
                connection = await self._free.get()
                taken = True
                if connection is None or connection.is_closed():
                    connection = await asyncpg.connect(
                        self._address, timeout=LIMIT_S, server_settings=_SETTINGS
                    )
                yield connection
        except BaseException as error:
            if connection is not None:
                connection.terminate()
                connection = None
            if isinstance(error, TimeoutError):
                raise Refusal(
                    "overloaded", f"no answer from the database in {LIMIT_S:g} s"
                ) from error
            if isinstance(error, _FAILURES):
                raise Refusal("internal", f"the database failed: {type(error).__name__}") from error
            raise
        finally:
            if taken:
                self._free.put_nowait(connection)

    def close(self) -> None:
        """Give back all that are not in use."""
        while not self._free.empty():
            connection = self._free.get_nowait()
            if connection is not None:
                connection.terminate()


class PostgresLedger:
    """A Ledger: one row an order, flushed when its commit is answered (synchronous_commit).

    Work is claimed by an advisory lock of the session, which ends with its process or connection:
    after a broken connection two may work on one order, and the first to commit decides.
    """

    def __init__(self, address: str, namespace: str, connections: int = CONNECTIONS) -> None:
        """`namespace`: 1 to 40 letters, digits, points and hyphens, which name the table. Raises
        ValueError."""
        if _NAMESPACE.fullmatch(namespace) is None:
            raise ValueError(f"namespace {namespace!r} is not 1 to 40 of A-Z, a-z, 0-9, . and -")
        self._namespace = namespace
        self._connections = _Connections(address, connections)
        self._claims = _Connections(address, 1)
        table = f'"{namespace}.orders"'
        self._create = f"""CREATE TABLE IF NOT EXISTS {table} (
            key bytea PRIMARY KEY, digest bytea NOT NULL, body bytea NOT NULL,
            order_id text NOT NULL, status text NOT NULL, total_cents bigint NOT NULL,
            processed_ns bigint NOT NULL)"""
        self._insert = f"""INSERT INTO {table} VALUES ($1, $2, $3, $4, $5, $6, $7)
            ON CONFLICT DO NOTHING RETURNING true"""
        self._select = f"""SELECT digest, order_id, status, total_cents, processed_ns
            FROM {table} WHERE key = $1"""

    async def open(self) -> Self:
        """Make the table if it is missing. Raises Refusal."""
        async with self._connections.one() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", self._lock(b""))
            await connection.execute(self._create)
        return self

    def close(self) -> None:
        """Give the connections back."""
        self._connections.close()
        self._claims.close()

    async def claim(self, order: Order) -> Confirmation | None:
        """See Ledger.claim."""
        key, digest, _ = _row(order)
        lock = self._lock(key)
        while True:
            async with self._claims.one() as connection:
                mine = await connection.fetchval("SELECT pg_try_advisory_lock($1)", lock)
                row = await connection.fetchrow(self._select, key)
                if mine and row is not None:
                    await connection.fetchval("SELECT pg_advisory_unlock($1)", lock)
            if row is not None:
                return _known(order, digest, row)
            if mine:
                return None
            await asyncio.sleep(POLL_S)

    async def release(self, order: Order) -> None:
        """See Ledger.release. Where the database fails, the claim has ended with its session."""
        try:
            async with self._claims.one() as connection:
                lock = self._lock(_key(order))
                await connection.fetchval("SELECT pg_advisory_unlock($1)", lock)
        except Refusal:
            log.warning("a claim was not released", exc_info=True)

    async def commit(self, order: Order, answer: Confirmation) -> Confirmation:
        """See Ledger.commit."""
        key, digest, body = _row(order)
        async with self._connections.one() as connection:
            if await connection.fetchval(
                self._insert,
                key,
                digest,
                body,
                answer.order_id,
                answer.status.value,
                answer.total_cents,
                answer.processed_ns,
            ):
                return answer
            row = await connection.fetchrow(self._select, key)
        return _known(order, digest, row)

    def _lock(self, key: bytes) -> int:
        name = self._namespace.encode() + b"\0" + key
        return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), signed=True)


def _key(order: Order) -> bytes:
    """Bytes, since PostgreSQL's text holds no NUL."""
    return order.idempotency_key.encode()


def _row(order: Order) -> tuple[bytes, bytes, bytes]:
    """Key, digest and body of an order; how long its work takes is no part of what it asks for."""
    body = PROTOBUF.encode_order(replace(order, work_us=0))
    return _key(order), hashlib.blake2b(body, digest_size=16).digest(), body


def _known(order: Order, digest: bytes, row: asyncpg.Record) -> Confirmation:
    if row["digest"] != digest:
        raise KeyConflict(f"idempotency_key {order.idempotency_key!r} belongs to a different order")
    return Confirmation(
        row["order_id"],
        order.idempotency_key,
        Status(row["status"]),
        row["total_cents"],
        row["processed_ns"],
    )
