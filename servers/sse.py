"""S6 `sse`: POST /orders is answered with a receipt, and the result is pushed on an event stream.

GET /events?stream=ID opens a stream under an id that the client chose; X-Event-Stream with an order
names it. Its events are `progress` and `result`, with an update as data: as JSON, or as protobuf in
base64, as the order was written. They are numbered, and Last-Event-ID resumes after any that is
still kept (servers/mailbox.py). GET /changes is an event stream of every order that is confirmed.
"""

import base64
from functools import partial

from fastapi import FastAPI, Request, Response

from orders.model import Update
from protos.codec import Codec
from protos.codecs import BY_MEDIA_TYPE, JSON
from protos.http import CHANGES_PATH, EVENTS_PATH, ORDERS_PATH, STREAM
from servers.base import Bind, Desk, Listening
from servers.event_stream import Connection, EventStreams, written
from servers.fanout import Fanout
from servers.http import Web, context_of, listen, order_in
from servers.mailbox import Mailboxes
from servers.rest_poll import Held, add_states, order_path


def data_of(update: Update, codec: Codec) -> str:
    """An update as one line."""
    encoded = codec.encode_update(update)
    return encoded.decode() if codec.text else base64.b64encode(encoded).decode()


def event_of(update: Update, codec: Codec, number: int) -> bytes:
    """What a client's own stream tells of an order."""
    return written("result" if update.final else "progress", data_of(update, codec), number)


def change_of(update: Update, codec: Codec) -> bytes:
    """What all who watch are told."""
    return written("change", data_of(update, codec))


def codec_listed(request: Request) -> Codec:
    """The codec for the data of events, from what the client accepts; JSON where it names none."""
    for given in request.headers.get("accept", "").split(","):
        codec = BY_MEDIA_TYPE.get(given.strip())
        if codec is not None:
            return codec
    return JSON


def app(desk: Desk, bind: Bind, streams: EventStreams, mailboxes: Mailboxes, held: Held) -> FastAPI:
    """The web application over the order service."""
    web = Web(bind)
    changes = Fanout(desk.service)

    async def place(request: Request) -> Response:
        order, codec = await order_in(request)
        mailbox = mailboxes.find(request.headers.get(STREAM, ""))
        receipt = await desk.accept(order, context_of(request))
        body = codec.encode_update(receipt)
        if receipt.final:
            # A repeat of an order that is done: nothing is pending.
            return web.reply(request, 200, body, codec.media_type)

        def tell(update: Update) -> None:
            mailboxes.put(mailbox, partial(event_of, update, codec))

        desk.service.follow(receipt.order_id, tell)
        location = {"location": order_path(receipt.order_id)}
        return web.reply(request, 202, body, codec.media_type, location)

    async def events(request: Request) -> Response:
        stream = streams.new(request, bind.compression)
        reader = mailboxes.listen(
            request.query_params.get("stream", ""),
            request.headers.get("last-event-id"),
            stream.cut_off,
        )
        return stream.carrying(reader.next, partial(mailboxes.leave, reader))

    async def watch(request: Request) -> Response:
        codec = codec_listed(request)
        stream = streams.new(request, bind.compression)
        subscriber = changes.join(stream.cut_off)

        async def following() -> bytes:
            change = await subscriber.next()
            return change.written(codec.name, partial(change_of, codec=codec))

        return stream.carrying(following, partial(changes.leave, subscriber))

    web.route("POST", ORDERS_PATH, place)
    web.route("GET", EVENTS_PATH, events)
    web.route("GET", CHANGES_PATH, watch)
    add_states(web, desk.service, held)
    return web.app


async def start(desk: Desk, bind: Bind) -> Listening:
    """Serve."""
    streams, mailboxes, held = EventStreams(), Mailboxes(), Held()
    web = app(desk, bind, streams, mailboxes, held)
    listening = await listen(web, bind, Connection)

    async def stop() -> None:
        streams.end()
        held.release()
        await listening.stop()
        mailboxes.close()

    return Listening(listening.address, stop)
