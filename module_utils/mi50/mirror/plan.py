"""What a mirror of a stack holds: every artifact, both apt repositories of AMD, the distribution's packages, models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .errors import MirrorError

# The system's own Python of a platform: wheels are for one of them.
PYTHONS = {("ubuntu", "22.04"): "3.10", ("ubuntu", "24.04"): "3.12", ("debian", "12"): "3.11"}
# Distribution packages that roles install besides those of the stack (roles/*/vars, module_utils/mi50/rocm/info.py).
PACKAGES = (
    *("python3-apt", "python3-venv", "python3-dev", "archlinux-keyring", "gpgv", "zstd", "xz-utils", "rsync"),
    # What the mirror itself runs, for a site where it is the first host of all.
    *("docker-registry", "fcgiwrap", "git", "nginx-light", "ca-certificates"),
    *("docker.io", "libvulkan1", "mesa-vulkan-drivers", "vulkan-tools", "curl", "pciutils"),
)
BASES = ("mi50_url_", "mi50_registry_")


class Item(NamedTuple):
    """One thing to mirror. `what` decides what it is, whoever gives it; `source` is where it comes from this time."""

    name: str
    kind: str
    what: Mapping[str, Any]
    source: Mapping[str, Any]


class Settings(NamedTuple):
    """What an inventory asks of a mirror besides its stack."""

    platforms: Sequence[str] = ()  # ID-VERSION as in os-release; none: every platform of the stack
    only: Sequence[str] = ()
    without: Sequence[str] = ()
    overrides: Mapping[str, Mapping[str, Any]] = {}
    models: Sequence[Mapping[str, Any]] = ()
    distributions: Sequence[Mapping[str, Any]] = ()
    packages: Sequence[str] = ()
    package_set: str = "full"
    fingerprint: str = ""
    keyring: str = ""


def folder(base: str) -> str:
    """Return the folder of a base below www/: mi50_url_radeon is served as /radeon."""
    for prefix in BASES:
        if base.startswith(prefix):
            return base[len(prefix) :]
    raise MirrorError(f"{base}: is no base address of a stack.")


def items(stack: Mapping[str, Any], settings: Settings) -> list[Item]:
    """Return everything a mirror of this stack holds. Raises MirrorError for names that are none of the stack's."""
    platforms = choose_platforms(stack, settings.platforms)
    pythons = sorted(
        {PYTHONS[one["id"], one["version"]] for one in platforms if (one["id"], one["version"]) in PYTHONS}
    )
    known = _unknown_overrides(stack, settings)
    found = [_key(stack, settings), *(_apt(stack, platform, settings) for platform in platforms)]
    for name, artifact in sorted(stack["artifacts"].items()):
        merged = {**artifact, **known.get(name, {})}
        if merged.get("url"):
            found.append(_artifact(stack, merged, pythons, settings.keyring))
    # One for each build: two of them may pin the same project differently.
    found += [_build(stack, build, pythons) for build in stack.get("builds", []) if build.get("requirements")]
    hubs = {name: stack["bases"].get(f"mi50_url_{name}") or "" for name in ("huggingface", "modelscope")}
    found += [
        Item(f"model-{model['name']}", "model", {"model": dict(model)}, hubs)
        for model in settings.models
        if model.get("source", "huggingface") in hubs
    ]
    return _filtered(found, settings)


def choose_platforms(stack: Mapping[str, Any], names: Sequence[str]) -> list[Mapping[str, Any]]:
    """Return the platforms of the stack with these names, all for none. Raises MirrorError for an unknown one."""
    known = {f"{one['id']}-{one['version']}": one for one in stack["rocm"]["platforms"]}
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise MirrorError(
            f"artifact_mirror_platforms: {', '.join(unknown)}: {stack['name']} has {', '.join(sorted(known))}."
        )
    return [known[name] for name in names or sorted(known)]


def _unknown_overrides(stack: Mapping[str, Any], settings: Settings) -> Mapping[str, Mapping[str, Any]]:
    unknown = sorted(set(settings.overrides) - set(stack["artifacts"]))
    if unknown:
        raise MirrorError(
            f"artifact_mirror_overrides: {', '.join(unknown)}: the stack {stack['name']} has no such artifact; it has "
            f"{', '.join(sorted(stack['artifacts']))}."
        )
    return settings.overrides


