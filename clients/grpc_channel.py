"""What the gRPC drivers share: a channel that is one connection, and what its errors mean."""

import grpc

from clients.base import DriverError, Failure, refused
from protos.frames import MAX_FRAME_BYTES
from protos.problems import GRPC_METADATA_KEY, TABLE, Problem

OPTIONS = [
    # One connection a channel, not one shared by all channels to an address.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    # As soon as the other styles, which connect when they are next used.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 100),
    ("grpc.max_receive_message_length", MAX_FRAME_BYTES),
]


def channel_to(target: str) -> grpc.aio.Channel:
    """A channel to `host:port`, also as `grpc://host:port`."""
    return grpc.aio.insecure_channel(target.removeprefix("grpc://"), options=OPTIONS)


async def connected(channel: grpc.aio.Channel, target: str) -> None:
    """Wait until a channel has its connection. Raises DriverError if the first attempt fails."""
    state = channel.get_state(try_to_connect=True)
    while state is not grpc.ChannelConnectivity.READY:
        await channel.wait_for_state_change(state)
        state = channel.get_state(try_to_connect=True)
        if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            raise DriverError(Failure.DISCONNECTED, f"cannot connect to {target}")


def failure_of(error: grpc.aio.AioRpcError) -> DriverError:
    """What a call's status means."""
    details = error.details() or error.code().name
    for key, value in error.trailing_metadata() or ():
        if key == GRPC_METADATA_KEY and value in TABLE:
            return refused(Problem(str(value), details))
    match error.code():
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
            return DriverError(Failure.DISCONNECTED, details)
        case grpc.StatusCode.RESOURCE_EXHAUSTED:
            return DriverError(Failure.OVERLOADED, details)
        case _:
            return DriverError(Failure.PROTOCOL, f"{error.code().name}: {details}")
