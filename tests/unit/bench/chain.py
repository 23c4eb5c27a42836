"""A host's whole measurement in this process: the real runner, modules' code and transfer; systemd and server are not.

Every call between controller and host can be the last one: `left` counts down to it.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from mi50.bench import api, host
from mi50.bench.settings import SettingsError
from mi50.benchrun import transfer
from mi50.benchrun.definition import parse
from mi50.benchrun.host import Runner
from mi50.benchrun.node import Limits, NodeProblem, Order
from mi50.benchrun.plan import Choice
from mi50.process import Finished

from .virtual import Clock

MEASURE = {"repeats": 2, "max_repeats": 2, "warmups": 1, "controls": False, "calibrate": False, "thermal": "off",
           "prefill_timeout": 20, "stall_timeout": 3, "total_timeout": 60}  # fmt: skip
PICTURE = b"\xff\xd8a picture"


class Killed(BaseException):
    """What no code of the benchmark can catch: the power cut, kill -9."""


class Units:
    """systemd with a unit an engine."""

    def __init__(self, **states: str) -> None:
        self.states = {f"{name}.service": state for name, state in states.items()}

    def __call__(self, argv: list[str], timeout: float) -> Finished:
        del timeout
        verb, name = argv[1], argv[-1]
        if verb == "show":
            return Finished(0, f"LoadState=loaded\nActiveState={self.states[name]}\nNRestarts=0\n".encode(), b"")
        if verb in ("start", "stop"):
            others = [other for other, state in self.states.items() if state == "active" and other != name]
            assert verb == "stop" or not others or self.free, f"{name} started beside {others}"
            self.states[name] = "active" if verb == "start" else "inactive"
        return Finished(0, b"", b"")

    free = False  # two engines may run at once: when what ran before is started again

    def power_cut(self) -> None:
        """Nothing is enabled."""
        self.states = dict.fromkeys(self.states, "inactive")


class Host:
    """A node and its controller's folder: `node.Node`."""

    limits = Limits(10, 6, 1, 100)

    def __init__(self, folder: Path, module: ModuleType, units: Units, roots: host.Roots) -> None:
        self.there, self.here = folder / "node", folder / "controller"
        self.module, self.units, self.roots = module, units, roots
        module.process_run = units
        self.left = -1
        self.calls = 0
        self.said: list[str] = []

    def _called(self) -> None:
        self.calls += 1
        self.left -= 1
        if self.left == 0:
            raise Killed

    def say(self, text: str) -> None:
        self.said.append(text)

    def node(self, action: str, **arguments: Any) -> dict[str, Any]:
        self._called()
        given = {"dir": str(self.there), "run_id": "r", "files": {}, "data": {}, "units": [], "unit": "", "url": "",
                 "kind": "openai", "api_key_file": "", "ca_file": "", "timeout": 10.0, "have": {}}  # fmt: skip
        assert set(arguments) <= set(given)
        self.units.free = action == "restore"
        try:
            made: dict[str, Any] = getattr(self.module, action)(
                SimpleNamespace(params={**given, **arguments}, check_mode=False)
            )
        except (self.module.SwitchError, self.module.transfer.TransferError) as error:
            raise NodeProblem(str(error)) from error
        return json.loads(json.dumps(made))

    def benchmark(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self._called()
        if arguments["action"] == "summary":
            return api.summary(arguments)
        return api.take_baseline(arguments, self.roots, arguments["phase"], 512)

    def begin(self, arguments: dict[str, Any]) -> dict[str, Any]:
        self._called()
        try:
            return {"result": api.measure(arguments, self.roots, lambda _step: None)}
        except SettingsError as error:
            raise NodeProblem(str(error)) from error

    def peek(self, job: dict[str, Any]) -> tuple[str, str]:
        self._called()
        return (self.there / "r/progress.json").read_text(), json.dumps(job["result"])[:300]

    def poll(self, job: dict[str, Any]) -> dict[str, Any] | None:
        self._called()
        return job["result"]

    def pictures(self) -> dict[str, tuple[str, bytes]]:
        return {"a.jpg": (transfer.hashlib.sha256(PICTURE).hexdigest(), PICTURE)}

    def put(self, name: str, data: bytes) -> None:
        self.node("put", data={name: transfer.base64.b64encode(data).decode()})

    def collect(self) -> None:
        more = True
        while more:
            found = self.node("collect", have=transfer.inventory(self.here) if self.here.exists() else {})
            for piece in found["pieces"]:
                transfer.receive(self.here, piece)
            more = found["more"]

    def cells(self) -> list[str]:
        """The finished cells' lines that are on the controller."""
        return [line for path in sorted(self.here.glob("*.jsonl")) for line in path.read_text().splitlines()
                if json.loads(line)["type"] == "cell"]  # fmt: skip


def suite(*names: str, **task: Any) -> dict[str, Any]:
    """A suite with a cell a name."""
    base = {"kind": "text", "prompt": "Say ab.", "mode": "fixed", "lang": "en", "max_tokens": 48, "min_tokens": 1,
            "context": 0, "lengths": []}  # fmt: skip
    cells = [
        {"id": name, "model": "m", "task": {**base, **task, "id": name}, "measure": MEASURE, "roofline": None}
        for name in names
    ]
    return {"models": {"m": {"name": "tiny"}}, "cells": cells, "images": []}


def runner(node: Host, clock: Clock, what: dict[str, Any], *engines: str, **model: Any) -> Runner:
    """A run of those engines, each with a unit."""
    definition = [
        {"name": name, "kind": "llama.cpp", "url": "http://127.0.0.1:8080", "unit": f"{name}.service",
         "model": {"requested": "tiny", **model}}
        for name in engines
    ]  # fmt: skip
    common = {"run": {"id": "r", "dir": str(node.there), "node": "n1"}}
    order = Order(parse(definition, {"m": "tiny"}), what, Choice(), common)
    return Runner(node, order, clock.sleep, clock.monotonic)
