"""Puts a version of a service in place, all or nothing: what answered before answers again if the new one does not."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

from .. import config_files
from . import gpus as cards
from . import ready, record, systemd, unit
from .model import CONFIG, HEALTH_TIMER, HEALTH_UNIT, Common, Device, Engine, Node, Proof, ServeError, Service

REHEARSAL = "mi50-{}-rehearsal.service"
# Of the service's unit, what a trial does not have.
_SKIPPED = frozenset(
    ("Type", "ExecStart", "ExecStartPre", "ExecStartPost", "ExecStop", "Restart", "RestartSec", "LoadCredential",
     "OOMPolicy", "TimeoutStartSec", "TimeoutStopSec", "Environment")
)  # fmt: skip
_SETTLE = 20.0  # seconds in which a stopped service gives its VRAM back


class Switch:
    """One service on one node."""

    def __init__(self, service: Service, common: Common, engine: Engine, node: Node) -> None:
        """Nothing is looked at yet."""
        self._service, self._common, self._engine, self._node = service, common, engine, node
        self._timer = HEALTH_TIMER.format(service.name)
        self._seen: list[Device] | None = None
        # Whether what serves was stopped or changed, so that there is something to go back to.
        self._touched = False

    def apply(self, rendered: Sequence[config_files.File], asked: str) -> Proof:
        """Write, start, prove, and record. The program files, the key and the user are there already.

        Raises ServeError: the old version serves again, or nothing does when there was none; the text says which.
        """
        node, name = self._node, self._service.unit_name
        known = record.read(self._service.name, node)
        self._refuse_early()
        systemd.attempt(node, "stop", self._timer)
        try:
            self._rehearse()
            self._write(rendered)
            before = self._stop()
            systemd.command(node, "enable", name)
            systemd.command(node, "restart", "--no-block", name)
            proof = self.proof(before)
        except (ServeError, OSError) as error:
            raise ServeError(f"{error} {self._back(known, rendered)}") from error
        self.settle(rendered, asked, proof)
        return proof

    def prove(self, rendered: Sequence[config_files.File], asked: str) -> Proof:
        """Prove a service that runs as it shall; only files it does not read may have changed. Raises ServeError."""
        systemd.attempt(self._node, "stop", self._timer)
        self._write(rendered)
        proof = self.proof(0)
        self.settle(rendered, asked, proof)
        return proof

    def settle(self, rendered: Sequence[config_files.File], asked: str, proof: Proof) -> None:
        """Record the proof and have the timer look from now on, once at once."""
        node = self._node
        record.write(self._service, asked, rendered, proof, node)
        systemd.command(node, "enable", "--now", self._timer)
        systemd.attempt(node, "start", HEALTH_UNIT.format(self._service.name))

    def config(self) -> dict[str, Any]:
        """The health program's configuration as written, with the node's own paths."""
        return self._config(json.loads(unit.configuration(self._service, self._node)))

    def proof(self, before: int) -> Proof:
        """Wait for the proof; `before`: bytes of VRAM that others use. Raises NotReady."""
        return ready.wait(
            self.config(),
            self._node,
            devices=self._devices,
            before=before,
            hints=self._engine.HINTS,
            gpus=self._service.gpus,
            small_bar=self._common.small_bar,
        )

    def _refuse_early(self) -> None:
        """Ask for the devices while the old version still serves."""
        self._seen = self._engine.devices_before(self._service, self._node)
        ready.judge(self._seen, self._service.gpus, self.config(), small_bar=self._common.small_bar)
        for what, argv in self._service.rehearsal.checks if self._service.rehearsal else ():
            self._node.say(what)
            code, said = trial(self._service, self._node, argv, self._service.probe.load_timeout)
            if code:
                words = " ".join(said.split())[-900:]
                raise ServeError(f"{what}: failed ({code}): {words}. What serves was not touched.")

    def _rehearse(self) -> None:
        """Have the new version answer once, on a port of its own, before the service is switched. Raises ServeError.

        Where it needs the cards, what serves is stopped for it: two copies of a model rarely fit.
        """
        rehearsal, node, service = self._service.rehearsal, self._node, self._service
        if rehearsal is None:
            return
        name, before = REHEARSAL.format(service.name), self._stop() if service.gpus else 0
        port = _free_port()
        start = [word.replace("{port}", str(port)) for word in rehearsal.start]
        node.say("rehearsing: it has to answer once before the service is switched over")
        systemd.attempt(node, "stop", name)
        command = ["systemd-run", "--quiet", "--collect", f"--unit={name}", *_transient(service, node), "--", *start]
        done = systemd.run(node, command)
        if done.code:
            raise ServeError(f"{name} could not be started: {systemd.said(done)}")
        config = {**self.config(), "unit": name, "url": f"http://127.0.0.1:{port}"}
        try:
            ready.wait(config, node, devices=self._devices, before=before, hints=self._engine.HINTS, gpus=service.gpus,
                       small_bar=self._common.small_bar)  # fmt: skip
        finally:
            systemd.attempt(node, "stop", name)

    def _write(self, files: Sequence[config_files.File]) -> None:
        self._touched = True
        config_files.apply(config_files.plan(list(files)))
        systemd.command(self._node, "daemon-reload")

    def _stop(self) -> int:
        """Stop what runs and wait until it has given its VRAM back; returns what is still in use, in bytes."""
        node, service = self._node, self._service
        self._touched = True
        if systemd.state(service.unit_name, node).active in ("active", "activating", "deactivating", "reloading"):
            systemd.command(node, "stop", service.unit_name)
        systemd.attempt(node, "reset-failed", service.unit_name)
        used, end = cards.used(node, service.gpus), node.clock() + _SETTLE
        while service.probe.expected_vram and not service.probe.software and node.clock() < end:
            node.sleep(1.0)
            now = cards.used(node, service.gpus)
            if now >= used:
                break
            used = now
        return used

    def _devices(self, log: str, node: Node) -> list[Device] | None:
        found = self._engine.devices_of(log, self._service.name, node)
        # Where the log does not tell: what the program said in the same sandbox a moment before.
        return self._seen if found is None else found

    def _back(self, known: Mapping[str, Any] | None, rendered: Sequence[config_files.File]) -> str:
        """Return to the recorded version; says how that went. Raises nothing."""
        node, name = self._node, self._service.unit_name
        try:
            if not self._touched:
                if known is not None:
                    systemd.attempt(node, "start", self._timer)
                return "The service was not switched over, and nothing of it was changed."
            if known is None:
                systemd.attempt(node, "disable", "--now", name)
                return f"{name} is stopped; there was no version before that answered."
            begin = time.monotonic()
            systemd.attempt(node, "stop", name)
            self._write(record.previous(known, rendered, node))
            systemd.attempt(node, "reset-failed", name)
            systemd.command(node, "restart", "--no-block", name)
            old = self._config(json.loads(known["files"][CONFIG.format(self._service.name)]["content"]))
            # It has been judged when it was new; now it only has to answer.
            ready.wait({**old, "expected_vram": 0, "device": ""}, node, devices=lambda log, node: None, before=0)
            systemd.command(node, "enable", "--now", self._timer)
            seconds = time.monotonic() - begin
        except (ServeError, OSError, KeyError, ValueError) as error:
            return f"The version before could not be brought back either: {error}"
        return f"The version before serves again ({seconds:.0f} s after the switch was given up)."

    def _config(self, found: dict[str, Any]) -> dict[str, Any]:
        key = str(self._node.path(found["key_file"])) if found["key_file"] else ""
        return {**found, "key_file": key, "sysfs_root": str(self._node.sysfs)}


def trial(service: Service, node: Node, argv: Sequence[str], seconds: float = 120.0) -> tuple[int, str]:
    """Run a program for a moment exactly as the service would run: user, groups, sandbox, device files, environment.

    Returns its exit code and all it said. Raises ServeError.
    """
    command = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", f"--property=RuntimeMaxSec={seconds:.0f}"]
    command += _transient(service, node)
    done = systemd.run(node, [*command, "--", *argv], seconds + 60)
    return done.code, (done.output + b"\n" + done.errors).decode(errors="replace")


def _transient(service: Service, node: Node) -> list[str]:
    """Arguments of systemd-run for a unit like the service's, but for what starts, stops and restarts it."""
    kept = [line for line in unit.properties(service, node) if line[0] not in _SKIPPED]
    found = [f"--property={name}={value}" for name, value in kept]
    return found + [f"--setenv={name}={value}" for name, value in sorted(service.environment.items())]


def _free_port() -> int:
    """A port of the loopback address that nothing listens on at this moment."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
