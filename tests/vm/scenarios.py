"""The faults, each with what must come of it: run on this daemon in the tests, and on all programs in the comparison.

Each scenario starts with the program settled at idle on one chip with two blowers, and returns what the pins did.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.vm.bench import EIO, EPERM, FULL, HOT, Bench, Chip, Trace
from tests.vm.programs import Program

# 85 % of the duty, and what "quiet" may be at most.
STEP_DUTY = 217
QUIET_DUTY = 102
# The pins are looked at ten times a second: a time may read that much too long.
COARSE = 0.1
BOTH = (1, 2)


@dataclass(frozen=True)
class Outcome:
    """What came of a scenario: in words, whether the bound was met, and the seconds that were measured."""

    text: str
    ok: bool
    seconds: float | None = None


@dataclass(frozen=True)
class Scene:
    """One program on one chip."""

    bench: Bench
    chip: Chip
    program: Program

    def ending(self) -> str:
        """How the unit is, when it is not as it should be."""
        state = self.bench.property(self.program.unit, "ActiveState")
        return "" if state == "active" else f"; unit {state}"

    def full_within(self, since: float, bound: float, watch: float, channels: tuple[int, ...] = BOTH) -> Outcome:
        """Watch for a while; full speed on all the channels within the bound, and kept."""
        self.bench.until(since + watch)
        return self.judge(self.bench.trace(self.chip, since), bound, FULL, channels)

    def judge(self, trace: Trace, bound: float, level: int, channels: tuple[int, ...] = BOTH) -> Outcome:
        """Whether every channel was at the level in time and stays there."""
        times = [trace.reached(channel, level) for channel in channels]
        ends = [trace.last(channel) for channel in channels]
        late = max((when for when in times if when is not None), default=None)
        if late is None or None in times or min(ends) < level:
            shown = "/".join(str(duty) for duty in ends)
            return Outcome(f"stays at {shown}{self.ending()}", False)
        return Outcome(f"{late:.1f} s{self.ending()}", late <= bound + COARSE, late)

    def cap_within(self, since: float, bound: float) -> float | None:
        """Seconds until some card's power cap was lowered below its default; None when that does not happen."""
        while (after := self.bench.now() - since) <= bound:
            if any(card.get("cap") < card.get("cap_max") for card in self.bench.cards):
                return after
            self.bench.wait(0.25)
        return None


def step(scene: Scene) -> Outcome:
    """40 -> 98 °C on both cards: 85 % within 2 s."""
    since = scene.bench.all_cards(**HOT)
    scene.bench.until(since + 15)
    return scene.judge(scene.bench.trace(scene.chip, since), 2.0, STEP_DUTY)


def _errors(scene: Scene, errno: int) -> Outcome:
    since = 0.0
    for card in scene.bench.cards:
        since = card.fail(errno)
    return scene.full_within(since, 5.0, 15.0)


def sensors_eio(scene: Scene) -> Outcome:
    """EIO from every sensor: full within 5 s."""
    return _errors(scene, EIO)


def sensors_eperm(scene: Scene) -> Outcome:
    """EPERM from every sensor of cards that are not suspended (a reset): full within 5 s."""
    return _errors(scene, EPERM)


def hung_read(scene: Scene) -> Outcome:
    """Reads of one card hang for 45 s in D state while the other card gets hot: full within 12 s."""
    scene.bench.cards[0].hang()
    since = scene.bench.cards[1].set(**HOT)
    outcome = scene.full_within(since, 12.0, 45.0)
    scene.bench.cards[0].release()
    return outcome


def _no_foreign(foreign: Chip, before: bytes, outcome: Outcome) -> Outcome:
    after = foreign.duties()
    changed = foreign.registers() != before or foreign.get("writes") > 0
    if not changed:
        return Outcome(f"{outcome.text}; no foreign write", outcome.ok, outcome.seconds)
    shown = "/".join(str(after[channel]) for channel in BOTH)
    return Outcome(f"{outcome.text}; **foreign chip written** (now {shown})", False, outcome.seconds)


def _foreign(scene: Scene) -> tuple[Chip, bytes]:
    """Another chip, one that takes every write, gets the hwmon number that just became free."""
    foreign = scene.bench.chip("nct7802" if scene.chip.kind.name != "nct7802" else "w83795g", bus=1)
    scene.bench.wait(0.3)
    foreign.set(writes=0)
    return foreign, foreign.registers()


def renumbered(scene: Scene) -> Outcome:
    """Chip and cards come back under other numbers, a foreign chip has the old one; then load: full within 5 s."""
    bench, machine = scene.bench, scene.bench.machine
    scene.chip.unbind()
    foreign, before = _foreign(scene)
    scene.chip.bind()
    for card in bench.cards:
        machine.call("write", "/sys/bus/pci/drivers/amdgpu/unbind", card.pci)
    for card in reversed(bench.cards):
        machine.call("write", "/sys/bus/pci/drivers/amdgpu/bind", card.pci)
    since = bench.all_cards(**HOT)
    return _no_foreign(foreign, before, scene.full_within(since, 5.0, 15.0))


def chip_gone(scene: Scene) -> Outcome:
    """The fan chip is away for 6 s under load, a foreign one takes its number: full within 5 s of its return."""
    bench = scene.bench
    scene.chip.unbind()
    foreign, before = _foreign(scene)
    bench.all_cards(**HOT)
    bench.wait(6)
    scene.chip.bind()
    return _no_foreign(foreign, before, scene.full_within(bench.now(), 5.0, 15.0))


def card_gone(scene: Scene) -> Outcome:
    """One card falls off the bus, the other gets hot: both blowers full within 5 s."""
    scene.bench.cards[0].remove()
    since = scene.bench.cards[1].set(**HOT)
    return scene.full_within(since, 5.0, 15.0)


