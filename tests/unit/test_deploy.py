"""The files below deploy/ and the document beside them (issue 8.5): that they say what bench.py
takes, agree with each other, and give nothing away. Their linters are run by hand, as the document
tells."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.cli.__main__ import parse
from harness.scenario import BadInput

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
DOCUMENT = ROOT / "docs/several-machines.md"
SECRETS = {"ORDERBENCH_TOKEN", "ORDERBENCH_WEB_USER", "ORDERBENCH_WEB_PASSWORD"}
NAME = "app.kubernetes.io/name"
COMPONENT = "app.kubernetes.io/component"

COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
MANIFESTS = {
    (found["kind"], found["metadata"]["name"]): found
    for path in sorted(KUBERNETES.glob("*/*.yaml"))
    if path.name != "kustomization.yaml"
    for found in yaml.safe_load_all(path.read_text())
}
PODS = {
    name: found["spec"]["template"]
    for (_, name), found in MANIFESTS.items()
    if "template" in found["spec"]
}
CONTAINERS = {name: pod["spec"]["containers"][0] for name, pod in PODS.items()}
MASTERS = {n for n, pod in PODS.items() if pod["metadata"]["labels"][COMPONENT] == "master"}
KUSTOMIZATIONS = {
    path.parent.name: yaml.safe_load(path.read_text())
    for path in KUBERNETES.glob("*/kustomization.yaml")
}


def instructions(name: str) -> list[str]:
    """What follows each instruction of a kind in the container file, on one line."""
    text = re.sub(r"^#.*\n", "", CONTAINERFILE, flags=re.M).replace("\\\n", " ")
    return re.findall(rf"^{name} +(.+)$", text, re.M)


def command_lines() -> Iterator[tuple[str, list[str]]]:
    for name, service in SERVICES.items():
        yield f"compose {name}", service["command"]
    for name, container in CONTAINERS.items():
        yield f"kubernetes {name}", container["args"]
    for line in re.findall(r"python3 bench\.py ([^`#\n]+)", DOCUMENT.read_text()):
        yield f"document: {line.strip()}", shlex.split(line)


LINES = dict(command_lines())


def unknown_options(words: list[str]) -> set[str]:
    try:
        parse(words)
    except BadInput as error:
        return {problem.partition(":")[0] for problem in error.problems}
    return set()


@pytest.mark.parametrize("words", LINES.values(), ids=LINES)
def test_a_command_line_is_one_that_bench_takes(words: list[str]) -> None:
    assert unknown_options(words) == set()


def after(words: list[str], option: str) -> str:
    return words[words.index(option) + 1]


def test_a_master_waits_for_as_many_workers_as_there_are() -> None:
    workers = [name for name in SERVICES if name.startswith("worker")]
    assert int(after(SERVICES["master"]["command"], "--expect-workers")) == len(workers)
    replicas = MANIFESTS["Deployment", "orderbench-worker"]["spec"]["replicas"]
    assert {"orderbench-page", "orderbench-run"} == MASTERS
    for name in MASTERS:
        assert int(after(CONTAINERS[name]["args"], "--expect-workers")) == replicas


def test_workers_are_told_where_the_master_listens() -> None:
    own = SERVICES["master"]["networks"]["private"]["ipv4_address"]
    assert after(SERVICES["master"]["command"], "--listen") == f"{own}:5557"
    for name, service in SERVICES.items():
        assert name == "master" or after(service["command"], "--master-host") == own
    for name in MASTERS:
        assert after(CONTAINERS[name]["args"], "--listen") == "$(POD_IP):5557"
    told = after(CONTAINERS["orderbench-worker"]["args"], "--master-host")
    service = MANIFESTS["Service", told]["spec"]
    assert service["clusterIP"] == "None"
    assert service["ports"] == [{"name": "link", "port": 5557}]
    chosen = {n for n, pod in PODS.items() if selects(service["selector"], pod)}
    assert chosen == MASTERS


def selects(labels: dict[str, str], pod: dict[str, Any]) -> bool:
    return bool(labels.items() <= pod["metadata"]["labels"].items())


def test_nothing_listens_everywhere_and_nothing_is_published_beyond_this_machine() -> None:
    for path in [*DEPLOY.rglob("*"), DOCUMENT]:
        if path.is_file():
            assert not re.search(r"0\.0\.0\.0|\[::\]", path.read_text()), path
    published = {name: service.get("ports", []) for name, service in SERVICES.items()}
    assert published == {"master": ["127.0.0.1:8089:8089"], "worker-1": [], "worker-2": []}
    for pod in PODS.values():
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod["spec"])


def test_secrets_come_from_elsewhere() -> None:
    for service in SERVICES.values():
        for name, value in service["environment"].items():
            assert name in SECRETS
            assert re.fullmatch(rf"\$\{{{name}:\?[^}}]+\}}", value)
    for container in CONTAINERS.values():
        for variable in container["env"]:
            if variable["name"] in SECRETS:
                secret = {"name": "orderbench", "key": variable["name"]}
                assert variable["valueFrom"] == {"secretKeyRef": secret}
            else:
                assert "fieldRef" in variable["valueFrom"]
    assert not [kind for kind, _ in MANIFESTS if kind == "Secret"]
    example = (DEPLOY / ".env.example").read_text()
    assert set(re.findall(r"^(\w+)=$", example, re.M)) == SECRETS
    assert not re.findall(r"^\w+=.+", example, re.M)
    assert "ORDERBENCH" not in " ".join(instructions("ENV") + instructions("ARG"))


def git(*words: str) -> list[str]:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.split()


def test_what_git_tracks_goes_into_the_image_and_what_it_does_not_stays_out() -> None:
    """A file that is missing there would make each run's commit a changed one."""
    assert git("ls-files", "bench.py") == ["bench.py"]
    assert git("ls-files", "--cached", "--ignored", "--exclude-from=.dockerignore") == []
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert git("check-ignore", "deploy/.env") == ["deploy/.env"]
    assert "deploy/.env" in ignored
    kept = {line for line in ignored if line.startswith("!.git/")}
    assert ".git/*" in ignored
    assert kept == {f"!.git/{name}" for name in ("HEAD", "index", "objects", "packed-refs", "refs")}


