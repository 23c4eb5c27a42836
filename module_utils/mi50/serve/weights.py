"""What of a GGUF model is to lie in VRAM, and whether it fits there with the context asked for."""

from __future__ import annotations

from typing import NamedTuple

from ..models import errors, fit, gguf, shape
from . import gpus
from .model import Common, Later, Node


class Wanted(NamedTuple):
    """A model file as an engine will load it; `layers` is how many it may put on the cards."""

    model: str
    context: int
    projector: str = ""
    slots: int = 1
    kv_type: str = "f16"
    layers: int = 999
    windowed: bool = True


class Verdict(NamedTuple):
    """Bytes that will lie in VRAM (cache aside), what is wrong, and what is merely tight."""

    bytes: int
    problems: list[str]
    warnings: list[str]


def judge(common: Common, wanted: Wanted, node: Node, *, vulkan: bool = True) -> Verdict:
    """Read the files' headers and estimate. Raises nothing: a damaged file is a problem, told by name."""
    missing = [path for path in (wanted.model, wanted.projector) if path and not node.path(path).exists()]
    if missing:
        return Verdict(
            0, [Later(f"there is no {path} on this node: have the role models fetch it") for path in missing], []
        )
    projector, problems = _projector(common.name, wanted.projector, node)
    try:
        model = shape.of_file(node.path(wanted.model))
    except errors.ModelError as error:
        return Verdict(0, [*problems, str(error)], [])
    share = min(1.0, wanted.layers / max(1, len(model.layers)))
    found = Verdict(int(model.weights.total * share) + projector, problems, [])
    # Layers that are left to the CPU are the user's own arithmetic.
    if not common.gpus or common.software or share < 1.0:
        return found
    ask = fit.Ask(
        context=wanted.context,
        slots=wanted.slots,
        kv_type=wanted.kv_type,
        pipeline=len(common.gpus),
        windowed=wanted.windowed,
        extra=projector,
    )
    try:
        verdict = fit.judge(model, ask, [gpus.usable(gpu, vulkan=vulkan) for gpu in common.gpus])
    except errors.ModelError as error:
        return found._replace(problems=[*problems, str(error)])
    if not verdict.ok:
        return found._replace(problems=[*problems, f"{common.name}_context: {verdict.text}"])
    return found._replace(warnings=[f"it will be tight: {verdict.text}"] if verdict.tight else [])


def _projector(name: str, path: str, node: Node) -> tuple[int, list[str]]:
    if not path:
        return 0, []
    try:
        kind = gguf.read(node.path(path)).architecture
        size = node.path(path).stat().st_size
    except (errors.ModelError, OSError) as error:
        return 0, [str(error)]
    return size, [] if kind == "clip" else [f"{path}: is a {kind!r} model, no image projector ({name}_mmproj)"]
