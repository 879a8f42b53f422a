"""Certificates in real handshakes on loopback."""

import asyncio
import contextlib
import ssl
import stat
from pathlib import Path

import pytest

from harness.rig.authority import Certificates, make_authority
from tests.support import LIMIT_S, Run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return make_authority(tmp_path_factory.mktemp("run") / "tls")


async def exchange(made: Certificates, client: ssl.SSLContext, host: str, name: str) -> bytes:
    """What a client hears that connects to a server at `host` and asks it to be `name`."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.certificate, made.key)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write((await reader.readline()).upper())
            await writer.drain()
        writer.close()

    async with asyncio.timeout(LIMIT_S):
        async with await asyncio.start_server(answer, host, 0, ssl=context) as server:
            port = server.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection(
                host, port, ssl=client, server_hostname=name
            )
            writer.write(b"order\n")
            heard = await reader.read()
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return heard


@pytest.mark.parametrize(
    ("host", "name"),
    [("127.0.0.1", "127.0.0.1"), ("127.0.0.1", "localhost"), ("::1", "::1")],
)
def test_a_client_that_trusts_the_authority_is_served(
    run: Run, made: Certificates, host: str, name: str
) -> None:
    trusting = ssl.create_default_context(cafile=str(made.ca))
    try:
        assert run(exchange(made, trusting, host, name)) == b"ORDER\n"
    except ssl.SSLError:
        raise
    except OSError as error:
        if host == "127.0.0.1":
            raise
        pytest.skip(f"no IPv6 here: {error}")


def test_a_client_with_the_default_authorities_refuses(run: Run, made: Certificates) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        run(exchange(made, ssl.create_default_context(), "127.0.0.1", "127.0.0.1"))


def test_another_name_is_refused(run: Run, made: Certificates) -> None:
    trusting = ssl.create_default_context(cafile=str(made.ca))
    with pytest.raises(ssl.SSLCertVerificationError):
        run(exchange(made, trusting, "127.0.0.1", "example.test"))


def test_the_address_that_other_machines_use_is_named(run: Run, tmp_path: Path) -> None:
    made = make_authority(tmp_path, "10.1.2.3")
    trusting = ssl.create_default_context(cafile=str(made.ca))
    for name in ("10.1.2.3", "127.0.0.1"):
        assert run(exchange(made, trusting, "127.0.0.1", name)) == b"ORDER\n"
    with pytest.raises(ssl.SSLCertVerificationError):
        run(exchange(made, trusting, "127.0.0.1", "10.1.2.4"))


def test_another_runs_authority_is_refused(run: Run, made: Certificates, tmp_path: Path) -> None:
    other = make_authority(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        trusting = ssl.create_default_context(cafile=str(other.ca))
        run(exchange(made, trusting, "127.0.0.1", "127.0.0.1"))


def test_files_and_the_mode_of_the_key(tmp_path: Path) -> None:
    (tmp_path / "server.key").write_text("an old one")
    (tmp_path / "server.key").chmod(0o644)
    made = make_authority(tmp_path)
    assert made == Certificates(
        tmp_path / "ca.pem", tmp_path / "server.pem", tmp_path / "server.key"
    )
    assert stat.S_IMODE(made.key.stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"ca.pem", "server.pem", "server.key"}
    assert b"PRIVATE" not in made.ca.read_bytes() + made.certificate.read_bytes()
