"""`websocket`, null: the raw server over servers.null."""

from protos.null_codec import NULL_JSON
from servers import websocket_asyncio
from servers.base import Bind, Desk, Listening
from servers.null import NullDesk


async def start(desk: Desk, bind: Bind) -> Listening:
    """Serve."""
    return await websocket_asyncio.start(NullDesk(desk.service), bind, (NULL_JSON, NULL_JSON))
