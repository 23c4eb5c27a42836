"""vLLM: its options, what of them gfx906 can serve, and the program before and after, an image or an environment.

Facts: field note gfx906, 3.1 (image, numeric groups), 3.4 (flags, long first start, caches).
"""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from ..containers import image
from ..containers.errors import ContainerError
from ..models.shape import Model
from ..vllm import container, guard, mi50_key
from ..vllm import options as known_options
from . import checks, folder, pyenv, vllm_build, vllm_images
from .model import Common, Definition, Device, File, Later, Node, ServeError, Service

VULKAN = False
SPEC, HINTS = known_options.SPEC, known_options.HINTS


def define(common: Common, options: Mapping[str, Any], node: Node) -> Definition:
    """Turn valid options into a service."""
    settings = known_options.settings_of(options, len(common.gpus))
    problems = known_options.problems(options, settings, len(common.gpus))
    want, env = wanted(options), None
    if options["mode"] == "build":
        env, wrong = vllm_build.wanted(common.name, options, node)
        problems += wrong
    else:
        problems += _engine_problems(node)
        try:
            image.check(want, f"{common.name}_image")
        except ContainerError as error:
            problems.append(str(error))
    model, config, told = folder.read(options["model"], "vLLM", node)
    problems += told
    verdict = guard.judge(config, settings, _name(options)) if config else guard.Verdict([], [])
    problems += verdict.problems
    warnings = list(verdict.warnings)
    if model and not problems:
        tight, wrong = folder.fits(common, settings, model, options["memory_share"])
        problems += wrong
        warnings += tight
    if problems or model is None:
        return Definition(None, problems, warnings)
    if env:
        return Definition(vllm_build.service(common, options, settings, env, model, node), [], warnings)
    return Definition(_service(common, options, settings, want, model, node), [], warnings)


def pending(service: Service, options: Mapping[str, Any], node: Node) -> list[str]:
    """The image or environment that is to come."""
    if options["mode"] == "build":
        return vllm_build.pending(service, options, node)
    want = wanted(options)
    try:
        return (
            []
            if image.present(want, vllm_images.stream(node))
            else [f"fetching the image {want.archive or want.reference}"]
        )
    except ContainerError as error:
        return [str(error)]


def install(service: Service, options: Mapping[str, Any], node: Node) -> None:
    """Have the image or environment, beside the one in use. Raises ServeError: what serves goes on serving."""
    if options["mode"] == "build":
        vllm_build.install(service, options, node)
        return
    want = wanted(options)
    try:
        image.ensure(want, vllm_images.stream(node), node.say, node.sleep)
    except ContainerError as error:
        raise ServeError(str(error)) from error
    listed = vllm_images.known(service.name, node)
    if want.reference not in listed:
        vllm_images.write(service.name, [*listed, want.reference], node)


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
    listed = vllm_images.known(service.name, node)
    old = [one for one in listed if one not in kept]
    if old:
        image.remove(old, vllm_images.stream(node))
        vllm_images.write(service.name, [one for one in listed if one in kept], node)


def remove(name: str, node: Node) -> list[str]:
    """Remove container, network, the images and environments this role brought, caches and state; the model stays."""
    stream, known = vllm_images.stream(node), vllm_images.known(name, node)
    box = container.NAME.format(name)
    try:
        stream([image.DOCKER, "rm", "--force", box], vllm_images.quiet)
        stream([image.DOCKER, "network", "rm", box], vllm_images.quiet)
        image.remove(known, stream)
    except ContainerError:
        known = []  # no Docker any more: nothing of ours is in it
    gone = pyenv.remove(name, node)
    library = container.LIBRARY.format(name)
    if node.path(library).exists():
        shutil.rmtree(node.path(library))
        gone.append(library)
    node.path(vllm_images.NOTE.format(name)).unlink(missing_ok=True)
    return [*known, *gone]


def wanted(options: Mapping[str, Any]) -> image.Wanted:
    """Return the image asked for."""
    return image.Wanted(
        options["image"], options["image_digest"], options["image_archive"], options["image_archive_sha256"]
    )


def _service(
    common: Common,
    options: Mapping[str, Any],
    settings: guard.Settings,
    want: image.Wanted,
    model: Model,
    node: Node,
) -> Service:
    name, alias = common.name, options["alias"] or _name(options)
    inside = f"{container.MODELS}/{_name(options)}"
    library, start = container.LIBRARY.format(name), f"{container.LIBRARY.format(name)}/start"
    box = container.Container(
        name=name,
        image=want.reference,
        cache_key=(want.digest.partition(":")[2] or want.archive_sha256)[:12],
        bind=common.bind,
        port=common.port,
        key_file=common.key.path,
        command=["vllm", "serve", *guard.flags(settings, inside, alias, common.port, options["memory_share"])],
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
        description=f"vLLM with {alias} (container)",
        user=common.user,
        bind=common.bind,
        port=common.port,
        key=common.key,
        probe=vllm_build.probe(common, alias, model),
        start=(start,),
        stop=(("/usr/bin/docker", "stop", "--time", "20", container.NAME.format(name)),),
        gpus=common.gpus,
        environment={"DOCKER_CONFIG": f"/var/lib/mi50-aipc/{name}/docker"},
        write=(f"/var/lib/mi50-aipc/{name}", f"/var/cache/mi50-aipc/{name}"),
        # The client reaches the engine by its socket, which this group owns; the account itself is not in it.
        properties=(("SupplementaryGroups", "docker"), ("RestrictAddressFamilies", "AF_UNIX")),
        unit=(("Wants", "docker.service"), ("After", "docker.service")),
        files=(
            File(start, container.script(box), 0o755),
            File(f"{library}/mi50_key.py", inspect.getsource(mi50_key), 0o644),
        ),
        needs=_needs(options, want, node),
        watched=(f"{options['model']}/config.json", f"{options['model']}/.mi50-model.json"),
        facts={
            "engine": "vLLM",
            "version": want.reference,
            "program": [want.reference],
            "model": options["model"],
            "context": settings.context,
            "tensor_parallel": settings.tensor,
            "pipeline_parallel": settings.pipeline,
        },
    )


def _engine_problems(node: Node) -> list[str]:
    if not any(node.path(path).exists() for path in ("/usr/bin/docker", "/usr/local/bin/docker")):
        return [Later("there is no Docker on this node: the role container_engine installs it")]
    if checks.group_ids(["docker"], node)["docker"] is None:
        return [Later("there is no group docker on this node, by which the unit reaches the engine: reinstall Docker")]
    return []


def _needs(options: Mapping[str, Any], want: image.Wanted, node: Node) -> tuple[tuple[str, int], ...]:
    """Room for an image that is not there yet, where the engine keeps it."""
    stream = vllm_images.stream(node)
    try:
        if image.present(want, stream):
            return ()
        code, text = stream([image.DOCKER, "info", "--format", "{{.DockerRootDir}}"], vllm_images.quiet)
    except ContainerError:
        return ()
    path = text.strip().rpartition("\n")[2]
    return ((path if not code and path.startswith("/") else "/var/lib/docker", options["image_bytes"]),)


def _name(options: Mapping[str, Any]) -> str:
    return PurePosixPath(options["model"]).name
