"""What the Ansible module and the command line call: one function an action."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from . import adapters, baseline, cell, host, probe
from .cell import Notify
from .roofline import Model
from .settings import ENGINE_KEYS, MODEL_KEYS, Call, Measure, SettingsError, Task, given
from .store import Store, StoreError, turn

DEFAULT_DIR = "/var/lib/mi50-aipc/bench"
MIB = 1 << 20


def call_of(params: Mapping[str, Any]) -> Call:
    """Make a Call of the module's parameters. Raises SettingsError naming the one that is unusable."""
    run = {name: value for name, value in (params.get("run") or {}).items() if value is not None}
    engine = given(params.get("engine"), ENGINE_KEYS, "engine", ("pid",))
    model = given(params.get("model"), MODEL_KEYS, "model", ("bytes", "context"))
    if not engine.get("url"):
        raise SettingsError("engine.url is missing")
    engine.setdefault("kind", "openai")
    try:
        adapters.adapter(engine["kind"])
        roof = Model.parse(model.pop("roofline", None))
    except ValueError as error:
        raise SettingsError(str(error)) from error
    where = params.get("where") or "node"
    return Call(run, engine, model, Measure.parse(params.get("measure")), roof, params.get("gpu"), where)


def open_store(call: Call, *, writable: bool) -> Store:
    """Open the run's file. Raises SettingsError."""
    directory = Path(call.run.get("dir") or DEFAULT_DIR)
    try:
        return Store(directory, str(call.run.get("id") or ""), call.engine_name, writable=writable)
    except StoreError as error:
        raise SettingsError(str(error)) from error
    except OSError as error:
        raise SettingsError(f"run.dir {directory}: {error.strerror} ({error.filename})") from error


@contextlib.contextmanager
def _turn(call: Call, waiting: Callable[[], None]) -> Iterator[None]:
    directory = Path(call.run.get("dir") or DEFAULT_DIR)
    try:
        with turn(directory, call.measure.load_timeout, waiting):
            yield
    except StoreError as error:
        raise SettingsError(str(error)) from error
    except PermissionError as error:
        raise SettingsError(f"run.dir {directory}: {error.strerror} ({error.filename})") from error


def measure(params: Mapping[str, Any], roots: host.Roots, notify: Notify, *, check: bool = False) -> dict[str, Any]:
    """Measure (or, in check mode, plan) one cell."""
    call = call_of(params)
    if not call.model.get("requested"):
        raise SettingsError("model.requested is missing: the name that is sent in requests")
    task = Task.parse(params.get("task") or {})
    if check:
        with open_store(call, writable=False) as store:
            return {"plan": cell.plan(call, task, store)}
    at = {"cell_id": task.cell_id(call.model_key), "phase": "waiting", "rep": 0, "reps": 0}

    def wait() -> None:
        notify({**at, "message": "another cell is being measured on this node"})

    with _turn(call, wait), open_store(call, writable=True) as store:
        found, resumed = cell.run(call, task, store, roots, notify)
        return {"cell": found, "resumed": resumed, "status": found["status"], "file": str(store.path)}


def take_baseline(
    params: Mapping[str, Any], roots: host.Roots, phase: str, limit_mib: int, *, check: bool = False
) -> dict[str, Any]:
    """Record the VRAM at a phase."""
    call = call_of(params)
    try:
        gpu, device = host.find_gpu(roots, call.gpu)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    with open_store(call, writable=not check) as store:
        if check:
            return {"plan": {"phase": phase, "gpu": gpu["bdf"] if gpu else None, "file": str(store.path)}}
        row = baseline.take(store, roots, gpu, device, phase, limit_mib * MIB)
        return {"baseline": row, "status": row["status"], "file": str(store.path)}


def identify(params: Mapping[str, Any], roots: host.Roots) -> dict[str, Any]:
    """Say what the server is; nothing is measured or written."""
    call = call_of(params)
    found = probe.identify(call, call.endpoint(), roots)
    kind = adapters.adapter(call.engine["kind"])
    return {
        "reachable": found.reachable,
        "framework": probe.framework_record(call, found, kind.t1_rule, kind.headers_mark_prefill),
        "model": probe.model_record(call, found),
    }


def summary(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the finished cells of a run on this node, and its files."""
    call = call_of(params)
    with open_store(call, writable=False) as store:
        cells = [
            {
                "cell_id": row["cell_id"],
                "fingerprint": row["fingerprint"],
                "status": row["status"],
                "ok": row["ok"],
                "measured": row["measured"],
                "prefill": row["headline"]["prefill"]["median"],
                "decode": row["headline"]["decode"]["median"],
            }
            for row in store.cells()
        ]
        return {"cells": cells, "file": str(store.path), "files": store.files()}
