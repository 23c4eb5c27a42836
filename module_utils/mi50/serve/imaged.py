"""Engines in containers: the image before and after, the engine's own start script, and what both need on the node."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import process
from ..containers import image
from ..containers.errors import ContainerError
from ..vllm import container
from . import checks
from .model import Later, Node, ServeError

# Options of an engine whose program is an image.
SPEC: dict[str, dict[str, Any]] = {
    "container_args": {"type": "list", "elements": "str", "default": []},
    "image": {"type": "str", "default": ""},
    "image_digest": {"type": "str", "default": ""},
    "image_archive": {"type": "path", "default": ""},
    "image_archive_sha256": {"type": "str", "default": ""},
    "image_bytes": {"type": "int", "default": 40000000000},
}
# Images that a role brought, noted so that no others are ever removed.
NOTE = "/var/lib/mi50-aipc/serve/{}/images.json"
# The client reaches Docker by its socket, which this group owns; the service's account itself is not in it.
PROPERTIES = (("SupplementaryGroups", "docker"), ("RestrictAddressFamilies", "AF_UNIX"))
UNIT = (("Wants", "docker.service"), ("After", "docker.service"))


def wanted(options: Mapping[str, Any]) -> image.Wanted:
    """Return the image asked for."""
    return image.Wanted(
        options["image"], options["image_digest"], options["image_archive"], options["image_archive_sha256"]
    )


def problems(name: str, options: Mapping[str, Any], node: Node) -> list[str]:
    """An image that nothing pins, or a node that cannot run one."""
    found: list[str] = []
    try:
        image.check(wanted(options), f"{name}_image")
    except ContainerError as error:
        found.append(str(error))
    if not any(node.path(path).exists() for path in ("/usr/bin/docker", "/usr/local/bin/docker")):
        found.append(Later("there is no Docker on this node: the role container_engine installs it"))
    elif checks.group_ids(["docker"], node)["docker"] is None:
        found.append(
            Later("there is no group docker on this node, by which the unit reaches the engine: reinstall Docker")
        )
    return found


def start(name: str) -> str:
    """Path of the script that the unit starts."""
    return f"{container.LIBRARY.format(name)}/start"


def stop(name: str) -> tuple[tuple[str, ...], ...]:
    """Commands that end it."""
    return (("/usr/bin/docker", "stop", "--time", "20", container.NAME.format(name)),)


def cache_key(options: Mapping[str, Any]) -> str:
    """Name of the cache's folder, one an image."""
    want = wanted(options)
    return str((want.digest.partition(":")[2] or want.archive_sha256)[:12])


def pending(options: Mapping[str, Any], node: Node) -> list[str]:
    """The image that is to come."""
    want = wanted(options)
    try:
        there = image.present(want, stream(node))
    except ContainerError as error:
        return [str(error)]
    return [] if there else [f"fetching the image {want.archive or want.reference}"]


def install(name: str, options: Mapping[str, Any], node: Node) -> None:
    """Have the image, beside the one in use. Raises ServeError: what serves goes on serving."""
    want = wanted(options)
    try:
        image.ensure(want, stream(node), node.say, node.sleep)
    except ContainerError as error:
        raise ServeError(str(error)) from error
    listed = known(name, node)
    if want.reference not in listed:
        _write(name, [*listed, want.reference], node)


def needs(options: Mapping[str, Any], node: Node) -> tuple[tuple[str, int], ...]:
    """Room for an image that is not there yet, where Docker keeps it."""
    ask = stream(node)
    try:
        if image.present(wanted(options), ask):
            return ()
        code, text = ask([image.DOCKER, "info", "--format", "{{.DockerRootDir}}"], _quiet)
    except ContainerError:
        return ()
    folder = text.strip().rpartition("\n")[2]
    return ((folder if not code and folder.startswith("/") else "/var/lib/docker", options["image_bytes"]),)


def prune(name: str, keep: Sequence[str], node: Node) -> None:
    """Remove images that this role brought, but those in `keep`."""
    listed = known(name, node)
    old = [one for one in listed if one not in keep]
    if old:
        image.remove(old, stream(node))
        _write(name, [one for one in listed if one in keep], node)


def remove(name: str, node: Node) -> list[str]:
    """Remove the container, its network, the images this role brought and its script; returns what was there."""
    ask, listed, box = stream(node), known(name, node), container.NAME.format(name)
    try:
        ask([image.DOCKER, "rm", "--force", box], _quiet)
        ask([image.DOCKER, "network", "rm", box], _quiet)
        image.remove(listed, ask)
    except ContainerError:
        listed = []  # no Docker any more: nothing of ours is in it
    gone = []
    if node.path(container.LIBRARY.format(name)).exists():
        shutil.rmtree(node.path(container.LIBRARY.format(name)))
        gone.append(container.LIBRARY.format(name))
    node.path(NOTE.format(name)).unlink(missing_ok=True)
    return [*listed, *gone]


def known(name: str, node: Node) -> list[str]:
    """Return the references of images a service brought."""
    try:
        found = json.loads(node.path(NOTE.format(name)).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [str(one) for one in found] if isinstance(found, list) else []


def stream(node: Node) -> image.Stream:
    """Programs line by line on a real node; through the node's own runner in tests."""
    if node.run is process.run:
        return image.run_streamed

    def adapted(argv: Sequence[str], said: Callable[[str], None]) -> tuple[int, str]:
        done = node.run(argv)
        text = (done.output + done.errors).decode(errors="replace")
        for line in text.splitlines():
            said(line)
        return done.code, text

    return adapted


def _write(name: str, images: Sequence[str], node: Node) -> None:
    path = node.path(NOTE.format(name))
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.write_text(json.dumps(list(images)) + "\n", encoding="utf-8")


def _quiet(line: str) -> None:
    del line
