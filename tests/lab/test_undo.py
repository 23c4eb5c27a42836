"""Issue 10, "Shows" 2 and 3: site.yml, another stack and back, uninstall; the machine is what it was before.

The proof does not rest on what the roles know of themselves: lab/snapshot.py looks at everything, and names what it
leaves out.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import engine, nodes, site, snapshot
from lab.__main__ import up
from lab.engines import units
from lab.settings import NETWORK
from tests.lab.conftest import Lab

pytestmark = [pytest.mark.lab, pytest.mark.long]
NODE = "node3"
ROOT = Path(__file__).resolve().parents[2]
OLD = ("-e", "mi50_stack=rocm-6.3.3")
UNINSTALL = ("-e", "mi50_uninstall=yes")
DATA = "/var/lib/mi50-aipc/models/mine.gguf"


@dataclasses.dataclass
class Undo:
    """A node of its own, what it was, and the options of its runs."""

    lab: Lab
    before: snapshot.Snapshot
    options: dict[str, Any]

    def play(self, playbook: str, *more: str) -> site.Result:
        """Run a playbook on the node with its options."""
        arguments = ["--limit", NODE, "-e", json.dumps(self.options), *more]
        return site.run(self.lab.settings, arguments, playbook=playbook, quiet=True)

    def differences(self) -> list[str]:
        """What is other than before site.yml."""
        return snapshot.differences(self.before, snapshot.take(NODE))


@pytest.fixture(scope="module")
def undo(lab: Lab) -> Iterator[Undo]:
    """A fresh node, up to date, with a package that nobody needs and a user's membership."""
    nodes.remove(NODE)
    up(lab.settings)
    found = units.provide(lab.settings)
    options = {
        "mi50_engines": ["llama_cpp"],
        "llama_cpp_model": f"{found['models']}/SmolLM2-135M-Instruct.Q4_1.gguf",
        "llama_cpp_alias": "smollm2",
        "llama_cpp_context": 1024,
        "llama_cpp_root": found["tree"],
        "llama_cpp_server": "/usr/bin/llama-server",
        "llama_cpp_gpus": ["none"],
        "llama_cpp_allow_software": True,
        "llama_cpp_extra_args": ["-t", "2", "-dev", "none"],
        "gpu_power_cap_watts": 180,
        "rocm_users": ["ops"],
    }
    # A package that came by itself and that nothing needs any more was there before, so it has to be there afterwards.
    prepare = (
        "export DEBIAN_FRONTEND=noninteractive; apt-get update -qq && apt-get -y -qq upgrade >/dev/null"
        " && apt-get install -y -qq --no-install-recommends less >/dev/null && apt-mark auto less >/dev/null"
        " && gpasswd -a ops video >/dev/null"
    )
    lab.ssh(NODE, prepare)
    yield Undo(lab, snapshot.take(NODE), options)
    nodes.remove(NODE)


def verified(undo: Undo, *more: str) -> str:
    result = undo.play("playbooks/verify.yml", *more)
    return "" if result.returncode == 0 else result.output[-3000:]


