"""What the HTTP drivers stand on: one connection a lane, and nothing done in secret."""

import asyncio

import pytest

from clients.base import PLAIN, DriverError, Failure
from clients.http import HttpLanes
from tests.support import Run

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def test_a_request_on_a_connection_that_is_cut_is_not_made_again(run: Run) -> None:
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(ANSWER)
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    async def case() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        http = HttpLanes(f"http://127.0.0.1:{port}", PLAIN)
        assert (await http.ask(0, "GET", "/")).body == b"hi"
        with pytest.raises(DriverError) as caught:
            await http.ask(0, "GET", "/")
        assert caught.value.failure is Failure.DISCONNECTED
        await http.close()
        server.close()
        await server.wait_closed()

    run(case())
    assert len(asked) == 2
