"""Where RabbitMQ, Redis and PostgreSQL come from, on machines that have them or do not."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.rig import cache, debian, postgres, rabbitmq_source
from harness.rig.broker import Source, Unavailable
from harness.rig.ports import Ports
from harness.rig.postgres import find_postgres, obtain_postgres
from harness.rig.rabbitmq import configuration, find_rabbitmq, obtain_rabbitmq
from harness.rig.rabbitmq_source import needed_plugins
from harness.rig.redis import find_redis, obtain_redis

Find = Callable[[str | None], Source]
FINDERS = [find_rabbitmq, find_redis, find_postgres]
ADDRESSES: dict[Find, str] = {
    find_rabbitmq: "amqp://me:hidden@host:5672/space",
    find_redis: "redis://me:hidden@host:5672/0",
    find_postgres: "postgresql://me:hidden@host:5672/orders",
}

# An archive of apt that has what the plan names; dpkg unpacks a file of the archive's name.
APT = """#!/bin/sh
for word; do
  case $word in
    update) exit 0 ;;
    --simulate) while read -r line; do echo "$line"; done < "$PLAN"; exit 0 ;;
    download) downloading=1 ;;
    *) [ -n "$downloading" ] && : > "$word.deb" ;;
  esac
done
exit 0
"""
DPKG = """#!/bin/sh
: > "$3/$2"
"""
NO_ARCHIVE = """#!/bin/sh
echo 'E: The archive cannot be reached' >&2
exit 100
"""
PLAN = """The following NEW packages will be installed:
Inst libc6 (2.36-9 Debian:12 [amd64])
Inst libhere (1.0 Debian:12 [amd64])
Inst libmissing2 (1.0 Debian:12 [amd64])
Inst libllvm14 (1:14.0 Debian:12 [amd64])
Inst libjson-perl (4.0 Debian:12 [all])
Inst socat (1.7 Debian:12 [amd64])
Inst erlang-base (1:25.2.3+dfsg-1+deb12u4 Debian:12 [amd64])
Inst rabbitmq-server (3.10.8-1.1+deb12u1 Debian:12, Debian-Security:12 [all])
Conf rabbitmq-server (3.10.8-1.1+deb12u1 Debian:12, Debian-Security:12 [all])
"""


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine that has nothing, whose cache is empty; the folder that is its PATH."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setenv("ORDERBENCH_CACHE", str(tmp_path / "cache"))
    for module in (rabbitmq_source, postgres):
        monkeypatch.setattr(module, "_DEBIAN", tmp_path / "nowhere")
    return path


def command(folder: Path, name: str, text: str = "#!/bin/sh\n") -> Path:
    """A command of that name."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(text)
    file.chmod(0o755)
    return file


@pytest.mark.parametrize("find", FINDERS)
def test_address_is_the_source_and_its_secret_is_not_told(bare: Path, find: Find) -> None:
    source = find(ADDRESSES[find])
    assert (source.origin, source.detail) == ("address", "host:5672")
    assert source.paths == {"address": ADDRESSES[find]}


@pytest.mark.parametrize("find", FINDERS)
@pytest.mark.parametrize("address", ["kafka://me:hidden@host:9092", "host", "x://hidden@h:port"])
def test_bad_address_is_refused_without_its_secret(find: Find, address: str) -> None:
    with pytest.raises(Unavailable, match="a bad address") as refused:
        find(address)
    assert "hidden" not in str(refused.value)
    assert "give one such as" in refused.value.remedy


@pytest.mark.parametrize("find", FINDERS)
def test_machine_without_packages_is_told_what_to_do(bare: Path, find: Find) -> None:
    with pytest.raises(Unavailable) as refused:
        find(None)
    assert "no apt-get and no dpkg" in refused.value.reason
    assert "on PATH, or give the address of" in refused.value.remedy
    assert "(ORDERBENCH_" in refused.value.remedy


@pytest.mark.parametrize(
    ("find", "package"),
    [
        (find_rabbitmq, "rabbitmq-server"),
        (find_redis, "redis-server"),
        (find_postgres, "postgresql"),
    ],
)
def test_machine_with_packages_can_install(bare: Path, find: Find, package: str) -> None:
    command(bare, "apt-get")
    command(bare, "dpkg")
    source = find(None)
    assert source.origin == "install"
    assert package in source.detail
    assert not cache.cache_folder().exists()


def test_installation_on_path_is_local(bare: Path) -> None:
    command(bare, "redis-server", "#!/bin/sh\necho Redis server v=9.9.9 sha=0\n")
    command(bare, "initdb")
    command(bare, "postgres", '#!/bin/sh\necho "postgres (PostgreSQL) 99.1 (Own)"\n')
    assert (find_redis(None).origin, find_redis(None).version) == ("local", "9.9.9")
    found = find_postgres(None)
    assert (found.origin, found.version, found.paths) == ("local", "99.1", {"bin": str(bare)})


def test_rabbitmq_needs_erlang_beside_it(bare: Path) -> None:
    home = bare.parent / "rabbitmq_server-9.9.9"
    server = command(home / "sbin", "rabbitmq-server")
    (home / "plugins/rabbit-9.9.9").mkdir(parents=True)
    (bare / "rabbitmq-server").symlink_to(server)
    with pytest.raises(Unavailable):
        find_rabbitmq(None)
    for tool in ("erl", "epmd"):
        command(bare.parent / "erlang/bin", tool)
    command(bare.parent / "erlang/erts-15.0/bin", "erl_call")
    (bare / "erl").symlink_to(bare.parent / "erlang/bin/erl")
    found = find_rabbitmq(None)
    assert (found.origin, found.version) == ("local", "9.9.9")
    assert found.paths["home"] == str(home)
    assert found.paths["erl_call"].endswith("erts-15.0/bin/erl_call")


