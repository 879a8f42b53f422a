#!/usr/bin/env python3
"""orderbench's command line: `python3 bench.py --help`.

Prepares .venv beside this file when it is missing or out of date, then becomes harness.cli in it.

An interpreter as old as Python 2.7 can read this file, far enough to be told what is needed: hence
the comments for types and no f-strings.
"""

import hashlib
import json
import os
import sys
import time

ENVIRONMENT = "environment"
PACKAGES = "packages"
UV = "uv"
ENSUREPIP = "venv with ensurepip"
SYSTEM_PIP = "venv filled by the system's pip"
APT = "apt-get, then venv with ensurepip"

# What would make pip see, or write to, another place than .venv.
MISLEADING = ("PIP_PREFIX", "PIP_TARGET", "PIP_USER", "PYTHONPATH")


class SetUpError(Exception):
    """No way led to a working .venv; the text says what to do about it."""


def main(arguments):
    # type: (list[str]) -> int
    """Become harness.cli, or return the exit code: 2 cannot run or be set up, 130 interrupted."""
    problem = complaint(tuple(sys.version_info[:3]), sys.executable, sys.platform)
    if problem:
        say(problem)
        return 2
    open_standard_streams()
    root = os.path.dirname(os.path.realpath(__file__))
    try:
        if not is_ready(root):
            set_up(root)
    except KeyboardInterrupt:
        say("\norderbench: set-up interrupted")
        return 130
    except (SetUpError, OSError) as error:
        say("orderbench: set-up failed: {}".format(error))
        return 2
    python = os.path.join(root, ".venv", "bin", "python")
    # -P: a folder named like one of ours where the user happens to be must not be taken for it.
    os.execv(python, [python, "-P", "-m", "harness.cli"] + arguments)


def complaint(version, executable, platform):
    # type: (tuple[int, ...], str, str) -> str | None
    """What stands in the way of running at all, as one sentence; None when nothing does."""
    if version < (3, 11):
        return "orderbench needs Python 3.11 or newer; this is {} ({})".format(
            ".".join(map(str, version)), executable
        )
    if not platform.startswith("linux"):
        return "orderbench needs Linux to keep hold of its processes; this is " + platform
    return None


def say(text, end="\n"):
    # type: (str, str) -> None
    """Tell the user, who may have closed stderr."""
    try:
        sys.stderr.write(text + end)
        sys.stderr.flush()
    except (AttributeError, OSError):
        pass


def open_standard_streams():
    # type: () -> None
    """Put /dev/null where stdin, stdout or stderr is closed, lest a socket or a file land there."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(fd, True)


def is_ready(root):
    # type: (str) -> bool
    """Whether .venv was completed for exactly this lock, place and interpreter."""
    try:
        with open(os.path.join(root, ".venv", ".ready")) as file:
            found = json.load(file)
        # Another interpreter than this one is not worth the time to ask for its version.
        own = found["interpreter"] == os.path.realpath(sys.executable)
        wanted = state(root, this_version() if own else found["python"])
        return bool(found == wanted) and os.access(wanted["interpreter"], os.X_OK)
    except (OSError, ValueError, LookupError, TypeError):
        return False


def state(root, version):
    # type: (str, str) -> dict[str, str]
    """What .venv/.ready says when .venv fits requirements.lock, its place and its interpreter."""
    with open(os.path.join(root, "requirements.lock"), "rb") as lock:
        digest = hashlib.sha256(lock.read()).hexdigest()
    interpreter = os.path.realpath(os.path.join(root, ".venv", "bin", "python"))
    return {"lock": digest, "root": root, "interpreter": interpreter, "python": version}


def this_version():
    # type: () -> str
    """This interpreter's version, as in 3.11.2."""
    return ".".join(map(str, sys.version_info[:3]))


