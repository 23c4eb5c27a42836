"""vLLM from a wheel that build_once made, in an environment of its own on top of the role pytorch's torch.

Facts: field note gfx906, 3.3 (whether vLLM works with ROCm 6.4 is told both ways: hence the rehearsal), 3.4.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from ..models.shape import Model
from ..vllm import guard, mi50_key
from . import parts, pyenv, unit
from .model import Common, Node, Probe, Rehearsal, ServeError, Service

# The extension modules of a build for ROCm (setup.py of the fork). Their symbols are torch's.
_LOADS = "import torch, vllm._C, vllm._rocm_C, importlib.metadata as found; print(found.version('vllm'))"


def wanted(name: str, options: Mapping[str, Any], node: Node) -> tuple[pyenv.Wanted | None, list[str]]:
    """Return the environment, with the middleware that asks for the key in it, or why there can be none."""
    return pyenv.wanted(name, options, [("mi50_key.py", inspect.getsource(mi50_key))], node)


def service(
    common: Common,
    options: Mapping[str, Any],
    settings: guard.Settings,
    want: pyenv.Wanted,
    model: Model,
    node: Node,
) -> Service:
    """Return the service of this wheel, on the node itself."""
    name, path = common.name, options["model"]
    alias = options["alias"] or PurePosixPath(path).name

    def serve(port: int | str, host: str) -> tuple[str, ...]:
        words = guard.flags(settings, path, alias, port, options["memory_share"], host)
        return (f"{want.path}/bin/vllm", "serve", *words)

    environment = {
        **pyenv.environment(want),
        "VLLM_CACHE_ROOT": f"/var/cache/mi50-aipc/{name}/{PurePosixPath(want.path).name}/vllm",
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_NO_USAGE_STATS": "1",
        "MI50_KEY_FILE": common.key.path,
        **{str(key): str(value) for key, value in options["environment"].items()},
    }
    checks = (
        ("torch computes in the new environment", pyenv.proof(want, len(common.gpus), options["proof_only"])),
        ("vLLM's compiled parts load", (want.python, "-c", _LOADS)),
    )
    return Service(
        name=name,
        description=f"vLLM with {alias} (built for this node)",
        user=common.user,
        bind=common.bind,
        port=common.port,
        key=common.key,
        probe=probe(common, alias, model),
        start=serve(common.port, common.bind),
        gpus=common.gpus,
        devices=(str(node.dev / "kfd"),) if common.gpus else (),
        environment=environment,
        read=(path,) if unit.hidden(path) else (),
        write=(f"/var/lib/mi50-aipc/{name}", f"/var/cache/mi50-aipc/{name}"),
        needs=() if pyenv.whole(want, node) else ((pyenv.ROOT.format(name), options["environment_bytes"]),),
        watched=(f"{path}/config.json", f"{path}/.mi50-model.json", *pyenv.watched(want, options)),
        facts={
            "engine": "vLLM",
            "version": want.version,
            "program": [want.path],
            "wheel": want.sha256,
            "torch": want.torch,
            "model": path,
            "context": settings.context,
            "tensor_parallel": settings.tensor,
            "pipeline_parallel": settings.pipeline,
        },
        rehearsal=Rehearsal(checks, serve("{port}", "127.0.0.1")),
    )


def probe(common: Common, alias: str, model: Model) -> Probe:
    """When vLLM counts as ready, in a container or not."""
    return parts.probe(common, "vllm", alias, model.weights.total, device="")


def pending(service: Service, options: Mapping[str, Any], node: Node) -> list[str]:
    """The environment that is to come."""
    want, dummy = wanted(service.name, options, node)
    return [f"making the environment {want.path}"] if want and not pyenv.whole(want, node) else []


def install(service: Service, options: Mapping[str, Any], node: Node) -> None:
    """Make the environment, beside the one in use. Raises ServeError: what serves goes on serving."""
    want, problems = wanted(service.name, options, node)
    if want is None:
        raise ServeError("; ".join(problems))
    pyenv.make(want, node)