def test_another_stack_and_back(undo: Undo) -> None:
    first = undo.play("site.yml")
    assert first.returncode == 0, first.output[-4000:]
    assert undo.differences(), "site.yml changed nothing: what follows would prove nothing"
    down = undo.play("site.yml", *OLD)
    assert down.returncode == 0, down.output[-4000:]
    assert verified(undo, *OLD) == ""
    assert undo.lab.ssh(NODE, "readlink -f /opt/rocm; ls -d /opt/rocm-*").split() == ["/opt/rocm-6.3.3"] * 2
    # Back by what the node remembers, cut off in the middle, and once more.
    ansible = str(Path(sys.executable).with_name("ansible-playbook"))
    command = [ansible, "-i", str(undo.lab.settings.inventory), "playbooks/rollback.yml", "--limit", NODE]
    command += ["-e", json.dumps({k: v for k, v in undo.options.items() if k != "mi50_engines"})]
    command += ["-e", "mi50_rollback=rocm-6.4.3"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        for line in child.stdout or ():
            if "Install the packages of the stack's build" in line:
                time.sleep(1.5)
                child.kill()
                break
    assert child.returncode == -9
    undo.lab.ssh(NODE, "while pgrep -x 'apt-get|dpkg' >/dev/null; do sleep 0.2; done")
    again = site.run(undo.lab.settings, command[4:], playbook="playbooks/rollback.yml", quiet=True)
    assert again.returncode == 0, again.output[-4000:]
    assert verified(undo) == ""
    assert undo.lab.ssh(NODE, "readlink -f /opt/rocm; ls -d /opt/rocm-*").split() == ["/opt/rocm-6.4.3"] * 2


def test_a_stack_that_the_node_never_had_is_refused(undo: Undo) -> None:
    result = undo.play("playbooks/rollback.yml", "-e", "mi50_rollback=rocm-9.9.9")
    assert result.returncode != 0
    assert "rocm-6.4.3, rocm-6.3.3" in result.output


def test_a_bundle_tells_no_secret(undo: Undo) -> None:
    key = undo.lab.ssh(NODE, "cat /etc/mi50-aipc/keys/llama_cpp").strip()
    drop = "/etc/systemd/system/mi50-llama_cpp.service.d"
    undo.lab.ssh(
        NODE,
        f"mkdir -p {drop}; printf '[Service]\\nEnvironment=HF_TOKEN=hf_PlantedPlantedPlanted01\\n' > {drop}/t.conf;"
        f" logger -t mi50-test 'asked with {key}'; systemctl daemon-reload",
    )
    for old in (ROOT / "reports/support").glob("*.tar.gz"):
        old.unlink()
    result = undo.play("playbooks/support_bundle.yml")
    undo.lab.ssh(NODE, f"rm -r {drop}; systemctl daemon-reload")
    assert result.returncode == 0, result.output[-3000:]
    (path,) = (ROOT / "reports/support").glob("*.tar.gz")
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        texts = {one.name.partition("/")[2]: archive.extractfile(one).read().decode() for one in archive}  # type: ignore[union-attr]
    address = engine.address(nodes.container(NODE), NETWORK)
    machine = undo.lab.ssh(NODE, "cat /etc/machine-id; cat /srv/mi50-lab/presets/one-mi50/bus/pci/devices/*/unique_id")
    planted = [key, "hf_PlantedPlantedPlanted01", NODE, address, *machine.split()]
    found = [(name, word) for name, text in texts.items() for word in planted if word in text]
    assert found == []
    assert "gfx906" in texts["rocm/rocminfo"] and "6.4.3" in texts["apt/packages"]
    assert "system/uname" in result.output and "README.txt" in texts


def test_uninstall_wants_to_be_meant(undo: Undo) -> None:
    state = undo.lab.state(NODE)
    result = undo.play("playbooks/uninstall.yml")
    assert result.returncode == 2
    assert result.output.count("If it is meant: ansible-playbook playbooks/uninstall.yml -e mi50_uninstall=yes") == 1
    assert undo.lab.state(NODE) == state


def test_the_node_is_what_it_was(undo: Undo) -> None:
    """Models stay, what a user installed meanwhile stays; after the data, too, went nothing differs."""
    undo.lab.ssh(NODE, f"mkdir -p $(dirname {DATA}); echo mine > {DATA}")
    check = undo.play("playbooks/uninstall.yml", *UNINSTALL, "--check", "--diff")
    assert check.returncode == 0, check.output[-3000:]
    result = undo.play("playbooks/uninstall.yml", *UNINSTALL)
    assert result.returncode == 0, result.output[-4000:]
    left = [line for line in undo.differences() if "/var/lib/mi50-aipc" not in line]
    assert left == []
    assert undo.lab.ssh(NODE, f"cat {DATA}") == "mine\n"
    again = undo.play("playbooks/uninstall.yml", *UNINSTALL, "-e", "mi50_uninstall_data=yes")
    assert again.returncode == 0, again.output[-4000:]
    assert undo.differences() == []
