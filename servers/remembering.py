"""What a server keeps, and where: `--store`, `--remember` and `--namespace`.

Addresses are found in the environment, since they may hold secrets: ORDERBENCH_POSTGRES
(postgresql://user:secret@host:port/database) for `--store postgres`, and ORDERBENCH_REDIS
(redis://user:secret@host:port/number) for `--remember redis`. What servers of one namespace keep
there they share. An order that is accepted, and not yet confirmed, is known to
the one server that accepted it.
"""

import argparse
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orders.service import OrderService
from orders.store import ForgetfulStore, MemoryStore
from patterns.durable import DurableOrderService, unique_ids
from patterns.remembered import Answers, MemoryAnswers
from servers.working import queue_of

POSTGRES, REDIS = "ORDERBENCH_POSTGRES", "ORDERBENCH_REDIS"


def add_remembering(parser: argparse.ArgumentParser) -> None:
    """The options that say what is kept, and where."""
    parser.add_argument(
        "--remember",
        choices=("nothing", "keys", "requests", "redis"),
        default="keys",
        help=f"what a repeat is known by: its idempotency key, and also its request id; redis: the"
        f" same, remembered at {REDIS}",
    )
    parser.add_argument(
        "--store",
        choices=("memory", "postgres"),
        default="memory",
        help=f"where orders are kept; postgres: on disk, at {POSTGRES}",
    )
    parser.add_argument(
        "--namespace",
        metavar="NAME",
        default="orderbench",
        help="what the names of all that is kept outside of this process begin with",
    )


@asynccontextmanager
async def service_of(options: argparse.Namespace) -> AsyncIterator[OrderService]:
    """The order service over its store. Raises SystemExit and Refusal."""
    service_time_s, queue = options.service_time_ms / 1e3, queue_of(options)
    if options.store == "memory":
        store = ForgetfulStore() if options.remember == "nothing" else MemoryStore()
        # Answers that outlive the process name orders by ids that another's must not have.
        ids = unique_ids() if options.remember == "redis" else "o-"
        yield OrderService(store, service_time_s, ids=ids, queue=queue)
        return
    if options.remember == "nothing":
        raise SystemExit("--store postgres remembers: it goes with --remember keys or requests")
    if POSTGRES not in os.environ:
        raise SystemExit(f"--store postgres needs an address in {POSTGRES}")
    from patterns.postgres import PostgresLedger

    ledger = PostgresLedger(os.environ[POSTGRES], options.namespace)
    try:
        await ledger.open()
        yield DurableOrderService(ledger, service_time_s, queue=queue)
    finally:
        ledger.close()


@asynccontextmanager
async def answers_of(options: argparse.Namespace) -> AsyncIterator[Answers | None]:
    """The memory of request ids, if there is one. Raises SystemExit and RedisError."""
    if options.remember != "redis":
        yield MemoryAnswers() if options.remember == "requests" else None
        return
    if REDIS not in os.environ:
        raise SystemExit(f"--remember redis needs an address in {REDIS}")
    from patterns.remembered_redis import OrderAnswers, RedisAnswers

    answers = RedisAnswers(os.environ[REDIS], options.namespace, OrderAnswers())
    try:
        await answers.check()
        yield answers
    finally:
        await answers.close()
