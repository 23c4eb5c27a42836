"""The report as people read it in a terminal."""

from __future__ import annotations

from typing import Any

from .model import BAD, ERROR, FAIL, OK, SKIP, STATUSES, WARN

NO_CARD_POINTER = "no gfx906 card here: script/lab shows the same playbooks on simulated nodes"
_LABEL = {OK: "ok", WARN: "WARN", FAIL: "FAIL", SKIP: "skip", ERROR: "ERR"}
_SHOWN = (WARN, *BAD)


def summary(report: dict[str, Any]) -> str:
    """Return the counts: `2 fail, 1 error, 1 warn, 15 ok, 3 skip`."""
    statuses = [check["status"] for check in report["checks"]]
    order = sorted(STATUSES, key=(FAIL, ERROR, WARN, OK, SKIP).index)
    return ", ".join(f"{statuses.count(status)} {status}" for status in order if status in statuses)


def table(name: str, report: dict[str, Any], *, full: bool = False) -> list[str]:
    """Return the counts and a line for each check that failed, crashed or warns, its remedy below.

    `full`: a line for every check.
    """
    checks = [check for check in report["checks"] if full or check["status"] in _SHOWN]
    width = max((len(check["id"]) for check in checks), default=0)
    lines = [f"{name} {report['host']}: {summary(report)}"]
    for check in checks:
        status = check["status"]
        lines.append(f"  {_LABEL[status]:4}  {check['id']:{width}}  {check['found']}")
        if status in _SHOWN:
            if check["expected"]:
                lines.append(f"  {'':4}  {'':{width}}  expected: {check['expected']}")
            lines.append(f"  {'':4}  {'':{width}}  -> {check['remedy']}")
    return lines


def failure_message(name: str, report: dict[str, Any], path: str) -> str:
    """Return the message a failed preflight, or `name` it, ends with.

    Short, because Ansible prints it twice; what each check found is in it, because with many hosts the tables with the
    remedies stand far above.
    """
    failed = [check for check in report["checks"] if check["status"] in BAD]
    total = len(report["checks"])
    lines = [f"{name}: {len(failed)} of {total} checks failed on {report['host']} (table above; report {path})"]
    lines += [f"{check['id']}: {check['found']}" for check in failed]
    if "gpu.present" in report["failures"]:
        lines.append(NO_CARD_POINTER)
    return "\n".join(lines)
