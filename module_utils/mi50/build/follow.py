"""One build on one host, from the controller: begun or attached to, watched, brought home. `Node` is the host."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from . import diagnose
from .inside import progress
from .recipe import Recipe
from .store import Manifest

_ASK_EVERY = 5  # looks at the state file, after which systemd is asked as well: a killed runner says nothing
_RESTARTS = 1  # times within one run that a machine may restart under the build


class NodeProblem(Exception):
    """A call failed; the text says why."""


class NodeLost(Exception):
    """The host cannot be reached, or nobody waits for it any more."""


class BuildFailed(Exception):
    """A build failed. `kind` is diagnose.HOST (another host may do better) or diagnose.SOURCE."""

    def __init__(self, kind: str, text: str) -> None:
        """`text` is the whole message for the user."""
        super().__init__(text)
        self.kind = kind


class Pace(NamedTuple):
    """Seconds: between looks, between lines of progress, and that a host may be away."""

    poll: float = 2.0
    show: float = 10.0
    lost: float = 900.0


class Order(NamedTuple):
    """What is built, and how on this host."""

    recipe: Recipe
    key: str
    parts: dict[str, str]
    job: dict[str, Any]
    limits: dict[str, Any]
    pace: Pace


class Node(Protocol):
    """A host. All calls but `say` raise NodeProblem and NodeLost."""

    name: str

    def say(self, text: str) -> None:
        """Show a line."""

    def job(self, action: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - a module's arguments
        """Call build_job."""

    def peek(self, folder: str) -> dict[str, Any] | None:
        """Return what the runner wrote last, cheaply; None when it cannot be read now."""

    def packages(self, names: list[str]) -> None:
        """Have distribution packages."""

    def receive(self, remote: str, local: Path) -> None:
        """Copy a file from the host."""

    def send(self, local: Path, manifest: Manifest) -> None:
        """Give the host a finished build."""


class Builder:
    """Makes one build happen on one host."""

    def __init__(
        self,
        node: Node,
        order: Order,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is asked yet."""
        self._node, self._order, self._sleep, self._clock = node, order, sleep, clock
        self._name = order.recipe.name
        self._shown, self._shown_at, self._fresh, self._fresh_at = "", -1e9, 0.0, 0.0

    def build(self) -> Manifest:
        """Return the manifest of the finished build, which lies in the host's own folder then.

        Raises BuildFailed, and NodeLost when the host stayed away too long.
        """
        restarts = 0
        state = self._begin()
        while True:
            if state["state"] == "running":
                state = self._watch(state)
            if state["state"] != "lost":
                break
            restarts += 1
            if restarts > _RESTARTS:
                raise BuildFailed(diagnose.HOST, f"{self._node.name} was restarted {restarts} times during the build")
            self._node.say(f"{self._name}: the host was restarted, or the build stopped; beginning again from scratch")
            state = self._begin()
        if state["state"] == "finished":
            return self.take()
        if state["state"] == "failed":
            raise BuildFailed(state["cause"]["kind"], self._explain(state))
        raise BuildFailed(
            diagnose.HOST, f"the build on {self._node.name} is gone: somebody removed its folder; run again"
        )

    def take(self) -> Manifest:
        """Have the host keep what it finished; return the manifest."""
        recipe, source = self._order.recipe, self._order.recipe.job["source"]
        facts = {
            "version": recipe.version,
            "parts": self._order.parts,
            "builder": self._node.name,
            "source": {"url": source["url"], "commit": source["commit"]},
        }
        found: Manifest = self._job("collect", facts=facts)["manifest"]
        return found

    def _begin(self) -> dict[str, Any]:
        state = self._job("state")
        if state["state"] not in ("running", "finished"):
            self._node.packages(self._order.recipe.packages)
            state = self._job("start", job=self._order.job, limits=self._order.limits)
            if not state["attached"]:
                jobs, again = (
                    self._order.job["jobs"],
                    " from scratch" if state.get("again") else "",
                )
                self._node.say(
                    f"{self._name} {self._order.recipe.version}: building{again} with {jobs} jobs as {state['unit']}"
                )
                if self._order.recipe.unlocked:
                    names = ", ".join(self._order.recipe.unlocked)
                    self._node.say(
                        f"{self._name}: not locked yet: {names}; the manifest will name the digest that came"
                    )
                return state
        what = "has finished, taking it over" if state["state"] == "finished" else "runs, following it"
        self._node.say(f"{self._name} {self._order.recipe.version}: a build of {self._order.key[:12]} {what}")
        return state

    def _watch(self, state: dict[str, Any]) -> dict[str, Any]:
        """Follow a build through breaks of the connection until it runs no longer. Raises NodeLost."""
        looks, seen = 0, self._clock()
        while True:
            self._sleep(self._order.pace.poll)
            looks += 1
            said = self._node.peek(str(self._order.limits["folder"]))
            if said is not None:
                seen = self._clock()
                self._show(said)
                if said.get("status") == "running" and looks % _ASK_EVERY:
                    continue
            try:
                state = self._job("state")
            except NodeLost:
                away = self._clock() - seen
                if away > self._order.pace.lost:
                    raise
                self._node.say(f"{self._name}: the host does not answer since {away:.0f} s; the build goes on there")
                continue
            if state["state"] != "running":
                return state
            seen = self._clock()

    def _show(self, said: dict[str, Any]) -> None:
        """A line when the step changes, and now and then; elapsed time counts on where the build is silent."""
        now, updated = self._clock(), float(said.get("updated") or 0)
        if updated != self._fresh:
            self._fresh, self._fresh_at = updated, now
        step = f"{said.get('phase')} {said.get('step')}"
        if step == self._shown and now - self._shown_at < self._order.pace.show:
            return
        if said.get("status") == "running":
            self._node.say(progress.line(self._name, said, updated + now - self._fresh_at))
        self._shown, self._shown_at = step, now

    def _job(self, action: str, **arguments: Any) -> dict[str, Any]:  # noqa: ANN401 - a module's arguments
        try:
            return self._node.job(action, name=self._name, key=self._order.key, **arguments)
        except NodeProblem as exc:
            raise BuildFailed(diagnose.HOST, str(exc)) from exc

    def _explain(self, state: dict[str, Any]) -> str:
        """The message of a failure: what, where, why, the way out, and the end of the log."""
        cause, said = state["cause"], state.get("progress", {})
        recipe = self._order.recipe
        count = f" at {said['done']}/{said['total']}" if said.get("total") else ""
        log = "\n".join(f"  | {line}" for line in state["log"])
        unit = state["unit"][: -len(".service")]
        return (
            f"{recipe.name} {recipe.version} (commit {recipe.job['source']['commit'][:12]}) could not be built on "
            f"{self._node.name}: {cause['text']} (step {said.get('step', '?')}{count}). Way out: {cause['remedy']}. "
            f"Where its log names the first error ({state['folder']}/log, journalctl -u '{unit}*'):\n{log}"
        )
