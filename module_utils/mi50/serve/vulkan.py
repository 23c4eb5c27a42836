"""Which Vulkan drivers a service's loader may use: the card's, and the CPU's only with the user's word."""

from __future__ import annotations

from collections.abc import Sequence

from . import checks
from .model import Common, Later, Node

_CARD, _SOFTWARE = "radeon_icd", "lvp_icd"
# Variables with paths of the node.
PATHS = ("HOME", "VK_DRIVER_FILES", "VK_ICD_FILENAMES", "MESA_SHADER_CACHE_DIR")


def manifests(common: Common, node: Node, root: str = "") -> list[str]:
    """Driver manifests as paths in the service's root. Without one of the card's the loader would offer llvmpipe."""
    found = checks.icds(_CARD, node, root) if common.gpus or not common.software else []
    return found + (checks.icds(_SOFTWARE, node, root) if common.software else [])


def problem(root: str = "") -> Later:
    """What is said when there is none."""
    return Later(
        f"no Vulkan driver for the card is installed ({root}/usr/share/vulkan/icd.d/{_CARD}*.json): "
        "install mesa-vulkan-drivers; without it the loader offers llvmpipe, which computes on the CPU"
    )


def environment(common: Common, drivers: Sequence[str]) -> dict[str, str]:
    """The environment that makes it so. The second name is that of loaders before 1.3.207 (Ubuntu 22.04)."""
    found = {
        "HOME": f"/var/lib/mi50-aipc/{common.name}",
        "VK_DRIVER_FILES": ":".join(drivers),
        "VK_ICD_FILENAMES": ":".join(drivers),
        "VK_LOADER_LAYERS_DISABLE": "~implicit~",
        "MESA_SHADER_CACHE_DIR": f"/var/cache/mi50-aipc/{common.name}",
    }
    if common.software and not common.gpus:
        # llama.cpp passes over devices of the kind CPU, such as llvmpipe, unless they are named.
        found["GGML_VK_VISIBLE_DEVICES"] = "0"
    return found
