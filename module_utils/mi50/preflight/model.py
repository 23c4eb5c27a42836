"""The data of a preflight: checks, what was seen on a host, what is asked of it. No input or output here."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from typing import Any

OK, WARN, FAIL, SKIP = "ok", "warn", "fail", "skip"
STATUSES = (OK, WARN, FAIL, SKIP)
_CREDENTIALS = re.compile(r"(^|//|['\"])[^/\s@'\"]+@")


@dataclass(frozen=True)
class Check:
    """One line of the report. `id` is a stable name that docs/troubleshooting.md explains."""

    id: str
    title: str
    status: str
    found: str
    expected: str = ""
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the form the JSON report holds."""
        return asdict(self)


@dataclass(frozen=True)
class Disk:
    """A file system seen from one path."""

    path: str
    device: int
    free_bytes: int
    free_inodes: int | None = None


@dataclass(frozen=True)
class Proxy:
    """A proxy and the variable or file it came from."""

    url: str
    source: str


@dataclass(frozen=True)
class Probe:
    """What became of one request to an upstream host. `kind` is `ok`, `skip` or the class of failure (network.py)."""

    base: str
    url: str
    kind: str
    detail: str = ""
    proxy: Proxy | None = None


@dataclass(frozen=True)
class Target:
    """One address that has to answer. `apt`: apt will fetch from it, so apt's own proxy settings apply."""

    base: str
    url: str | None
    apt: bool = False


@dataclass(frozen=True)
class RepositoryTarget:
    """The apt repository a stack uses on one release. `key_content` is a key handed over in place of `key_url`."""

    base: str
    url: str
    suite: str
    components: tuple[str, ...]
    origin: str
    fingerprint: str
    key_url: str
    key_content: str = ""


@dataclass(frozen=True)
class Finding:
    """What became of one step with the apt repository. `kind` is `ok`, `skip` or a failure (check_repository.py)."""

    kind: str
    found: str
    expected: str = ""


@dataclass(frozen=True)
class RepositoryState:
    """The signing key and the signed package lists of the stack's repository, as the node gets them."""

    key: Finding
    lists: Finding


@dataclass(frozen=True)
class HostState:
    """Everything collected on a host. None means: could not be read, and the checks say so."""

    os_id: str = ""
    os_version: str = ""
    os_name: str = ""
    arch: str = ""
    kernel: str = ""
    cmdline: str = ""
    amdgpu_loaded: bool = False
    amdgpu_blacklist: tuple[str, ...] = ()
    dpkg_broken: dict[str, str] = field(default_factory=dict)
    dpkg_interrupted: bool = False
    disks: tuple[Disk, ...] = ()
    rocm_installed: bool = False
    gpus: tuple[dict[str, Any], ...] = ()
    gfx906: tuple[str, ...] = ()
    kernel_log: tuple[str, ...] | None = None
    secure_boot: bool | None = None
    fan_daemons: tuple[str, ...] | None = None
    python_apt: bool = True
    clock_offset: float | None = None
    probes: tuple[Probe, ...] = ()
    repository: RepositoryState | None = None


@dataclass(frozen=True)
class Policy:
    """What the stack and the inventory ask of a host."""

    stack: str
    platforms: tuple[dict[str, Any], ...]
    refused: tuple[dict[str, Any], ...] = ()
    kernel_driver: str = "auto"
    min_free_gib: dict[str, float] = field(default_factory=dict)
    expected_gpus: int | None = None
    check_mode: bool = False


def build_report(host: str, checks: list[dict[str, str]]) -> dict[str, Any]:
    """Return the JSON report: `ok` is true when no check failed."""
    failures = [check["id"] for check in checks if check["status"] == FAIL]
    return {"ok": not failures, "host": host, "checks": checks, "failures": failures}


def mask_url(text: str) -> str:
    """Return the text without the user names and passwords of URLs in it: reports are read by others."""
    return _CREDENTIALS.sub(r"\1***@", text)
