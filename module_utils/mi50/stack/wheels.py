"""Lock the wheels of an index: what PyTorch's pages say their sha256 are, at the first look. Runs on the controller.

The pages come over the same TLS connection as the wheels would, so that a digest from there is worth as much as one of
a first download, and costs kilobytes instead of 4 GB for each Python.
"""

from __future__ import annotations

from typing import Any

from ..torchenv import index
from ..torchenv.model import FAMILY, TorchEnvError
from .load import StackError


def entry(stack: dict[str, Any], artifact: dict[str, Any]) -> dict[str, Any]:
    """Return the lock entry of an index: digests of the stack's torch, torchvision and torchaudio for every Python.

    Raises StackError when a page cannot be had, has no such version, or states no digests.
    """
    if not artifact["url"]:
        raise StackError(f"{artifact['name']}: has no address: its base is empty")
    found: dict[str, str] = {}
    for project in FAMILY:
        version = stack["python"].get(project)
        if version:
            found.update(_digests(artifact, project, version))
    return {"url": artifact["url"], "path": artifact["path"], "wheels": found}


def _digests(artifact: dict[str, Any], project: str, version: str) -> dict[str, str]:
    try:
        links = index.page(artifact["url"], project)
    except TorchEnvError as exc:
        raise StackError(f"{artifact['name']}: {exc}") from exc
    named = [(link, name) for link in links if (name := index.wheel_name(link.file)) and name.version == version]
    mine = [link for link, name in named if index.fits(name, f"3.{name.python[3:]}")]
    if not mine:
        raise StackError(f"{artifact['name']}: {artifact['url']} has no wheel of {project} {version} for Linux")
    without = [link.file for link in mine if not link.sha256]
    if without:
        raise StackError(
            f"{artifact['name']}: {artifact['url']} states no sha256 for {without[0]}; lock from PyTorch's own index"
        )
    return {link.file: link.sha256 for link in mine}
