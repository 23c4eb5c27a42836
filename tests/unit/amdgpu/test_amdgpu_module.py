"""The Ansible module around the inventory."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible.module_utils.testing import patch_module_args


def _run(plugin, capfd, arguments):
    with patch_module_args(arguments), pytest.raises(SystemExit) as stopped:
        plugin("library", "amdgpu_info").main()
    return stopped.value.code, json.loads(capfd.readouterr().out)


@pytest.mark.parametrize("check", [False, True])
def test_module_returns_the_inventory_and_changes_nothing(machine, plugin, capfd, check):
    box = machine("ryzen-igpu-bmc")
    code, found = _run(
        plugin,
        capfd,
        {
            "sysfs_root": str(box.sys),
            "proc_root": str(box.proc),
            "dev_root": str(box.dev),
            "_ansible_check_mode": check,
        },
    )
    assert code == 0
    assert found["changed"] is False
    assert {key: found[key] for key in box.look()} == box.look()


@pytest.mark.parametrize("name", ["sysfs_root", "proc_root", "dev_root"])
def test_a_root_that_is_no_directory_is_one_clear_error(tmp_path, plugin, capfd, name):
    code, found = _run(plugin, capfd, {name: str(tmp_path / "absent")})
    assert code == 1
    assert found["msg"] == f"{name}: {tmp_path / 'absent'} is not a directory; give the place where it is mounted."


def test_documentation_names_exactly_what_is_returned(machine, plugin):
    module = plugin("library", "amdgpu_info")
    documented = yaml.safe_load(module.RETURN)
    found = machine("one-mi50").look()
    assert set(documented) == set(found)
    assert set(documented["gpus"]["contains"]) == set(found["gpus"][0])
    assert set(yaml.safe_load(module.DOCUMENTATION)["options"]) == {"sysfs_root", "proc_root", "dev_root"}


def test_module_runs_through_ansible(machine, repo_root):
    box = machine("two-mi50")
    ansible = Path(sys.executable).parent / "ansible"
    done = subprocess.run(
        [
            str(ansible),
            "localhost",
            "-m",
            "amdgpu_info",
            "-a",
            f"sysfs_root={box.sys} proc_root={box.proc} dev_root={box.dev}",
        ],
        cwd=repo_root,
        env={**os.environ, "ANSIBLE_CALLBACK_RESULT_FORMAT": "json", "ANSIBLE_INVENTORY": "localhost,"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout[done.stdout.index("{") :])
    assert found["gfx906"] == ["0000:03:00.0", "0000:06:00.0"]
    assert found["gpus"] == box.look()["gpus"]


def _sources(root: Path) -> list[Path]:
    return [root / "library/amdgpu_info.py", *sorted((root / "module_utils/mi50/amdgpu").glob("*.py"))]


def test_sources_keep_to_python_3_9_and_the_standard_library(repo_root):
    for path in _sources(repo_root):
        tree = ast.parse(path.read_text(), feature_version=(3, 9))
        imported = {
            (node.module or "").split(".")[0] if isinstance(node, ast.ImportFrom) else node.names[0].name
            for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom)) and not getattr(node, "level", 0)
        }
        assert imported - {"ansible"} <= sys.stdlib_module_names, path


def test_inventory_runs_on_every_python_found_here(machine, repo_root):
    """Python 3.9 is what old distributions give a managed node; nothing but the standard library is there."""
    box = machine("bar16")
    program = (
        "import json, pathlib, sys; sys.path.insert(0, sys.argv[1]); from mi50.amdgpu import collect;"
        "print(json.dumps(collect(*map(pathlib.Path, sys.argv[2:]))))"
    )
    found = {sys.executable}
    for minor in range(9, 15):
        found |= {str(path) for path in Path.home().glob(f".pyenv/versions/3.{minor}.*/bin/python")}
        found |= {path for path in [shutil.which(f"python3.{minor}")] if path and "shims" not in path}
    for python in sorted(found):
        done = subprocess.run(
            [python, "-I", "-c", program, str(repo_root / "module_utils"), str(box.sys), str(box.proc), str(box.dev)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, f"{python}: {done.stderr}"
        assert json.loads(done.stdout) == box.look(), python
