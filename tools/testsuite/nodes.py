"""Stages molecule, process, vm and lab: what needs containers or a virtual machine."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from tools.testsuite.steps import AT_ONCE, ROOT, SLOTS, Stage, tool


def lab_environment() -> dict[str, str]:
    """Variables that point a scenario at the lab's image and mirror, from the lab itself."""
    output = subprocess.run(
        [sys.executable, "-m", "lab", "env", "--json", "--engines"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return {key: str(value) for key, value in json.loads(output).items()}


def scenarios() -> list[str]:
    """Names of the molecule scenarios."""
    return sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))


# Scenarios and tests that take minutes each: `script/test long`, and not with every change.
LONG_SCENARIOS = ("ollama",)
# Those whose cleanup takes everything back and compares (molecule/shared/cleanup.yml).
WAYS_BACK = ("fan_control", "monitoring")


def run_molecule(stage: Stage) -> None:
    """Run each scenario from create to destroy; each is one step, on a container of its own."""
    _run_scenarios(stage, [name for name in scenarios() if name not in LONG_SCENARIOS])


def _run_scenarios(
    stage: Stage, names: list[str], run: Callable[[Stage, dict[str, str], str], None] | None = None
) -> None:
    if not names:
        stage.fail("scenarios", "there is no molecule/*/molecule.yml")
        return
    with SLOTS:
        made = image_and_mirror(stage)
    if not made:
        return
    environment = lab_environment()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        # The list: an error in a thread is one of the stage.
        list(pool.map(partial(run or _scenario, stage, environment), names))


def _scenario(stage: Stage, environment: dict[str, str], name: str) -> None:
    with SLOTS:
        stage.command(f"scenario {name}", [tool("molecule"), "test", "-s", name], environment=environment)


def _way_back(stage: Stage, environment: dict[str, str], name: str) -> None:
    """A scenario's node once more, and everything taken back from it."""
    given = {**environment, "MI50_WAY_BACK": "yes"}
    with SLOTS:
        for verb in ("converge", "cleanup"):
            words = [tool("molecule"), verb, "-s", name]
            if not stage.command(f"way back {name}: {verb}", words, environment=given):
                break
        stage.command(f"way back {name}: destroy", [tool("molecule"), "destroy", "-s", name], environment=given)


def image_and_mirror(stage: Stage) -> bool:
    """Make what containers are started from, unless it is there; a second maker waits for the first."""
    return stage.command("image and mirror", [sys.executable, "-m", "lab", "up", "--mirror-only"])


def run_marked(stage: Stage, folder: str, marker: str, *options: str) -> None:
    """Run the tests of one folder that carry one marker; a folder that is missing or empty fails."""
    report = stage.logs / f"{marker.replace(' ', '_')}.xml"
    stage.command(
        f"pytest {folder}",
        [
            sys.executable,
            "-m",
            "pytest",
            folder,
            "-m",
            marker,
            "-p",
            "no:cacheprovider",
            f"--junitxml={report}",
            *options,
        ],
        junit=report,
    )


def run_vm(stage: Stage) -> None:
    """Run the tests on real kernel drivers, in a virtual machine without KVM."""
    run_marked(stage, "tests/vm", "vm")


def run_process(stage: Stage) -> None:
    """Run the tests of the services under a real systemd; each worker has a container of its own, and mostly waits."""
    if image_and_mirror(stage):
        run_marked(stage, "tests/process", "process", "-n", "3")


def run_lab(stage: Stage) -> None:
    """Run the tests that need lab nodes, except the long ones."""
    run_marked(stage, "tests/lab", "lab and not long")


def run_long(stage: Stage) -> None:
    """Run what takes minutes for each test: whole ways back, restarts, engines on several nodes."""
    _run_scenarios(stage, list(LONG_SCENARIOS))
    _run_scenarios(stage, list(WAYS_BACK), _way_back)
    run_marked(stage, "tests/lab", "lab and long")
