"""The program that Ansible sends to a node, kept and run without the connection around it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MODULE = "gfx906_rocblas"
PARAMETERS = "params="


def build(folder: Path) -> str:
    """Have Ansible build the module's payload, which it does by running it once, in check mode; return its text."""
    ansible = Path(sys.executable).with_name("ansible")
    arguments = {"src": "/nonexistent/source", "dest": ["/nonexistent/destination"]}
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
        "ANSIBLE_KEEP_REMOTE_FILES": "1",
        "ANSIBLE_REMOTE_TEMP": str(folder),
        "LC_ALL": "C.UTF-8",
    }
    command = [ansible, "localhost", "-i", "localhost,", "-c", "local", "--check", "-m", MODULE]
    command += ["-a", json.dumps(arguments), "-e", f"ansible_python_interpreter={sys.executable}"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    kept = sorted(folder.glob(f"*/AnsiballZ_{MODULE}.py"))
    if done.returncode or not kept:
        raise RuntimeError(f"Ansible built no payload:\n{done.stdout}{done.stderr}")
    return kept[-1].read_text()


def write(text: str, path: Path, *, check_mode: bool = False, **arguments: object) -> Path:
    """Write a payload that was built to `path`, with other arguments."""
    lines = text.splitlines(keepends=True)
    (number,) = [n for n, line in enumerate(lines) if line.startswith(PARAMETERS)]
    parameters = json.loads(ast.literal_eval(lines[number][len(PARAMETERS) :].strip().rstrip(",")))
    own = {key: value for key, value in parameters["ANSIBLE_MODULE_ARGS"].items() if key.startswith("_ansible")}
    own |= {"_ansible_check_mode": check_mode, "_ansible_tmpdir": None, "_ansible_keep_remote_files": False}
    parameters["ANSIBLE_MODULE_ARGS"] = {**own, **arguments}
    lines[number] = f"{PARAMETERS}{json.dumps(parameters)!r},\n"
    path.write_text("".join(lines))
    return path


def surroundings(path: Path) -> dict[str, str]:
    """Environment of a payload: what it unpacks goes beside it, since nothing clears up after one that is killed."""
    return {**os.environ, "TMPDIR": str(path.parent)}


def run(path: Path, python: str = sys.executable) -> dict[str, Any]:
    """Run a payload as Ansible would; return its result with its exit code as `rc`."""
    done = subprocess.run([python, str(path)], capture_output=True, text=True, check=False, env=surroundings(path))
    try:
        result: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise RuntimeError(f"{python} {path.name}: no result:\n{done.stdout}{done.stderr}") from None
    return {**result, "rc": done.returncode, "stderr": done.stderr}
