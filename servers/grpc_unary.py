"""S2 `grpc-unary`: one call an order."""

import grpc

from protos.codec import Codec
from servers.base import Bind, Desk, Listening
from servers.grpc_methods import Methods, Rpc, context_of, listen, refuse


async def start(desk: Desk, bind: Bind) -> Listening:
    """Serve."""

    def methods(codec: Codec) -> Methods:
        async def place(message: bytes, rpc: Rpc) -> bytes:
            try:
                order = codec.decode_order(message)
                return codec.encode_confirmation(await desk.place(order, context_of(rpc)))
            except Exception as error:
                await refuse(error, rpc)

        return {"Place": grpc.unary_unary_rpc_method_handler(place)}

    return await listen(bind, methods)
