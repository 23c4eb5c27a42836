"""Compare a host with what is asked of it."""

from __future__ import annotations

from .check_gpu import GPU_CHECKS
from .check_network import check_probe
from .check_repository import check_repository
from .check_system import SYSTEM_CHECKS
from .model import Check, HostState, Policy


def evaluate(host: HostState, policy: Policy) -> list[Check]:
    """Return every check, in the order of the report."""
    checks = [check(host, policy) for check in (*SYSTEM_CHECKS, *GPU_CHECKS)]
    return checks + [check_probe(probe) for probe in host.probes] + check_repository(host.repository)
