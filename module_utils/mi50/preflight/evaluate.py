"""Compare a host with what is asked of it."""

from __future__ import annotations

from collections.abc import Callable

from .check_gpu import GPU_CHECKS
from .check_network import check_probe
from .check_repository import check_repository
from .check_system import SYSTEM_CHECKS
from .model import Check, HostState, Policy, Probe, crashed, guarded


def evaluate(host: HostState, policy: Policy) -> list[Check]:
    """Return every check, in the order of the report."""
    checks = [_look(name, check, host, policy) for name, check in {**SYSTEM_CHECKS, **GPU_CHECKS}.items()]
    checks += [_probe(probe) for probe in host.probes]
    try:
        return checks + check_repository(host.repository)
    except Exception as error:
        return [*checks, crashed("repository.lists", error)]


def _look(name: str, check: Callable[[HostState, Policy], Check], host: HostState, policy: Policy) -> Check:
    return guarded(name, lambda: check(host, policy))


def _probe(probe: Probe) -> Check:
    return guarded(f"network.{probe.base}", lambda: check_probe(probe))
