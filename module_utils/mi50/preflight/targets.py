"""Which address stands for each upstream host, a file the roles will really fetch, and which apt repository is used."""

from __future__ import annotations

from typing import Any

from .model import RepositoryTarget, Target


def targets_for(stack: dict[str, Any], bases: list[str], os_id: str, os_version: str) -> list[Target]:
    """Return one target for each base named, in that order; `stack` is resolved (it has `url` and `bases`).

    AMD's host is asked for the Release file of this very suite, so that a mirror without it is noticed. A base that
    nothing in the stack uses is not asked.
    """
    return [_target(stack, base, os_id, os_version) for base in bases]


def _target(stack: dict[str, Any], base: str, os_id: str, os_version: str) -> Target:
    if not stack["bases"].get(base):
        return Target(base, None)
    if base.startswith("mi50_registry_"):
        host = stack["bases"][base].split("/")[0]
        # The hub answers its API under another name than the one in image references.
        return Target(base, f"https://{'registry-1.docker.io' if host == 'docker.io' else host}/v2/")
    userspace = stack["rocm"]["apt"]["userspace"]
    if userspace["base"] == base:
        for platform in stack["rocm"]["platforms"]:
            if (platform["id"], platform["version"]) == (os_id, os_version):
                return Target(base, f"{userspace['url']}/dists/{platform['suite']}/InRelease", apt=True)
        return Target(base, stack["rocm"]["key"]["url"], apt=True)
    for artifact in stack["artifacts"].values():
        if artifact["base"] == base and artifact["url"]:
            return Target(base, artifact["url"] + ("/" if artifact["kind"] == "wheel-index" else ""))
    return Target(base, None)


def repository_for(
    stack: dict[str, Any], os_id: str, os_version: str, fingerprint: str = "", key_content: str = ""
) -> RepositoryTarget | None:
    """Return the apt repository of `stack` (resolved) for a release, None when the stack has no suite for it.

    `fingerprint` and `key_content` replace what the stack pins; empty means the stack's own.
    """
    rocm = stack["rocm"]
    userspace = rocm["apt"]["userspace"]
    for platform in rocm["platforms"]:
        if (platform["id"], platform["version"]) == (os_id, os_version):
            return RepositoryTarget(
                base=userspace["base"],
                url=(userspace["url"] or "").rstrip("/"),
                suite=platform["suite"],
                components=tuple(userspace["components"]),
                origin=rocm["pin"]["origin"],
                fingerprint=fingerprint or rocm["key"]["fingerprint"],
                key_url=rocm["key"]["url"] or "",
                key_content=key_content,
            )
    return None
