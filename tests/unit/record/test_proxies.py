"""What finishes an interrupted run may have to fetch packages: the playbooks hand it the inventory's proxies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# In the module's place: stops the playbook with what it was started with.
SPY = """\
#!/usr/bin/python
import os
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({"action": {"type": "str"}}, supports_check_mode=True)
names = ("http_proxy", "https_proxy", "no_proxy")
module.fail_json(msg="%s with %s" % (module.params["action"], {name: os.environ.get(name) for name in names}))
"""
READY = f"""\
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.import_tasks: {ROOT}/playbooks/tasks/ready.yml
"""
GIVEN = ("-e", "mi50_http_proxy=http://proxy.example:3128", "-e", "mi50_no_proxy=mirror.example")


def play(folder: Path, playbook: Path, *arguments: str, **environment: str) -> str:
    """Run a playbook on this machine up to the module; what it said, in one line."""
    (folder / "library").mkdir()
    (folder / "library/node_record.py").write_text(SPY)
    fixed = {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_LIBRARY": f"{folder / 'library'}:{ROOT / 'library'}"}
    fixed.update(ANSIBLE_LOCAL_TEMP=str(folder / "local"), ANSIBLE_REMOTE_TEMP=str(folder / "remote"))
    own = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(ROOT / "inventories/local")]
    command += ["-e", "ansible_become=false", "-e", f"ansible_python_interpreter={sys.executable}"]
    done = subprocess.run(
        [*command, *arguments, str(playbook)],
        cwd=ROOT,
        env={**own, **fixed, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    return " ".join(done.stdout.split())


@pytest.fixture
def ready(tmp_path: Path) -> Path:
    """The part of site.yml that begins."""
    path = tmp_path / "ready.yml"
    path.write_text(READY)
    return path


def test_a_run_of_site(tmp_path: Path, ready: Path) -> None:
    said = play(tmp_path, ready, "--skip-tags", "build_once,preflight", *GIVEN)
    assert "begin with {'http_proxy': 'http://proxy.example:3128', 'https_proxy': None" in said
    assert "'no_proxy': 'mirror.example'}" in said


def test_without_proxies_the_nodes_own_stay(tmp_path: Path, ready: Path) -> None:
    own = "http://own.example:3128"
    said = play(tmp_path, ready, "--skip-tags", "build_once,preflight", http_proxy=own)
    assert f"begin with {{'http_proxy': '{own}', 'https_proxy': None, 'no_proxy': None}}" in said


def test_uninstalling(tmp_path: Path) -> None:
    said = play(tmp_path, ROOT / "playbooks/uninstall.yml", "-e", "mi50_uninstall=yes", *GIVEN)
    assert "leave with {'http_proxy': 'http://proxy.example:3128', 'https_proxy': None" in said
