"""A host on which everything is fine, and the policy of the shipped stack; tests change one thing at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mi50.preflight.check_repository import check_repository
from mi50.preflight.model import Check, Disk, Finding, HostState, Policy, Probe, RepositoryState, RepositoryTarget
from mi50.preflight.proxy import ProxySettings
from mi50.preflight.repository import look
from mi50.stack.api import get_stack

from .mirror import ANSWERS, Ask, Gpg, Mirror, keys, run, served

ROOT = Path(__file__).resolve().parents[3]
GIB = 1024**3


def gpu(address: str = "0000:03:00.0", **changes: Any) -> dict[str, Any]:
    return {
        "pci_address": address,
        "vendor_id": "0x1002",
        "device_id": "0x66a1",
        "driver": "amdgpu",
        "kfd_node": 1,
        "vram_total": 34342961152,
        "vram_visible": 34342961152,
        "vbios": "113-D1631700-111",
        "unique_id": "18f68c9d3b1f7a25",
        **changes,
    }


@pytest.fixture(scope="session")
def stack() -> dict[str, Any]:
    return get_stack("rocm-6.4.3", ROOT / "stacks", Path("/nonexistent.lock.yml"), {})


@pytest.fixture
def good_host() -> HostState:
    return HostState(
        os_id="ubuntu",
        os_version="24.04",
        os_name="Ubuntu 24.04.2 LTS",
        arch="x86_64",
        kernel="6.8.0-49-generic",
        cmdline="root=/dev/sda1 quiet",
        amdgpu_loaded=True,
        disks=(Disk("/opt", 1, 100 * GIB, 9), Disk("/usr", 1, 100 * GIB, 9), Disk("/var/cache", 2, 50 * GIB)),
        gpus=(gpu(),),
        gfx906=("0000:03:00.0",),
        kernel_log=("kfd kfd: amdgpu: added device 1002:66a1",),
        secure_boot=False,
        fan_daemons=(),
        clock_offset=0.5,
        probes=(Probe("mi50_url_radeon", "https://m/x", "ok"),),
        repository=RepositoryState(Finding("ok", "the pinned key"), Finding("ok", "signed by it")),
    )


@pytest.fixture
def policy(stack: dict[str, Any]) -> Policy:
    return Policy(
        stack=stack["name"],
        platforms=tuple(stack["rocm"]["platforms"]),
        refused=tuple(stack["rocm"]["refused"]),
        min_free_gib=stack["disk_gib"],
        expected_gpus=1,
    )


@pytest.fixture(scope="session")
def gpg() -> Iterator[Gpg]:
    with keys() as made:
        yield made


@pytest.fixture
def mirror(tmp_path: Path, gpg: Gpg) -> Iterator[Mirror]:
    with served(tmp_path / "mirror", gpg) as made:
        yield made


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The node's temporary directory; what is left in it is litter."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def ask(tmp_path: Path, scratch: Path) -> Iterator[Ask]:
    def asked(
        target: RepositoryTarget | None, probes: tuple[Probe, ...] = ANSWERS, proxies: ProxySettings | None = None
    ) -> dict[str, Check]:
        state = look(target, probes, proxies or ProxySettings(), tmp_path / "node", run)
        return {check.id.rpartition(".")[2]: check for check in check_repository(state)}

    yield asked
    assert list(scratch.iterdir()) == [], "left on the node"
    assert not (tmp_path / "node").exists() or {p.name for p in (tmp_path / "node").iterdir()} <= {"etc", "var"}