def set_up(root):
    # type: (str) -> None
    """Make .venv, unless another start is at it: then wait for that one and use what it made."""
    import fcntl

    if sys.prefix != sys.base_prefix:  # this environment may be the very one to be removed
        base = os.path.realpath(sys.executable)
        os.execv(base, [base] + sys.argv)
    with open(os.path.join(root, ".venv.lock"), "a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("set-up: another start is at it; waiting")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_ready(root):
            prepare(root, ways(root, sys.executable), lock.fileno())


def ways(root, python):
    # type: (str, str) -> list[tuple[str, list[tuple[str, list[str]]]]]
    """The ways to a filled .venv, best first: a name, and steps of a label and a command each."""
    import importlib.util
    import shutil

    venv = os.path.join(root, ".venv")
    inside = os.path.join(venv, "bin", "python")
    install = ["install", "--require-hashes", "-r", os.path.join(root, "requirements.lock")]
    with_pip = [
        (ENVIRONMENT, [python, "-m", "venv", venv]),
        (PACKAGES, [inside, "-m", "pip"] + install),
    ]
    found = [(ENSUREPIP, with_pip)]
    uv = shutil.which("uv")
    if uv:
        make = (ENVIRONMENT, [uv, "venv", "--python", python, venv])
        found.insert(0, (UV, [make, (PACKAGES, [uv, "pip"] + install + ["--python", inside])]))
    if importlib.util.find_spec("pip"):
        make = (ENVIRONMENT, [python, "-m", "venv", "--without-pip", venv])
        fill = (PACKAGES, [python, "-m", "pip", "--python", inside] + install)
        found.append((SYSTEM_PIP, [make, fill]))
    if os.geteuid() == 0 and shutil.which("apt-get"):
        package = venv_package(python)
        # The second attempt is for lists never fetched and for an installation cut short.
        script = (
            "get() {{ apt-get -o DPkg::Lock::Timeout=60 install -y {}; }}; "
            "export DEBIAN_FRONTEND=noninteractive; "
            "get || {{ dpkg --configure -a; apt-get update; get; }}"
        ).format(package)
        found.append((APT, [(package, ["sh", "-c", script])] + with_pip))
    return found


def venv_package(python):
    # type: (str) -> str
    """The Debian package that gives this interpreter ensurepip."""
    if os.path.realpath(python) == os.path.realpath("/usr/bin/python3"):
        return "python3-venv"
    return "python{}.{}-venv".format(*sys.version_info[:2])


def prepare(root, choices, lock):
    # type: (str, list[tuple[str, list[tuple[str, list[str]]]]], int) -> None
    """Make .venv by the first of the ways that works. Raises SetUpError when none does.

    `lock` is a descriptor that stays open until the last process of the set-up is gone.
    """
    import tempfile

    if os.path.lexists(os.path.join(root, ".venv")):
        say("set-up: .venv is unfinished or out of date; making it again")
    failures = {}  # type: dict[str, str]
    log, log_name = tempfile.mkstemp(prefix="orderbench-", suffix=".log")
    try:
        for name, steps in choices:
            if name == APT and failures[ENSUREPIP] != ENVIRONMENT:
                continue  # what it installs is not what is missing
            say("set-up: " + name)
            discard(root)
            failed = first_failure(root, steps, log, lock)
            if failed is None:
                mark_ready(root)
                os.unlink(log_name)
                return
            failures[name] = failed
    except BaseException:
        os.unlink(log_name)
        raise
    finally:
        os.close(log)
    raise SetUpError("{}\nFull output: {}".format(advice(failures), log_name))


def discard(root):
    # type: (str) -> None
    """Remove .venv; first what calls it complete, lest a half of it be believed."""
    import shutil

    venv = os.path.join(root, ".venv")
    if os.path.islink(venv) or os.path.isfile(venv):
        os.unlink(venv)
    elif os.path.exists(venv):
        if os.path.exists(os.path.join(venv, ".ready")):
            os.unlink(os.path.join(venv, ".ready"))
        shutil.rmtree(venv)


def first_failure(root, steps, log, lock):
    # type: (str, list[tuple[str, list[str]]], int, int) -> str | None
    """Take the steps; the label of the one that failed, its last words shown, or None.

    `log` is the descriptor of the file that takes all output.
    """
    sys.path.insert(0, root)  # not there by itself under -P
    from harness.rig import warden

    environment = {name: value for name, value in os.environ.items() if name not in MISLEADING}
    for label, command in steps:
        if label == PACKAGES:  # hundreds of megabytes, not to be left behind in /tmp when killed
            environment["TMPDIR"] = os.path.join(root, ".venv", "tmp")
            os.makedirs(environment["TMPDIR"])
        say("  {} ... ".format(label), end="")
        began = time.monotonic()
        start = os.lseek(log, 0, os.SEEK_END)
        with open(os.devnull) as nothing:
            stdio = (nothing.fileno(), log, log)
            try:
                code = warden.run(command, env=environment, cwd=root, stdio=stdio, keep_fds=(lock,))
            except OSError as error:
                code = 127
                os.write(log, "{}\n".format(error).encode())
        seconds = time.monotonic() - began
        if code != 0:
            say("failed with exit code {} after {:.1f} s".format(code, seconds))
            said = os.pread(log, os.fstat(log).st_size - start, start).decode(errors="replace")
            for line in [line for line in said.splitlines() if line.strip()][-8:]:
                say("    | " + line[:200])
            return label
        say("{:.1f} s".format(seconds))
    return None


def mark_ready(root):
    # type: (str) -> None
    """Let `python -m` find the project from anywhere; last, write .venv/.ready whole."""
    import shutil

    shutil.rmtree(os.path.join(root, ".venv", "tmp"))
    library = "python{}.{}".format(*sys.version_info[:2])
    site = os.path.join(root, ".venv", "lib", library, "site-packages")
    with open(os.path.join(site, "orderbench.pth"), "w") as path:
        path.write(root + "\n")
    ready = os.path.join(root, ".venv", ".ready")
    with open(ready + ".new", "w") as file:
        json.dump(state(root, this_version()), file)
    os.replace(ready + ".new", ready)


def advice(failures):
    # type: (dict[str, str]) -> str
    """What to do about ways that failed, each with the step at which it did."""
    found = []
    if PACKAGES in failures.values():
        found.append(
            "the packages of requirements.lock could not be installed (see above; most often the "
            "network, or the package index that uv and pip are set to use, cannot be reached)"
        )
    if failures[ENSUREPIP] == ENVIRONMENT:
        found.append(
            "{} cannot make a virtual environment with pip in it; type: "
            "sudo apt-get install {}".format(sys.executable, venv_package(sys.executable))
        )
    return "\n".join(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
