"""S1 `rest`: POST /orders over HTTP/1.1, answered with the confirmed order."""

import asyncio
import logging
import socket

import uvicorn
from fastapi import FastAPI, Request, Response

from orders.service import OrderService
from protos import codec
from protos.http import JSON, ORDERS_PATH, PROBLEM_JSON
from protos.problems import problem_of, to_http
from servers.base import Listening

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 75
"""As common gateways have it; uvicorn's own 5 s would cut lanes that rest between bursts."""


def app(service: OrderService) -> FastAPI:
    """The web application over the order service."""
    web = FastAPI(openapi_url=None)

    @web.post(ORDERS_PATH)
    async def place(request: Request) -> Response:
        try:
            order = codec.order_from_json(await request.body())
            confirmation = await service.place(order)
        except Exception as error:
            problem = problem_of(error)
            if problem.code == "internal":
                log.exception("order failed")
            status, body = to_http(problem)
            return Response(body, status, media_type=PROBLEM_JSON)
        return Response(codec.confirmation_to_json(confirmation), 201, media_type=JSON)

    return web


async def start(service: OrderService, host: str, port: int) -> Listening:
    """Serve on host:port (0: any free port)."""
    config = uvicorn.Config(
        app(service),
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_keep_alive=KEEP_ALIVE_S,
    )
    server = uvicorn.Server(config)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family, backlog=4096)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup([listener])
    ticking = asyncio.create_task(server.main_loop())

    async def stop() -> None:
        server.should_exit = True
        await ticking
        await server.shutdown([listener])

    shown = f"[{host}]" if ":" in host else host
    return Listening(f"http://{shown}:{listener.getsockname()[1]}", stop)
