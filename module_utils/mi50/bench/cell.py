"""One cell from beginning to end: refuse what cannot be measured, measure, sum up, write the cell's line."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import calibrate, checks, extras, finish, host, phases, probe, prometheus, prompt, record
from .adapters import adapter
from .finish import State
from .gates import Verdict
from .http1 import ProtocolError
from .sampler import Sampler
from .session import Session
from .settings import Call, SettingsError, Task
from .store import Store, utc
from .wire import Endpoint, fetch

# Hears of every step: what progress.json says.
Notify = Callable[[dict[str, Any]], None]


def plan(call: Call, task: Task, store: Store) -> dict[str, Any]:
    """Return what would be done; nothing is sent or written."""
    cell_id = task.cell_id(call.model_key)
    done = store.finished(cell_id, call.mark(task))
    finished = done is not None and done["status"] not in call.measure.redo
    width = 2 if task.probe == "slope" else task.concurrency
    count = call.measure.warmups + call.measure.repeats * width + (2 if call.measure.controls else 0)
    return {"cell_id": cell_id, "finished": finished, "requests": 0 if finished else count, "file": str(store.path)}


def run(call: Call, task: Task, store: Store, roots: host.Roots, notify: Notify) -> tuple[dict[str, Any], bool]:
    """Measure a cell, or return it when it is finished. The second value tells which.

    Raises SettingsError for parameters that cannot be used; whatever the server does is a status.
    """
    cell_id, mark = task.cell_id(call.model_key), call.mark(task)
    done = store.finished(cell_id, mark)
    if done is not None and done["status"] not in call.measure.redo:
        return done, True
    return _Cell(call, task, store, roots, notify, cell_id, State(mark, warnings=list(store.warnings))).run(), False


def knock(endpoint: Endpoint, timeout: float) -> tuple[int | None, str]:
    """Ask for the list of models; return the HTTP status, or None and what is in the way."""
    try:
        return fetch(endpoint, "/v1/models", timeout=timeout)[0], ""
    except ConnectionRefusedError:
        return None, "refused"
    except (OSError, ProtocolError) as error:
        return None, str(error) or type(error).__name__


class _Cell:
    """One cell while it is measured."""

    def __init__(
        self, call: Call, task: Task, store: Store, roots: host.Roots, notify: Notify, cell_id: str, state: State
    ) -> None:
        self.call, self.task, self.store, self.roots = call, task, store, roots
        self.notify, self.cell_id, self.state = notify, cell_id, state
        self.attempt = store.attempt(cell_id)

    def progress(self, phase: str, rep: int, reps: int, message: str) -> None:
        """Tell how far the cell is."""
        run = self.call.run
        at = {"cell_id": self.cell_id, "index": run.get("index") or 0, "of": run.get("of") or 0}
        step = {**at, "phase": phase, "rep": rep, "reps": reps, "message": message}
        self.store.progress(step)
        self.notify(step)

    def run(self) -> dict[str, Any]:
        """Measure, and write the cell's line whatever happened."""
        call, task = self.call, self.task
        endpoint, kind = call.endpoint(), adapter(call.engine["kind"])
        try:
            checks.run(task.checks, "")
            images = prompt.load(task.images)
            gpu, device = host.find_gpu(self.roots, call.gpu)
        except (ValueError, KeyError, TypeError) as error:
            raise SettingsError(f"task {task.id}: {error}") from error
        baseline, refused = self._before()
        if refused is None:
            refused = self._wait_ready(endpoint)
        identity = probe.Identity() if refused is not None else probe.identify(call, endpoint, self.roots)
        if kind.metrics_prefix and refused is None:
            identity.kv_tokens = prometheus.kv_tokens(prometheus.getter(endpoint)(), kind.metrics_prefix)
        with Sampler(device, call.measure.sample_hz) as sampler:
            session = Session(
                call, task, self.store, endpoint, kind, identity, self.roots, sampler, self.cell_id, self.attempt
            )
            session.gpu, session.device, session.images = gpu, device, images
            session.baseline, session.notify = baseline, self.progress
            try:
                self._header(session)
                refused = refused or self._unfit(identity)
                if refused is None:
                    self._measure(session)
                cell = finish.cell_record(session, self.state, refused)
            finally:
                session.kernel_log.close()
        self.store.append(cell)
        self.progress("done", cell["ok"], cell["measured"], cell["status"])
        return cell

    def _before(self) -> tuple[dict[str, int | None], Verdict | None]:
        """Return the VRAM before the engine, and why nothing is to be sent at all."""
        last = {row["phase"]: row for row in self.store.records if row["type"] == "baseline"}
        before, loaded = last.get("before", {}), last.get("loaded", {})
        baseline = {"vram": before.get("vram_used"), "gtt": before.get("gtt_used"), "loaded": loaded.get("vram_used")}
        if self.call.model.get("unsupported"):
            return baseline, (record.UNSUPPORTED, str(self.call.model["unsupported"]))
        if before.get("status") == record.DIRTY_BASELINE:
            return baseline, (record.DIRTY_BASELINE, str(before["reason"]))
        return baseline, None

    def _wait_ready(self, endpoint: Endpoint) -> Verdict | None:
        """Wait for a server that refuses connections or is loading: before anything is measured."""
        measure = self.call.measure
        until = time.monotonic() + measure.load_timeout
        while True:
            status, detail = knock(endpoint, measure.connect_timeout)
            if status is not None and status != 503:
                return None
            if status is None and detail != "refused":
                return record.TIMEOUT_CONNECT, f"no connection to the server: {detail}"
            if time.monotonic() >= until:
                if status == 503:
                    return record.HTTP_503_LOADING, f"still loading after {measure.load_timeout:g} s"
                return record.TIMEOUT_CONNECT, f"connections are refused for {measure.load_timeout:g} s"
            self.state.waits[0 if status is None else 1] += 1
            self.progress("waiting", 0, 0, "loading" if status == 503 else "no connection yet")
            time.sleep(min(1.0, max(0.02, until - time.monotonic())))

    def _unfit(self, identity: probe.Identity) -> Verdict | None:
        """Say why this server cannot be what is to be measured."""
        model, task = self.call.model, self.task
        need = max([task.context, *task.lengths]) + (1 if task.probe == "slope" else task.max_tokens)
        need = max(need, model.get("context") or 0)
        if identity.context is not None and identity.context < need:
            return record.UNSUPPORTED, f"the server's context is {identity.context} tokens, {need} are needed"
        if model.get("file") and identity.file and Path(model["file"]).name != Path(identity.file).name:
            return record.UNSUPPORTED, f"the server serves {Path(identity.file).name}, not {Path(model['file']).name}"
        backend = self.call.engine.get("backend")
        if backend and identity.backend and not identity.backend.startswith(backend.lower()):
            return record.UNSUPPORTED, f"the server runs on {identity.backend}, not on {backend}"
        return None

    def _header(self, session: Session) -> None:
        """Write a run line when who measures what with what is not what the last one says."""
        call, kind = self.call, session.adapter
        last = self.store.last("run")
        head: dict[str, Any] = {
            **self.store.head("run"),
            "session": (last["session"] if last else 0) + 1,
            "note": call.run.get("note"),
            "suite": {"id": call.run.get("suite_id") or "ad-hoc", "sha256": call.run.get("suite_sha256")},
            "node": host.node(self.roots, call.run.get("node")),
            "gpu": session.gpu,
            "framework": probe.framework_record(call, session.identity, kind.t1_rule, kind.headers_mark_prefill),
            "client": host.client(),
            "where": call.where,
            "harness_commit": call.run.get("commit"),
            "started_utc": utc(),
            "clock_sync": host.clock_sync(self.roots),
        }
        if last and (not session.identity.reachable or _who(last) == _who(head)):
            self.state.session_number = last["session"]
            self.state.controls["calibration"] = last["client"]["calibration"]
            return
        if call.measure.calibrate and session.identity.reachable:
            self.progress("calibrate", 0, 0, "")
            head["client"]["calibration"] = calibrate.calibrate()
        self.state.controls["calibration"] = head["client"]["calibration"]
        self.state.session_number = head["session"]
        self.store.append(head)

    def _measure(self, session: Session) -> None:
        """Go through the phases, until one of them finds that there is no use."""
        call, task, state = self.call, self.task, self.state
        if call.measure.controls:
            self._coherence(session)
        words = 0 if hopeless(session) else phases.words_for(session, task.context)
        if not hopeless(session):
            state.controls["preheat"] = phases.preheat(session, words)
        for index in range(call.measure.warmups):
            if not hopeless(session):
                phases.warmup(session, index, words)
        if hopeless(session):
            return
        if task.probe == "slope":
            phases.measure_lengths(session)
            state.extra.update(extras.slope(session))
        elif task.concurrency > 1:
            state.extra.update(extras.together(phases.measure_together(session, words)))
        else:
            phases.measure(session, words)
        if task.kind == "image" and not hopeless(session):
            found, state.image_tokens = extras.image(session, self._known_slope())
            state.extra.update(found)
        if call.measure.controls and task.concurrency == 1 and not hopeless(session):
            state.controls["cache"] = phases.repeat(session)

    def _coherence(self, session: Session) -> None:
        """Probe once a session and model: an earlier cell's result stands for this one."""
        controls = self.state.controls
        for cell in reversed(self.store.cells()):
            same = cell["session"] == self.state.session_number and cell["model"]["key"] == self.call.model_key
            known = cell["controls"]["coherence"]
            if same and known and known["ok"] is not None:
                controls["coherence"], controls["template"] = known, cell["controls"]["template"]
                return
        controls["coherence"] = phases.coherence(session)
        if session.records[-1]["status"] in phases.ANSWERS:
            controls["template"] = phases.template(session, session.records[-1])

    def _known_slope(self) -> float | None:
        for cell in self.store.cells():
            found = cell["metrics"].get("pf_slope") if cell["model"]["key"] == self.call.model_key else None
            if found and found["median"]:
                return float(found["median"])
        return None


def hopeless(session: Session) -> bool:
    """Tell whether a failure was met that another request will not cure."""
    return any(row["status"] in phases.HOPELESS for row in session.records)


def _who(head: dict[str, Any]) -> list[Any]:
    node, framework, gpu = head["node"], head["framework"], head["gpu"] or {}
    server = [framework[name] for name in ("name", "version", "cmdline", "pid", "backend_reported", "url")]
    return [node["boot_id"], node["inventory_name"], gpu.get("bdf"), *server]
