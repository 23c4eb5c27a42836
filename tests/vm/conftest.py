"""One boot, kept in the cache, for all tests; each test starts from the same remembered state."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest

from lab.settings import from_environment
from lab.vm.agent.chips import KINDS
from lab.vm.machine import BOOTED, Machine
from lab.vm.state import booted
from tests.vm.bench import Bench, Chip
from tests.vm.programs import SETTLE, Fand
from tests.vm.scenarios import Scene

FAND = Fand()
# Snapshots of this session's machine with the daemon settled at idle, by kind of chip.
SETTLED: set[str] = set()


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


def _settled(machine: Machine, kind: str) -> Scene:
    bench = Bench(machine)
    if kind not in SETTLED:
        machine.restore(BOOTED)
        chip = bench.chip(kind)
        FAND.install(bench, chip)
        FAND.start(bench)
        bench.wait(SETTLE)
        machine.save(f"settled-{kind}")
        SETTLED.add(kind)
    machine.restore(f"settled-{kind}")
    return Scene(bench, Chip(machine, 0, KINDS[kind]), FAND)


@pytest.fixture
def settled(machine: Machine) -> Callable[[str], Scene]:
    """The daemon settled at idle on a chip of some kind with two blowers."""
    return lambda kind: _settled(machine, kind)


@pytest.fixture(params=sorted(KINDS))
def scene(settled: Callable[[str], Scene], request: pytest.FixtureRequest) -> Iterator[Scene]:
    """The same on each kind of chip; nobody ever writes to the cards' phantom fan."""
    here = settled(request.param)
    yield here
    assert [card.get("fan_writes") for card in here.bench.cards] == [0, 0]
