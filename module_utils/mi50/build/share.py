"""What one host's worker does so that a build exists once and arrives everywhere: have, wait, build or receive.

Workers of one run are processes of their own. They agree without talking: all elect from the same answers, whoever is
elected holds a lock of the cache while it builds, and what failed lies beside that lock.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from . import diagnose
from . import key as keys
from .cache import Cache
from .elect import HELD, Candidate, elect
from .follow import Builder, BuildFailed, Node, NodeLost, NodeProblem, Order
from .store import Manifest, StoreError

_POLL = 1.0
_GRACE = 90.0  # seconds after which the elected host is taken to have no part in this run
_SAY_EVERY = 300.0


class ShareFailed(Exception):
    """This host cannot have the artifact; the text is meant for the user."""


class Share:
    """One host, one build. `answers` are what the hosts of this run said of it, by host, this one included."""

    def __init__(
        self,
        node: Node,
        cache: Cache,
        order: Order,
        answers: Mapping[str, Mapping[str, Any]],
        keep: int = 2,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is asked yet."""
        self._node, self._cache, self._order, self._answers = node, cache, order, answers
        self._keep, self._sleep, self._clock = keep, sleep, clock
        self._absent: set[str] = set()
        self._told, self._told_at = "", 0.0
        self._first, self._idle_since = "", clock()

    @property
    def _mine(self) -> Mapping[str, Any]:
        return self._answers[self._node.name]

    def plan(self) -> dict[str, Any]:
        """Return `{"held", "from", "why"}`: what `have` would do. Asks nobody and changes nothing."""
        if self._mine["held"]:
            return {"held": True, "from": "node", "why": ""}
        if not self._cache.problem(self._order.key, verify=False):
            return {
                "held": False,
                "from": "cache",
                "why": f"take it from the cache ({self._cache.folder(self._order.key)})",
            }
        order, refused = self._candidates()
        if not order:
            return {"held": False, "from": "nobody", "why": f"fail: {_reasons(refused)}"}
        first, recipe = order[0], self._order.recipe
        if first.state == HELD:
            return {"held": False, "from": first.host, "why": f"copy it from {first.host}, which has it"}
        verb = "follow the build that runs" if first.state != "nothing" else "build"
        what = (
            f"{verb} on {first.host} ({first.jobs} jobs, {first.cores} cores, {first.memory_mib / 1024:.0f} GiB free)"
        )
        return {
            "held": False,
            "from": f"build on {first.host}",
            "why": f"{what}: {self._why()}; {recipe.name} {recipe.version}",
        }

    def have(self) -> dict[str, Any]:
        """Make the host have the build; return `{"manifest", "from"}`: `node`, `cache` or `built`.

        Raises ShareFailed, and NodeLost when this host cannot be reached.
        """
        if self._mine["held"] and self._cache.manifest(self._order.key):
            return {"manifest": self._cache.manifest(self._order.key), "from": "node"}
        while True:
            manifest, broken = self._cache.sound(self._order.key)
            if broken:
                self._node.say(f"{self._order.recipe.name}: the cache's copy was damaged: {broken}")
            if manifest is not None:
                return self._receive(manifest)
            order, refused = self._candidates()
            if not order:
                raise ShareFailed(f"{self._order.recipe.name}: {_reasons(refused)}")
            if order[0].host == self._node.name:
                done = self._try(order[0])
                if done is not None:
                    return done
                if self._node.name in self._cache.failed(self._order.key):
                    continue
            self._wait(order[0])

    def _candidates(self) -> tuple[list[Candidate], dict[str, str]]:
        """Hosts that may still build in this run, and why the others do not. Raises ShareFailed when none ever will."""
        failed = self._cache.failed(self._order.key)
        for host, one in failed.items():
            if one["kind"] == diagnose.SOURCE:
                raise ShareFailed(
                    one["text"] if host == self._node.name else f"{self._order.recipe.name}: {_first(one['text'])}"
                )
        found = elect(self._answers, self._order.key, self._order.recipe.need)
        order = [one for one in found.order if one.host not in failed and one.host not in self._absent]
        reasons = {host: one["text"] for host, one in failed.items()}
        reasons.update(dict.fromkeys(self._absent, "took no part in this run"))
        return order, {**found.refused, **reasons}

    def _try(self, me: Candidate) -> dict[str, Any] | None:
        """Build here, if nobody else does; None when that has to be seen anew."""
        with self._cache.builder(self._order.key, self._node.name) as mine:
            # Somebody may have finished between the look and the lock.
            if not mine or self._cache.manifest(self._order.key):
                return None
            try:
                return self._build(me)
            except BuildFailed as exc:
                self._cache.fail(self._order.key, self._node.name, exc.kind, str(exc))
                self._node.say(f"FAILED {_first(str(exc))}")
            except NodeLost as exc:
                self._cache.fail(self._order.key, self._node.name, diagnose.HOST, f"was not reachable: {exc}")
                raise
        return None

    def _build(self, me: Candidate) -> dict[str, Any]:
        builder = Builder(self._node, self._order, self._sleep, self._clock)
        if me.state == HELD:
            manifest, event = builder.take(), "collected"
        else:
            failed = self._cache.failed(self._order.key)
            instead = "".join(f"instead of {host} ({_first(one['text'])}); " for host, one in failed.items())
            if me.state == "nothing":
                self._node.say(f"{self._order.recipe.name} {self._order.recipe.version}: {instead}{self._why()}")
            manifest, event = builder.build(), "built"
        self._bring(manifest)
        self._cache.record(event, manifest, self._node.name, seconds=manifest.get("seconds"))
        self._cache.prune(manifest, self._keep)
        file = manifest["files"][0]
        self._node.say(
            f"{manifest['name']} {manifest['version']}: {event} in {manifest.get('seconds', 0)} s, "
            f"{file['size'] / 1e6:.1f} MB, sha256 {file['sha256'][:12]}, kept as {manifest['key'][:12]}"
        )
        return {"manifest": manifest, "from": "built" if event == "built" else "node"}

    def _bring(self, manifest: Manifest) -> None:
        """Copy the build into the cache, proven. Raises BuildFailed."""
        if keys.digest(manifest["parts"]) != self._order.key:
            raise BuildFailed(diagnose.HOST, f"{self._node.name} has something else under {self._order.key}")
        self._cache.root.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".incoming-", dir=self._cache.root) as scratch:
            sources = {}
            for file in manifest["files"]:
                sources[file["name"]] = Path(scratch) / file["name"]
                try:
                    self._node.receive(
                        f"{self._order.limits['shelf']}/{manifest['key']}/{file['name']}", sources[file["name"]]
                    )
                except NodeProblem as exc:
                    raise BuildFailed(
                        diagnose.HOST, f"{self._node.name}: the finished build cannot be copied: {exc}"
                    ) from exc
            try:
                self._cache.place(manifest, sources)
            except (StoreError, OSError) as exc:
                raise ShareFailed(
                    f"on the controller: {exc}. The build is finished on {self._node.name}; run again"
                ) from exc

    def _receive(self, manifest: Manifest) -> dict[str, Any]:
        if self._mine["held"]:
            return {"manifest": manifest, "from": "node"}
        path = self._cache.folder(manifest["key"]) / manifest["files"][0]["name"]
        try:
            self._node.send(path, manifest)
        except NodeProblem as exc:
            raise ShareFailed(f"{self._order.recipe.name} cannot be put on {self._node.name}: {exc}") from exc
        self._cache.record("handed over", manifest, self._node.name, builder=manifest.get("builder"))
        size = manifest["files"][0]["size"] / 1e6
        self._node.say(
            f"{manifest['name']} {manifest['version']}: {size:.1f} MB from the cache, "
            f"built on {manifest.get('builder')} at {manifest.get('finished')}"
        )
        return {"manifest": manifest, "from": "cache"}

    def _wait(self, first: Candidate) -> None:
        """A moment's pause, said once; an elected host that never begins is left out after a while."""
        who = self._cache.building(self._order.key)
        text = f"waiting for {who or first.host}, which builds it"
        now = self._clock()
        if text != self._told or now - self._told_at > _SAY_EVERY:
            self._node.say(f"{self._order.recipe.name}: {text}")
            self._told, self._told_at = text, now
        if who or first.host != self._first:
            self._first, self._idle_since = first.host, now
        elif first.host != self._node.name and now - self._idle_since > _GRACE:
            self._absent.add(first.host)
        self._sleep(_POLL)

    def _why(self) -> str:
        """Why there is no build yet: what keeps the nearest one from fitting."""
        near = self._cache.nearest(self._order.recipe.name, self._order.parts)
        if near is None:
            return f"no build of it is in {self._cache.root}"
        return f"the nearest build ({near[0]['key'][:12]}, {near[0].get('finished')}) has {', '.join(near[1])}"


def _reasons(refused: Mapping[str, str]) -> str:
    if len(refused) == 1:
        return "no host can build it: " + ": ".join(next(iter(refused.items())))
    return "no host can build it. " + " ".join(f"{host}: {_first(text)}." for host, text in sorted(refused.items()))


def _first(text: str) -> str:
    return text.split("\n", 1)[0].split(" Where its log names the first error", 1)[0].rstrip(".")