def _filtered(found: list[Item], settings: Settings) -> list[Item]:
    names = {item.name for item in found}
    for option, given in (("artifact_mirror_items", settings.only), ("artifact_mirror_without", settings.without)):
        unknown = sorted(set(given) - names)
        if unknown:
            raise MirrorError(
                f"{option}: {', '.join(unknown)}: there is no such item; known: {', '.join(sorted(names))}."
            )
    return [
        item
        for item in found
        if (not settings.only or item.name in settings.only) and item.name not in settings.without
    ]


def _build(stack: Mapping[str, Any], build: Mapping[str, Any], pythons: Sequence[str]) -> Item:
    """What a build asks the package index for, and the indexes it asks besides."""
    low, dummy, high = str(build.get("requires_python") or "3.0-3.99").partition("-")
    fitting = [one for one in pythons if _minor(low) <= _minor(one) <= _minor(high or low)]
    indexes = [stack["artifacts"][name] for name in build.get("indexes", [])]
    what = {
        "requirements": sorted(build["requirements"]),
        "pythons": fitting,
        "beside": [f"{folder(one['base'])}/{one['path']}" for one in indexes],
    }
    source = {"pypi": stack["bases"].get("mi50_url_pypi") or "", "indexes": [one["url"] for one in indexes]}
    return Item(f"build-{build['name']}", "pypi", what, source)


def _minor(version: str) -> int:
    return int(version.partition(".")[2])


def _key(stack: Mapping[str, Any], settings: Settings) -> Item:
    key = stack["rocm"]["key"]
    what = {"path": f"{folder(key['base'])}/{key['path']}", "fingerprint": settings.fingerprint or key["fingerprint"]}
    return Item("rocm-key", "key", what, {"url": key["url"]})


def _apt(stack: Mapping[str, Any], platform: Mapping[str, Any], settings: Settings) -> Item:
    """Both repositories of AMD and the distribution's own, with what the roles install out of them."""
    name, rocm = f"{platform['id']}-{platform['version']}", stack["rocm"]
    repositories, addresses = [], {}
    for one in (rocm["apt"]["userspace"], rocm["apt"]["driver"]):
        path = f"{folder(one['base'])}/{one['path']}"
        pinned = settings.fingerprint or rocm["key"]["fingerprint"]
        repositories.append(
            {"path": path, "suite": platform["suite"], "components": list(one["components"]), "fingerprint": pinned}
        )
        addresses[path] = one["url"]
    # Packages of a build have the build's number in their versions; AMD's repository of a release holds no other.
    packages = {*rocm["packages"][settings.package_set], *rocm["packages"]["driver"]}
    theirs = [one for one in settings.distributions if one["platform"] == name]
    wanted: set[str] = set()
    if theirs:
        wanted = {*PACKAGES, *platform["extra_packages"], *settings.packages}
        wanted.update(package for build in stack.get("builds", []) for package in build.get("packages", []))
    for one in theirs:
        path = f"os/{name}/{one['name']}"
        given = {key: one[key] for key in ("suite", "components", "keyring")}
        repositories.append({"path": path, **given})
        addresses[path] = one["url"]
    what = {
        "repositories": repositories,
        "packages": sorted(packages),
        "distribution": sorted(wanted),
        "listing": f"os/{name}.json",
    }
    return Item(f"apt-{name}", "apt", what, addresses)


def _artifact(stack: Mapping[str, Any], artifact: Mapping[str, Any], pythons: Sequence[str], keyring: str) -> Item:
    name, kind = artifact["name"], artifact["kind"]
    path = f"{folder(artifact['base'])}/{artifact['path']}"
    source: dict[str, Any] = {"url": artifact["url"]}
    if kind == "file":
        what = {"path": path, "sha256": artifact.get("sha256"), "size": artifact.get("size")}
        signature = artifact.get("signature")
        if signature:
            what["signature"] = f"{folder(signature['base'])}/{signature['path']}"
            what["keyring"] = keyring or signature.get("keyring") or ""
            source["signature"] = signature["url"]
    elif kind == "git":
        what = {"path": path, "commit": artifact["commit"]}
    elif kind == "image":
        what = {"path": artifact["path"], "version": artifact["version"], "digest": artifact.get("digest")}
    elif kind == "wheel-index":
        pins = {name: stack["python"][name] for name in ("torch", "torchvision", "torchaudio") if stack["python"][name]}
        what = {"path": path, "pins": pins, "pythons": list(pythons), "wheels": artifact.get("wheels") or {}}
        source["pypi"] = stack["bases"].get("mi50_url_pypi") or ""
    else:
        raise MirrorError(f"{name}: nothing here mirrors artifacts of kind {kind!r}.")
    return Item(name, kind, what, source)
