"""Issue 10, "Shows" 2 and 3: site.yml, another stack and back, uninstall; the machine is what it was before.

The proof does not rest on what the roles know of themselves: lab/snapshot.py looks at everything, and names what it
leaves out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import engine, halfway_node, nodes, site, snapshot
from lab.__main__ import up
from lab.engines import models, units
from lab.halfway import Halfway
from lab.mirror import server
from lab.settings import NETWORK
from tests.lab.conftest import Lab

pytestmark = [pytest.mark.lab, pytest.mark.long]
NODE = "node3"
ROOT = Path(__file__).resolve().parents[2]
OLD = ("-e", "mi50_stack=rocm-6.3.3")
CORE = "rocm-core"  # of every transaction about ROCm's packages
UNINSTALL = ("-e", "mi50_uninstall=yes")
STORE = "/var/lib/mi50-aipc/models"
MODEL = f"{STORE}/smollm2/{models.SMOLLM.file}"  # the role's
MINE = (f"{STORE}/mine.gguf", "/var/lib/mi50-aipc/bench/mine.json")  # a user's
DETACHED: dict[str, Any] = {
    "stdin": subprocess.DEVNULL,
    "start_new_session": True,
    "env": {**os.environ, "LC_ALL": "C.UTF-8"},
}


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

    def cut_off(self, playbook: str, *more: str, power: bool) -> halfway_node.Found:
        """Start a playbook, stop dpkg in the middle of ROCm's packages, and kill it. `power`: apt and dpkg die with it.

        Nothing moves between that middle and the end of the controller: what is returned is what was there.
        """
        ansible = str(Path(sys.executable).with_name("ansible-playbook"))
        arguments = ["-i", str(self.lab.settings.inventory), playbook, "--limit", NODE, "-e", json.dumps(self.options)]
        with (
            tempfile.TemporaryFile("w+") as said,
            Halfway(NODE, CORE) as halfway,
            subprocess.Popen([ansible, *arguments, *more], cwd=ROOT, stdout=said, stderr=said, **DETACHED) as child,
        ):
            try:
                while not halfway.ready and child.poll() is None:
                    time.sleep(0.1)
                if not halfway.ready:
                    said.seek(0)
                    pytest.fail(f"{playbook} ended before it was halfway through: {said.read()[-4000:]}")
                found = halfway.wait()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)  # Ansible's workers too: none of them must see what happens
            child.wait()
            if power:
                halfway.power_off()
            else:
                halfway.go_on()
        assert child.returncode == -9
        assert found["done"] and found["left"], f"not the middle of anything: {found}"
        return found

    def differences(self) -> list[str]:
        """What is other than before site.yml."""
        return snapshot.differences(self.before, snapshot.take(NODE))


@pytest.fixture(scope="module")
def undo(lab: Lab) -> Iterator[Undo]:
    """A fresh node, up to date, with a package that nobody needs and a user's membership."""
    nodes.remove(NODE)
    up(lab.settings)
    found = units.provide(lab.settings)
    served = server.variants(lab.settings) / "undo" / models.SMOLLM.file
    served.parent.mkdir(parents=True, exist_ok=True)
    served.unlink(missing_ok=True)
    os.link(models.ensure(lab.settings) / models.SMOLLM.file, served)
    model = {"name": "smollm2", "source": "url", "url": f"{lab.url}/variants/undo", "files": [models.SMOLLM.file]}
    options = {
        "mi50_engines": ["llama_cpp", "lmstudio", "ollama"],
        "models_list": [model],
        "llama_cpp_model": MODEL,
        "llama_cpp_alias": "smollm2",
        "llama_cpp_context": 1024,
        "llama_cpp_root": found["tree"],
        "llama_cpp_server": "/usr/bin/llama-server",
        "llama_cpp_gpus": ["none"],
        "llama_cpp_allow_software": True,
        "llama_cpp_extra_args": ["-t", "2", "-dev", "none"],
        "lmstudio_accept_licence": True,
        "lmstudio_archive": found["llmster"],
        "lmstudio_version": "0.0.25-1",
        "ollama_archive": found["ollama"],
        "ollama_version": "0.13.5",
        **{f"{one}_model": MODEL for one in ("lmstudio", "ollama")},
        **{f"{one}_alias": "smollm2" for one in ("lmstudio", "ollama")},
        **{f"{one}_context": 1024 for one in ("lmstudio", "ollama")},
        **{f"{one}_gpus": ["none"] for one in ("lmstudio", "ollama")},
        **{f"{one}_allow_software": True for one in ("lmstudio", "ollama")},
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
    # Back by what the node remembers; the controller dies in the middle, and it is asked once more, at once.
    engines = undo.options.pop("mi50_engines")
    back = ("-e", "mi50_rollback=rocm-6.4.3")
    undo.cut_off("playbooks/rollback.yml", *back, power=False)
    again = undo.play("playbooks/rollback.yml", *back)
    undo.options["mi50_engines"] = engines
    assert again.returncode == 0, again.output[-4000:]
    assert verified(undo) == ""
    assert undo.lab.ssh(NODE, "readlink -f /opt/rocm; ls -d /opt/rocm-*").split() == ["/opt/rocm-6.4.3"] * 2


def test_a_power_failure_while_apt_works_is_mended_by_the_next_run(undo: Undo) -> None:
    """Another stack is half there; the next run is for the one before, and brings the node back to it."""
    undo.cut_off("site.yml", *OLD, power=True)
    assert undo.lab.ssh(NODE, "dpkg --audit; ls /var/lib/dpkg/updates"), "nothing is half there: this proves nothing"
    looked = undo.play("playbooks/verify.yml", *OLD)
    assert looked.returncode == 2
    assert "a run of this project was cut off there: apt-get install" in looked.output
    mended = undo.play("site.yml")
    assert mended.returncode == 0, mended.output[-4000:]
    said = " ".join(mended.output.split())
    assert "had been cut off while apt worked: dpkg --configure -a finished what was cut off" in said
    assert verified(undo) == ""
    assert undo.lab.ssh(NODE, "readlink -f /opt/rocm; ls -d /opt/rocm-*").split() == ["/opt/rocm-6.4.3"] * 2
    assert undo.lab.ssh(NODE, "ls /var/lib/mi50-aipc /run/mi50-aipc | grep -e working -e run.lock || true") == ""


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
    """Cut off in the middle and run again: models and a user's files stay, nothing else; then they go as well."""
    undo.lab.ssh(NODE, "".join(f"mkdir -p $(dirname {path}); echo mine > {path};" for path in MINE))
    check = undo.play("playbooks/uninstall.yml", *UNINSTALL, "--check", "--diff")
    assert check.returncode == 0, check.output[-3000:]
    undo.cut_off("playbooks/uninstall.yml", *UNINSTALL, power=True)
    assert undo.lab.ssh(NODE, "dpkg --audit; ls /var/lib/dpkg/updates"), "nothing is half gone: this proves nothing"
    result = undo.play("playbooks/uninstall.yml", *UNINSTALL)
    assert result.returncode == 0, result.output[-4000:]
    assert "had been cut off while apt worked" in " ".join(result.output.split())
    left = undo.differences()
    kept = tuple(f"files: + {path} " for path in ("/var/lib/mi50-aipc", STORE, str(Path(MINE[1]).parent), *MINE))
    assert [line for line in left if not line.startswith((*kept, f"files: + {STORE}/"))] == []
    assert undo.lab.ssh(NODE, f"cat {' '.join(MINE)}") == "mine\n" * 2
    digest = hashlib.sha256((models.ensure(undo.lab.settings) / models.SMOLLM.file).read_bytes()).hexdigest()
    assert undo.lab.ssh(NODE, f"sha256sum {MODEL}").split()[0] == digest
    again = undo.play("playbooks/uninstall.yml", *UNINSTALL, "-e", "mi50_uninstall_data=yes")
    assert again.returncode == 0, again.output[-4000:]
    assert undo.differences() == []
