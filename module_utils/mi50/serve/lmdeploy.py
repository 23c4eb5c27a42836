"""lmdeploy's PyTorch engine, experimental on gfx906: a wheel that build_once makes, in an environment of its own.

Facts: field note gfx906, 4. What is known not to work is refused by name (mi50.lmdeploy.guard); the rest is tried in a
rehearsal before the service is switched over.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from ..lmdeploy import guard, launch
from ..vllm import mi50_key
from ..vllm.guard import Verdict
from . import folder, pyenv, unit, vllm_build
from .model import Common, Definition, Device, Node, Rehearsal, ServeError, Service

VULKAN = False
SPEC, HINTS = {**guard.SPEC, **pyenv.SPEC}, guard.HINTS
_LAUNCHER = "mi50_lmdeploy.py"
_LOADS = "import torch, triton, lmdeploy.pytorch; print(lmdeploy.__version__)"


def define(common: Common, options: Mapping[str, Any], node: Node) -> Definition:
    """Turn valid options into a service."""
    settings = guard.settings_of(options, len(common.gpus))
    want, wrong = _wanted(common.name, options, node)
    problems = [*guard.problems_of(options, settings, len(common.gpus)), *wrong]
    model, config, told = folder.read(options["model"], "lmdeploy", node)
    problems += told
    name = PurePosixPath(options["model"]).name
    verdict = guard.judge(config, options, settings, name) if config else Verdict([], [])
    problems += verdict.problems
    warnings = list(verdict.warnings)
    if model and not problems:
        # Its share is one of what the weights leave, not of the card.
        tight, wrong = folder.fits(common, settings, model, 1.0)
        problems += wrong
        warnings += tight
    if problems or model is None or want is None:
        return Definition(None, problems, warnings)
    alias = options["alias"] or name

    def serve(port: int | str, host: str) -> tuple[str, ...]:
        return (want.python, "-m", _LAUNCHER.partition(".")[0], *guard.flags(options, settings, alias, host, port))

    checks = (
        ("torch computes in the new environment", pyenv.proof(want, len(common.gpus), options["proof_only"])),
        ("lmdeploy loads", (want.python, "-c", _LOADS)),
    )
    service = Service(
        name=common.name,
        description=f"lmdeploy with {alias} (PyTorch engine)",
        user=common.user,
        bind=common.bind,
        port=common.port,
        key=common.key,
        probe=replace(vllm_build.probe(common, alias, model), kind="lmdeploy"),
        start=serve(common.port, common.bind),
        gpus=common.gpus,
        devices=(str(node.dev / "kfd"),) if common.gpus else (),
        environment={
            **pyenv.environment(want),
            "MI50_KEY_FILE": common.key.path,
            **{str(key): str(value) for key, value in options["environment"].items()},
        },
        read=(options["model"],) if unit.hidden(options["model"]) else (),
        write=(f"/var/lib/mi50-aipc/{common.name}", f"/var/cache/mi50-aipc/{common.name}"),
        needs=() if pyenv.whole(want, node) else ((pyenv.ROOT.format(common.name), options["environment_bytes"]),),
        watched=(
            f"{options['model']}/config.json",
            f"{options['model']}/.mi50-model.json",
            *pyenv.watched(want, options),
        ),
        facts={
            "engine": "lmdeploy",
            "version": want.version,
            "program": [want.path],
            "wheel": want.sha256,
            "torch": want.torch,
            "model": options["model"],
            "context": settings.context,
            "tensor_parallel": settings.tensor,
        },
        rehearsal=Rehearsal(checks, serve("{port}", "127.0.0.1")),
    )
    return Definition(service, [], warnings)


def pending(service: Service, options: Mapping[str, Any], node: Node) -> list[str]:
    """The environment that is to come."""
    want, dummy = _wanted(service.name, options, node)
    return [f"making the environment {want.path}"] if want and not pyenv.whole(want, node) else []


def install(service: Service, options: Mapping[str, Any], node: Node) -> None:
    """Make the environment, beside the one in use. Raises ServeError: what serves goes on serving."""
    want, problems = _wanted(service.name, options, node)
    if want is None:
        raise ServeError("; ".join(problems))
    pyenv.make(want, node)


def devices_before(service: Service, node: Node) -> list[Device] | None:
    """Not told: the rehearsal's compute proof counts the cards."""
    del service, node
    return None


def devices_of(log: str, service_name: str, node: Node) -> list[Device] | None:
    """The log does not name the cards; where the answer came from is told by their VRAM."""
    del log, service_name, node
    return None


def prune(service: Service, node: Node, keep: Sequence[str]) -> None:
    """Remove environments but this one's and the one's before."""
    pyenv.prune(service.name, [*keep, *service.facts["program"]], node)


def remove(name: str, node: Node) -> list[str]:
    """Remove environments, caches and state; the model stays."""
    return pyenv.remove(name, node)


def _wanted(name: str, options: Mapping[str, Any], node: Node) -> tuple[pyenv.Wanted | None, list[str]]:
    code = [("mi50_key.py", inspect.getsource(mi50_key)), (_LAUNCHER, inspect.getsource(launch))]
    return pyenv.wanted(name, options, code, node)
