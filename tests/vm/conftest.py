"""One boot, kept in the cache, for all tests; each test starts from the same remembered state."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from lab.settings import from_environment
from lab.vm.machine import BOOTED, Machine
from lab.vm.state import booted
from tests.vm.bench import Bench


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    """The cached machine, as it was after its boot."""
    with booted(from_environment()) as running:
        yield running


@pytest.fixture
def bench(machine: Machine, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """The workbench as it was after the boot: no chip, idle cards, nothing installed."""
    machine.restore(BOOTED)
    failed = request.session.testsfailed
    yield Bench(machine)
    if request.session.testsfailed > failed:
        print(machine.run("journalctl", "--no-pager", "-b", "-n", "60", check=False), file=sys.stderr)
