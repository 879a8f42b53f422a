"""Redis and PostgreSQL as the harness starts them."""

import asyncio
from pathlib import Path

import asyncpg
import psutil
import pytest
import redis.asyncio as client

from harness.rig import postgres
from harness.rig.cache import cache_folder
from harness.rig.postgres import find_postgres, obtain_postgres, start_postgres
from harness.rig.process import Rig
from harness.rig.redis import find_redis, obtain_redis, start_redis
from harness.rig.store import Store
from tests.support import Run, until


async def listens_on_loopback_only(store: Store) -> None:
    """Look at where it listens."""
    (pid,) = store.pids.values()
    sockets = psutil.Process(pid).net_connections("inet")
    assert {s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


async def stops(store: Store) -> None:
    """Stop it, and look for what is left."""
    family = psutil.Process(*store.pids.values()).children()
    await store.stop()
    assert store.pids == {}
    assert not store.folder.exists()
    await until("the end of its children", lambda: not any(p.is_running() for p in family))


def test_redis_answers_keeps_what_it_is_asked_to_and_stops(run: Run, rig: Rig) -> None:
    async def body() -> None:
        source = obtain_redis(find_redis(None))
        plain, kept = await asyncio.gather(
            start_redis(rig, source), start_redis(rig, source, "always")
        )
        try:
            for store, appends in ((plain, "no"), (kept, "yes")):
                await listens_on_loopback_only(store)
                async with client.from_url(store.address, decode_responses=True) as redis:
                    await redis.set("order", "1")
                    assert await redis.get("order") == "1"
                    told = await redis.config_get("appendonly", "appendfsync", "save")
                    assert told["appendonly"] == appends == store.settings["appendonly"]
                    assert told["save"] == ""
            assert kept.settings["appendfsync"] == told["appendfsync"] == "always"
        finally:
            await stops(plain)
            await stops(kept)

    run(body())


@pytest.mark.parametrize("unpacked", [False, True])
def test_postgres_answers_wants_its_password_and_stops(
    run: Run, rig: Rig, unpacked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if unpacked:  # as where the machine has none of its own
        monkeypatch.setattr(postgres, "_local", lambda: None)

    async def body() -> None:
        source = obtain_postgres(find_postgres(None))
        store = await start_postgres(rig, source)
        try:
            await listens_on_loopback_only(store)
            connection = await asyncpg.connect(store.address)
            try:
                await connection.execute("CREATE TABLE orders (id int PRIMARY KEY)")
                await connection.execute("INSERT INTO orders VALUES (1)")
                assert await connection.fetchval("SELECT count(*) FROM orders") == 1
                for name, value in store.settings.items():
                    assert await connection.fetchval(f"SHOW {name}") == value
                assert source.version in await connection.fetchval("SELECT version()")
            finally:
                await connection.close()
            secret = store.address.split(":")[2].partition("@")[0]
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(store.address.replace(secret, "guessed"))
        finally:
            await stops(store)
        # The next one starts from the same prepared folder, with nothing of the last one in it.
        again = await start_postgres(rig, source)
        try:
            connection = await asyncpg.connect(again.address)
            assert await connection.fetchval("SELECT to_regclass('orders')") is None
            await connection.close()
        finally:
            await stops(again)
        assert private(cache_folder() / f"postgres-data-{source.version}/password")

    run(body())


def private(file: Path) -> bool:
    """Whether nobody but its owner may read it."""
    return file.stat().st_mode & 0o077 == 0
