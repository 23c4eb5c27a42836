"""The roles' questions once more, without short cuts: every byte proven, and what is wrong instead of yes or no."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..build import question as build
from ..containers import question as containers
from ..fan import question as fan
from ..models import question as models
from ..monitor import question as monitor
from ..power import question as power
from ..preflight.also import ENGINES
from ..preflight.model import stumbled
from ..rocblas.request import Request
from ..rocblas.run import run_all
from ..rocm import question as rocm
from ..serve import question as serve
from ..torchenv import look as torch_look
from ..torchenv import question as torchenv
from ..torchenv.model import TorchEnvError
from .model import Crash

Runner = Callable[[list[str]], tuple[int, str]]
_KINDS = {
    "missing": "missing: {}",
    "modified": "changed: {}",
    "foreign": "of another build: {}",
    "catalogs": "catalogs of another build: {}",
}
_NAMES = 3


def ask(questions: Mapping[str, Mapping[str, Any] | None], run: Runner) -> dict[str, dict[str, Any] | str | Crash]:
    """Return each answer, the text of a refusal, or the crash, by question; those without options are not asked.

    `questions` are options by name of the module, valid by the SPEC of each.
    """
    answers: dict[str, dict[str, Any] | str | Crash] = {}
    for name, options in questions.items():
        if options:
            answers[name] = _ask(name, options, answers, run)
    return answers


def _ask(name: str, options: Mapping[str, Any], before: Mapping[str, Any], run: Runner) -> dict[str, Any] | str | Crash:
    if name not in _ANSWERS:
        return f"{name} is no question that can be verified"
    built = before.get("build_once")
    try:
        if isinstance(built, dict) and name == "torch_env":
            options = torchenv.with_builds(options, built)
        if isinstance(built, dict) and name in ENGINES:
            options = serve.with_builds(options, built)
        return _ANSWERS[name](options, run)
    except (
        rocm.Unanswered,
        fan.Unanswered,
        power.Unanswered,
        build.Unanswered,
        TorchEnvError,
        monitor.Unanswered,
    ) as exc:
        return str(exc)
    except Exception as exc:  # one question's crash is its own finding, not the loss of the node's report
        return Crash(stumbled(exc))


def kernels(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return `{"libraries": [{"dest", "whole", "problems"}]}`: every kernel file read and hashed, nothing changed."""
    given = {**options, "state": "present", "defer": True, "discard_source": "never", "verify": "sha256"}
    libraries = []
    for dest in given.pop("dest"):
        result, failure = run_all(Request("", check_mode=True, **given), [dest])
        problems = [failure.message] if failure else _problems(result)
        whole = 0 if failure else len(result["files"]["unchanged"])
        libraries.append({"dest": dest, "whole": whole, "problems": problems})
    return {"libraries": libraries}


def _problems(result: Mapping[str, Any]) -> list[str]:
    found = [_KINDS[kind].format(_some(names)) for kind, names in result["drift"].items()]
    found += list(result["warnings"])
    if result["needs_source"] and not found:
        found.append("no kernels were installed here, or others are asked for now")
    return found


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more


def torch(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return `{"settled", "why", "has"}` of the torch environments. Raises TorchEnvError for what is not ours."""
    seen = torch_look.look(options)
    why = [*seen.reasons, *(f"{name} differs" for name in seen.files)]
    why += [f"environment {child.name} is not as asked for" for child in seen.environments if not child.settled]
    why += ["packages were added or removed since"] if seen.others is not None else []
    why += [f"not proven to compute: {seen.pending}"] if seen.pending else []
    facts = torchenv.facts(seen)
    triton = f"triton {facts['triton']}" if facts["triton"] else "triton missing"
    has = f"torch {facts['torch']}, {triton}, {facts['proof']}"
    return {"settled": seen.settled, "why": why, "has": has}


def _models(options: Mapping[str, Any]) -> dict[str, Any]:
    seen = models.answer(options)
    return {**seen, "why": [f"{name} is not there as asked for" for name in seen["lacking"]]}


_ANSWERS: dict[str, Callable[[Mapping[str, Any], Runner], dict[str, Any]]] = {
    "rocm_info": rocm.answer,
    "gfx906_rocblas": lambda options, _run: kernels(options),
    "fan_info": fan.answer,
    "gpu_power_info": power.answer,
    "build_once": lambda options, _run: build.answer(options, verify=True),
    "torch_env": lambda options, _run: torch(options),
    "container_engine": lambda options, run: containers.answer(options, lambda words: run(list(words))),
    "model": lambda options, _run: _models(options),
    **dict.fromkeys(ENGINES, serve.answer),
    "monitor_info": monitor.answer,
}
