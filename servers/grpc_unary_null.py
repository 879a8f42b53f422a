"""`grpc-unary`, null: the raw server over servers.null."""

from protos.null_codec import NULL_PROTOBUF
from servers import grpc_unary_asyncio
from servers.base import Bind, Desk, Listening
from servers.null import NullDesk


async def start(desk: Desk, bind: Bind) -> Listening:
    """Serve."""
    return await grpc_unary_asyncio.start(NullDesk(desk.service), bind, (NULL_PROTOBUF,))
