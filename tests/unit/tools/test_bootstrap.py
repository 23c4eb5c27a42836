"""script/bootstrap with a Python that only pretends: which steps it takes, and what an interruption leaves."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FAKE_PYTHON = f"""#!/bin/sh
echo "$*" >>"$FAKE_CALLS"
case "$1 $2" in
  '-m venv') mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; : >"$3/pyvenv.cfg" ;;
  '-m pip') [ "$3" = --version ] || eval "${{FAKE_PIP:-:}}" ;;
  '-V '*) echo 'Python 3.0 (pretended)' ;;
  '-c '*) exec {sys.executable} "$@" ;;
esac
"""


@dataclass
class Checkout:
    """A checkout with the script, requirements without content and a pretended Python."""

    root: Path
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    @property
    def calls(self) -> str:
        log = self.root / "calls"
        return log.read_text() if log.exists() else ""

    @property
    def environment(self) -> dict[str, str]:
        fixed = {"MI50_PYTHON": str(self.root / "fake-python"), "FAKE_CALLS": str(self.root / "calls")}
        return {**os.environ, "MI50_VENV": str(self.venv), **fixed, **self.extra}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.root / "script" / "bootstrap", *arguments],
            env=self.environment,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        process = self.start(*arguments)
        _, errors = process.communicate(timeout=30)
        return process.returncode, errors


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    (tmp_path / "script").mkdir()
    shutil.copy(ROOT / "script" / "bootstrap", tmp_path / "script")
    (tmp_path / "requirements.txt").write_text("# nothing\n")
    (tmp_path / "requirements-dev.txt").write_text("# nothing more\n")
    fake = tmp_path / "fake-python"
    fake.write_text(FAKE_PYTHON)
    fake.chmod(0o755)
    return Checkout(tmp_path)


def restricted_path(checkout: Checkout, missing: set[str], fakes: dict[str, str]) -> None:
    """Give the script a PATH with everything of this machine but `missing`, `fakes` in front."""
    folder = checkout.root / "bin"
    folder.mkdir()
    for name, body in fakes.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    for source in ("/usr/bin", "/bin"):
        for path in Path(source).iterdir():
            if path.name not in missing and not (folder / path.name).exists():
                (folder / path.name).symlink_to(path)
    checkout.extra["PATH"] = str(folder)


def test_first_run_makes_the_environment_and_the_second_does_nothing(checkout: Checkout) -> None:
    code, errors = checkout.run()
    assert code == 0, errors
    assert "-m venv" in checkout.calls
    assert "-m pip install" in checkout.calls
    assert not Path(f"{checkout.venv}.incomplete").exists()
    (checkout.root / "calls").unlink()
    code, errors = checkout.run()
    assert (code, errors) == (0, "")
    assert "-m" not in checkout.calls


def test_changed_requirements_are_installed_into_the_same_environment(checkout: Checkout) -> None:
    checkout.run()
    (checkout.root / "calls").unlink()
    (checkout.root / "requirements.txt").write_text("# another line\n")
    assert checkout.run()[0] == 0
    assert "-m pip install" in checkout.calls
    assert "-m venv" not in checkout.calls


def test_dev_is_more_than_plain_and_counts_as_plain(checkout: Checkout) -> None:
    checkout.run()
    checkout.run("--dev")
    assert "requirements-dev.txt" in checkout.calls
    (checkout.root / "calls").unlink()
    checkout.run()
    assert "-m pip install" not in checkout.calls


def test_an_interrupted_run_is_not_trusted(checkout: Checkout) -> None:
    checkout.extra["FAKE_PIP"] = "sleep 60"
    process = checkout.start()
    deadline = time.monotonic() + 20
    while "-m pip install" not in checkout.calls and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert Path(f"{checkout.venv}.incomplete").exists()
    (checkout.venv / "left-over").touch()
    checkout.extra["FAKE_PIP"] = ":"
    code, errors = checkout.run()
    assert code == 0, errors
    assert "interrupted" in errors
    assert not (checkout.venv / "left-over").exists()


def test_a_failed_install_is_repeated(checkout: Checkout) -> None:
    checkout.extra["FAKE_PIP"] = "echo 'Temporary failure in name resolution'; exit 1"
    code, errors = checkout.run()
    assert code == 1
    assert "https_proxy" in errors
    assert "mi50_url_pypi" in errors
    checkout.extra.clear()
    assert checkout.run()[0] == 0


def test_a_full_disk_is_named(checkout: Checkout) -> None:
    checkout.extra["FAKE_PIP"] = "echo 'OSError: [Errno 28] No space left on device'; exit 1"
    assert "is full" in checkout.run()[1]


def test_somebodys_directory_is_not_removed(checkout: Checkout) -> None:
    checkout.venv.mkdir()
    (checkout.venv / "thesis.txt").touch()
    code, errors = checkout.run()
    assert code == 1
    assert "no virtual environment" in errors
    assert (checkout.venv / "thesis.txt").exists()
    # And not on the second try either.
    assert checkout.run()[0] == 1
    assert (checkout.venv / "thesis.txt").exists()


def test_the_index_of_the_environment_reaches_pip(checkout: Checkout) -> None:
    checkout.extra["MI50_URL_PYPI"] = "https://mirror.example/simple"
    checkout.run()
    assert "--index-url https://mirror.example/simple" in checkout.calls


def test_unknown_argument(checkout: Checkout) -> None:
    code, errors = checkout.run("--devel")
    assert code == 1
    assert "--devel" in errors
    assert not checkout.venv.exists()


def test_an_old_python_is_refused(checkout: Checkout) -> None:
    fake = checkout.root / "fake-python"
    fake.write_text("#!/bin/sh\nexit 1\n")
    code, errors = checkout.run()
    assert code == 1
    assert "3.11" in errors
    assert not checkout.venv.exists()


def test_without_root_and_sudo_it_says_what_to_do(checkout: Checkout) -> None:
    restricted_path(checkout, {"ssh", "sudo"}, {"id": "echo 1000", "apt-get": "exit 99"})
    code, errors = checkout.run()
    assert code == 1
    assert "openssh-client (Ansible reaches other machines with it)" in errors
    assert "as root: apt-get install openssh-client" in errors
    assert not checkout.venv.exists()


def test_missing_packages_are_installed_once(checkout: Checkout) -> None:
    apt = f'echo "apt-get $*" >>{checkout.root}/calls'
    restricted_path(checkout, {"ssh", "git"}, {"id": "echo 0", "apt-get": apt})
    assert checkout.run("--dev")[0] == 0
    installs = [line for line in checkout.calls.splitlines() if line.startswith("apt-get") and " install " in line]
    assert len(installs) == 1
    assert installs[0].endswith(" openssh-client git")


def test_a_broken_dpkg_is_named(checkout: Checkout) -> None:
    apt = "echo \"E: dpkg was interrupted, you must manually run 'dpkg --configure -a'\"; exit 100"
    restricted_path(checkout, {"ssh"}, {"id": "echo 0", "apt-get": apt})
    code, errors = checkout.run()
    assert code == 1
    assert "dpkg --configure -a && apt-get --fix-broken install" in errors
