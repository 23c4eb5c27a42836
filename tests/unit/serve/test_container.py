"""llama.cpp in a container: the same contract, another way to start it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from mi50.process import Finished
from mi50.serve import imaged, service
from mi50.serve.model import Node, ServeError

from tests.unit.serve.conftest import KEY, PCI, UNIT, Machine

DIGEST = "sha256:" + "a" * 64
GIVEN: dict[str, Any] = {
    "container": True,
    "server": "",
    "image": "ghcr.io/ggml-org/llama.cpp",
    "image_digest": DIGEST,
    "image_bytes": 1000,
}
LOG = """\
llama_prepare_model_devices: using device Vulkan0 ({}) (0000:03:00.0) - 32000 MiB free
load_tensors: offloaded 3/3 layers to GPU
"""


@pytest.fixture
def docker(machine: Machine) -> Machine:
    """The machine with a Docker that has no image yet."""
    (machine.root / "usr/bin/docker").touch()
    with (machine.root / "etc/group").open("a") as stream:
        stream.write("docker:x:998:\n")
    machine.images = set()  # type: ignore[attr-defined]
    plain = machine.run

    def run(argv: Sequence[str], data: bytes = b"", timeout: float | None = None) -> Finished:
        if argv[0] != "docker":
            return plain(argv, data, timeout)
        machine.calls.append(list(argv))
        if argv[1] == "pull":
            machine.images.add(argv[2])  # type: ignore[attr-defined]
        if argv[1:3] == ["image", "rm"]:
            machine.images.discard(argv[3])  # type: ignore[attr-defined]
        if argv[1:3] == ["image", "inspect"]:
            there = argv[3] in machine.images  # type: ignore[attr-defined]
            return Finished(0, b'[{"Id": "x", "Size": 5}]', b"") if there else Finished(1, b"[]", b"no such image")
        return Finished(0, b"/var/lib/docker" if argv[1] == "info" else b"", b"")

    machine.node = Node(**{**machine.node.__dict__, "run": run})
    machine.log = LOG.format("AMD Radeon Graphics (RADV VEGA20)")
    return machine


def test_it_is_pulled_started_and_proven(docker: Machine) -> None:
    todo = docker.plan(**GIVEN)
    assert f"fetching the image ghcr.io/ggml-org/llama.cpp@{DIGEST}" in todo.reasons
    assert service.apply(todo, docker.node).tokens == 32  # type: ignore[union-attr]
    assert docker.plan(**GIVEN).reasons == []
    unit = docker.file(f"/etc/systemd/system/{UNIT}")
    assert f"ExecStart={imaged.start('llama_cpp')}\n" in unit
    assert "SupplementaryGroups=docker" in unit
    script = docker.file(imaged.start("llama_cpp"))
    assert f"node=$(device {PCI})" in script
    assert "/kfd" not in script
    assert f"--volume {KEY}:/run/mi50/key:ro" in script
    assert "--volume /srv/models:/srv/models:ro" in script
    assert f"--publish 127.0.0.1:{docker.port}:{docker.port}" in script
    assert "VK_DRIVER_FILES" not in script
    assert "PYTHONPATH" not in script
    assert f"@{DIGEST} /app/llama-server --host 0.0.0.0" in script
    assert "--api-key-file /run/mi50/key" in script
    assert docker.key() not in script + unit


def test_the_image_before_last_goes_and_all_go_in_the_end(docker: Machine) -> None:
    for letter in "abc":
        docker.apply(**{**GIVEN, "image_digest": "sha256:" + letter * 64})
    assert {name[-1] for name in docker.images} == {"b", "c"}  # type: ignore[attr-defined]
    gone = service.remove(docker.params(), docker.node)
    assert docker.images == set()  # type: ignore[attr-defined]
    assert imaged.start("llama_cpp") in gone


def test_llvmpipe_in_the_image_is_refused_and_the_version_before_serves(docker: Machine) -> None:
    docker.apply(**GIVEN)
    docker.log = LOG.format("llvmpipe (LLVM 21.1.3, 256 bits)")
    with pytest.raises(ServeError, match=r"in software, on 'llvmpipe.*The version before serves again"):
        docker.apply(**GIVEN, context=2048)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image_digest": ""}, ["llama_cpp_image", "its digest is not known yet"]),
        ({"image": "ghcr.io/x/y:latest@z"}, ["llama_cpp_image", "no repository"]),
        ({"archive": "/srv/x.tar.gz", "version": "b1"}, ["llama_cpp_container takes the program from an image"]),
    ],
)
def test_bad_input(docker: Machine, changes: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ServeError) as caught:
        docker.plan(**{**GIVEN, **changes})
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_a_node_without_docker_is_told(machine: Machine) -> None:
    with pytest.raises(ServeError, match="there is no Docker on this node: the role container_engine"):
        machine.plan(**GIVEN)
    assert service.plan(machine.params(**GIVEN), machine.node, check=True) is None
