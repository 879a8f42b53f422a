"""S1 `rest`: POST /orders over HTTP/1.1, answered with the confirmed order."""

from fastapi import FastAPI, Request, Response

from protos.http import ORDERS_PATH
from servers.base import Bind, Desk, Listening
from servers.http import Web, context_of, listen, order_in


def app(desk: Desk, bind: Bind) -> FastAPI:
    """The web application over the order service."""
    web = Web(bind)

    async def place(request: Request) -> Response:
        order, codec = await order_in(request)
        confirmation = await desk.place(order, context_of(request))
        return web.reply(request, 201, codec.encode_confirmation(confirmation), codec.media_type)

    web.route("POST", ORDERS_PATH, place)
    return web.app


async def start(desk: Desk, bind: Bind) -> Listening:
    """Serve."""
    return await listen(app(desk, bind), bind)
