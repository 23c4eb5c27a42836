"""Parts that the engines are made of: what all of them say in the same way of their options, files and releases."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from ..addresses import joined, local
from . import archive, unit
from .model import Common, Node, Probe, ServeError

# Options of every engine that serves one GGUF file, as an Ansible argument spec.
GGUF_SPEC: dict[str, dict[str, Any]] = {
    "model": {"type": "path", "required": True},
    "mmproj": {"type": "path", "default": ""},
    "alias": {"type": "str", "default": ""},
    "context": {"type": "int", "default": 16384},
    "parallel": {"type": "int", "default": 1},
    "environment": {"type": "dict", "default": {}},
}
# Of every engine whose program comes as an archive.
ARCHIVE_SPEC: dict[str, dict[str, Any]] = {
    "archive": {"type": "path", "default": ""},
    "version": {"type": "str", "default": ""},
    "sha256": {"type": "str", "default": ""},
}


def address(common: Common) -> str:
    """Where the service is asked from its own node."""
    return f"http://{joined(local(common.bind), common.port)}"


def probe(common: Common, kind: str, model: str, vram: int, device: str = "VEGA20") -> Probe:
    """How the service is asked, with the times that were asked for; `vram`: bytes of the weights."""
    return Probe(
        kind=kind,
        url=address(common),
        model=model,
        expected_vram=vram if common.gpus else 0,
        device=device,
        floor=common.floor,
        software=common.software,
        load_timeout=common.load_timeout,
        answer_timeout=common.answer_timeout,
        live_timeout=common.live_timeout,
        interval=common.interval,
        completion_every=common.completion_every,
    )


def directories(common: Common) -> tuple[str, ...]:
    """What the service may write to: its state and its cache."""
    return (f"/var/lib/mi50-aipc/{common.name}", f"/var/cache/mi50-aipc/{common.name}")


def alias(options: Mapping[str, Any]) -> str:
    """Name of the model in requests: the one that was given, or the file's without its suffix."""
    return str(options["alias"] or stem(options["model"]))


def stem(path: str) -> str:
    """File name without its suffix."""
    return path.rpartition("/")[2].rpartition(".")[0]


def files(options: Mapping[str, Any]) -> tuple[str, ...]:
    """The model's files."""
    return tuple(path for path in (options["model"], options["mmproj"]) if path)


def bound(options: Mapping[str, Any], *, every: bool = False) -> tuple[str, ...]:
    """Folders of the model's files that the sandbox would hide; with `every`, all of them."""
    folders = {path.rpartition("/")[0] for path in files(options)}
    return tuple(sorted(name for name in folders if every or unit.hidden(name)))


def environment(options: Mapping[str, Any]) -> dict[str, str]:
    """Environment that was asked for."""
    return {str(name): str(value) for name, value in options["environment"].items()}


def facts(engine: str, program: str, options: Mapping[str, Any], **more: object) -> dict[str, Any]:
    """What the status shows; `program` is what the record keeps from being pruned."""
    known = ("version", "model", "mmproj", "context", "parallel")
    return {"engine": engine, "program": [program], **{name: options[name] for name in known}, **more}


def too_low(name: str, options: Mapping[str, Any], lowest: Mapping[str, int]) -> list[str]:
    """Numbers below what makes sense."""
    return [
        f"{name}_{option} is {options[option]}: give {low} or more"
        for option, low in lowest.items()
        if options[option] < low
    ]


def room(options: Mapping[str, Any], node: Node, times: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Bytes that unpacking the archive takes, by folder: so many `times` its size."""
    if not options["archive"]:
        return ()
    try:
        size = node.path(options["archive"]).stat().st_size
    except OSError:
        return ()
    return tuple((path, factor * size) for path, factor in times.items())


def program(name: str, wanted: str, options: Mapping[str, Any], node: Node, inside: str = "") -> str:
    """Where a release's program lies; until it is unpacked, where its archives have it (`inside`)."""
    base = archive.folder(name, options["version"] or "local", options["sha256"])
    return archive.find(base, wanted, node) or f"{base}/{inside or wanted}"


def unpack(name: str, wanted: str, options: Mapping[str, Any], node: Node, what: str) -> None:
    """Unpack a release beside the one in use. Raises ServeError, also when it is none of `what`."""
    base = archive.folder(name, options["version"] or "local", options["sha256"])
    archive.unpack(options["archive"], base, options["sha256"], node)
    if not archive.find(base, wanted, node):
        shutil.rmtree(node.path(base))
        raise ServeError(f"{options['archive']} holds no {wanted}: not {what}")


def cleared(name: str, node: Node, others: Sequence[str] = ()) -> list[str]:
    """Remove releases, state, cache and `others` (files or folders); returns what was there."""
    gone = []
    for path in (f"/opt/mi50-aipc/{name}", f"/var/lib/mi50-aipc/{name}", f"/var/cache/mi50-aipc/{name}", *others):
        place = node.path(path)
        if place.is_dir():
            shutil.rmtree(place)
        elif place.exists():
            place.unlink()
        else:
            continue
        gone.append(path)
    return gone