def test_packages_come_with_what_the_machine_lacks(
    bare: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    command(bare, "apt-get", APT)
    command(bare, "dpkg", DPKG)
    (tmp_path / "plan").write_text(PLAN)
    monkeypatch.setenv("PLAN", str(tmp_path / "plan"))
    status = tmp_path / "status"
    status.write_text("Package: libhere\nProtected: yes\nStatus: install ok installed\n")
    monkeypatch.setattr(debian, "_STATUS", status)
    folder = debian.unpacked(rabbitmq_source.RECIPE)
    assert {file.name.removesuffix(".deb") for file in folder.glob("*.deb")} == {
        "rabbitmq-server",
        "erlang-base",
        "libmissing2",
    }
    assert debian.kept(rabbitmq_source.RECIPE) == (folder, "3.10.8")
    command(bare, "apt-get", NO_ARCHIVE)
    assert debian.unpacked(rabbitmq_source.RECIPE) == folder


@pytest.mark.parametrize(
    ("find", "obtain"),
    [
        (find_rabbitmq, obtain_rabbitmq),
        (find_redis, obtain_redis),
        (find_postgres, obtain_postgres),
    ],
)
def test_failed_download_is_told_and_leaves_nothing(
    bare: Path, find: Find, obtain: Callable[[Source], Source]
) -> None:
    command(bare, "apt-get", NO_ARCHIVE)
    command(bare, "dpkg", DPKG)
    source = find(None)
    with pytest.raises(Unavailable) as refused:
        obtain(source)
    log = cache.cache_folder() / f"{source.part}.log"
    assert f"100 (The archive cannot be reached; see {log})" in refused.value.reason
    assert "as root: apt-get install" in refused.value.remedy
    assert cache.cached(source.part) is None
    assert not list(cache.cache_folder().glob("*partial*"))


def test_folder_that_holds_something_else_is_named(bare: Path) -> None:
    command(bare, "apt-get")
    command(bare, "dpkg")
    (cache.cache_folder() / "redis").mkdir(parents=True)
    with pytest.raises(Unavailable, match="cache/redis holds no Redis; remove that folder"):
        obtain_redis(find_redis(None))


def test_erlang_finds_itself_where_it_was_unpacked(tmp_path: Path) -> None:
    text = '#!/bin/sh\n  ROOTDIR=/usr/lib/erlang\necho "$ROOTDIR"\n'
    erlang = tmp_path / "old/usr/lib/erlang"
    command(erlang / "bin", "erl", text)
    command(erlang / "erts-13/bin", "erl", text)
    rabbitmq_source._make_movable(tmp_path / "old")
    moved = (tmp_path / "old").rename(tmp_path / "new") / "usr/lib/erlang"
    for script in ("bin/erl", "erts-13/bin/erl"):
        assert subprocess.check_output([moved / script], text=True).strip() == str(moved)


def test_only_what_the_broker_needs_is_looked_at(tmp_path: Path) -> None:
    for name, needs in {
        "rabbit": "kernel,ra",
        "ra": "stdlib,aten",
        "aten": "kernel",
        "rabbitmq_mqtt": "rabbit",
    }.items():
        place = tmp_path / f"{name}-1.0/ebin"
        place.mkdir(parents=True)
        (place / f"{name}.app").write_text(
            f"{{application, {name}, [{{applications, [{needs}]}}]}}."
        )
    assert {place.name for place in needed_plugins(tmp_path)} == {
        "rabbit-1.0",
        "ra-1.0",
        "aten-1.0",
    }


def test_one_node_listens_on_loopback_and_asks_nobody() -> None:
    assert configuration(4001, ["rabbit1"]) == "listeners.tcp.1 = 127.0.0.1:4001\n"


def test_three_nodes_know_each_other() -> None:
    lines = configuration(4002, ["rabbit1", "rabbit2", "rabbit3"]).splitlines()
    assert lines[0] == "listeners.tcp.1 = 127.0.0.1:4002"
    assert "cluster_formation.peer_discovery_backend = classic_config" in lines
    assert lines[-3:] == [
        f"cluster_formation.classic_config.nodes.{n} = rabbit{n}@localhost" for n in (1, 2, 3)
    ]


def test_held_ports_are_nobody_elses() -> None:
    ports = Ports()
    taken = [ports.take() for _ in range(200)]
    assert len(set(taken)) == len(taken)
    ports.close()


def test_libraries_that_came_along_are_for_that_source_only(tmp_path: Path) -> None:
    place = tmp_path / "usr/lib/x86_64-linux-gnu"
    place.mkdir(parents=True)
    assert debian.libraries(tmp_path) == ""
    (place / "libmissing.so.2").touch()
    assert debian.libraries(tmp_path) == str(place)
    # A library of one package's own lies deeper, and need not have its version behind.
    (place / "own").mkdir()
    (place / "own/libmissing-16.1.so").touch()
    assert debian.libraries(tmp_path) == f"{place}:{place}/own"
    paths = {"libraries": str(place)}
    assert debian.environment(Source("redis", "cache", "1", "", paths)) == {
        "LD_LIBRARY_PATH": str(place)
    }
    assert debian.environment(Source("redis", "local", "1", "")) == {}
