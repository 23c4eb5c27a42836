"""script/site with an ansible-playbook that only prints what it was given."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def program(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture
def site(tmp_path: Path) -> Run:
    shutil.copytree(ROOT / "script", tmp_path / "script")
    program(tmp_path / "script" / "bootstrap", "exit 0")
    program(tmp_path / ".venv/bin/python", f'exec {sys.executable} "$@"')
    program(
        tmp_path / ".venv/bin/ansible-playbook",
        'echo "argv: $*"; echo "config: $ANSIBLE_CONFIG"; echo "locale: ${LC_ALL:-}"; exit "${FAKE_CODE:-0}"',
    )
    program(tmp_path / "bin/id", 'echo "${FAKE_UID:-0}"')
    program(tmp_path / "bin/sudo", 'exit "${FAKE_SUDO:-0}"')

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        fixed = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}", "MI50_VENV": str(tmp_path / ".venv")}
        return subprocess.run(
            [tmp_path / "script" / "site", *arguments],
            env={**os.environ, "MI50_SYSFS_ROOT": str(tmp_path / "sys"), **fixed, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def argv(result: subprocess.CompletedProcess[str]) -> str:
    return next(line for line in result.stdout.splitlines() if line.startswith("argv:"))


def test_without_an_inventory_the_node_is_this_machine(site: Run, tmp_path: Path) -> None:
    result = site("--check")
    assert result.returncode == 0
    assert argv(result) == f"argv: -i {tmp_path}/inventories/local --check {tmp_path}/site.yml"
    assert f"config: {tmp_path}/ansible.cfg" in result.stdout


@pytest.mark.parametrize("option", [["-i", "fleet"], ["-ifleet"], ["--inventory", "fleet"], ["--inventory=fleet"]])
def test_an_inventory_is_left_alone(site: Run, tmp_path: Path, option: list[str]) -> None:
    assert argv(site(*option, FAKE_UID="1000", FAKE_SUDO="1")) == f"argv: {' '.join(option)} {tmp_path}/site.yml"


def test_root_and_passwordless_sudo_are_not_asked(site: Run) -> None:
    assert "ask-become-pass" not in argv(site(FAKE_UID="0"))
    assert "ask-become-pass" not in argv(site(FAKE_UID="1000", FAKE_SUDO="0"))


def test_sudo_with_a_password_and_no_terminal_is_one_clear_error(site: Run) -> None:
    result = site(FAKE_UID="1000", FAKE_SUDO="1")
    assert result.returncode == 2
    assert "--become-password-file" in result.stderr
    assert "argv:" not in result.stdout


@pytest.mark.parametrize("option", ["--become-password-file=pw", "-K", "--syntax-check"])
def test_no_second_question_for_the_password(site: Run, option: str) -> None:
    result = site(option, FAKE_UID="1000", FAKE_SUDO="1")
    assert result.returncode == 0
    assert "--ask-become-pass" not in argv(result)


def test_failure_without_a_card_points_to_the_lab(site: Run) -> None:
    result = site(FAKE_CODE="2")
    assert result.returncode == 2
    assert "script/lab" in result.stderr.splitlines()[-1]


def test_failure_with_a_card_does_not(site: Run, tmp_path: Path) -> None:
    card = tmp_path / "sys/bus/pci/devices/0000:03:00.0"
    card.mkdir(parents=True)
    (card / "vendor").write_text("0x1002\n")
    (card / "device").write_text("0x66a1\n")
    result = site(FAKE_CODE="4")
    assert result.returncode == 4
    assert "script/lab" not in result.stderr


def test_a_locale_that_was_never_generated_is_replaced(site: Run) -> None:
    assert "locale: C.UTF-8" in site(LC_ALL="xx_YY.UTF-8").stdout
    assert "locale: C.UTF-8" in site(LC_ALL="C").stdout