def firmware_fights(scene: Scene) -> Outcome:
    """Firmware takes the channels back every second while the cards are hot: mean duty at least 128 over 20 s."""
    scene.chip.fight(1.0)
    since = scene.bench.all_cards(**HOT)
    scene.bench.until(since + 30)
    trace = scene.bench.trace(scene.chip, since)
    mean = min(trace.mean(channel, 10, 30) for channel in BOTH)
    return Outcome(f"mean {mean:.0f}{scene.ending()}", mean >= 128, mean)


def lost_writes(scene: Scene) -> Outcome:
    """Writes are acknowledged and lost, the cards reach 100 °C: another way to cool (the power cap) within 15 s."""
    scene.chip.set(lose_writes=1)
    since = scene.bench.all_cards(**{**HOT, "junction": 100_000})
    capped = scene.cap_within(since, 25.0)
    if capped is None:
        return Outcome(f"unnoticed{scene.ending()}", False)
    return Outcome(f"power cap after {capped:.1f} s", capped <= 15.0, capped)


def stalled_blower(scene: Scene) -> Outcome:
    """A blower stops while its card draws 225 W at 70 °C: that channel full within 5 s, power cap within 8 s."""
    bench = scene.bench
    bench.all_cards(edge=62_000, junction=70_000, mem=64_000, power=225_000_000)
    bench.wait(15)
    since = scene.chip.stall(1)
    capped = scene.cap_within(since, 10.0)
    bench.until(since + 10)
    trace = bench.trace(scene.chip, since)
    full = trace.reached(1, FULL)
    if capped is None and trace.last(1) <= trace.of(1)[0][1]:
        return Outcome(f"unnoticed, duty stays {trace.last(1)}{scene.ending()}", False)
    words = [f"full {full:.1f} s" if full is not None else f"duty {trace.last(1)}"]
    words.append(f"cap {capped:.1f} s" if capped is not None else "no cap")
    ok = full is not None and full <= 5.0 + COARSE and capped is not None and capped <= 8.0
    return Outcome(", ".join(words), ok, capped)


def sigterm(scene: Scene) -> Outcome:
    """`systemctl stop`: 255 on both channels."""
    since = scene.bench.now()
    scene.bench.machine.run("systemctl", "stop", scene.program.unit)
    scene.bench.until(since + 10)
    trace = scene.bench.trace(scene.chip, since)
    ends = "/".join(str(trace.last(channel)) for channel in BOTH)
    reached = [trace.reached(channel, FULL) for channel in BOTH]
    if None in reached or ends != "255/255":
        return Outcome(f"{ends}: firmware" if ends == "64/64" else ends, False)
    late = max(when for when in reached if when is not None)
    return Outcome(f"255/255 in {late:.1f} s", True, late)


def sigkill(scene: Scene) -> Outcome:
    """SIGKILL: 255 within 1 s, and somebody governs again."""
    since = scene.bench.signal(scene.program.unit, "KILL")
    outcome = scene.full_within(since, 1.0, 10.0)
    alive = scene.bench.property(scene.program.unit, "ActiveState") == "active"
    return Outcome(f"{outcome.text}{', running again' if alive else ''}", outcome.ok and alive, outcome.seconds)


def sigstop(scene: Scene) -> Outcome:
    """SIGSTOP while the cards get hot: full within 12 s."""
    since = scene.bench.signal(scene.program.unit, "STOP")
    scene.bench.all_cards(**HOT)
    return scene.full_within(since, 12.0, 20.0)


def idle(scene: Scene) -> Outcome:
    """A minute at idle: quiet, and no duty moves."""
    since = scene.bench.now()
    scene.bench.wait(60)
    trace = scene.bench.trace(scene.chip, since)
    duties = [duty for channel in BOTH for _, duty in trace.of(channel)]
    return Outcome(f"{max(duties)}{scene.ending()}", max(duties) <= QUIET_DUTY and len(duties) == 2)


# Seconds that a scenario is shifted against the program's cycle: what depends on it is played more than once, and the
# worst counts.
ONCE, PHASES = (0.0,), (0.0, 2.6, 5.3, 7.9)


@dataclass(frozen=True)
class Row:
    """A scenario in the table: its id in the fault matrix where it has one, and its title with the bound."""

    title: str
    fault: str
    play: Callable[[Scene], Outcome]
    phases: tuple[float, ...] = ONCE


ROWS = (
    Row("step 40 -> 98 °C: >= 85 % (2 s)", "F26", step, PHASES),
    Row("EIO on all sensors: full (5 s)", "F02", sensors_eio, PHASES),
    Row("EPERM, cards active: full (5 s)", "F04", sensors_eperm, PHASES),
    Row("sensor read hangs 45 s in D state, other card hot: full (12 s)", "F11", hung_read),
    Row("chip and cards renumbered, then load: full (5 s), no foreign write", "F12", renumbered),
    Row("fan chip gone 6 s and back: full (5 s), no foreign write", "F12", chip_gone),
    Row("one card off the bus, other hot: both full (5 s)", "F13", card_gone),
    Row("firmware takes the channels back each second: mean >= 128", "F19", firmware_fights, PHASES),
    Row("writes acknowledged and lost at 100 °C: another way (15 s)", "F18", lost_writes),
    Row("blower stalls at 225 W: full (5 s), cap (8 s)", "F22", stalled_blower),
    Row("SIGTERM: end state 255", "F30", sigterm, PHASES),
    Row("SIGKILL: 255 (1 s), governed again", "F31", sigkill, PHASES),
    Row("SIGSTOP, cards heat: full (12 s)", "F32", sigstop, PHASES),
    Row("idle: quiet (<= 40 %), steady", "", idle),
)
