"""playbooks/verify.yml on real nodes: green when all is well, and each of the planted faults found by its id."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from lab import site
from tests.lab.conftest import Lab

pytestmark = pytest.mark.lab

ROOT = Path(__file__).resolve().parents[2]
NODES = ("node1", "node2")
TREES = {"node1": "/srv/mi50-lab/presets/one-mi50", "node2": "/srv/mi50-lab/presets/two-mi50"}
LIBRARY = "/opt/rocm-6.4.3/lib/rocblas/library"
KERNEL = f"{LIBRARY}/Kernels.so-000-gfx906.hsaco"
TORCH = "$(ls -d /opt/mi50-aipc/venvs/torch/lib/python3*/site-packages/torch/lib)"
BUILDS = "/var/cache/mi50-aipc/builds"
BAR_S = 20.0


class Fault(NamedTuple):
    """What is done to a node, the check that must find it, and how it is undone. `{tree}`: the simulated sysfs."""

    node: str
    check: str
    status: str
    plant: str
    undo: str


def changed(path: str, text: str) -> tuple[str, str]:
    """Write other text to a file of the simulated sysfs, and put the file back."""
    return f"cp -p {path} /var/tmp/kept; echo '{text}' > {path}", f"cat /var/tmp/kept > {path}"


def moved(path: str) -> tuple[str, str]:
    """Take a file away, and put it back."""
    return f"mv {path} {path}.away", f"mv {path}.away {path}"


def sensor(name: str) -> str:
    """A file of the first card's hwmon."""
    return f"$(ls {{tree}}/bus/pci/devices/*/hwmon/hwmon*/{name} | head -1)"


# Each of them alone would be found as well (tests/unit/verify); planted together, two runs are enough.
FIRST = [
    Fault("node1", "kernel.kfd", "fail", "rm /dev/kfd", "mknod -m 660 /dev/kfd c 235 0; chgrp render /dev/kfd"),
    Fault(
        "node1",
        "env.override",
        "fail",
        "echo HSA_OVERRIDE_GFX_VERSION=9.0.6 >> /etc/environment",
        "sed -i /HSA_OVERRIDE/d /etc/environment",
    ),
    Fault(
        "node1",
        "env.visible",
        "warn",
        "echo export HIP_VISIBLE_DEVICES=1 > /etc/profile.d/mine.sh",
        "rm /etc/profile.d/mine.sh",
    ),
    Fault(
        "node1",
        "rocm.link",
        "fail",
        "mkdir /opt/rocm-7.0.0; ln -sfn /opt/rocm-7.0.0 /etc/alternatives/rocm",
        "ln -sfn /opt/rocm-6.4.3 /etc/alternatives/rocm; rmdir /opt/rocm-7.0.0",
    ),
    Fault("node1", "rocm.loader", "fail", *moved("/etc/ld.so.conf.d/mi50-rocm.conf")),
    Fault("node1", "kernels.opt-rocm-6.4.3", "fail", *moved(KERNEL)),
    Fault("node1", "card.heat", "fail", *changed(sensor("temp2_input"), "106000")),
    Fault(
        "node1",
        "fan.daemons",
        "warn",
        "printf '[Service]\\nExecStart=/bin/sleep 9999\\n' > /etc/systemd/system/fancontrol.service;"
        " systemctl daemon-reload; systemctl start fancontrol",
        "systemctl stop fancontrol; rm /etc/systemd/system/fancontrol.service; systemctl daemon-reload",
    ),
    Fault(
        "node1",
        "kernel.amdgpu",
        "warn",
        "echo blacklist amdgpu > /etc/modprobe.d/mine.conf",
        "rm /etc/modprobe.d/mine.conf",
    ),
    Fault(
        "node1",
        "net.listen",
        "warn",
        "systemd-run -q --unit=open-port python3 -c"
        " 'import socket, time; s = socket.create_server((\"\", 8000)); time.sleep(9999)'; sleep 1",
        "systemctl stop open-port",
    ),
    Fault(
        "node2",
        "kernels.opt-rocm-6.4.3",
        "fail",
        # One byte, under the old date: only who reads every byte can tell.
        f"cp -p {KERNEL} /var/tmp/kernel; printf X | dd of={KERNEL} bs=1 seek=4096 conv=notrunc status=none;"
        f" touch -r /var/tmp/kernel {KERNEL}",
        f"cp -p /var/tmp/kernel {KERNEL}",
    ),
    Fault("node2", "card.sensors", "fail", *changed(sensor("temp2_input"), "n/a")),
    Fault(
        "node2",
        "rocm.packages",
        "fail",
        "dpkg --remove --force-depends rocm >/dev/null 2>&1",
        "apt-get install -y -qq rocm >/dev/null 2>&1; apt-mark manual rocm >/dev/null",
    ),
    Fault("node2", "rocm.agents", "fail", *moved("/opt/rocm-6.4.3/bin/rocminfo")),
    # Not one that the stack names: another package of its own needs it.
    Fault(
        "node2",
        "dpkg.depends",
        "fail",
        "dpkg --remove --force-depends hipblaslt >/dev/null 2>&1",
        "apt-get install -y -qq hipblaslt >/dev/null 2>&1; apt-mark auto hipblaslt >/dev/null",
    ),
]
SECOND = [
    Fault(
        "node1",
        "dpkg.audit",
        "fail",
        "cp /var/lib/dpkg/status /var/tmp/status;"
        " sed -i '/^Package: zlib1g$/,/^Status/s/ok installed/ok half-configured/'"
        " /var/lib/dpkg/status",
        "cp /var/tmp/status /var/lib/dpkg/status",
    ),
    Fault(
        "node1",
        "gpu.bar",
        "warn",
        *changed("$(ls {tree}/bus/pci/devices/*/mem_info_vis_vram_total | head -1)", "17179869184"),
    ),
    Fault("node2", "rocm.origin", "fail", *moved("/etc/apt/sources.list.d/mi50-rocm.sources")),
    Fault("node2", "torch.environments", "fail", *moved(f"{TORCH}/rocblas/library/Kernels.so-000-gfx906.hsaco")),
    # The build cache's wheels are damaged (other tests may have left more than one): torch, made from them, is not.
    Fault(
        "node1",
        "build.triton",
        "fail",
        f"mkdir /var/tmp/wheels; cd {BUILDS}; cp -p --parents */*.whl /var/tmp/wheels; "
        "for wheel in */*.whl; do printf X | dd of=$wheel bs=1 seek=99 conv=notrunc status=none; done",
        f"cp -rp /var/tmp/wheels/. {BUILDS}; rm -r /var/tmp/wheels",
    ),
    Fault(
        "node2",
        "gpu.kfd",
        "fail",
        "mv {tree}/class/kfd/kfd/topology/nodes/2 /var/tmp/node",
        "mv /var/tmp/node {tree}/class/kfd/kfd/topology/nodes/2",
    ),
    Fault(
        "node2",
        "card.memory",
        "fail",
        *changed("$(ls {tree}/bus/pci/devices/*/ras/umc_err_count | head -1)", "ue: 3\\nce: 0"),
    ),
]


