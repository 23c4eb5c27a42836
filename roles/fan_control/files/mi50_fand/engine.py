"""The control cycle: look, judge, demand, write, look again, climb or come down."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from . import rivals
from .blower import Blower
from .caps import Caps
from .card import FULL, Card
from .channel import FULL_PWM, Channel, Observation, Order
from .commands import Commands
from .config import Config, GpuConfig
from .desk import Desk
from .gpu import GpuReader, Snapshot
from .journal import ERR, NOTICE, Journal
from .ladder import CAP, OFF, STOP, Ladder
from .sysfs import Clock, Sysfs
from .workers import Pool

READ_SHARE = 0.45  # of the interval, for all cards together
WRITE_SHARE = 0.35
SLEPT_SECONDS = 1.5
LEAVE_SECONDS = 1.0
AGAIN_SECONDS = 0.2
RESCUE_INTERVALS = 1.5


class Engine:
    """Everything that a cycle needs and keeps. No method raises for sick hardware."""

    def __init__(
        self, config: Config, io: Sysfs, clock: Clock, pool: Pool, journal: Journal, commands: Commands
    ) -> None:
        """Nothing is touched before the first cycle."""
        self.io = io
        self.clock = clock
        self.journal = journal
        self.commands = commands
        self.desk = Desk(pool, config.interval)
        self.caps = Caps(io, self.desk, config.runtime, config.wanted_caps)
        self.cards: dict[str, Card] = {}
        self.readers: dict[str, GpuReader] = {}
        self.ladders: dict[str, Ladder] = {}
        self.blowers: dict[str, Blower] = {}
        self.channels: dict[str, Channel] = {}
        self.rescues: dict[str, Channel] = {}
        self.rivals: Callable[[], list[str]] = rivals.running
        self.cycles = 0
        self.resumed = False
        self._orders: dict[str, dict[str, Order]] = {}
        self._sleep = clock.boottime() - clock.monotonic()
        self.adopt(config)

    def adopt(self, config: Config) -> None:
        """Work with this configuration from the next cycle on. What a card or a blower has reached, it keeps."""
        self.config = config
        self.desk.interval = config.interval
        self.caps.wanted = config.wanted_caps
        cards, self.cards = self.cards, {}
        ladders, self.ladders = self.ladders, {}
        for gpu in config.gpus:
            self._adopt_card(gpu, cards.get(gpu.pci), ladders.get(gpu.pci))
        self.readers = {pci: self.readers.get(pci) or GpuReader(self.io, pci) for pci in self.cards}
        blowers, self.blowers = self.blowers, {}
        for entry in config.blowers:
            blower = blowers.get(entry.key)
            if blower is None:
                blower = Blower(entry, config.law)
            else:
                blower.adopt(entry, config.law)
            self.blowers[entry.key] = blower
        self.channels = {b.config.key: Channel(self.io, b.config) for b in self.blowers.values() if b.config.device}
        cards_now, blowers_now = self.cards.values(), self.blowers.values()
        self._cooling = {c.config.pci: [b for b in blowers_now if c.config.name in b.config.gpus] for c in cards_now}
        self._cooled = {b.config.key: [c for c in cards_now if c.config.name in b.config.gpus] for b in blowers_now}
        self.rescues = {key: Channel(self.io, self.blowers[key].config, look=False) for key in self.channels}

    def _adopt_card(self, gpu: GpuConfig, card: Card | None, ladder: Ladder | None) -> None:
        if card is None or ladder is None:
            card = Card(gpu, self.config.law)
            ladder = Ladder(card, self.config.ladder)
        else:
            card.adopt(gpu, self.config.law)
            ladder.settings = self.config.ladder
        self.cards[gpu.pci] = card
        self.ladders[gpu.pci] = ladder

    def dropped(self, config: Config) -> list[str]:
        """Names of cards in an emergency that a new configuration does not have."""
        kept = {gpu.pci for gpu in config.gpus}
        return [
            card.config.name
            for pci, card in self.cards.items()
            if pci not in kept and (card.thermal_full or self.ladders[pci].rung or pci in self.caps.held)
        ]

    def abandon(self, config: Config) -> list[str]:
        """Full speed on the channels that a new configuration does not have; names of those where that failed."""
        kept = {blower.key for blower in config.blowers if blower.controlled}
        return self.leave([key for key in self.blowers if key not in kept])

    def leave(self, keys: list[str] | None = None, mode: bool = False) -> list[str]:
        """Full speed on owned channels (all of them), read back; names of those for which that is not proven.

        `mode`: by the driver's own full-speed mode, where the duty alone did not do.
        """
        wanted: dict[str, dict[str, Order]] = {}
        for key in self.blowers if keys is None else keys:
            blower = self.blowers[key]
            if blower.config.controlled:
                wanted.setdefault(blower.config.device, {})[key] = Order(FULL_PWM, full=mode)
        left = []
        # A worker of its own, with channels of its own: the usual one may hang.
        for device, work in wanted.items():
            self.desk.ask(f"leave {device}", partial(self._apply, self.rescues, work))
        self.desk.wait([f"leave {device}" for device in wanted], LEAVE_SECONDS)
        for device, work in wanted.items():
            seen = self.desk.answer(f"leave {device}", self.clock.monotonic())
            for key in work:
                if not (isinstance(seen, dict) and key in seen and seen[key].took() and not seen[key].error):
                    left.append(self.blowers[key].config.name)
        return left

    def emergency(self) -> bool:
        """Whether any card is in trouble that must not be made smaller."""
        return any(card.thermal_full for card in self.cards.values()) or any(
            ladder.rung for ladder in self.ladders.values()
        )

    def cycle(self) -> bool:
        """One cycle. True when every owned channel was written and verified, which is what feeds the watchdog."""
        now = self.clock.monotonic()
        self._woke(now)
        self._look(now)
        self._blow(now)
        self._kick(now)
        self._climb(now)
        for failure in self.commands.reap():
            self.journal.event(now, "LADDER_COMMAND", "ladder", failure, ERR)
        self.journal.sweep(now)
        self.cycles += 1
        return all(b.verified or not b.present for b in self.blowers.values() if b.config.controlled)

    def restless(self) -> bool:
        """Whether some channel wants to be asserted between two cycles."""
        now = self.clock.monotonic()
        return any(blower.restless(now) for blower in self.blowers.values())

    def again(self) -> None:
        """Carry out the last orders once more; what is seen is not judged, the next cycle does that."""
        for device, work in self._orders.items():
            self.desk.ask(f"chip {device}", partial(self._apply, self.channels, work))
        self.desk.wait([f"chip {device}" for device in self._orders], AGAIN_SECONDS)

    def _woke(self, now: float) -> None:
        """CLOCK_MONOTONIC stands still in suspend, CLOCK_BOOTTIME does not."""
        slept = self.clock.boottime() - self.clock.monotonic() - self._sleep
        self.resumed = slept > SLEPT_SECONDS
        if self.resumed:
            self._sleep += slept
            self.journal.event(now, "RESUMED", "machine", f"slept {slept:.0f} s, every channel is set anew", NOTICE)
            for blower in self.blowers.values():
                blower.resumed()

    def _look(self, now: float) -> None:
        keys = []
        for pci, reader in self.readers.items():
            self.desk.ask(pci, reader.read)
            keys.append(pci)
        self.desk.wait(keys, READ_SHARE * self.config.interval)
        for pci, card in self.cards.items():
            cooled = self._of(card)
            card.strict = not any(blower.tacho.proven or self.cycles == 0 for blower in cooled if blower.tacho.fitted)
            snapshot = self.desk.answer(pci, self.clock.monotonic())
            card.judge(now, snapshot if isinstance(snapshot, Snapshot) else None)
            self.journal.faults(now, card.config.name, card.faults)
            if card.remarks:
                self.journal.faults(now, card.config.name, {"LIMIT_CLAMPED": "; ".join(card.remarks)})

    def _of(self, card: Card) -> list[Blower]:
        return self._cooling[card.config.pci]

    def _cards_of(self, blower: Blower) -> list[Card]:
        return self._cooled[blower.config.key]

    def _demand(self, blower: Blower) -> float:
        """The highest demand of its cards; full speed when another blower of one of them is lost."""
        demand = blower.config.floor
        for card in self._cards_of(blower):
            demand = max(demand, card.demand)
            for sibling in self._of(card):
                if sibling is not blower and (sibling.tacho.stalled or sibling.tacho.kick or sibling.losing):
                    return FULL
        return demand

    def _blow(self, now: float) -> None:
        """Write every channel in the worker of its device, and judge what came back."""
        orders: dict[str, dict[str, Order]] = {}
        for key, blower in self.blowers.items():
            cards = self._cards_of(blower)
            order = blower.next_order(
                now,
                self._demand(blower),
                max(card.transient for card in cards),
                all(card.may_lower for card in cards),
            )
            if key in self.channels:
                orders.setdefault(blower.config.device, {})[key] = order
        self._orders = orders
        for device, work in orders.items():
            self.desk.ask(f"chip {device}", partial(self._apply, self.channels, work))
        self.desk.wait([f"chip {device}" for device in orders], WRITE_SHARE * self.config.interval)
        for device, work in orders.items():
            seen = self._answer(device, work)
            for key in work:
                blower = self.blowers[key]
                blower.judge(now, seen.get(key), self._must_turn(blower))
                if "THIRD_PARTY" in blower.faults and (blower.config.name, "THIRD_PARTY") not in self.journal.active:
                    # Looked up when a foreign value is seen, never each cycle.
                    blower.faults["THIRD_PARTY"] += f" by {', '.join(self.rivals()) or 'nobody that is known'}"
                self.journal.faults(now, blower.config.name, blower.faults)

    def _kick(self, now: float) -> None:
        """A blower that was found standing gets full speed in this cycle, not in the next."""
        for key, blower in self.blowers.items():
            if blower.kick_now(now):
                self._orders[blower.config.device][key] = blower.order
                self.desk.ask(f"chip {blower.config.device}", partial(self._apply, self.channels, {key: blower.order}))
                self.desk.wait([f"chip {blower.config.device}"], AGAIN_SECONDS)

    def _must_turn(self, blower: Blower) -> bool:
        """A blower that the daemon drives never stands; one with a probe of its own may, while its cards idle."""
        ladders = [self.ladders[card.config.pci] for card in self._cards_of(blower)]
        return blower.config.controlled or any(ladder.loaded() or ladder.rung for ladder in ladders)

    @staticmethod
    def _apply(channels: dict[str, Channel], work: dict[str, Order]) -> dict[str, Observation]:
        return {key: channels[key].apply(order) for key, order in work.items() if key in channels}

    def _answer(self, device: str, work: dict[str, Order]) -> dict[str, Observation]:
        """What the device's worker saw. When it hangs, a second one tries to set full speed past it."""
        now = self.clock.monotonic()
        seen = self.desk.answer(f"chip {device}", now)
        if isinstance(seen, dict):
            return seen
        if self.desk.busy_for(f"chip {device}", now) < RESCUE_INTERVALS * self.config.interval:
            return {}
        key = f"rescue {device}"
        full = {key: Order(FULL_PWM) for key in work if self.blowers[key].config.controlled}
        self.desk.ask(key, partial(self._apply, self.rescues, full))
        self.desk.wait([key], WRITE_SHARE * self.config.interval / 2)
        rescued = self.desk.answer(key, self.clock.monotonic())
        return rescued if isinstance(rescued, dict) else {}

    def _climb(self, now: float) -> None:
        """Ladders, caps and commands."""
        keys = []
        for pci, ladder in self.ladders.items():
            cooling = [blower.cooling(now) for blower in self._of(ladder.card)]
            ladder.step(now, cooling)
            keys.append(self.caps.ask(pci, ladder, ladder.rung >= CAP and self.config.ladder["power_cap"]))
        orphans = [pci for pci in self.caps.held if pci not in self.ladders]
        keys += [self.caps.ask(pci, None, engaged=False) for pci in orphans]
        self.desk.wait([key for key in keys if key], WRITE_SHARE * self.config.interval / 2)
        for pci in orphans:
            self.caps.take(pci, None, False, self.clock.monotonic())
        for (pci, ladder), key in zip(self.ladders.items(), keys, strict=False):
            if key:
                self.caps.take(pci, ladder, ladder.rung >= CAP, self.clock.monotonic())
            name = ladder.card.config.name
            if ladder.released:
                self.journal.event(now, "LADDER_RELEASED", name, ladder.released, NOTICE)
            self.journal.faults(now, name, ladder.faults)
            if ladder.rung and ladder.cap_error:
                self.journal.faults(now, name, {"LADDER_CAP_FAILED": ladder.cap_error})
            self._command(now, ladder)

    def _command(self, now: float, ladder: Ladder) -> None:
        started = []
        if ladder.rung >= STOP and ladder.fresh_stop(now) and self.config.ladder["stop_units"]:
            for unit in ladder.card.config.stop_units:
                words = [word.replace("{unit}", unit) for word in self.config.stop_command]
                started.append(self.commands.start(words, now))
        if ladder.rung == OFF and ladder.off_wanted:
            started.append(self.commands.start(self.config.off_command, now))
        for failure in filter(None, started):
            self.journal.event(now, "LADDER_COMMAND", ladder.card.config.name, failure, ERR)
