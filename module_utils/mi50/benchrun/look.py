"""What a node says of itself before a run: the engines that the roles installed, and a cell that is still measured."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

# Where each role that serves a model describes its service, without a secret in it.
INSTALLED = "/etc/mi50-aipc/serve"
# What such a description tells of the model, by the benchmark's names.
_FACTS = {"file": "model", "context": "context", "kv_type": "kv_type"}


def engines(folder: Path) -> list[dict[str, Any]]:
    """Return the services of a folder in the shape of `benchmark_engines`; what cannot be read is none."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            known = json.loads(path.read_text(encoding="utf-8"))
            engine = {key: str(known[key]) for key in ("name", "kind", "url", "unit")}
            model: dict[str, Any] = {"requested": str(known["model"])}
        except (OSError, ValueError, KeyError, TypeError):
            continue
        gpus = known.get("gpus") or []
        # More than one card: whoever lists the engines says which one is watched.
        gpu = {0: "none", 1: gpus[0] if gpus else ""}.get(len(gpus), "")
        facts = known.get("facts") or {}
        more = {"api_key_file": known.get("key_file"), "gpu": gpu, "version": facts.get("version")}
        model.update({ours: facts[its] for ours, its in _FACTS.items() if facts.get(its)})
        found.append({**engine, "model": model, **{key: str(value) for key, value in more.items() if value}})
    return found


def by_suite(engine: dict[str, Any], suite_models: dict[str, str]) -> dict[str, Any]:
    """Return an installed engine with its model under the suite's keys that its name speaks for, else under all.

    `gemma-3-27b-it-q4_0` is the suite's `gemma3-27b`. A model that is none of the suite's has none of their rooflines.
    """
    model = engine["model"]
    name = _letters(model["requested"])
    keys = [key for key in suite_models if _letters(key) in name]
    rest = {key: value for key, value in engine.items() if key != "model"}
    if keys:
        return {**rest, "models": dict.fromkeys(keys, model)}
    return {**rest, "model": {**model, "roofline": {}}}


def _letters(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())


def busy(folder: Path, run_id: str) -> dict[str, Any] | None:
    """Return the newest progress of any run here, if llm_benchmark is measuring a cell just now."""
    if not any(_locked(path) for path in folder.glob("*/*.jsonl")):
        return None
    newest = sorted(folder.glob("*/progress.json"), key=lambda path: path.stat().st_mtime)
    try:
        found: dict[str, Any] = json.loads(newest[-1].read_text(encoding="utf-8"))
    except (IndexError, OSError, ValueError):
        return {"run_id": run_id, "phase": "unknown"}
    return found


def _locked(path: Path) -> bool:
    with path.open("r") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
