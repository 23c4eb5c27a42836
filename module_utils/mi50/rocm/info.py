"""Everything the role `rocm` decides on, gathered in one go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..apt import dpkg, policy
from . import driver, host

# Runs a command with LC_ALL=C; returns exit code and standard output.
Runner = Callable[[list[str]], tuple[int, str]]

# The distribution's packages that Ansible's own apt module imports on the node.
APT_MODULES = ("python3-apt",)


@dataclass(frozen=True)
class Wanted:
    """What the role asks for; `platforms` and `build` come from the stack."""

    version: str
    build: str
    platforms: Sequence[Mapping[str, Any]]
    packages: list[str]
    driver: str = "auto"
    driver_packages: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=lambda: ["render", "video"])
    # Addresses of the repositories; when given, the origin of every installed ROCm package is looked up.
    uris: list[str] = field(default_factory=list)


def _kernel(roots: host.Roots, packages: Mapping[str, dpkg.Package], runner: Runner) -> driver.Kernel:
    release = host.kernel_release(roots)
    if host.in_container(roots):
        return driver.Kernel(release, container=True)
    names = (f"linux-headers-{release}", f"linux-modules-extra-{release}")
    states = {name: "installed" for name in names if name in packages and packages[name].state == "installed"}
    asked = [name for name in names if name not in states]
    if asked:
        found = policy.parse(runner(["apt-cache", "policy", *asked])[1])
        states.update({name: "available" for name in asked if found.get(name, policy.Policy()).candidate})
    return driver.Kernel(
        release=release,
        secure_boot=host.secure_boot(roots),
        amdgpu=host.amdgpu_module(roots, release),
        headers=states.get(names[0], "missing"),
        extra=states.get(names[1], "missing"),
        firmware=host.firmware(roots),
    )


def _firmware(kernel: driver.Kernel, os_id: str, runner: Runner) -> tuple[list[str], list[str]]:
    """Packages and warnings: Vega 20's firmware on Debian, where the driver loads but finds no firmware without it."""
    if os_id != "debian" or kernel.container or kernel.firmware:
        return [], []
    name = "firmware-amd-graphics"
    if policy.parse(runner(["apt-cache", "policy", name])[1]).get(name, policy.Policy()).candidate:
        return [name], []
    return [], [
        f"no firmware for Vega 20 in /lib/firmware/amdgpu, and apt does not offer {name}: amdgpu cannot start "
        f"the card. Add "
        "non-free-firmware to the Components of Debian's source (/etc/apt/sources.list.d/ or sources.list), run again"
    ]


def _missing(wanted: Wanted, names: Sequence[str], packages: Mapping[str, dpkg.Package], own_build: bool) -> list[str]:
    """Names that are not installed, or (for packages of the repository) not in the stack's build."""
    found = []
    for name in names:
        package = packages.get(name)
        good = package is not None and package.state == "installed"
        if good and own_build and package is not None:
            good = dpkg.is_build(package.version, wanted.build)
        if not good:
            found.append(name)
    return found


def _wrong_origins(wanted: Wanted, names: list[str], runner: Runner) -> list[dict[str, Any]]:
    """Installed ROCm packages that none of our repositories offers in that version."""
    if not wanted.uris or not names:
        return []
    bases = tuple(uri.rstrip("/") + " " for uri in wanted.uris)
    return [
        {"name": name, "version": item.installed, "origins": item.origins}
        for name, item in sorted(policy.parse(runner(["apt-cache", "policy", *names])[1]).items())
        if item.installed and not any(origin.startswith(bases) for origin in item.origins)
    ]


