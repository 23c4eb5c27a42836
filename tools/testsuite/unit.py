"""Stage unit: pytest on this Python, on one of the other core version's, and the node's floor, Python 3.9."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tools.testsuite import real_torch
from tools.testsuite.steps import ROOT, Stage

# The two controllers of requirements.txt: core 2.19 runs on 3.11, core 2.21 on 3.12 and newer.
CONTROLLERS: tuple[tuple[str, ...], ...] = (("3.11",), ("3.12", "3.13", "3.14"))
NODE_FLOOR = "3.9"


def interpreter(version: str) -> str | None:
    """Path of a Python of that version, from PATH or from pyenv; None when there is none that starts."""
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    found = [shutil.which(f"python{version}"), *map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python")))]
    probe = "import ensurepip, sys; print('%d.%d' % sys.version_info[:2], sys.executable)"
    for candidate in filter(None, found):
        # A pyenv shim exists for versions that are not switched on, and then only prints an error.
        answer = subprocess.run([candidate, "-c", probe], capture_output=True, text=True, check=False).stdout.split()
        if answer[:1] == [version]:
            return answer[1]
    return None


def other_controllers(current: str) -> tuple[str, ...]:
    """Versions that would exercise the controller that `current` does not."""
    return next((group for group in CONTROLLERS if current not in group), ())


def pytest(stage: Stage, python: Path, label: str, environment: Mapping[str, str] | None = None) -> None:
    """One pytest run over the unit tests."""
    report = stage.logs / f"unit-{label}.xml"
    stage.command(
        f"pytest, Python {label}",
        [python, "-m", "pytest", "tests/unit", "-n", "2", "-p", "no:cacheprovider", f"--junitxml={report}"],
        junit=report,
        environment=environment,
    )


def browser(stage: Stage) -> None:
    """Chromium for the test that opens the benchmark's report; Debian's, where this is Debian."""
    names = ("chromium", "chromium-browser", "google-chrome")
    if any(map(shutil.which, names)) or "ID=debian" not in Path("/etc/os-release").read_text(encoding="utf-8").split():
        return
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    stage.command(
        "install chromium (opens the benchmark's report)",
        [*root, "apt-get", "install", "-y", "--no-install-recommends", "chromium"],
        environment={"DEBIAN_FRONTEND": "noninteractive"},
    )


def other_environment(stage: Stage, version: str, python: str) -> Path | None:
    """The virtual environment of the other Python, made by the same bootstrap; None when that failed."""
    directory = ROOT / f".venv-{version}"
    made = stage.command(
        f"bootstrap, Python {version}",
        [ROOT / "script" / "bootstrap", "--dev"],
        environment={"MI50_PYTHON": python, "MI50_VENV": str(directory)},
    )
    return directory if made else None


def run(stage: Stage) -> None:
    """Run the unit tests on every Python that matters and is here."""
    browser(stage)
    current = f"{sys.version_info.major}.{sys.version_info.minor}"
    pytest(stage, Path(sys.executable), current, real_torch.environment(stage))
    wanted = other_controllers(current)
    others = [(version, path) for version in wanted if (path := interpreter(version))]
    if not others:
        stage.skip("pytest, other Python", f"none of {', '.join(wanted)} on this machine")
    for version, path in others[:1]:
        directory = other_environment(stage, version, path)
        if directory:
            # What no controller's Python changes and takes long runs once (tests/unit/torchenv/conftest.py).
            pytest(stage, directory / "bin" / "python", version, {"MI50_UNIT_AGAIN": "1"})
    floor = interpreter(NODE_FLOOR)
    if floor:
        stage.command(
            f"imports, Python {NODE_FLOOR}",
            [floor, ROOT / "tools" / "import_all.py", ROOT / "module_utils", ROOT / "library"],
        )
    else:
        stage.skip(f"imports, Python {NODE_FLOOR}", "not on this machine")
