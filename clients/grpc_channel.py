"""What the gRPC drivers share: a channel that is one connection, and what its errors mean."""

import asyncio
import functools
from pathlib import Path

import grpc

from clients.base import Call, DriverError, Failure, Wire
from clients.grpc_status import failure_by
from protos.frames import MAX_FRAME_BYTES
from protos.rpc import PROBLEM, REQUEST_ID, TRACEPARENT

OPTIONS = [
    # One connection a channel, not one shared by all channels to an address.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    # As no other style: to where it is told, whatever the environment says of proxies.
    ("grpc.enable_http_proxy", 0),
    # As soon as the other styles, which connect when they are next used.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 100),
    ("grpc.max_receive_message_length", MAX_FRAME_BYTES),
]
TLS_SCHEME = "grpcs://"
ATTEMPT_S = 0.3
"""For the next attempt of a channel whose last one failed: it comes after 0.1 s."""


def channel_to(target: str, wire: Wire) -> grpc.aio.Channel:
    """A channel to `host:port` or `grpc://host:port`; with TLS to `grpcs://host:port`."""
    compression = grpc.Compression.Gzip if wire.compression else grpc.Compression.NoCompression
    if not target.startswith(TLS_SCHEME):
        address = target.removeprefix("grpc://")
        return grpc.aio.insecure_channel(address, options=OPTIONS, compression=compression)
    return grpc.aio.secure_channel(
        target.removeprefix(TLS_SCHEME),
        _trusting(wire.ca),
        options=OPTIONS,
        compression=compression,
    )


@functools.cache
def _trusting(ca: str | None) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(Path(ca).read_bytes() if ca is not None else None)


async def connected(channel: grpc.aio.Channel, target: str) -> None:
    """Wait until a channel has its connection. Raises DriverError if an attempt fails.

    A channel that failed stays TRANSIENT_FAILURE while the library tries again, until it succeeds.
    """
    state = channel.get_state(try_to_connect=True)
    try:
        async with asyncio.timeout(None) as limit:
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                limit.reschedule(asyncio.get_running_loop().time() + ATTEMPT_S)
            while state is not grpc.ChannelConnectivity.READY:
                await channel.wait_for_state_change(state)
                state = channel.get_state(try_to_connect=True)
                if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                    raise DriverError(Failure.DISCONNECTED, f"cannot connect to {target}")
    except TimeoutError:
        raise DriverError(Failure.DISCONNECTED, f"cannot connect to {target}") from None


def metadata_of(call: Call) -> tuple[tuple[str, str], ...] | None:
    """What accompanies an order, as metadata."""
    pairs = (REQUEST_ID, call.context.request_id), (TRACEPARENT, call.context.traceparent)
    return tuple(pair for pair in pairs if pair[1]) or None


def failure_of(error: grpc.aio.AioRpcError) -> DriverError:
    """What a call's status means."""
    metadata = dict(error.trailing_metadata() or ())
    status = error.code().name
    return failure_by(status, error.details() or status, str(metadata.get(PROBLEM, "")))
