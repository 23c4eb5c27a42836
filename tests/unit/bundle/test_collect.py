"""A machine full of secrets and names goes in; a bundle without any of them comes out, readable for its owner alone."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from mi50.bundle import controller, pack, sources
from mi50.bundle.collect import Bundle, Roots, collect
from mi50.bundle.machine import known

ROOT = Path(__file__).resolve().parents[3]
KEY = "zQ81mmXw0Rk27vLpT5uYb3Nn"
UNIQUE = "18f3a7c25e90b1d4"
ADDRESS = "10.1." + "2.3"
PLANTED = (
    KEY,
    "gpuhost7",
    "lab.example",
    "jdoe",
    "Jane Doe",
    UNIQUE,
    str(int(UNIQUE, 16)),
    "SN-4711-0815",
    ADDRESS,
    "hubToken-99",
)
FILES = {
    "etc/hostname": "gpuhost7\n",
    "etc/hosts": f"127.0.0.1 localhost\n{ADDRESS} gpuhost7.lab.example gpuhost7\n",
    "etc/resolv.conf": "search lab.example\n",
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\njdoe:x:1000:1000:Jane Doe,,,:/home/jdoe:/bin/bash\n",
    "etc/machine-id": "9b1de0f9a3c84c5d8f1e2d3c4b5a6978\n",
    "etc/os-release": "ID=debian\nVERSION_ID=12\n",
    "etc/environment": "HF_TOKEN=hubToken-99\nROCM_PATH=/opt/rocm-6.4.3\n",
    "etc/mi50-aipc/keys/vllm": f"{KEY}\n",
    "etc/mi50-aipc/serve/vllm.json": json.dumps({"bind": "127.0.0.1", "api_key_file": "/etc/mi50-aipc/keys/vllm"}),
    "var/lib/mi50-aipc/record.json": json.dumps(
        {"format": 1, "runs": [{"stack": "rocm-6.4.3"}], "members": [["render", "jdoe"]]}
    ),
    "proc/cpuinfo": "processor: 0\nmodel name: EPYC\n\nprocessor: 1\n",
    "proc/cmdline": "root=UUID=0f3c9a52-1111-4222-8333-944455556666 iommu=pt\n",
}
SAID = {
    "logs/mi50": f"2026-11-23T06:00:00 vllm[1]: on GPUHOST7.lab.example for jdoe, key {KEY}, peer {ADDRESS}\n",
    "logs/kernel": "[1.0] amdgpu 0000:03:00.0: ring gfx timeout\n[2.0] usb 1-1: SerialNumber: SN-4711-0815\n",
    "system/unit-files": f"[Service]\nEnvironment=VLLM_API_KEY={KEY} TOKEN=hubToken-99\nExecStart=/x --port 8000\n",
    "rocm/rocm-smi": f"GPU[0] : Unique ID: 0x{UNIQUE}\nGPU[0] : Serial Number: SN-4711-0815\n",
}


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    for path, text in FILES.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    properties = tmp_path / "sys/class/kfd/kfd/topology/nodes/1/properties"
    properties.parent.mkdir(parents=True)
    properties.write_text(f"simd_count 240\nunique_id {int(UNIQUE, 16)}\n")
    by_command = {tuple(command): SAID.get(name) for name, command in sources.COMMANDS.items()}

    def run(command: list[str], _seconds: int) -> tuple[int, str]:
        said = by_command[tuple(command)]
        return (127, "") if said is None else (0, said)

    roots = Roots(tmp_path, tmp_path / "sys", tmp_path / "proc", tmp_path / "dev")
    return collect(roots, known(tmp_path, tmp_path / "sys", ["github.com"]), run)


def test_nothing_that_was_planted_is_left(bundle: Bundle) -> None:
    everything = "\n".join(bundle.files.values())
    assert [word for word in PLANTED if word.lower() in everything.lower()] == []
    assert "9b1de0f9a3c84c5d8f1e2d3c4b5a6978" not in everything and "0f3c9a52-1111" not in everything
    assert {"secret", "host", "user", "serial", "address"} <= set(bundle.counts)


def test_what_is_needed_is_there(bundle: Bundle) -> None:
    assert "iommu=pt" in bundle.files["system/cmdline"]
    assert "ring gfx timeout" in bundle.files["logs/kernel"]
    assert "--port 8000" in bundle.files["system/unit-files"]
    assert "ROCM_PATH=/opt/rocm-6.4.3" in bundle.files["rocm/environment"]
    assert json.loads(bundle.files["settings/serve"])["api_key_file"] == "/etc/mi50-aipc/keys/vllm"
    assert json.loads(bundle.files["record.json"])["runs"] == [{"stack": "rocm-6.4.3"}]
    assert "processor: 1" not in bundle.files["system/cpuinfo-first"]
    assert bundle.absent["system/dkms"] == "dkms is not there"
    # Lines that say nothing of cards are nobody's business.
    assert "usb" not in bundle.files["logs/kernel"]


def test_the_archive_is_for_its_owner_and_says_what_it_holds(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "out/node-1.tar.gz"
    size = pack.write(path, "node-1", bundle.files, 1_700_000_000)
    assert path.stat().st_size == size and path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        entries = archive.getmembers()
        assert {one.name for one in entries} == {f"node-1/{name}" for name in bundle.files}
        assert {(one.uid, one.uname, one.mode) for one in entries} == {(0, "", 0o600)}
    rows = pack.listing(bundle.files, bundle.absent)
    assert "system/cmdline" in rows and "system/dkms: dkms is not there" in rows
    assert list((tmp_path / "out").iterdir()) == [path]


def test_a_long_log_begins_with_a_whole_line(tmp_path: Path) -> None:
    def run(command: list[str], _seconds: int) -> tuple[int, str]:
        return (0, "x" * sources.FILE_BYTES + " tail of a secret\nwhole line\n") if "mi50-*" in command else (127, "")

    roots = Roots(tmp_path, tmp_path, tmp_path, tmp_path)
    text = collect(roots, known(tmp_path, tmp_path, []), run).files["logs/mi50"]
    assert text == "[…]\nwhole line\n"


def test_what_the_inventory_knows() -> None:
    hosts = {
        "alpha": {"ansible_host": ADDRESS, "ansible_user": "svcuser"},
        "beta": {"ansible_host": "beta.lab.example"},
    }
    variables = {
        "inventory_hostname": "beta",
        "groups": {"all": ["alpha", "beta"]},
        "hostvars": hosts,
        "ansible_become_password": "Tr0ub4dor",
    }
    found = controller.inventory(variables, {"vllm_api_key": KEY, "mi50_stack": "rocm-6.4.3"}, ROOT / "stacks")
    assert found.number == 2
    assert {"alpha", "beta", ADDRESS, "beta.lab.example"} <= set(found.known.hosts)
    assert "svcuser" in found.known.users
    assert set(found.known.secrets) == {"Tr0ub4dor", KEY}
    assert "repo.radeon.com" in found.known.public
