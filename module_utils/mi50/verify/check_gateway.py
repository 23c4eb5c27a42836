"""What the gateways have of a node, as the playbook asked them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..preflight.model import OK, WARN, Check

# What a gateway may say of a node; "" where it does not know it, SILENT for one that did not answer.
SERVES, DRAINED, SILENT = "serves", "drained", "silent"


def check_gateways(node: str, said: Mapping[str, str], claim: Mapping[str, Any] | None) -> list[Check]:
    """No gateway keeps the node drained after the work on it; nothing where none knows it.

    said: state of the node by the gateway's host. claim: of the run that works on the node, None when there is none.
    """
    serving, drained, silent = (sorted(name for name in said if said[name] == one) for one in (SERVES, DRAINED, SILENT))
    if not (serving or drained or silent):
        return []
    forgotten = drained if claim is None else []
    lines = [f"{name} sends it nothing: it is drained, and no run works on it" for name in forgotten]
    if claim is not None and drained:
        where = str(claim.get("controller") or "").partition(" ")[0] or "another machine"
        lines += [f"drained at {', '.join(drained)} while {claim.get('user') or 'somebody'} on {where} works on it"]
    lines += [f"{name} does not answer" for name in silent]
    lines += [f"{', '.join(serving)} sends it requests"] if serving else []
    remedies = [f"When nobody works on it by hand: playbooks/ready.yml --limit {node}"] if forgotten else []
    remedies += [f"On {', '.join(silent)}: journalctl -u mi50-gateway; then playbooks/gateway.yml"] if silent else []
    status = WARN if remedies else OK
    return [Check("gateway.node", "Gateway", status, "; ".join(lines), "requests from each", "; ".join(remedies))]
