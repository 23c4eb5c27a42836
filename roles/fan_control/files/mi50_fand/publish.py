"""Writes what others read: heartbeat, status, metrics, latched state. Nothing here can stop the control."""

from __future__ import annotations

import json
import os
from functools import partial
from typing import TYPE_CHECKING

from . import metrics, status
from .files import Heartbeat, read_json, replace
from .journal import WARNING
from .ladder import RUNGS

if TYPE_CHECKING:
    from typing import Any

    from .engine import Engine

STATUS_SECONDS = 3.0
METRICS_SECONDS = 15.0


class Publisher:
    """Keeps the files of one engine fresh."""

    def __init__(self, engine: Engine, runtime: str) -> None:
        """Raises OSError when the runtime directory cannot be used at all."""
        self.engine = engine
        self.runtime = runtime
        self.heartbeat = Heartbeat(f"{runtime}/heartbeat")
        self._status_at = self._metrics_at = float("-inf")
        self._shown: tuple[object, ...] = ()
        self._saved: dict[str, Any] = {}
        self._written: list[str] = []

    def publish(self, healthy: bool) -> str:
        """Write what is due after a cycle; returns the state."""
        engine = self.engine
        now = engine.clock.monotonic()
        word = status.state(engine)
        if healthy:
            self.heartbeat.beat(engine.clock.boottime(), word)
        shown = (word, healthy, *engine.journal.active)
        due = now - self._metrics_at >= METRICS_SECONDS and bool(engine.config.metrics)
        if shown != self._shown or now - self._status_at >= STATUS_SECONDS or due:
            self._shown, self._status_at = shown, now
            data = status.collect(engine, healthy)
            self._write("status.json", json.dumps(data))
            if due:
                self._metrics_at = now
                # Some other file system, perhaps a slow one: a worker's business.
                text = metrics.text(data, engine.journal.totals)
                engine.desk.ask("metrics", partial(self._metrics, engine.config.metrics, text))
        self._collect_metrics(now)
        self._acknowledge()
        self._save()
        return word

    @staticmethod
    def _metrics(path: str, text: str) -> str:
        if not os.path.isdir(os.path.dirname(path)):
            return ""
        try:
            replace(path, text)
        except OSError as error:
            return f"{path}: {error.strerror}"
        return ""

    def _collect_metrics(self, now: float) -> None:
        try:
            failure = self.engine.desk.answer("metrics", now)
        except Exception as error:
            failure = repr(error)
        if isinstance(failure, str) and failure:
            self.engine.journal.event(now, "METRICS_FAILED", "metrics", failure)

    def _write(self, name: str, text: str) -> None:
        try:
            replace(f"{self.runtime}/{name}", text)
        except OSError as error:
            if name not in self._written:
                self._written.append(name)
                self.engine.journal.say(WARNING, "STATE_FAILED", name, str(error.strerror))

    def _acknowledge(self) -> None:
        """Take the word of an operator that a card is gone for good; it holds until the card comes back."""
        absent = [card for card in self.engine.cards.values() if card.state == "absent" and not card.acknowledged]
        if not absent or not os.path.exists(f"{self.runtime}/ack"):
            return
        try:
            with open(f"{self.runtime}/ack", encoding="ascii") as stream:
                named = stream.read().split()
            os.unlink(f"{self.runtime}/ack")
        except (OSError, ValueError):
            return
        for card in absent:
            card.acknowledged = card.config.pci in named

    def _save(self) -> None:
        """The latched part, when it has changed."""
        engine = self.engine
        cards = {
            pci: {
                "rung": RUNGS[ladder.rung],
                "cause": ladder.cause,
                "thermal_full": engine.cards[pci].thermal_full,
                "acknowledged": engine.cards[pci].acknowledged,
            }
            for pci, ladder in engine.ladders.items()
        }
        latched = {"version": 1, "cards": cards}
        if latched != self._saved:
            self._saved = latched
            self._write("state.json", json.dumps(latched))


def take_up(engine: Engine, runtime: str) -> None:
    """Go on where an earlier process of this boot stopped: emergencies stay, caps are given back in the end."""
    latched = read_json(f"{runtime}/state.json")
    now = engine.clock.monotonic()
    for pci, entry in _mapping(latched.get("cards")).items():
        known = _mapping(entry)
        if pci not in engine.ladders:
            continue
        rung = str(known.get("rung", "none"))
        engine.cards[pci].thermal_full = known.get("thermal_full") is True
        engine.cards[pci].acknowledged = known.get("acknowledged") is True
        if rung in RUNGS and rung != "none":
            engine.ladders[pci].engage(RUNGS.index(rung), str(known.get("cause", "")), now)
    engine.caps.take_up()


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
