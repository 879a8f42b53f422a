"""Parts from the system's Debian packages, unpacked into the cache: nothing is installed, nothing
is started, and no root is needed.

apt works on lists of its own that are fetched anew, so that it neither needs nor changes the
system's.
"""

import fnmatch
import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.rig import warden
from harness.rig.broker import Source, Unavailable
from harness.rig.cache import cached, filled

_STATUS = Path("/var/lib/dpkg/status")
_NEVER = ("libc6", "libllvm*", "libperl*", "libpython*", "*-perl")
"""Libraries that a package asks for and its server runs without, or must not be mixed."""
_TOOLS = ("apt-get", "dpkg")
_OPTIONS = ("-q", "-y", "-o", "Acquire::Retries=2", "-o", "APT::Sandbox::User=root")
_VERSION = "VERSION"


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is unpacked for a part."""

    part: str
    package: str
    """The package that is asked for; its version is the part's."""
    along: tuple[str, ...]
    """Patterns of the packages that come from its dependencies whether or not the machine has
    them. Of the rest only libraries come, and only those which the machine lacks."""
    remedy: str
    """What to do where there are no Debian packages."""

    @property
    def install(self) -> str:
        """The command that gives the machine a local installation."""
        return f"as root: apt-get install {self.package}"


def kept(recipe: Recipe) -> tuple[Path, str] | None:
    """The folder into which a part was unpacked, and its version; None if it was not."""
    folder = cached(recipe.part)
    if folder is None or not (folder / _VERSION).is_file():
        return None
    return folder, (folder / _VERSION).read_text()


def installable(recipe: Recipe) -> Source:
    """A source of origin `install`. Raises Unavailable where there are no Debian packages."""
    _require_tools(recipe)
    return Source(
        recipe.part, "install", "", f"apt-get download {recipe.package}, unpacked into the cache"
    )


def unpacked(recipe: Recipe, finish: Callable[[Path], None] | None = None) -> Path:
    """The folder with a part's packages, laid out as below the root folder; unpacked if need be.

    `finish` mends what does not work from another place, before the part counts as unpacked.
    Blocks for seconds. Raises Unavailable, which names the log.
    """
    _require_tools(recipe)

    def fill(folder: Path) -> None:
        _unpack(recipe, folder)
        if finish is not None:
            finish(folder)

    try:
        return filled(recipe.part, fill)
    except OSError as error:
        raise Unavailable(
            recipe.part,
            f"the cache cannot be filled ({error})",
            "make room, or set ORDERBENCH_CACHE to a folder that can be written",
        ) from None


def libraries(folder: Path) -> str:
    """LD_LIBRARY_PATH for what was unpacked there; empty where no library came along."""
    found = sorted({file.parent for file in folder.glob("**/*-linux-*/**/lib*.so*")})
    return ":".join(str(place) for place in found)


def environment(source: Source) -> dict[str, str]:
    """What the commands of a source need to find `libraries`, one of its paths."""
    needed = source.paths.get("libraries")
    return {"LD_LIBRARY_PATH": needed} if needed else {}


def _require_tools(recipe: Recipe) -> None:
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        raise Unavailable(
            recipe.part,
            f"it is not installed, and there is no {' and no '.join(missing)} to unpack it with",
            recipe.remedy,
        )


def _unpack(recipe: Recipe, folder: Path) -> None:
    log = folder.parent / f"{recipe.part}.log"
    work = folder / ".apt"
    archives = work / "archives"
    for needed in (work / "state/lists/partial", work / "cache/archives/partial", archives):
        needed.mkdir(parents=True)
    (work / "status").touch()  # nothing is installed, so that every dependency is named
    apt = ["apt-get", *_OPTIONS]
    apt += ["-o", f"Dir::State={work}/state", "-o", f"Dir::State::status={work}/status"]
    apt += ["-o", f"Dir::Cache={work}/cache", "--no-install-recommends"]
    plan = work / "plan"
    log.unlink(missing_ok=True)

    def do(argv: Sequence[str], output: Path | None = None) -> None:
        remedy = f"run it again when Debian's packages can be reached, or {recipe.install}"
        run_logged(recipe.part, remedy, log, argv, output=output, cwd=archives)

    do([*apt, "update"])
    do([*apt, "--simulate", "install", recipe.package], plan)
    versions = dict(re.findall(r"^Inst (\S+) \((\S+)", plan.read_text(), re.MULTILINE))
    do([*apt, "download", *_chosen(recipe, list(versions))])
    for archive in sorted(archives.glob("*.deb")):
        do(["dpkg", "--extract", archive.name, str(folder)])
    (folder / _VERSION).write_text(_upstream(versions[recipe.package]))
    shutil.rmtree(work)


def run_logged(
    part: str,
    remedy: str,
    log: Path,
    argv: Sequence[str],
    *,
    output: Path | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run a command that helps to obtain a part, with what it says in the log, its standard output
    in `output` where given; `env` comes on top. Blocks. Raises Unavailable when it fails."""
    said = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    told = said if output is None else os.open(output, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        code = warden.run(
            argv,
            env={**os.environ, "LC_ALL": "C", **(env or {})},
            cwd=None if cwd is None else str(cwd),
            stdio=(nothing, told, said),
        )
    finally:
        for fd in {said, nothing, told}:
            os.close(fd)
    if code != 0:
        text = log.read_text(errors="replace")
        complaints = re.findall(r"^(?:E|dpkg\S*|\S+: error): (.+)", text, re.MULTILINE)
        words = complaints[-1] if complaints else "no words"
        raise Unavailable(part, f"{argv[0]} ended with code {code} ({words}; see {log})", remedy)


def _chosen(recipe: Recipe, names: Sequence[str]) -> list[str]:
    """Of a package and all of its dependencies those that are unpacked."""
    here = _installed()

    def wanted(name: str) -> bool:
        if any(fnmatch.fnmatch(name, pattern) for pattern in recipe.along):
            return True
        never = any(fnmatch.fnmatch(name, pattern) for pattern in _NEVER)
        return name.startswith("lib") and name not in here and not never

    return [name for name in names if wanted(name)]


def _installed() -> set[str]:
    """The names of the packages that the machine has."""
    try:
        status = _STATUS.read_text(errors="replace")
    except OSError:
        return set()
    pattern = r"^Package: (\S+)\n(?:.+\n)*?Status: \S+ ok installed$"
    return set(re.findall(pattern, status, re.MULTILINE))


def _upstream(version: str) -> str:
    """Debian's version without its epoch and what Debian added: 1:3.10.8-1.1+deb12u1 -> 3.10.8."""
    return version.rpartition(":")[2].partition("-")[0].partition("+")[0].partition("~")[0]
