"""What roles ask of a node in the call of the preflight: each call costs a node a quarter of a second of its processor.

Only answers that leave nothing to do are of use to them; a node that lacks something is looked at again by the role
that mends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..build import question as build
from ..fan import question as fan
from ..power import question as power
from ..rocblas import question as rocblas
from ..rocm import question as rocm
from ..rocm.info import Runner
from ..serve import question as serve
from ..torchenv import question as torchenv

# Engines ask by the name of their role, all of them the same.
ENGINES = ("llama_cpp", "lmstudio", "vllm", "lmdeploy")
# In the order of the roles.
SPECS: dict[str, dict[str, dict[str, Any]]] = {
    "rocm_info": rocm.SPEC,
    "gfx906_rocblas": rocblas.SPEC,
    "fan_info": fan.SPEC,
    "gpu_power_info": power.SPEC,
    "build_once": build.SPEC,
    "torch_env": torchenv.SPEC,
    **dict.fromkeys(ENGINES, serve.SPEC),
}


def ask(questions: Mapping[str, Mapping[str, Any] | None], run: Runner) -> dict[str, dict[str, Any]]:
    """Return the answers that leave nothing to do, up to the first that is none.

    A role that acts may undo what the roles after it rely on, so those have to look for themselves. `questions` are
    options by name of the module, valid by SPECS; empty ones are a role that has other work, None one that has none.
    """
    answers: dict[str, dict[str, Any]] = {}
    for name in SPECS:
        asked = questions.get(name)
        if asked is None:
            continue
        if asked and name == "torch_env":
            asked = torchenv.with_builds(asked, answers.get("build_once"))
        answer = _ANSWERS[name](asked, run) if asked else None
        if answer is None:
            break
        answers[name] = answer
    return answers


def _rocm(options: Mapping[str, Any], run: Runner) -> dict[str, Any] | None:
    try:
        seen = rocm.answer(options, run)
    except rocm.Unanswered:
        return None
    if not seen["settled"]:
        return None
    # Not all that was looked at: what nobody reads would cost the controller time in every task that comes after.
    driver = {name: seen["driver"][name] for name in ("mode", "warnings")}
    reboot = {name: seen[name] for name in ("reboot_required", "reboot_reasons")}
    version = seen["rocm"]["version"]
    has = f"ROCm {version}, driver {driver['mode']}"
    return {"settled": True, "has": has, "rocm": {"version": version}, "driver": driver, **reboot}


def _rocblas(options: Mapping[str, Any], run: Runner) -> dict[str, Any] | None:
    del run
    seen = rocblas.answer(options)
    # The same number everywhere, as a rule; otherwise each.
    return seen and {
        **seen,
        "has": "gfx906 kernel files " + "/".join(str(n) for n in dict.fromkeys(seen["files"].values())),
    }


def _fan(options: Mapping[str, Any], run: Runner) -> dict[str, Any] | None:
    try:
        seen = fan.answer(options, run)
    except fan.Unanswered:
        return None
    chips = [{"name": chip["name"]} for chip in seen["chips"]]
    return {"settled": True, "chips": chips} if seen["settled"] else None


def _power(options: Mapping[str, Any], run: Runner) -> dict[str, Any] | None:
    try:
        return {"settled": True} if power.answer(options, run)["settled"] else None
    except power.Unanswered:
        return None


def _build(options: Mapping[str, Any], run: Runner) -> dict[str, Any] | None:
    del run
    try:
        seen = build.answer(options)
    except build.Unanswered:
        return None
    builds = {name: {part: one.get(part) for part in _OF_A_BUILD} for name, one in seen["builds"].items()}
    return {"settled": True, "builds": builds} if seen["settled"] else None


def _torch(options: Mapping[str, Any], run: Runner) -> dict[str, Any] | None:
    del run
    return torchenv.answer(options)


def _engine(options: Mapping[str, Any], run: Runner) -> dict[str, Any] | None:
    seen = serve.answer(options, run)
    return {"settled": True, "has": f"{options['name']} serving {seen['model']}"} if seen["settled"] else None


_OF_A_BUILD = ("path", "sha256", "size", "version", "key")
_ANSWERS = {
    "rocm_info": _rocm,
    "gfx906_rocblas": _rocblas,
    "fan_info": _fan,
    "gpu_power_info": _power,
    "build_once": _build,
    "torch_env": _torch,
    **dict.fromkeys(ENGINES, _engine),
}