def test_images_are_named_with_a_version_and_without_a_host() -> None:
    stages = dict(re.findall(r"(\S+) AS (\S+)", "\n".join(instructions("FROM"))))
    bases = {line.split()[0] for line in instructions("FROM")} - set(stages.values())
    image = {service["image"] for service in SERVICES.values()}
    assert len(image) == 1
    for name in bases | image:
        assert re.fullmatch(r"[a-z]+:[\w.-]+", name), name
        assert not name.endswith(":latest")
    named = KUSTOMIZATIONS["image"]["images"]
    assert {f"{each['newName']}:{each['newTag']}" for each in named} == image
    assert {container["image"] for container in CONTAINERS.values()} == {named[0]["name"]}


def test_every_manifest_belongs_to_a_kustomization() -> None:
    assert set(KUSTOMIZATIONS) == {"image", "workers", "page", "run"}
    for folder, found in KUSTOMIZATIONS.items():
        here = {path.name for path in (KUBERNETES / folder).glob("*.yaml")}
        assert here == {"kustomization.yaml", *found.get("resources", [])}
        assert folder == "image" or found["components"] == ["../image"]
    assert not [name for (_, name), found in MANIFESTS.items() if "namespace" in found["metadata"]]


def test_the_container_file_takes_what_is_there_and_ends_as_an_ordinary_user() -> None:
    for line in instructions("COPY"):
        *sources, _ = line.split()
        assert line.startswith("--from=") or all((ROOT / source).exists() for source in sources)
    (compiled,) = re.findall(r"compileall -q ([^&]+)", " ".join(instructions("RUN")))
    assert all((ROOT / folder / "__init__.py").exists() for folder in compiled.split())
    # A .venv is one of its place: bench.py makes another where it finds itself elsewhere.
    assert set(instructions("WORKDIR")) == {"/opt/orderbench"}
    assert "bench.set_up('/opt/orderbench')" in CONTAINERFILE
    assert instructions("USER") == ["10001:10001"]
    assert instructions("ENTRYPOINT") == ['["tini", "--", "python3", "bench.py"]']


def test_no_party_may_do_more_than_it_needs() -> None:
    """Kubernetes' restricted profile, and what a container engine has like it."""
    for service in SERVICES.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not {"privileged", "cap_add", "devices", "network_mode", "pid"} & set(service)
    for name, pod in PODS.items():
        assert pod["spec"]["automountServiceAccountToken"] is False
        context = pod["spec"]["securityContext"]
        assert context["runAsNonRoot"] is True
        assert f"{context['runAsUser']}:{context['runAsGroup']}" in instructions("USER")
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert CONTAINERS[name]["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_what_a_party_writes_has_a_place() -> None:
    """Everything else is read-only."""
    for name, service in SERVICES.items():
        places = {volume.rpartition(":")[2] for volume in service["volumes"]}
        assert places == {"/tmp"} | ({"/opt/orderbench/results"} if name == "master" else set())
    for name, container in CONTAINERS.items():
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in PODS[name]["spec"]["volumes"]}
        assert volumes[mounts["/tmp"]]["emptyDir"] == {}
        if name in MASTERS:
            claim = volumes[mounts["/opt/orderbench/results"]]["persistentVolumeClaim"]
            assert ("PersistentVolumeClaim", claim["claimName"]) in MANIFESTS


def test_processors_are_whole_and_nobody_shares_them() -> None:
    given = [cpu for service in SERVICES.values() for cpu in service["cpuset"].split(",")]
    assert len(given) == len(set(given))
    assert all(
        len(SERVICES[name]["cpuset"].split(",")) == 1 for name in SERVICES if name != "master"
    )
    for container in CONTAINERS.values():
        resources = container["resources"]
        assert resources["requests"] == resources["limits"]
        assert int(resources["limits"]["cpu"]) >= 1
    keep_away = PODS["orderbench-worker"]["spec"]["affinity"]["podAntiAffinity"]
    (term,) = keep_away["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    labels = term["labelSelector"]["matchLabels"]
    assert {name for name, pod in PODS.items() if selects(labels, pod)} == MASTERS


def test_only_parties_reach_parties() -> None:
    policy = MANIFESTS["NetworkPolicy", "orderbench"]["spec"]
    labels = policy["podSelector"]["matchLabels"]
    assert all(selects(labels, pod) for pod in PODS.values())
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    (into,) = policy["ingress"]
    assert into == {"from": [{"podSelector": policy["podSelector"]}]}
    out, names = policy["egress"]
    assert out == {"to": [{"podSelector": policy["podSelector"]}]}
    assert {port["port"] for port in names["ports"]} == {53}
