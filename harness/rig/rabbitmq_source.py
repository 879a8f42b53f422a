"""Where RabbitMQ comes from: the machine's own installation, or its Debian packages and Erlang's,
unpacked.

A source's paths: `home`, RabbitMQ's own folder; `erlang`, the folder with Erlang's commands; `epmd`
and `erl_call`; `libraries`, which the machine lacks (LD_LIBRARY_PATH).
"""

import re
import shutil
from pathlib import Path

from harness.rig import debian
from harness.rig.broker import Source, Unavailable
from protos.broker import read_broker

PART = "rabbitmq"
RECIPE = debian.Recipe(
    part=PART,
    package="rabbitmq-server",
    along=("rabbitmq-server", "erlang-*"),
    remedy="install RabbitMQ and Erlang so that rabbitmq-server and erl are on PATH, "
    "or give the address of a broker (ORDERBENCH_RABBITMQ)",
)

_DEBIAN = Path("/usr/lib")
"""Where Debian keeps RabbitMQ's and Erlang's own folders."""
_APPLICATIONS = re.compile(r"\{applications,\s*\[([^\]]*)\]")


def find_rabbitmq(address: str | None) -> Source:
    """Where RabbitMQ would come from; installs nothing. Raises Unavailable."""
    if address is not None:
        try:
            read = read_broker(address)
            if read.kind != PART:
                raise ValueError(f"that is the address of a {read.kind}")
        except ValueError as error:
            raise Unavailable(
                PART, f"a bad address: {error}", "give one such as amqp://user:secret@host:5672"
            ) from None
        return Source(PART, "address", "", ",".join(read.hosts), {"address": address})
    return _local() or _cached() or debian.installable(RECIPE)


def obtain_rabbitmq(source: Source) -> Source:
    """The source, installed into the cache if it was not there. Blocks. Raises Unavailable."""
    if source.origin != "install":
        return source
    folder = debian.unpacked(RECIPE, _make_movable)
    if (cached := _cached()) is None:
        raise Unavailable(PART, f"{folder} holds no RabbitMQ", "remove that folder")
    return cached


def needed_plugins(plugins: Path) -> list[Path]:
    """Of the vendor's applications those that the broker itself needs: it starts faster when it
    need not look at the others. All, where they are archives."""
    if archives := list(plugins.glob("*.ez")):
        return archives
    found: dict[str, Path] = {}
    wanted = ["rabbit"]
    while wanted:
        name = wanted.pop()
        for application in plugins.glob(f"{name}-[0-9]*"):
            found[name] = application
            listed = _APPLICATIONS.search((application / f"ebin/{name}.app").read_text())
            names = re.findall(r"\w+", listed[1]) if listed else []
            wanted += [other for other in names if other not in found]
    return list(found.values())


def _local() -> Source | None:
    """The machine's own installation."""
    homes = [Path(found) for found in sorted((_DEBIAN / "rabbitmq/lib").glob("rabbitmq_server-*"))]
    if script := shutil.which("rabbitmq-server"):
        homes.insert(0, Path(script).resolve().parents[1])
    erl = shutil.which("erl")
    erlang = _DEBIAN / "erlang/bin" if erl is None else Path(erl).resolve().parent
    for home in homes:
        if found := _installation("local", home, erlang, ""):
            return found
    return None


def _cached() -> Source | None:
    """What was unpacked into the cache."""
    if (kept := debian.kept(RECIPE)) is None:
        return None
    lib = kept[0] / "usr/lib"
    homes = sorted((lib / "rabbitmq/lib").glob("rabbitmq_server-*"))
    libraries = debian.libraries(kept[0])
    return _installation("cache", homes[-1], lib / "erlang/bin", libraries) if homes else None


def _installation(origin: str, home: Path, erlang: Path, libraries: str) -> Source | None:
    """The installation at these places, or None if it is not whole."""
    versions = [
        found.name.removeprefix("rabbit-").removesuffix(".ez")
        for found in home.glob("plugins/rabbit-*")
    ]
    tools = {"home": home / "sbin/rabbitmq-server"}
    for tool in ("erl", "epmd", "erl_call"):
        tools[tool] = erlang / tool
        if not tools[tool].exists():
            tools[tool] = next(erlang.parent.glob(f"erts-*/bin/{tool}"), tools[tool])
    if not versions or not all(tool.exists() for tool in tools.values()):
        return None
    paths = {name: str(path) for name, path in tools.items()}
    paths |= {"home": str(home), "erlang": str(erlang), "libraries": libraries}
    return Source(PART, origin, versions[0], str(home), paths)


def _make_movable(folder: Path) -> None:
    """Have Erlang's start scripts look for Erlang where they are themselves."""
    for script in folder.glob("usr/lib/erlang/**/bin/erl"):
        up = "/".join(".." for _ in script.relative_to(folder / "usr/lib/erlang").parts[:-1])
        text = script.read_text()
        script.write_text(re.sub(r"ROOTDIR=/\S+", f'ROOTDIR=$(readlink -f "${{0%/*}}/{up}")', text))
