"""vLLM from a wheel: the environment it serves from, what it needs, and what is refused before anything changes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from mi50.process import Finished
from mi50.serve import pyenv, vllm
from mi50.serve.model import Definition, Later, ServeError, Service
from mi50.serve.origin import asked, built, plan

from tests.unit.vllm import test_engine
from tests.unit.vllm.test_engine import common, options

TORCH = "/opt/mi50-aipc/venvs/torch"
GENERATION = "/opt/mi50-aipc/venvs/.torch/2.9.0-rocm6.4.1"
WHEEL = "/var/cache/mi50-aipc/builds/k/vllm-0.12.0+gfx906-cp311-cp311-linux_x86_64.whl"
SHA256 = hashlib.sha256(b"wheel").hexdigest()
SITE = "lib/python3.11/site-packages"


class Machine(test_engine.Machine):
    """A node with torch and a wheel; `brings` is what pip installs, `fails` which of its verbs goes wrong how."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.brings, self.broken = ["vllm-0.12.0+gfx906"], dict[str, str]()
        self.generation("2.9.0-rocm6.4.1")
        self.write(WHEEL, "wheel")

    def write(self, name: str, text: str) -> None:
        path = self.root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def generation(self, name: str, triton: str = "3.5.0+gfx906") -> None:
        folder = f"/opt/mi50-aipc/venvs/.torch/{name}"
        self.write(f"{folder}/.mi50-torch.json", "{}")
        self.write(f"{folder}/{SITE}/triton-{triton}.dist-info/METADATA", "")
        link = self.root / TORCH.lstrip("/")
        link.unlink(missing_ok=True)
        link.symlink_to(f".torch/{name}")

    def run(self, argv: Sequence[str], data: bytes = b"", timeout: float | None = None) -> Finished:
        words = list(argv)
        if "venv" in words:
            (self.root / words[-1].lstrip("/") / SITE).mkdir(parents=True)
            return Finished(0, b"", b"")
        if "pip" not in words:
            return super().run(argv, data, timeout)
        self.calls.append(" ".join(words[words.index("pip") :]))
        verb = words[words.index("pip") + 1]
        if verb in self.broken:
            return Finished(1, b"", self.broken[verb].encode())
        home = self.root / words[words.index("-I") - 1].lstrip("/").rpartition("/bin/")[0]
        for name in self.brings if verb == "install" else ():
            (home / SITE / f"{name}.dist-info").mkdir()
        return Finished(0, b"vllm==0.12.0+gfx906\n" if verb == "freeze" else b"", b"")

    def define(self, cards: int = 1, **changes: Any) -> Definition:
        return vllm.define(common(cards), build(**changes), self.node)

    def service(self, **changes: Any) -> Service:
        found = self.define(**changes)
        assert found.service, found.problems
        return found.service

    def install(self, **changes: Any) -> Service:
        service = self.service(**changes)
        vllm.install(service, build(**changes), self.node)
        return service

    def environments(self) -> list[str]:
        return sorted(path.name for path in (self.root / "opt/mi50-aipc/vllm").glob("*"))


def build(**changes: Any) -> dict[str, Any]:
    given = {"mode": "build", "wheel": WHEEL, "requirements": ["amdsmi==6.4.3"], "torch": TORCH, "image_digest": ""}
    return options(**{**given, **changes})


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_service_of_a_wheel(machine: Machine) -> None:
    service = machine.service(cards=2, context=32768)
    (path,) = service.facts["program"]
    assert service.start[:2] == (f"{path}/bin/vllm", "serve")
    words = " ".join(service.start)
    assert "--host 127.0.0.1 --port 8000" in words and "--tensor-parallel-size 2" in words
    assert "--middleware mi50_key.RequireKey" in words
    assert (service.facts["wheel"], service.facts["torch"]) == (SHA256, GENERATION)
    assert service.devices == ("/dev/kfd",)
    assert service.environment["MI50_KEY_FILE"] == "/etc/keys/vllm"
    # Another environment never reads this one's compiled kernels.
    assert path.rpartition("/")[2] in service.environment["TRITON_CACHE_DIR"]
    assert service.environment["NCCL_SOCKET_IFNAME"] == service.environment["GLOO_SOCKET_IFNAME"] == "lo"
    assert "docker" not in json.dumps([service.properties, service.unit, service.environment])


def test_it_is_rehearsed_on_another_port(machine: Machine) -> None:
    rehearsal = machine.service(cards=2, proof_only=["matmul"]).rehearsal
    assert rehearsal
    assert "--port {port}" in " ".join(rehearsal.start) and "--host 127.0.0.1" in " ".join(rehearsal.start)
    computes, loads = (" ".join(argv) for dummy, argv in rehearsal.checks)
    assert "-m mi50_compute --device auto --expect-gpus 2 --only matmul" in computes
    assert "vllm._rocm_C" in loads


