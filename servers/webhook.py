"""S7 `webhook`: POST /orders is answered with a receipt, and the service calls back.

PUT /callbacks/{id} with `{"url", "secret"}` says where to; X-Callback with an order names it. Every
change of the order is then POSTed there as an update, in the order's codec, signed as
protos/signature.py says. GET /callbacks/dead lists what could not be brought, and POST
/callbacks/dead/replay tries it again.
"""

import gzip
import ipaddress
import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TypeAlias

import aiohttp
import orjson
from fastapi import FastAPI, Request, Response
from yarl import URL

from orders.model import Update
from protos.codec import Codec
from protos.codecs import JSON
from protos.http import CALLBACK, CALLBACKS_PATH, ORDERS_PATH, TRACEPARENT
from protos.problems import Refusal
from servers.base import Bind, Desk, Listening
from servers.callbacks import Callbacks, Undelivered
from servers.http import Web, body_of, context_of, listen, order_in

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

LOOPBACK: tuple[Network, ...] = (
    ipaddress.ip_network("127.0.0.0/8"),
    ipaddress.ip_network("::1/128"),
)
ATTEMPT_LIMIT_S = 2.0
CONNECTIONS = 512
"""Connections for callbacks at a time, to all receivers."""
ANSWER_BYTES = 4096
"""What is read of a receiver's answer; a connection with a longer one is given up."""
URL_LIMIT = 2048

_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_SECRET = re.compile(r"[!-~]{24,128}")
_URL = re.compile(
    r"(?P<scheme>https?)://(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<v4>[0-9.]+)|localhost)"
    r":(?P<port>[0-9]{1,5})(?P<path>(?:/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?)"
)


def reachable_for(caller: str) -> Sequence[Network]:
    """Where the callbacks may go that are asked for from an address: there; from loopback, anywhere
    on it. Raises Refusal where it is no address."""
    try:
        network = ipaddress.ip_network(ipaddress.ip_address(caller))
    except ValueError:
        raise Refusal("bad_callback", f"nobody can be called back at {caller!r}") from None
    return LOOPBACK if network.is_loopback else (network,)


def callback_url(text: str, allowed: Sequence[Network] = LOOPBACK) -> URL:
    """The address of a callback, which holds what is connected to: an address of `allowed`, so that
    no name is ever looked up. Raises Refusal.

    This is against server-side request forgery: without it, whoever may place orders could let the
    server call what only the server can reach. Behind a gateway, who asks is known by its word
    (X-Forwarded-For), which is believed on loopback alone.
    """
    form = _URL.fullmatch(text) if len(text) <= URL_LIMIT else None
    if form is None or not 0 < int(form["port"]) < 65536:
        raise Refusal(
            "bad_callback",
            "url must be http or https, an IP address or localhost, a port and a path, "
            f"of at most {URL_LIMIT} characters",
        )
    host = form["v6"] or form["v4"] or "127.0.0.1"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise Refusal("bad_callback", f"{host} is no IP address") from None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if not any(address in network for network in allowed):
        raise Refusal("bad_callback", f"callbacks to {address} are not allowed")
    shown = f"[{address}]" if address.version == 6 else address
    return URL(f"{form['scheme']}://{shown}:{form['port']}{form['path'] or '/'}", encoded=True)


class Outbox:
    """The connections that callbacks are sent on."""

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=ATTEMPT_LIMIT_S),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
        )

    async def post(self, url: URL, body: bytes, headers: Mapping[str, str]) -> int:
        """See servers.callbacks.Post. Redirects are not followed."""
        try:
            async with self._session.post(
                url, data=body, headers=headers, allow_redirects=False
            ) as answer:
                await answer.content.read(ANSWER_BYTES)
                return answer.status
        except TimeoutError:
            raise Undelivered(f"no answer in {ATTEMPT_LIMIT_S:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Undelivered(str(error) or type(error).__name__) from None

    async def close(self) -> None:
        """Give the connections back."""
        await self._session.close()


def app(desk: Desk, bind: Bind, callbacks: Callbacks) -> FastAPI:
    """The web application over the order service."""
    web = Web(bind)

    async def register(request: Request) -> Response:
        receiver_id = request.path_params["id"]
        if _ID.fullmatch(receiver_id) is None:
            raise Refusal("malformed", "a callback's id is 1 to 64 letters, digits and hyphens")
        url, secret = _registration(await body_of(request))
        allowed = reachable_for(request.client.host if request.client else "")
        callbacks.register(receiver_id, callback_url(url, allowed), secret.encode())
        return Response(status_code=204)

    async def place(request: Request) -> Response:
        order, codec = await order_in(request)
        receiver = callbacks.receiver(request.headers.get(CALLBACK, ""))
        context = context_of(request)
        with receiver.room():
            receipt = await desk.accept(order, context)
            state = desk.service.state(receipt.order_id)
            if state.final:
                # A repeat of an order that is done: the answer says it all, and nothing is pending.
                body = codec.encode_update(state)
                return web.reply(request, 200, body, codec.media_type)
            packs = bind.compression and "gzip" in request.headers.get("accept-encoding", "")
            headers = {"Content-Type": codec.media_type}
            if packs:
                headers["Content-Encoding"] = "gzip"
            traceparent = desk.traceparent_for(state.order_id, context)
            if traceparent:
                headers[TRACEPARENT] = traceparent
            encode = partial(_packed, codec) if packs else codec.encode_update
            notify = callbacks.promise(receiver, state.order_id, encode, headers)
            if notify is not None:
                desk.service.follow(state.order_id, notify)
        return web.reply(request, 202, codec.encode_update(state), codec.media_type)

    async def dead(request: Request) -> Response:
        return web.reply(request, 200, orjson.dumps(callbacks.dead()), JSON.media_type)

    async def replay(request: Request) -> Response:
        body = orjson.dumps({"replayed": callbacks.replay()})
        return web.reply(request, 200, body, JSON.media_type)

    web.route("PUT", CALLBACKS_PATH + "/{id}", register)
    web.route("POST", ORDERS_PATH, place)
    web.route("GET", CALLBACKS_PATH + "/dead", dead)
    web.route("POST", CALLBACKS_PATH + "/dead/replay", replay)
    return web.app


def _packed(codec: Codec, update: Update) -> bytes:
    return gzip.compress(codec.encode_update(update))


def _registration(body: bytes) -> tuple[str, str]:
    """The url and the secret in a body. Raises Refusal."""
    try:
        fields = orjson.loads(body)
        url, secret = fields["url"], fields["secret"]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        url = secret = None
    if not isinstance(url, str) or not isinstance(secret, str):
        raise Refusal("malformed", 'expected {"url": text, "secret": text}')
    if _SECRET.fullmatch(secret) is None:
        raise Refusal("bad_callback", "secret must be 24 to 128 visible ASCII characters")
    return url, secret


async def start(desk: Desk, bind: Bind) -> Listening:
    """Serve. Callbacks go to who asks for them, and to nobody else."""
    outbox = Outbox()
    callbacks = Callbacks(outbox.post)
    listening = await listen(app(desk, bind, callbacks), bind)

    async def stop() -> None:
        await listening.stop()
        await callbacks.close()
        await outbox.close()

    return Listening(listening.address, stop)
