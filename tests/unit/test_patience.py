"""What a role asks for again when a server was away, and what it does not: apt's own words, as apt 2.6 says them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROLES = ("rocm", "gfx906_rocblas", "pytorch")
PASSING = (
    "E: Failed to fetch http://m/x  Could not connect to 10.0.0.1:80 (10.0.0.1). - connect (113: No route to host)",
    "E: Failed to fetch http://m/x  Could not connect to 10.0.0.1:80 (10.0.0.1). - connect (111: Connection refused)",
    "E: Failed to fetch http://m/x  Unable to connect to 10.0.0.1:80:",
    "E: Failed to fetch http://m/x  Temporary failure resolving 'mirror.example'",
    "E: Failed to fetch http://m/x  Could not resolve 'mirror.example'",
    "E: Failed to fetch http://m/x  Connection failed [IP: 10.0.0.1 80]",
    "E: Failed to fetch http://m/x  Connection timed out [IP: 10.0.0.1 80]",
    "E: Failed to fetch http://m/x  Error reading from server. Remote end closed connection [IP: 10.0.0.1 80]",
    "E: Failed to fetch http://m/x  503  Service Unavailable [IP: 10.0.0.1 80]",
    "Failed to update apt cache after 5 retries: W:Updating from such a repository can't be done",
)
LASTING = (
    "E: Failed to fetch http://10.0.0.1/x_1.503-2.deb  404  Not Found [IP: 10.0.0.1 80]",
    "No package matching 'rocm-nothing' is available",
    "E: You don't have enough free space in /var/cache/apt/archives/.",
    "E: Failed to fetch http://m/x  Hash Sum mismatch",
    "E: The value 'noble' is invalid for APT::Default-Release",
)


def tasks(path: Path) -> list[dict[str, Any]]:
    """All tasks of a file, those in blocks too."""
    found = []
    for task in yaml.safe_load(path.read_text()) or []:
        found += [task, *task.get("block", [])]
    return found


@pytest.mark.parametrize("role", ROLES)
def test_what_apt_says_of_a_server_that_is_away(role: str) -> None:
    words = yaml.safe_load(Path(f"roles/{role}/vars/main.yml").read_text())[f"__{role}_away"]
    assert [said for said in PASSING if not re.search(words, said)] == []
    assert [said for said in LASTING if re.search(words, said)] == []


@pytest.mark.parametrize("role", ROLES)
def test_every_download_of_a_role_is_asked_for_again(role: str) -> None:
    """A task that fetches and is not patient ends the run of a node whose mirror restarts."""
    seen = 0
    for path in sorted(Path(f"roles/{role}/tasks").glob("*.yml")):
        for task in tasks(path):
            apt = task.get("ansible.builtin.apt")
            own = [name for name in ("apt_source", "artifact_fetch") if name in task]
            if "step': 'build'" in str(task.get("torch_env")):
                own.append("torch_env")
            if not own and (apt is None or apt.get("state") == "absent"):
                continue
            seen += 1
            name = task["register"]
            passing = f"not ({name}.passing | default(false))" if own else f"{name}.msg is not search(__{role}_away)"
            assert task["until"] == f"{name} is not failed or {passing}", task["name"]
            assert (task["retries"], task["delay"]) == (f"{{{{ __{role}_tries }}}}", 15), task["name"]
    assert seen >= 2