def test_environment_is_made_once(machine: Machine) -> None:
    service = machine.install()
    (path,) = service.facts["program"]
    site = machine.root / path.lstrip("/") / SITE
    # torch by reference to a generation; the name of the one in use moves.
    assert GENERATION in (site / "mi50_torch.pth").read_text()
    assert "class RequireKey" in (site / "mi50_key.py").read_text()
    assert f"{GENERATION}/constraints.txt" in (site.parents[2] / "pip.conf").read_text()
    assert any(f"--only-binary=:all: --progress-bar=off {WHEEL} amdsmi==6.4.3" in call for call in machine.calls)
    calls = len(machine.calls)
    assert vllm.pending(service, build(), machine.node) == []
    vllm.install(service, build(), machine.node)
    assert len(machine.calls) == calls


def test_another_torch_or_wheel_is_another_environment(machine: Machine) -> None:
    first = machine.install()
    machine.generation("2.9.0-rocm6.4.2")
    second = machine.install()
    machine.write(WHEEL, "another wheel")
    third = machine.install()
    assert len(machine.environments()) == 3
    for cache in (first.facts["program"][0].rpartition("/")[2], "0123456789ab"):
        machine.write(f"/var/cache/mi50-aipc/vllm/{cache}/triton/x", "")
    vllm.prune(third, machine.node, second.facts["program"])
    # What the first one compiled went with it; an image's cache stays.
    assert [path.name for path in (machine.root / "var/cache/mi50-aipc/vllm").glob("*")] == ["0123456789ab"]
    assert [f"/opt/mi50-aipc/vllm/{name}" for name in machine.environments()] == sorted(
        [*second.facts["program"], *third.facts["program"]]
    )
    assert first.facts["program"] != second.facts["program"]
    assert "/opt/mi50-aipc/vllm" in vllm.remove("vllm", machine.node)


FAILURES = {
    "no such package": ({"install": "ERROR: No matching distribution found for amdsmi"}, "mi50_url_pypi"),
    "index gone": ({"install": "Connection refused"}, "The package index does not answer"),
    "disk full": ({"install": "OSError: [Errno 28] No space left on device"}, "The disk is full"),
    "needs that contradict": ({"check": "vllm 0.12.0 requires numba, which is not installed."}, "numba"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_half_an_environment_is_none(machine: Machine, case: str) -> None:
    machine.broken, words = FAILURES[case]
    service = machine.service()
    with pytest.raises(ServeError, match=words):
        vllm.install(service, build(), machine.node)
    assert machine.environments() == []


def test_an_installed_wheel_is_not_read_again(machine: Machine) -> None:
    given = {"wheel_sha256": SHA256}
    machine.install(**given)
    machine.write(WHEEL, "damaged")
    assert machine.service(**given).facts["wheel"] == SHA256
    assert "damaged, or another build" in "; ".join(machine.define(**given, requirements=[]).problems)


def test_a_torch_of_its_own_is_refused(machine: Machine) -> None:
    machine.brings = ["vllm-0.12.0+gfx906", "torch-2.9.1"]
    with pytest.raises(ServeError, match=r"brought torch 2\.9\.1 over the torch of"):
        vllm.install(machine.service(), build(), machine.node)
    assert machine.environments() == []


def test_what_other_roles_bring(machine: Machine) -> None:
    (problem,) = machine.define(wheel="").problems
    assert isinstance(problem, Later) and "build_once" in problem
    machine.generation("2.9.0-rocm6.4.2", triton="3.5.0+absent")
    (problem,) = machine.define().problems
    assert isinstance(problem, Later) and "has no triton" in problem
    (machine.root / TORCH.lstrip("/")).unlink()
    (problem,) = machine.define().problems
    assert isinstance(problem, Later) and "is no environment of the role pytorch" in problem


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"wheel": "/none.whl"}, "not on this node"), ({"wheel": "/etc/group"}, "no wheel's name"),
     ({"wheel_sha256": "0" * 64}, "its sha256 is"), ({"dtype": "bfloat16"}, "no bfloat16"),
     ({"environment": {"VLLM_API_KEY": "x"}}, "use vllm_api_key"), ({"context": 65536}, "made for 40960")],
)  # fmt: skip
def test_refused(machine: Machine, changes: dict[str, Any], words: str) -> None:
    found = machine.define(**changes)
    assert found.service is None
    assert words in "; ".join(found.problems)


def test_a_wheel_is_no_part_of_what_is_asked() -> None:
    first = {"name": "vllm", "options": {"mode": "build", "wheel": "/a", "wheel_sha256": "1", "context": 1}}
    second = {"name": "vllm", "options": {"mode": "build", "wheel": "", "wheel_sha256": "", "context": 1}}
    assert asked(first, "") == asked(second, "")
    assert asked(first, "") != asked({**first, "options": {**first["options"], "context": 2}}, "")  # type: ignore[dict-item]
    settings = {"sysfs_root": "/sys"}
    assert plan("vllm", settings, {"mode": "build"}, {})["question"]["build"] == "vllm"
    assert "build" not in plan("vllm", settings, {"mode": "container"}, {})["question"]
    assert built("lmdeploy", {}) and not built("llama_cpp", {})


def test_environment_of_wheels_names() -> None:
    want = pyenv.Wanted("vllm", WHEEL, SHA256, GENERATION, (), ())
    assert want.version == "0.12.0+gfx906"
    assert want.path.startswith("/opt/mi50-aipc/vllm/0.12.0+gfx906-")
    assert want._replace(code=(("mi50_key.py", "new"),)).path != want.path
