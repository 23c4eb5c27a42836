"""vLLM: its options, what of them gfx906 can serve, and the program before and after, an image or an environment.

Facts: field note gfx906, 3.1 (image, numeric groups), 3.4 (flags, long first start, caches).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from ..models.shape import Model
from ..vllm import cluster, container, guard, mi50_cluster, mi50_key
from ..vllm import options as known_options
from . import folder, imaged, parts, pyenv, vllm_build
from .model import Common, Definition, Device, File, Node, Service

VULKAN = False
SPEC, HINTS = known_options.SPEC, known_options.HINTS


def define(common: Common, options: Mapping[str, Any], node: Node) -> Definition:
    """Turn valid options into a service."""
    settings = known_options.settings_of(options, len(common.gpus))
    problems = known_options.problems(options, settings, len(common.gpus))
    problems += cluster.problems(options, node)
    env = None
    if options["mode"] == "build":
        env, wrong = vllm_build.wanted(common.name, options, node)
        problems += wrong
    else:
        problems += imaged.problems(common.name, options, node)
    model, config, told = folder.read(options["model"], "vLLM", node)
    problems += told
    verdict = guard.judge(config, settings, _name(options)) if config else guard.Verdict([], [])
    problems += verdict.problems
    warnings = list(verdict.warnings)
    if model and not problems:
        every = replace(common, gpus=common.gpus * settings.nodes)
        tight, wrong = folder.fits(every, settings, model, options["memory_share"])
        problems += wrong
        warnings += tight
    if problems or model is None:
        return Definition(None, problems, warnings)
    if env:
        return Definition(vllm_build.service(common, options, settings, env, model, node), [], warnings)
    several = cluster.of(options)
    warnings += cluster.warnings(several) if several else []
    return Definition(_service(common, options, settings, model, several, node), [], warnings)


def pending(service: Service, options: Mapping[str, Any], node: Node) -> list[str]:
    """The image or environment that is to come."""
    if options["mode"] == "build":
        return vllm_build.pending(service, options, node)
    return imaged.pending(options, node)


def install(service: Service, options: Mapping[str, Any], node: Node) -> None:
    """Have the image or environment, beside the one in use. Raises ServeError: what serves goes on serving."""
    if options["mode"] == "build":
        vllm_build.install(service, options, node)
    else:
        imaged.install(service.name, options, node)


def devices_before(service: Service, node: Node) -> list[Device] | None:
    """Not asked: the container would have to load torch."""
    del service, node
    return None


def devices_of(log: str, service_name: str, node: Node) -> list[Device] | None:
    """vLLM's log does not name the cards; where the answer came from is told by their VRAM."""
    del log, service_name, node
    return None


def prune(service: Service, node: Node, keep: Sequence[str]) -> None:
    """Remove images and environments that this role brought, but this one's and the one's before."""
    kept = {*keep, *service.facts["program"]}
    pyenv.prune(service.name, sorted(kept), node)
    imaged.prune(service.name, sorted(kept), node)


def remove(name: str, node: Node) -> list[str]:
    """Remove container, network, the images and environments this role brought, caches and state; the model stays."""
    return [*imaged.remove(name, node), *pyenv.remove(name, node)]


def _service(
    common: Common,
    options: Mapping[str, Any],
    settings: guard.Settings,
    model: Model,
    several: cluster.Cluster | None,
    node: Node,
) -> Service:
    name, alias = common.name, options["alias"] or _name(options)
    inside = f"{container.MODELS}/{_name(options)}"
    want, library, start = imaged.wanted(options), container.LIBRARY.format(name), imaged.start(name)
    # In a network of its own it listens on every address, and one port is published; with the node's, on that address.
    listens = {"host": common.bind} if several else {}
    command = ["vllm", "serve"]
    command += guard.flags(settings, inside, alias, common.port, options["memory_share"], **listens)
    proof = vllm_build.probe(common, alias, model)
    files = [File(f"{library}/mi50_key.py", inspect.getsource(mi50_key), 0o644)]
    if several:
        mark = imaged.cache_key(options)
        command = cluster.command(several, max(1, len(common.gpus)), mark, inside, command)
        proof = cluster.probe(several, proof)
        files.append(File(f"{library}/mi50_cluster.py", inspect.getsource(mi50_cluster), 0o644))
    box = container.Container(
        name=name,
        image=want.reference,
        cache_key=imaged.cache_key(options),
        bind=common.bind,
        port=common.port,
        key_file=common.key.path,
        command=command,
        host_network=several is not None,
        cards=[gpu.pci for gpu in common.gpus],
        mounts=[(options["model"], inside, False)],
        environment={str(key): str(value) for key, value in options["environment"].items()},
        arguments=options["container_args"],
        shm=options["shm"],
        sysfs=str(node.sysfs),
        dev=str(node.dev),
    )
    return Service(
        name=name,
        description=f"vLLM with {alias} (container{', one of several nodes' if several else ''})",
        user=common.user,
        bind=common.bind,
        port=common.port,
        key=common.key,
        probe=proof,
        start=(start,),
        stop=imaged.stop(name),
        gpus=common.gpus,
        environment={"DOCKER_CONFIG": f"/var/lib/mi50-aipc/{name}/docker"},
        write=parts.directories(common),
        properties=imaged.PROPERTIES,
        unit=imaged.UNIT,
        files=(File(start, container.script(box), 0o755), *files),
        needs=imaged.needs(options, node),
        watched=(f"{options['model']}/config.json", f"{options['model']}/.mi50-model.json"),
        facts={
            "engine": "vLLM",
            "version": want.reference,
            "program": [want.reference],
            "model": options["model"],
            "context": settings.context,
            "tensor_parallel": settings.tensor,
            "pipeline_parallel": settings.pipeline,
            **({"cluster": list(several.addresses)} if several else {}),
        },
    )


def _name(options: Mapping[str, Any]) -> str:
    return PurePosixPath(options["model"]).name
