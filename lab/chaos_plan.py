"""What a seed lets happen in lab/chaos, and when: by how far a run has come, so that it does at any speed."""

from __future__ import annotations

import dataclasses
import random
import re

from lab import chaos_kinds
from lab.chaos_kinds import KINDS

# The tasks of a first run that take long on every machine, as they come in site.yml: where something can happen.
PLACES = (
    "Add the repository, once its key and lists are proven",
    "Install the packages of the stack's build",
    "Patch rocBLAS",
    "Build on one host, hand to the others",
    "Build the environment",
)
# Seconds that a task has gone on before it is worth striking; the longest that an event waits within its own.
MOMENT, LATEST = 1.5, 4.0
# Seconds from the mirror's end to the controller's: a run without a mirror lasts that much longer, whatever it does.
GAP = 2.0
TASK = re.compile(r"^TASK \[(?:[\w.]+ : )?(.+?)\] \*+$", re.MULTILINE)
HOST = re.compile(r"^(?:ok|changed|fatal|skipping): \[([\w-]+)", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Event:
    """One misfortune: in which task, seconds into it, what, to whom (a node; nothing for all of them).

    Without a task the seconds count from the misfortune before.
    """

    place: str
    after: float
    kind: str
    node: str

    def __str__(self) -> str:
        """When what happens to whom."""
        when = f"{self.after} s into {self.place!r}" if self.place else f"{self.after} s later"
        return f"{when}: {self.kind} {self.node}".strip()


def plan(seed: int, names: list[str], kinds: list[str] | None = None) -> list[Event]:
    """Every kind once, each to a node of its own while there are any, in an order of the seed's choosing.

    The mirror goes last but one, because a run without it may well end, and the controller right after it, because its
    end does end the run. The node whose disk runs full is left alone by the others if possible: its small disk would
    not survive them.
    """
    dice = random.Random(seed)  # noqa: S311 - repeatable on purpose
    wanted = sorted(kinds or KINDS)
    dice.shuffle(wanted)
    order = list(names)
    dice.shuffle(order)
    drawn = sorted((dice.randrange(len(PLACES)), round(dice.uniform(MOMENT, LATEST), 1)) for _ in wanted)
    times = [(PLACES[place], after) for place, after in drawn]
    wanted.sort(key=lambda kind: (kind == "controller", kind == "mirror"))
    if wanted[-2:] == ["mirror", "controller"]:
        times[-1] = ("", round(dice.uniform(0.5, GAP), 1))
    to: dict[str, str] = {}
    others = order[1:] or order
    for turn, kind in enumerate(kind for kind in wanted if kind in chaos_kinds.OF_A_NODE and kind != "disk"):
        to[kind] = others[turn % len(others)]
    to["disk"] = order[0]
    return [Event(place, after, kind, to.get(kind, "")) for (place, after), kind in zip(times, wanted, strict=True)]


class Watch:
    """How long the last task that a run announced has gone on, and how long ago it was struck."""

    def __init__(self) -> None:
        """Nothing was announced yet."""
        self._head, self._since, self._struck = 0, 0.0, 0.0

    def struck(self, now: float) -> None:
        """Remember when something happened, in seconds of the same clock as in `due`."""
        self._struck = now

    def due(self, event: Event, said: str, now: float) -> bool:
        """Whether it is time for an event by what a run has said until `now`, in seconds of a clock that only advances.

        That is in its place, or at the first moment after it, while its node is at work; at once where that has left.
        """
        head = said.rfind("\nTASK [") + 1
        if head != self._head:
            self._head, self._since = head, now
        if not event.place:
            return now - self._struck >= event.after and at_work(said, event.node)
        tasks = TASK.findall(said)
        if not set(tasks) & set(PLACES[PLACES.index(event.place) :]):
            return False
        lasted = now - self._since
        needed = event.after if tasks[-1] == event.place else MOMENT
        return has_left(said, event.node) or (lasted >= needed and at_work(said, event.node))


def at_work(said: str, node: str) -> bool:
    """Whether a node has not answered yet in the last task that a run began; without a node, whether one has not."""
    place = said.rfind("\nTASK [")
    before, last = said[: max(place, 0)], said[max(place, 0) :]
    names = [node] if node else sorted(set(HOST.findall(said)))
    return place >= 0 and any(not has_left(before, name) and name not in HOST.findall(last) for name in names)


def has_left(said: str, node: str) -> bool:
    """Whether a node failed or was lost, and has no part in the run any more."""
    return bool(node and re.search(rf"^fatal: \[{node}\]", said, re.MULTILINE))
