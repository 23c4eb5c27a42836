"""The fault matrix on real drivers: the daemon as the role installs it, under its own units, on each chip."""

from __future__ import annotations

import pytest

from tests.vm import scenarios
from tests.vm.bench import EIO, FULL, HOT, Bench
from tests.vm.programs import SETTLE, Fand, blower
from tests.vm.scenarios import BOTH, Outcome, Scene

pytestmark = pytest.mark.vm
FAND = Fand()
# What the cards or systemd do is the same whatever the chip; the rest runs on all three.
ONE = pytest.mark.parametrize("scene", ["adt7475"], indirect=True)


def check(scene: Scene, outcome: Outcome) -> None:
    """The bound is met; the journal says why not."""
    assert outcome.ok, f"{outcome.text}\n{scene.bench.journal(FAND.unit)[-3000:]}"


def test_a_healthy_start_is_quiet_in_the_end_and_raises_no_alarm(scene: Scene) -> None:
    check(scene, scenarios.idle(scene))
    alarms = [
        line
        for line in scene.bench.journal(FAND.unit).splitlines()
        if line.split(" ")[0].isupper() and line.split(" ")[0] not in {"CONFIG", "STARTED"}
    ]
    assert alarms == []
    assert scene.bench.machine.code("/usr/local/bin/mi50-fand", "status") == 0


@ONE
def test_f02_eio_from_every_sensor(scene: Scene) -> None:
    check(scene, scenarios.sensors_eio(scene))


@ONE
def test_f04_eperm_from_cards_in_reset(scene: Scene) -> None:
    check(scene, scenarios.sensors_eperm(scene))


@ONE
def test_f11_a_sensor_read_hangs_in_d_state(scene: Scene) -> None:
    check(scene, scenarios.hung_read(scene))


def test_f12_chip_and_cards_renumbered(scene: Scene) -> None:
    check(scene, scenarios.renumbered(scene))


def test_f12_chip_gone_and_back(scene: Scene) -> None:
    check(scene, scenarios.chip_gone(scene))


def test_f12_a_chip_of_the_same_kind_takes_the_number(scene: Scene) -> None:
    scene.chip.unbind()
    foreign = scene.bench.chip(scene.chip.kind.name, bus=1)
    scene.bench.wait(0.3)
    foreign.set(writes=0)
    scene.bench.all_cards(**HOT)
    scene.bench.wait(10)
    assert foreign.get("writes") == 0
    scene.chip.bind()
    check(scene, scene.full_within(scene.bench.now(), 5.0, 10.0))
    assert foreign.get("writes") == 0


@ONE
def test_f13_one_card_falls_off_the_bus(scene: Scene) -> None:
    check(scene, scenarios.card_gone(scene))


def test_f17_writes_fail_on_the_bus(scene: Scene) -> None:
    """Two drivers call it a success: only the tacho tells. The cap cools until the bus works again."""
    scene.chip.set(write_error=EIO)
    since = scene.bench.all_cards(**HOT)
    capped = scene.cap_within(since, 15.0)
    assert capped is not None, scene.bench.journal(FAND.unit)[-3000:]
    assert scene.chip.duties()[1] < FULL
    since = scene.chip.set(write_error=0)
    check(scene, scene.full_within(since, 5.0, 15.0))


def test_f17_reads_fail_on_the_bus(scene: Scene) -> None:
    """Neither duty nor tacho can be read: nothing is known, so nothing stays low."""
    since = scene.chip.set(read_error=EIO)
    check(scene, scene.full_within(since, 12.0, 16.0))


def test_f18_writes_acknowledged_and_lost(scene: Scene) -> None:
    check(scene, scenarios.lost_writes(scene))


def test_f19_firmware_takes_the_channels_back_once(scene: Scene) -> None:
    scene.bench.all_cards(**HOT)
    scene.bench.wait(5)
    since = scene.chip.take_back()
    scene.bench.wait(12)
    trace = scene.bench.trace(scene.chip, since)
    for channel in BOTH:
        assert trace.last(channel) == FULL
        assert trace.mean(channel, 3.0, 12.0) > 250


def test_f19_firmware_takes_the_channels_back_each_second(scene: Scene) -> None:
    check(scene, scenarios.firmware_fights(scene))


def test_f22_a_blower_stalls(scene: Scene) -> None:
    check(scene, scenarios.stalled_blower(scene))


def test_f26_step(scene: Scene) -> None:
    check(scene, scenarios.step(scene))


def test_f30_sigterm(scene: Scene) -> None:
    check(scene, scenarios.sigterm(scene))


def test_f31_sigkill(scene: Scene) -> None:
    check(scene, scenarios.sigkill(scene))


@ONE
def test_f31_sigkill_while_a_sensor_read_hangs(scene: Scene) -> None:
    """systemd sees such a death late; the guardian and ExecStopPost= do not wait for the process."""
    since = scene.bench.cards[0].hang()
    scene.bench.signal(FAND.unit, "KILL")
    scene.bench.until(since + 25)
    trace = scene.bench.trace(scene.chip, since)
    scene.bench.cards[0].release()
    # The blower of the sound card may come down again once somebody governs; that of the hung one may not.
    reached = [trace.reached(channel, FULL) for channel in BOTH]
    assert None not in reached
    assert max(when for when in reached if when is not None) <= 13.0
    check(scene, scene.judge(trace, 13.0, FULL, (1,)))


@ONE
def test_f32_sigstop(scene: Scene) -> None:
    check(scene, scenarios.sigstop(scene))


@ONE
def test_f32_sigstop_without_the_guardian(scene: Scene) -> None:
    """The watchdog alone must do it too."""
    scene.bench.machine.run("systemctl", "stop", "mi50-fan-guardian.timer")
    check(scene, scenarios.sigstop(scene))


def test_f11_a_bus_that_hangs_holds_up_no_other(bench: Bench) -> None:
    """Two chips on two buses; every transfer of one hangs in D state. The other blower follows its card."""
    hung, sound = bench.chip("adt7475"), bench.chip("nct7802", bus=1)
    first, second = (card.pci for card in bench.cards)
    FAND.install_with(bench, [blower("hung", hung, 1, [first]), blower("sound", sound, 1, [second])])
    FAND.start(bench)
    bench.wait(SETTLE)
    assert sound.duties()[1] < FULL
    hung.set(hang=1)
    since = bench.all_cards(**HOT)
    check(Scene(bench, sound, FAND), Scene(bench, sound, FAND).full_within(since, 3.0, 20.0, (1,)))
    since = hung.set(hang=0)
    check(Scene(bench, hung, FAND), Scene(bench, hung, FAND).full_within(since, 12.0, 20.0, (1,)))


def test_f14_the_chip_comes_90_s_late(bench: Bench) -> None:
    present = bench.chip("adt7475")
    FAND.install(bench, present)
    present.unbind()
    FAND.start(bench)
    bench.wait(90)
    assert bench.property(FAND.unit, "ActiveState") == "active"
    assert bench.property(FAND.unit, "NRestarts") == "0"
    assert bench.machine.code("/usr/local/bin/mi50-fand", "status") == 1
    present.bind()
    check(Scene(bench, present, FAND), Scene(bench, present, FAND).full_within(bench.now(), 3.0, 5.0))
