"""vLLM in a container, by digest: its options, what of them gfx906 can serve, and the image before and after.

Facts: field note gfx906, 3.1 (image, numeric groups), 3.4 (flags, long first start, caches).
"""

from __future__ import annotations

import inspect
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from ..containers import image
from ..containers.errors import ContainerError
from ..models import errors, fit, remote
from ..models.shape import Model
from ..vllm import container, guard, mi50_key
from ..vllm import options as known_options
from . import checks, vllm_images
from .model import Common, Definition, Device, File, Later, Node, Probe, ServeError, Service

VULKAN = False
SPEC, HINTS = known_options.SPEC, known_options.HINTS
# What one vLLM takes on a card besides weights and cache: activations, graphs, libraries.
_OVERHEAD = 2 << 30


def define(common: Common, options: Mapping[str, Any], node: Node) -> Definition:
    """Turn valid options into a service."""
    want = wanted(options)
    settings = known_options.settings_of(options, len(common.gpus))
    problems = [*known_options.problems(options, settings, len(common.gpus)), *_engine_problems(node)]
    try:
        image.check(want, f"{common.name}_image")
    except ContainerError as error:
        problems.append(str(error))
    model, config, told = _model(common, options, node)
    problems += told
    verdict = guard.judge(config, settings, _name(options)) if config else guard.Verdict([], [])
    problems += verdict.problems
    warnings = list(verdict.warnings)
    if model and not problems:
        tight, wrong = _fits(common, options, settings, model)
        problems += wrong
        warnings += tight
    if problems or model is None:
        return Definition(None, problems, warnings)
    return Definition(_service(common, options, settings, want, model, node), [], warnings)


def pending(service: Service, options: Mapping[str, Any], node: Node) -> list[str]:
    """The image that is to come."""
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
    """Have the image, beside the one in use. Raises ServeError: what serves goes on serving."""
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
    """Remove images that this role brought, but this one's and the one's before."""
    kept = {*keep, *service.facts["program"]}
    listed = vllm_images.known(service.name, node)
    old = [one for one in listed if one not in kept]
    if old:
        image.remove(old, vllm_images.stream(node))
        vllm_images.write(service.name, [one for one in listed if one in kept], node)


def remove(name: str, node: Node) -> list[str]:
    """Remove the container, its network, the images this role brought, caches and state; the model stays."""
    stream, known = vllm_images.stream(node), vllm_images.known(name, node)
    box = container.NAME.format(name)
    try:
        stream([image.DOCKER, "rm", "--force", box], vllm_images.quiet)
        stream([image.DOCKER, "network", "rm", box], vllm_images.quiet)
        image.remove(known, stream)
    except ContainerError:
        known = []  # no Docker any more: nothing of ours is in it
    paths = [f"/var/cache/mi50-aipc/{name}", f"/var/lib/mi50-aipc/{name}", container.LIBRARY.format(name)]
    gone = [path for path in paths if node.path(path).exists()]
    for path in gone:
        shutil.rmtree(node.path(path))
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
    host = "127.0.0.1" if common.bind in ("0.0.0.0", "::", "localhost") else common.bind  # noqa: S104 - compared
    return Service(
        name=name,
        description=f"vLLM with {alias} (container)",
        user=common.user,
        bind=common.bind,
        port=common.port,
        key=common.key,
        probe=Probe(
            kind="vllm",
            url=f"http://{f'[{host}]' if ':' in host else host}:{common.port}",
            model=alias,
            expected_vram=model.weights.total if common.gpus else 0,
            device="",
            floor=common.floor,
            software=common.software,
            load_timeout=common.load_timeout,
            answer_timeout=common.answer_timeout,
            live_timeout=common.live_timeout,
            interval=common.interval,
            completion_every=common.completion_every,
        ),
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


def _model(common: Common, options: Mapping[str, Any], node: Node) -> tuple[Model | None, dict[str, Any], list[str]]:
    """The model's layers and configuration, and what is wrong with its files."""
    folder = node.path(options["model"])
    if not folder.exists():
        return None, {}, [Later(f"there is no {options['model']} on this node: have the role models fetch it")]
    if folder.is_file() or (not (folder / remote.CONFIG).exists() and any(folder.glob("*.gguf"))):
        return (
            None,
            {},
            [f"{options['model']} is GGUF, which vLLM serves slowly and in part: use llama_cpp, or safetensors"],
        )
    try:
        model = remote.local(folder, _name(options))
        config = json.loads((folder / remote.CONFIG).read_text(encoding="utf-8"))
    except (errors.ModelError, OSError, ValueError) as error:
        return None, {}, [str(error)]
    return model, config, []


def _fits(
    common: Common, options: Mapping[str, Any], settings: guard.Settings, model: Model
) -> tuple[list[str], list[str]]:
    """Whether one request of full length fits beside the weights; vLLM lets the others wait."""
    if not common.gpus or common.software:
        return [], []
    ask = fit.Ask(settings.context, tensor=settings.tensor, pipeline=settings.pipeline, overhead=_OVERHEAD)
    try:
        verdict = fit.judge(model, ask, [int(gpu.vram * options["memory_share"]) for gpu in common.gpus])
    except errors.ModelError as error:
        return [], [str(error)]
    if not verdict.ok:
        return [], [f"vllm_context: {verdict.text}"]
    return ([f"it will be tight: {verdict.text}"] if verdict.tight else []), []


def _needs(options: Mapping[str, Any], want: image.Wanted, node: Node) -> tuple[tuple[str, int], ...]:
    """Room for an image that is not there yet, where the engine keeps it."""
    stream = vllm_images.stream(node)
    try:
        if image.present(want, stream):
            return ()
        code, text = stream([image.DOCKER, "info", "--format", "{{.DockerRootDir}}"], vllm_images.quiet)
    except ContainerError:
        return ()
    folder = text.strip().rpartition("\n")[2]
    return ((folder if not code and folder.startswith("/") else "/var/lib/docker", options["image_bytes"]),)


def _name(options: Mapping[str, Any]) -> str:
    return PurePosixPath(options["model"]).name
