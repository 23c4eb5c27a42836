"""Over random faults: a duty never falls while a mandatory sample is invalid, and never is below the safe curve.

`MI50_FAND_EXAMPLES=5000 python -m pytest tests/unit/fand/test_property.py` runs more cases than the suite does.
"""

from __future__ import annotations

import errno
import json
import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lab.plant.rig import Rig

from .conftest import example

EXAMPLES = int(os.environ.get("MI50_FAND_EXAMPLES", "60"))
# Limits of the stand-in's card; the safe curve as the notes have it: 20 % at limit - 45 K, 100 % at limit - 10 K.
LIMITS = {"temp1": 100, "temp2": 105, "temp3": 94}

errors = st.sampled_from([errno.EIO, errno.ENOENT, errno.ETIMEDOUT, errno.EPERM, errno.ENODATA])
words = st.sampled_from(["", "garbage", "nan", "0", "-128000", "511000", "65535000", "2"])
hangs = st.sampled_from([0.5, 3.0, 7.0])
faults = st.one_of(st.none(), st.none(), errors, words, hangs)
second = st.fixed_dictionaries(
    {
        "temp1": faults,
        "temp2": faults,
        "temp3": faults,
        "power1": st.one_of(st.none(), st.none(), st.none(), errors),
        "load": st.sampled_from([None, None, None, 20.0, 120.0, 225.0]),
        "spike": st.one_of(st.none(), st.none(), st.none(), st.integers(40, 129)),
        "tacho": st.sampled_from([None] * 12 + ["0", "65535", "500"]),
        "firmware": st.sampled_from([None] * 12 + [2, 5]),
    }
)


def safe(sensor: str, temp: float) -> float:
    full_at = LIMITS[sensor] - 10
    return max(0.0, min(100.0, 100.0 - (full_at - temp) * 80 / 35)) if temp > full_at - 35 else 0.0


def quiet(rig: Rig) -> None:
    """Down at a low duty, as after minutes of idling."""
    rig.run(4, 20)
    for blower in rig.engine.blowers.values():
        blower.ramp.duty = blower.ramp.written = blower.duty = 30.0
        blower.ramp._hold_until = 0.0


def put(rig: Rig, events: dict[str, Any]) -> set[str]:
    """Put the faults of one second on; returns the sensors that have one."""
    rig.io.faults.clear()
    base = rig.card.base
    faulty = set()
    for stem in LIMITS:
        if events[stem] is not None:
            rig.io.faults[f"{base}/{stem}_input"] = events[stem]
            faulty.add(stem)
    if events["power1"] is not None:
        rig.io.faults[f"{base}/power1_average"] = events["power1"]
        faulty.add("power1")
    if events["spike"] is not None and "temp2" not in faulty:
        rig.io.faults[f"{base}/temp2_input"] = f"{events['spike']}000"
    if events["tacho"] is None:
        rig.chip.tacho.clear()
    else:
        rig.chip.tacho[2] = events["tacho"]
    if events["firmware"] is not None:
        rig.chip.firmware_takes(2, events["firmware"])
    if events["load"] is not None:
        rig.die.load = events["load"]
    return faulty


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(second, min_size=10, max_size=60))
def test_no_fall_while_a_sample_is_invalid(seconds: list[dict[str, Any]]) -> None:
    data = example()
    data["paths"] = {"runtime": "/proc/nonexistent", "metrics": "", "wanted_caps": "/proc/nonexistent"}
    rig = Rig(data)
    quiet(rig)
    blower = rig.blower()
    card = next(iter(rig.engine.cards.values()))
    hung_until = 0.0
    for events in seconds:
        before = blower.duty
        faulty = put(rig, events)
        temps = {
            stem: int(rig.io.read(f"{rig.card.base}/{stem}_input")) / 1000 for stem in LIMITS if stem not in faulty
        }
        if rig.clock.now >= hung_until:
            # A worker hangs in the first of its reads that hangs; the later ones are not reached.
            hangs_now = [events[stem] for stem in LIMITS if isinstance(events[stem], float)]
            hung_until = rig.clock.now + next(iter(hangs_now), 0.0)
        rig.cycle()
        context = json.dumps(events)
        if faulty or rig.clock.now < hung_until:
            assert blower.duty >= before, context
        for name, stem in (("edge", "temp1"), ("junction", "temp2"), ("mem", "temp3")):
            if stem in temps and card.sensors[name].valid:
                assert blower.duty >= safe(stem, temps[stem]) - 1e-6, context
        assert blower.duty >= blower.config.floor
        assert rig.chip.channels[2].pwm >= int(blower.duty * 2.55) or rig.chip.channels[2].mode == 0


def test_the_property_can_fail() -> None:
    """The check above sees a law that lowers on an incomplete set."""
    rig = Rig(
        {**example(), "paths": {"runtime": "/proc/nonexistent", "metrics": "", "wanted_caps": "/proc/nonexistent"}}
    )
    quiet(rig)
    blower = rig.blower()
    blower.ramp.duty = blower.ramp.written = blower.duty = 80.0
    rig.run(1)
    before = blower.duty
    rig.run(5, 20)
    assert blower.duty < before
    rig.io.faults[f"{rig.card.base}/temp2_input"] = errno.EIO
    before = blower.duty
    rig.run(1)
    assert blower.duty >= before