def collect(roots: host.Roots, wanted: Wanted, runner: Runner) -> dict[str, Any]:
    """Gather and decide. Without `platforms` every system will do, as ROCm can be removed from any.

    Raises driver.PlatformError for an unsupported system or an impossible driver choice.
    """
    release = host.os_release(roots)
    platform: Mapping[str, Any] = {**release, "kernels": []}
    if wanted.platforms:
        platform = driver.find_platform(release["id"], release["version"], wanted.platforms)
    packages = dpkg.read_status(roots.root)
    kernel = _kernel(roots, packages, runner)
    decision = driver.decide(wanted.driver, kernel, platform, wanted.driver_packages)
    firmware, warnings = _firmware(kernel, release["id"], runner) if decision.mode == "inbox" else ([], [])
    names = [*wanted.packages, *(name for name in platform.get("extra_packages", []) if wanted.packages)]
    installed = {
        item.name: item.version
        for item in packages.values()
        if item.state == "installed" and dpkg.is_build(item.version, wanted.build)
    }
    named = [name for name in wanted.packages if name in packages and packages[name].state == "installed"]
    reasons = host.reboot_reasons(roots, kernel)
    audit = dpkg.audit(packages, roots.root)
    driver_names = [*decision.packages, *firmware]
    own = [name for name in driver_names if name in wanted.driver_packages]
    other = [name for name in driver_names if name not in wanted.driver_packages]
    version = host.rocm_version(roots, wanted.version)
    return {
        "os": release,
        "platform": dict(platform),
        "kernel": asdict(kernel),
        "driver": {
            "mode": decision.mode,
            "reason": decision.reason,
            "packages": _missing(wanted, own, packages, True) + _missing(wanted, other, packages, False),
            "warnings": [*decision.warnings, *warnings],
        },
        "rocm": {"version": version, "prefix": f"/opt/rocm-{wanted.version}", "packages": installed},
        "missing": {
            "apt_modules": _missing(wanted, APT_MODULES, packages, False),
            "packages": _missing(wanted, wanted.packages, packages, True),
            "extra_packages": _missing(wanted, names[len(wanted.packages) :], packages, False),
            "groups": [name for name in wanted.groups if wanted.users and not host.group_exists(roots, name)],
            "users": [name for name in wanted.users if not host.user_exists(roots, name)],
            "memberships": [
                {"user": user, "groups": lacking}
                for user, lacking in host.groups_of(roots, wanted.users, wanted.groups).items()
                if lacking
            ],
        },
        "stale_links": host.stale_links(roots) if wanted.packages else [],
        "wrong_origin": _wrong_origins(wanted, sorted({*installed, *named}), runner),
        "dpkg_audit": audit,
        "gpus": host.gpus(roots),
        "reboot_required": bool(reasons),
        "reboot_reasons": reasons,
        "problems": _problems(wanted, version, packages, audit),
    }


def settled(seen: Mapping[str, Any]) -> bool:
    """Tell from what `collect` found whether nothing is left to do, the apt source aside."""
    lacks = [*seen["missing"].values(), seen["driver"]["packages"], seen["problems"], seen["wrong_origin"]]
    lacks.append(seen["stale_links"])
    # The DKMS driver has an apt source of its own, which nobody has looked at here.
    return not any(lacks) and seen["driver"]["mode"] != "dkms"


def _problems(wanted: Wanted, version: str | None, packages: Mapping[str, dpkg.Package], audit: list[str]) -> list[str]:
    """What stands between this node and the stack's ROCm; verification demands that there be none."""
    found = [f"dpkg: {line} (run `dpkg --configure -a`, or remove the package)" for line in audit]
    if not wanted.packages:
        return found
    if version is None:
        found.append(
            f"/opt/rocm-{wanted.version}/.info/version is missing: rocm-core of ROCm {wanted.version} is not installed"
        )
    elif version.split("-")[0] != wanted.version:
        found.append(f"/opt/rocm-{wanted.version}/.info/version says {version}, not {wanted.version}")
    for name in _missing(wanted, wanted.packages, packages, True):
        item = packages.get(name)
        state = f"is {item.state} in version {item.version}" if item else "is not installed"
        found.append(f"package {name} {state}; wanted: a version of build {wanted.build}")
    return found
