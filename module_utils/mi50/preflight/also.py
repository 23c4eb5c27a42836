"""What roles ask of a node in the call of the preflight: each call costs a node a quarter of a second of its processor.

Only answers that leave nothing to do are of use to them; a node that lacks something is looked at again by the role
that mends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..rocm.info import Runner

# Engines ask by the name of their role, all of them the same.
ENGINES = ("llama_cpp", "lmstudio", "vllm", "lmdeploy")
# In the order of the roles.
NAMES = (
    "rocm_info",
    "gfx906_rocblas",
    "fan_info",
    "gpu_power_info",
    "build_once",
    "torch_env",
    "container_engine",
    "model",
    *ENGINES,
)


def module(name: str) -> Any:  # noqa: ANN401 - a module of this package: SPEC and answer()
    """Return the module that knows a question. KeyError for a name that is none of NAMES.

    Imported when asked for, because a node compiles what is imported in every run, and few nodes are asked everything.
    """
    # ruff: noqa: PLC0415 - see above
    found: Any
    if name == "rocm_info":
        from ..rocm import question as rocm

        found = rocm
    elif name == "gfx906_rocblas":
        from ..rocblas import question as rocblas

        found = rocblas
    elif name == "fan_info":
        from ..fan import question as fan

        found = fan
    elif name == "gpu_power_info":
        from ..power import question as power

        found = power
    elif name == "build_once":
        from ..build import question as build

        found = build
    elif name == "torch_env":
        from ..torchenv import question as torchenv

        found = torchenv
    elif name == "container_engine":
        from ..containers import question as containers

        found = containers
    elif name == "model":
        from ..models import question as models

        found = models
    elif name in ENGINES:
        from ..serve import question as serve

        found = serve
    else:
        raise KeyError(name)
    return found


def ask(questions: Mapping[str, Mapping[str, Any] | None], run: Runner) -> dict[str, dict[str, Any]]:
    """Return the answers that leave nothing to do, up to the first that is none.

    A role that acts may undo what the roles after it rely on, so those have to look for themselves. `questions` are
    options by name of the module, valid by its SPEC; empty ones are a role that has other work, None one that has none.
    """
    answers: dict[str, dict[str, Any]] = {}
    for name in NAMES:
        asked = questions.get(name)
        if asked is None:
            continue
        if asked and name in ("torch_env", *ENGINES):
            asked = module(name).with_builds(asked, answers.get("build_once"))
        answer = _SHORT[name](module(name), asked, run) if asked else None
        if answer is None:
            break
        answers[name] = answer
    return answers


def _rocm(question: Any, options: Mapping[str, Any], run: Runner) -> dict[str, Any] | None:  # noqa: ANN401
    try:
        seen = question.answer(options, run)
    except question.Unanswered:
        return None
    if not seen["settled"]:
        return None
    # Not all that was looked at: what nobody reads would cost the controller time in every task that comes after.
    driver = {name: seen["driver"][name] for name in ("mode", "warnings")}
    reboot = {name: seen[name] for name in ("reboot_required", "reboot_reasons")}
    version = seen["rocm"]["version"]
    has = f"ROCm {version}, driver {driver['mode']}"
    return {"settled": True, "has": has, "rocm": {"version": version}, "driver": driver, **reboot}


def _rocblas(question: Any, options: Mapping[str, Any], _run: Runner) -> dict[str, Any] | None:  # noqa: ANN401
    seen = question.answer(options)
    if seen is None:
        return None
    # The same number everywhere, as a rule.
    counts = "/".join(str(count) for count in dict.fromkeys(seen["files"].values()))
    return {"has": f"gfx906 kernel files {counts}", **seen}


def _fan(question: Any, options: Mapping[str, Any], run: Runner) -> dict[str, Any] | None:  # noqa: ANN401
    try:
        seen = question.answer(options, run)
    except question.Unanswered:
        return None
    chips = [{"name": chip["name"]} for chip in seen["chips"]]
    return {"settled": True, "chips": chips} if seen["settled"] else None


def _power(question: Any, options: Mapping[str, Any], run: Runner) -> dict[str, Any] | None:  # noqa: ANN401
    try:
        return {"settled": True} if question.answer(options, run)["settled"] else None
    except question.Unanswered:
        return None


def _build(question: Any, options: Mapping[str, Any], _run: Runner) -> dict[str, Any] | None:  # noqa: ANN401
    try:
        seen = question.answer(options)
    except question.Unanswered:
        return None
    builds = {name: {part: one.get(part) for part in _OF_A_BUILD} for name, one in seen["builds"].items()}
    return {"settled": True, "builds": builds} if seen["settled"] else None


def _torch(question: Any, options: Mapping[str, Any], _run: Runner) -> dict[str, Any] | None:  # noqa: ANN401
    found: dict[str, Any] | None = question.answer(options)
    return found


def _containers(question: Any, options: Mapping[str, Any], run: Runner) -> dict[str, Any] | None:  # noqa: ANN401
    return {"settled": True} if question.answer(options, run)["settled"] else None


def _models(question: Any, options: Mapping[str, Any], _run: Runner) -> dict[str, Any] | None:  # noqa: ANN401
    seen = question.answer(options)
    unused = f" (unused: {', '.join(seen['unused'])})" if seen["unused"] else ""
    has = f"models {', '.join(one['name'] for one in options['models']) or 'none'}{unused}"
    return {"settled": True, "has": has} if seen["settled"] else None


def _engine(question: Any, options: Mapping[str, Any], run: Runner) -> dict[str, Any] | None:  # noqa: ANN401
    seen = question.answer(options, run)
    return {"settled": True, "has": f"{options['name']} serving {seen['model']}"} if seen["settled"] else None


_OF_A_BUILD = ("path", "sha256", "size", "version", "key")
_SHORT = {
    "rocm_info": _rocm,
    "gfx906_rocblas": _rocblas,
    "fan_info": _fan,
    "gpu_power_info": _power,
    "build_once": _build,
    "torch_env": _torch,
    "container_engine": _containers,
    "model": _models,
    **dict.fromkeys(ENGINES, _engine),
}