def verify(lab: Lab) -> tuple[site.Result, dict[str, dict[str, dict[str, Any]]]]:
    """Run the playbook; return its result and the checks by node and id."""
    for node in NODES:
        (ROOT / f"reports/verify/{node}.json").unlink(missing_ok=True)
    result = site.run(lab.settings, ["--limit", ",".join(NODES)], playbook="playbooks/verify.yml", quiet=True)
    reports = {node: json.loads((ROOT / f"reports/verify/{node}.json").read_text()) for node in NODES}
    return result, {node: {check["id"]: check for check in report["checks"]} for node, report in reports.items()}


def test_a_healthy_node_is_green_and_quick(converged: Lab) -> None:
    result, checks = verify(converged)
    bad = {
        f"{node} {one['id']}": one["found"]
        for node in NODES
        for one in checks[node].values()
        if one["status"] == "fail"
    }
    assert bad == {}
    assert result.returncode == 0, result.output[-3000:]
    assert result.seconds < BAR_S
    assert {counts["changed"] for counts in result.recap.values()} == {0}
    assert all(len(checks[node]) > 40 for node in NODES)


def test_the_checks_are_tests_of_hosts(converged: Lab) -> None:
    # Without -q: two of them, and pytest keeps its counts to itself.
    words = [sys.executable, "-m", "pytest", "tests/hosts", "--limit", "node1", "-rs"]
    words += ["--inventory", str(converged.settings.inventory), "-m", "not hardware", "-p", "no:cacheprovider"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed and int(passed[1]) > 20
    assert "deselected" in done.stdout


@pytest.mark.parametrize("faults", [FIRST, SECOND], ids=["first", "second"])
def test_planted_faults_are_found_by_their_ids(converged: Lab, faults: list[Fault]) -> None:
    planted = []
    try:
        for fault in faults:
            planted.append(fault)
            converged.ssh(fault.node, fault.plant.replace("{tree}", TREES[fault.node]))
        result, checks = verify(converged)
    finally:
        for fault in reversed(planted):
            converged.ssh(fault.node, fault.undo.replace("{tree}", TREES[fault.node]))
    assert result.returncode == 2
    for fault in faults:
        found = checks[fault.node][fault.check]
        assert found["status"] == fault.status, f"{fault.node} {fault.check}: {found}"
        assert found["remedy"], fault.check
        assert fault.check in result.output
    healed, _ = verify(converged)
    assert healed.returncode == 0, healed.output[-3000:]
