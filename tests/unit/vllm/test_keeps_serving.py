"""An upgrade that cannot get what it needs: the old vLLM is not stopped, its files stay, and the reason is said."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from mi50.process import Finished
from mi50.serve import imaged, service
from mi50.serve.model import Node, ServeError

from tests.unit.vllm import test_build, test_engine

UNIT = "etc/systemd/system/mi50-vllm.service"
PARAMS: dict[str, Any] = {
    "name": "vllm", "user": "", "bind": "127.0.0.1", "port": 8000, "api_key": "", "gpus": ["none"],
    "api_key_file": "/etc/mi50-aipc/keys/vllm", "min_tokens_per_second": 0.0, "allow_software": True,
    "allow_small_bar": False, "load_timeout": 5.0, "answer_timeout": 5.0, "health_interval": 30, "health_timeout": 5.0,
    "health_completion_every": 600, "asked": "",
}  # fmt: skip


class Machine(test_build.Machine):
    """The node with an old version that runs, by systemd's word."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.write(UNIT, "the old version\n")
        self.write("etc/passwd", f"mi50-vllm:x:{os.getuid()}:990::/:/usr/sbin/nologin\n")
        self.write("proc/net/tcp", "  sl  local_address\n")
        for name in ("sys", "dev/dri", "usr/bin"):
            (root / name).mkdir(parents=True, exist_ok=True)
        self.systemd: list[list[str]] = []

    def run(self, argv: Sequence[str], data: bytes = b"", timeout: float | None = None) -> Finished:
        if argv[0] in ("systemctl", "systemd-run"):
            self.systemd.append(list(argv))
            return Finished(0, b"ActiveState=active\nUnitFileState=enabled\nLoadState=loaded\n", b"")
        if list(argv[1:2]) == ["load"]:
            return Finished(1, b"", self.fails.encode())
        return super().run(argv, data, timeout)

    @property
    def node(self) -> Node:
        root = self.root
        trees = {"sysfs": root / "sys", "proc": root / "proc", "dev": root / "dev"}
        return Node(run=self.run, clock=lambda: 0.0, sleep=lambda _seconds: None, root=root, **trees)

    def upgrade(self, options: dict[str, Any]) -> str:
        """Ask for another version; what it says why it did not come. Nothing of the old one may have changed."""
        # What is free on the machine that runs the tests is none of theirs.
        todo = service.plan({**PARAMS, "options": {**options, "image_bytes": 1000}}, self.node)
        assert todo
        with pytest.raises(ServeError) as caught:
            service.apply(todo, self.node)
        assert not [call for call in self.systemd if call[2] not in ("show", "--property")]
        assert (self.root / UNIT).read_text() == "the old version\n"
        return str(caught.value)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


PULLS = {
    "registry gone in the middle": (
        "error pulling image: connection reset by peer",
        "the registry went away",
    ),
    "registry gone at once": ("dial tcp 10.0.0.1:443: connect: connection refused", "finished layers are kept"),
    "another image than the digest says": (
        "filesystem layer verification failed for digest",
        "not what the digest says",
    ),
    "no such digest": ("manifest unknown", "no image with this name and digest"),
    "disk full": ("write /var/lib/docker/tmp/x: no space left on device", "the disk is full"),
}


@pytest.mark.parametrize("case", PULLS)
def test_image_that_does_not_come(machine: Machine, case: str) -> None:
    machine.fails, words = PULLS[case]
    assert words in machine.upgrade(test_engine.options())
    assert imaged.known("vllm", machine.node) == []


def test_archive_that_cannot_be_loaded(machine: Machine) -> None:
    machine.write("image.tar", "no archive")
    machine.fails = "write: no space left on device"
    path = str(machine.root / "image.tar")
    other = test_engine.options(image_archive=path, image_archive_sha256="0" * 64)
    assert "its sha256 is" in machine.upgrade(other)


@pytest.mark.parametrize("case", test_build.FAILURES)
def test_environment_that_is_not_made(machine: Machine, case: str) -> None:
    machine.broken, words = test_build.FAILURES[case]
    assert words in machine.upgrade(test_build.build())


def test_wheel_that_is_damaged(machine: Machine) -> None:
    with pytest.raises(ServeError, match=r"its sha256 is .* damaged, or another build.*Nothing was changed"):
        service.plan({**PARAMS, "options": test_build.build(wheel_sha256="0" * 64)}, machine.node)
