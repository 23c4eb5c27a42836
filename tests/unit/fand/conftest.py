"""Examples and rigs for the daemon's tests."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mi50_fand.bench import Bench

from lab.plant.rig import Rig

EXAMPLES = Path(__file__).resolve().parents[2] / "fixtures" / "fand"


def example(name: str = "one-card") -> dict[str, Any]:
    return json.loads((EXAMPLES / f"{name}.json").read_text())


@pytest.fixture
def document() -> Callable[..., dict[str, Any]]:
    return example


@pytest.fixture
def rig(tmp_path: Path) -> Callable[..., Rig]:
    def build(name: str | dict[str, Any] = "one-card", settle: bool = True, **arguments: Any) -> Rig:
        data = copy.deepcopy(name) if isinstance(name, dict) else example(name)
        data["paths"] = {"runtime": str(tmp_path / "run"), "metrics": "", "wanted_caps": str(tmp_path / "wanted")}
        built = Rig(data, **arguments)
        if settle:
            built.settle()
            assert built.alarms() == set()
            assert built.duty() < 30
        return built

    return build


@pytest.fixture
def bench(tmp_path: Path) -> Callable[[Rig], Bench]:
    """A session of `map` or `calibrate` in the rig's time."""

    def build(plant: Rig) -> Bench:
        (tmp_path / "proc").mkdir()
        made = Bench(plant.io, str(tmp_path / "bench"), str(tmp_path / "proc"), list(plant.cards))
        made.clock = plant.clock
        made.desk = plant.desk()
        made.pause = plant.idle
        return made

    return build
