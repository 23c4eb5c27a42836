"""From a suite to cells: one cell is one call of `llm_benchmark`, in the shape of its arguments."""

from __future__ import annotations

import random
from typing import Any

from .suite import Suite, SuiteError

Cell = dict[str, Any]
PROBES = ("slope", "depth", "concurrency")
_MODES = ("natural", "fixed")
# What follows the filler of a probe; the length is forced, so the answer's end does not matter.
_CONTINUE = {"zh": "请接着上文继续写下去。", "en": "Continue the text above at length."}
_F16 = 2  # bytes of one number in the KV cache
_KEYS_AND_VALUES = 2


def cells(
    suite: Suite,
    models: list[str] | None = None,
    modes: list[str] | None = None,
    probes: list[str] | None = None,
    image_dir: str | None = None,
    seed: int | None = None,
) -> list[Cell]:
    """Return `{"id", "model", "task", "measure", "roofline"}` for every task, mode and probe that is asked for.

    `models`, `modes` narrow the choice (default all), `probes` widens it (default none). `image_dir` is where the node
    finds the pictures. With a `seed` the cells of a model come in random order, so that heat does not always fall on
    the same task; the slope stays first, other cells refer to it. Raises SuiteError.
    """
    _known("model", models, tuple(suite["models"]))
    _known("mode", modes, _MODES)
    _known("probe", probes, PROBES)
    found = []
    for key in models or list(suite["models"]):
        # A model whose tasks were all left out has nothing to be probed for.
        own = [task for task in suite["tasks"] if task["model"] == key]
        if not own:
            continue
        rest = [_task(suite, task, mode, image_dir) for task in own for mode in _MODES if _wanted(task, mode, modes)]
        rest += _depth(suite, key) if "depth" in (probes or []) else []
        rest += _concurrency(suite, key, image_dir) if "concurrency" in (probes or []) else []
        if seed is not None:
            # Not for secrets: the order has to be the same whenever the run is resumed.
            random.Random(f"{seed} {key}").shuffle(rest)  # noqa: S311
        found += (_slope(suite, key) if "slope" in (probes or []) else []) + rest
    if not found:
        raise SuiteError(
            f"suite {suite['id']}: nothing is left to measure with this choice of models, modes and probes"
        )
    return found


def roofline(suite: Suite, model: str) -> dict[str, int] | None:
    """What the plausibility gate needs of a model, or None when the suite has no facts about it."""
    facts = suite["models"][model].get("facts")
    if facts is None:
        return None
    per_token = _KEYS_AND_VALUES * _F16 * facts["kv_heads"] * facts["head_dim"]
    return {
        **{key: facts[key] for key in ("active_bytes", "active_params", "layers_global", "layers_local", "window")},
        "kv_bytes_token": facts["layers_global"] * per_token,
        "kv_bytes_token_local": facts["layers_local"] * per_token,
        "heads": facts["q_heads"],
        "head_dim": facts["head_dim"],
    }


def _known(what: str, names: list[str] | None, known: tuple[str, ...]) -> None:
    for name in names or []:
        if name not in known:
            raise SuiteError(f"{what} {name!r}: no such {what}; one of {', '.join(known)}")


def _wanted(task: dict[str, Any], mode: str, modes: list[str] | None) -> bool:
    return mode in task["modes"] and (not modes or mode in modes)


def _cell(suite: Suite, model: str, repetitions: dict[str, int], task: dict[str, Any]) -> Cell:
    measured = repetitions["measured"]
    defaults: dict[str, Any] = {
        "kind": "text",
        "probe": "task",
        "lang": suite["language"],
        "prompt": "",
        "images": [],
        "checks": [],
        "context": 0,
        "concurrency": 1,
        "lengths": [],
        "min_tokens": 1,
        "sampling": suite["models"][model]["sampling"],
    }
    return {
        "id": f"{task['id']}.{task['mode']}" + (f".d{task['context']}" if task.get("context") else ""),
        "model": model,
        "task": {**defaults, **task},
        "measure": {
            "repeats": measured,
            "max_repeats": max(measured, repetitions.get("most", measured)),
            "warmups": repetitions.get("warmup", 1),
        },
        "roofline": roofline(suite, model),
    }


def _task(suite: Suite, task: dict[str, Any], mode: str, image_dir: str | None) -> Cell:
    limits = task["modes"][mode]
    images = [
        {
            "path": f"{image_dir.rstrip('/')}/{image['file'].rsplit('/', 1)[-1]}" if image_dir else image["path"],
            "sha256": image["sha256"],
            "px": image["px"],
        }
        for image in task["images"]
    ]
    fields: dict[str, Any] = {key: task[key] for key in ("id", "kind", "title", "prompt", "system") if key in task}
    return _cell(
        suite,
        task["model"],
        limits.get("repetitions", suite["repetitions"]),
        {
            **fields,
            "mode": mode,
            "images": images,
            "max_tokens": limits["max_tokens"],
            "min_tokens": limits["max_tokens"] if mode == "fixed" else 1,
            # An answer of fixed length is cut wherever it is; only one that ended by itself can be judged.
            "checks": task["checks"] if mode == "natural" else [],
        },
    )


def _probe(suite: Suite, name: str) -> dict[str, Any]:
    probe: dict[str, Any] | None = suite.get("probes", {}).get(name)
    if probe is None:
        raise SuiteError(f"suite {suite['id']} has no probe {name!r}; add probes.{name} or leave it out")
    return probe


def _slope(suite: Suite, model: str) -> list[Cell]:
    probe = _probe(suite, "slope")
    prompt = _CONTINUE[suite["language"]]
    task = {"id": "slope", "title": "slope", "probe": "slope", "mode": "fixed", "max_tokens": 1, "prompt": prompt}
    return [_cell(suite, model, probe["repetitions"], {**task, "lengths": sorted(probe["lengths"])})]


def _depth(suite: Suite, model: str) -> list[Cell]:
    """One cell a length; lengths that do not fit the model's context together with the answer are left out."""
    probe = _probe(suite, "depth")
    tokens, room = probe["max_tokens"], suite["models"][model]["context"]
    return [
        _cell(
            suite,
            model,
            probe["repetitions"],
            {
                "id": "depth",
                "title": f"depth {length}",
                "prompt": _CONTINUE[suite["language"]],
                "probe": "depth",
                "mode": "fixed",
                "context": length,
                "max_tokens": tokens,
                "min_tokens": tokens,
            },
        )
        for length in sorted(probe["lengths"])
        if length + tokens <= room
    ]


def _concurrency(suite: Suite, model: str, image_dir: str | None) -> list[Cell]:
    """One cell a level, with the prompt of one task; nothing for a model that this task is not for."""
    probe = _probe(suite, "concurrency")
    task = next((task for task in suite["tasks"] if task["id"] == probe["task"] and task["model"] == model), None)
    if task is None:
        return []
    base = {**task, "modes": {"fixed": {"max_tokens": probe["max_tokens"], "repetitions": probe["repetitions"]}}}
    found = []
    for level in sorted(probe["levels"]):
        cell = _task(suite, base, "fixed", image_dir)
        cell["task"].update(id="concurrency", title=f"concurrency {level}", probe="concurrency", concurrency=level)
        found.append({**cell, "id": f"concurrency.fixed.c{level}"})
    return found
