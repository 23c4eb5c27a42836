"""The data of a preflight: checks, what was seen on a host, what is asked of it. No input or output here."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

OK, WARN, FAIL, SKIP, ERROR = "ok", "warn", "fail", "skip", "error"
STATUSES = (OK, WARN, FAIL, SKIP, ERROR)
# A check that could not look says nothing of the node: nobody may take it for one that passed.
BAD = (FAIL, ERROR)
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


def stumbled(error: BaseException) -> str:
    """Return what an exception says, in one line, and where it came from."""
    said = next(iter(str(error).strip().splitlines()), "")
    text = f"{type(error).__name__}: {said}"[:300] if said else type(error).__name__
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return text
    return f"{text} ({trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}, line {trace.tb_lineno})"


def crashed(check_id: str, error: BaseException | str) -> Check:
    """Return the finding that a check could not look; `error` is the exception, or what it said."""
    found = error if isinstance(error, str) else stumbled(error)
    remedy = (
        "The other checks say whether something on the node is in its way; if not, it is a defect of this project: "
        "`ansible-playbook playbooks/support_bundle.yml` collects what its maintainers need"
    )
    return Check(check_id, "Check that could not look", ERROR, found, "an answer", remedy)


def guarded(check_id: str, look: Callable[[], Check]) -> Check:
    """Return what a check finds; one that crashes is a finding itself and takes no other with it."""
    try:
        return look()
    except Exception as error:  # whatever it is, the report of the node must not be lost
        return crashed(check_id, error)


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
    dpkg_cut: str = ""
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
    # Who asks is about to work on the node, and begins with what a run of ours was cut off in.
    mends: bool = False


def build_report(host: str, checks: list[dict[str, str]]) -> dict[str, Any]:
    """Return the JSON report: `ok` is true when no check failed, and every one could look."""
    failures = [check["id"] for check in checks if check["status"] in BAD]
    return {"ok": not failures, "host": host, "checks": checks, "failures": failures}


def mask_url(text: str) -> str:
    """Return the text without the user names and passwords of URLs in it: reports are read by others."""
    return _CREDENTIALS.sub(r"\1***@", text)
