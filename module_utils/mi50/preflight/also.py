"""What roles ask of a node in the call of the preflight: each call costs a node a quarter of a second of its processor.

Only answers that leave nothing to do are of use to them; a node that lacks something is looked at again by the role
that mends it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..rocm.info import Runner

# Engines ask by the name of their role, all of them the same.
ENGINES = ("llama_cpp", "lmstudio", "ollama", "vllm", "lmdeploy", "comfyui")


class Question(NamedTuple):
    """`load` returns the module that has SPEC and answer(); `short` makes of its answer what the preflight hands on.

    Loaded when asked, because a node compiles what is imported in every run, and few nodes are asked everything. Each
    import is written out: Ansible sends a node what it finds in import statements.
    """

    load: Callable[[], Any]
    short: Callable[[Any, Mapping[str, Any], Runner], dict[str, Any] | None]


# ruff: noqa: PLC0415 - see above
def _load_rocm() -> Any:  # noqa: ANN401 - a module of this package
    from ..rocm import question

    return question


def _load_rocblas() -> Any:  # noqa: ANN401
    from ..rocblas import question

    return question


def _load_fan() -> Any:  # noqa: ANN401
    from ..fan import question

    return question


def _load_power() -> Any:  # noqa: ANN401
    from ..power import question

    return question


def _load_build() -> Any:  # noqa: ANN401
    from ..build import question

    return question


def _load_torchenv() -> Any:  # noqa: ANN401
    from ..torchenv import question

    return question


def _load_containers() -> Any:  # noqa: ANN401
    from ..containers import question

    return question


def _load_models() -> Any:  # noqa: ANN401
    from ..models import question

    return question


def _load_serve() -> Any:  # noqa: ANN401
    from ..serve import question

    return question


def _load_monitor() -> Any:  # noqa: ANN401
    from ..monitor import question

    return question


def module(name: str) -> Any:  # noqa: ANN401 - a module of this package: SPEC and answer()
    """Return the module that knows a question. KeyError for a name that is none of NAMES."""
    return QUESTIONS[name].load()


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
        answer = QUESTIONS[name].short(module(name), asked, run) if asked else None
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


def _monitor(question: Any, options: Mapping[str, Any], run: Runner) -> dict[str, Any] | None:  # noqa: ANN401
    try:
        return {"settled": True} if question.answer(options, run)["settled"] else None
    except question.Unanswered:
        return None


_OF_A_BUILD = ("path", "sha256", "size", "version", "key")
# In the order of the roles.
QUESTIONS = {
    "rocm_info": Question(_load_rocm, _rocm),
    "gfx906_rocblas": Question(_load_rocblas, _rocblas),
    "fan_info": Question(_load_fan, _fan),
    "gpu_power_info": Question(_load_power, _power),
    "build_once": Question(_load_build, _build),
    "torch_env": Question(_load_torchenv, _torch),
    "container_engine": Question(_load_containers, _containers),
    "model": Question(_load_models, _models),
    **dict.fromkeys(ENGINES, Question(_load_serve, _engine)),
    "monitor_info": Question(_load_monitor, _monitor),
}
NAMES = tuple(QUESTIONS)
