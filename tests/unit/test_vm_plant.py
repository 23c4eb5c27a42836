"""The played chips of the virtual machine: what a look at their registers counts as."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from lab.vm.agent import plant

REST, MIDWAY, NEW = b"manual 64", b"auto 255", b"manual 80"


class Chip(plant.Chip):
    """A chip whose looks are given."""

    def __init__(self, looks: Iterable[bytes]) -> None:
        self.seen = REST
        self._looks = iter(looks)

    def registers(self) -> bytes:
        return next(self._looks)


@pytest.mark.parametrize(
    ("looks", "counts"),
    [
        pytest.param([REST], REST, id="nothing changed: one look"),
        pytest.param([NEW, NEW], NEW, id="a change that stays"),
        pytest.param([MIDWAY, REST, REST], REST, id="between the two writes of a driver"),
        pytest.param([NEW, MIDWAY, NEW, NEW], NEW, id="a change, then between two writes"),
        pytest.param([NEW, REST] * 3, REST, id="never at rest: the last look, not a wait for ever"),
    ],
)
def test_a_moment_between_two_writes_is_no_duty(
    monkeypatch: pytest.MonkeyPatch, looks: list[bytes], counts: bytes
) -> None:
    monkeypatch.setattr(plant, "GLANCE", 0.0)
    assert Chip(looks).at_rest() == counts
