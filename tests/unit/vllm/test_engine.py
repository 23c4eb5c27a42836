"""vLLM as an engine of the serving contract: what it makes of options, and what becomes of its images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from mi50.process import Finished
from mi50.serve import imaged, vllm
from mi50.serve.model import Common, Definition, Gpu, Key, Later, Node, ServeError
from mi50.vllm.options import SPEC

from tests.unit.vllm.test_guard import QWEN3_8B_AWQ

DIGEST = f"sha256:{'1' * 64}"
GIB = 1 << 30
CARDS = [
    Gpu(f"0000:0{at}:00.0", f"/dev/dri/renderD{128 + at}", "", at, 32 * GIB, 32 * GIB, "MI50", "") for at in (3, 6)
]
MODEL = "/var/lib/mi50-aipc/models/qwen3-8b-awq"


class Machine:
    """A node with Docker and a model; `known` are its images, `fails` what a pull says instead of coming."""

    def __init__(self, root: Path) -> None:
        self.root, self.known, self.calls = root, set[str](), list[str]()
        self.fails = ""
        for name, text in (
            ("usr/bin/docker", ""),
            ("etc/group", "docker:x:990:\nrender:x:992:\nvideo:x:44:\n"),
            (f"{MODEL[1:]}/config.json", json.dumps(QWEN3_8B_AWQ)),
        ):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        self.weights(6 * GIB)

    def weights(self, size: int) -> None:
        """A file whose header is true and whose data is a hole."""
        head = json.dumps(
            {"model.layers.0.x": {"dtype": "I32", "shape": [size // 4], "data_offsets": [0, size]}}
        ).encode()
        path = self.root / MODEL[1:] / "model.safetensors"
        with path.open("wb") as out:
            out.write(len(head).to_bytes(8, "little") + head)
            out.truncate(8 + len(head) + size)

    def run(self, argv: Sequence[str], data: bytes = b"", timeout: float | None = None) -> Finished:
        del data, timeout
        words = list(argv[1:])
        self.calls.append(" ".join(words))
        if words[:2] == ["image", "inspect"]:
            there = words[-1] in self.known
            return (
                Finished(0, b'[{"Id": "sha256:id", "Size": 1}]', b"") if there else Finished(1, b"[]", b"No such image")
            )
        if words[0] == "pull":
            if self.fails:
                return Finished(1, b"", self.fails.encode())
            self.known.add(words[1])
        if words[:2] == ["image", "rm"]:
            self.known.discard(words[2])
        return Finished(0, b"/var/lib/docker\n" if words[0] == "info" else b"", b"")

    @property
    def node(self) -> Node:
        return Node(run=self.run, clock=lambda: 0.0, sleep=lambda _seconds: None, root=self.root)

    def define(self, cards: int = 1, **changes: Any) -> Definition:
        return vllm.define(common(cards), options(**changes), self.node)


def common(cards: int) -> Common:
    plain: dict[str, Any] = {
        "name": "vllm", "user": "mi50-vllm", "bind": "127.0.0.1", "port": 8000, "key": Key("/etc/keys/vllm"),
        "gpus": tuple(CARDS[:cards]), "floor": 0.0, "software": False, "small_bar": False, "load_timeout": 900.0,
        "answer_timeout": 120.0, "interval": 30, "live_timeout": 10.0, "completion_every": 600,
    }  # fmt: skip
    return Common(**plain)


def options(**changes: Any) -> dict[str, Any]:
    plain = {key: spec.get("default") for key, spec in SPEC.items()}
    return {**plain, "model": MODEL, "image": "docker.io/o/i", "image_digest": DIGEST, **changes}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_service(machine: Machine) -> None:
    found = machine.define(cards=2, context=32768)
    assert found.problems == []
    service = found.service
    assert service
    start, key = service.files
    assert service.start == (start.path,)
    assert "--tensor-parallel-size 2" in str(start.content)
    assert f"docker.io/o/i@{DIGEST}" in str(start.content)
    assert [f"device {card.pci}" in str(start.content) for card in CARDS] == [True, True]
    assert "class RequireKey" in str(key.content)
    assert service.probe.expected_vram == 6 * GIB
    assert ("SupplementaryGroups", "docker") in service.properties
    assert service.needs == (("/var/lib/docker", 40 * 10**9),)
    machine.known.add(f"docker.io/o/i@{DIGEST}")
    again = machine.define(cards=2, context=32768).service
    assert again
    assert again.needs == ()


PROBLEMS: list[tuple[str, dict[str, Any], int, str]] = [
    (
        "tensor times pipeline",
        {"tensor_parallel": 1},
        2,
        "vllm_tensor_parallel 1 times vllm_pipeline_parallel 1 is not",
    ),
    ("bf16", {"dtype": "bfloat16"}, 1, "gfx906 has no bfloat16"),
    ("context of the model", {"context": 65536}, 1, "made for 40960"),
    ("no digest", {"image_digest": ""}, 1, "its digest is not known yet"),
    ("no image", {"image": ""}, 1, "vllm_image: '' is no repository"),
    ("secret", {"environment": {"HF_TOKEN": "x"}}, 1, "vllm_environment has HF_TOKEN: whoever reads `docker inspect`"),
    ("share", {"memory_share": 2.0}, 1, "vllm_memory_share is 2.0: give 0.3 to 0.98"),
    ("key as a flag", {"extra_args": ["--api-key", "x"]}, 1, "has --api-key, which the role sets itself"),
]


@pytest.mark.parametrize(("changes", "cards", "words"), [row[1:] for row in PROBLEMS], ids=[row[0] for row in PROBLEMS])
def test_problems(machine: Machine, changes: dict[str, Any], cards: int, words: str) -> None:
    found = machine.define(cards, **changes)
    assert found.service is None
    assert words in "; ".join(found.problems)


def test_too_large_for_the_cards(machine: Machine) -> None:
    machine.weights(30 * GIB)
    assert "vllm_context: qwen3-8b-awq: 30.0 GiB of weights" in "; ".join(machine.define(context=4096).problems)
    assert machine.define(cards=2, context=4096).problems == []


def test_what_other_roles_bring_is_told_as_such(machine: Machine) -> None:
    (machine.root / "usr/bin/docker").unlink()
    (problem,) = machine.define().problems
    assert isinstance(problem, Later)
    assert "container_engine" in problem
    (machine.root / "usr/bin/docker").touch()
    (machine.root / "etc/group").write_text("render:x:992:\n")
    assert "no group docker" in machine.define().problems[0]
    (problem,) = machine.define(model="/var/lib/mi50-aipc/models/none").problems[1:]
    assert isinstance(problem, Later)


@pytest.mark.parametrize(
    ("change", "words"),
    [("gguf", "is GGUF, which vLLM serves slowly"), ("config", "is damaged"), ("weights", "no .safetensors file"),
     ("cut", "is damaged: it is no JSON object")],
)  # fmt: skip
def test_damaged_models(machine: Machine, change: str, words: str) -> None:
    folder = machine.root / MODEL[1:]
    if change in ("gguf", "weights"):
        (folder / "model.safetensors").unlink()
    if change == "gguf":
        (folder / "config.json").unlink()
        (folder / "x.gguf").touch()
    if change == "config":
        (folder / "config.json").write_text("<html>")
    if change == "cut":
        (folder / "model.safetensors").write_bytes((90).to_bytes(8, "little") + b"cut")
    assert words in "; ".join(machine.define().problems)


def test_images_come_and_go_with_their_versions(machine: Machine) -> None:
    names = []
    for digit in "123":
        chosen = options(image_digest=f"sha256:{digit * 64}")
        service = vllm.define(common(1), chosen, machine.node).service
        assert service
        assert vllm.pending(service, chosen, machine.node) == [f"fetching the image docker.io/o/i@sha256:{digit * 64}"]
        vllm.install(service, chosen, machine.node)
        assert vllm.pending(service, chosen, machine.node) == []
        vllm.prune(service, machine.node, names[-1:])
        names.append(f"docker.io/o/i@sha256:{digit * 64}")
    assert machine.known == set(names[1:])  # this version's and the one's before
    machine.known.add("somebody/elses@sha256:0")
    gone = vllm.remove("vllm", machine.node)
    assert machine.known == {"somebody/elses@sha256:0"}
    assert names[2] in gone
    assert imaged.known("vllm", machine.node) == []
    assert "rm --force mi50-vllm" in machine.calls


def test_image_that_does_not_come(machine: Machine) -> None:
    machine.fails = "manifest unknown"
    service = machine.define().service
    assert service
    with pytest.raises(ServeError, match="no image with this name and digest"):
        vllm.install(service, options(), machine.node)
    assert imaged.known("vllm", machine.node) == []
