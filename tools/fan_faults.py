"""Keeps docs/fan-faults.md: every fault of the matrix, the tests that carry its id, what became of them.

`python -m tools.fan_faults REPORT.xml…` takes JUnit reports (`pytest --junitxml`) of any of the suites, unit, process
or virtual machine, and replaces what it knew of their tests. A test belongs to a fault by its name: test_f07_… is F07.
`--check` changes nothing and fails when the page is not what its data say, or names a test that is gone.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parents[1]
MATRIX = ROOT / "tools" / "fan_faults.json"
RESULTS = ROOT / "docs" / "fan-faults.json"
PAGE = ROOT / "docs" / "fan-faults.md"
NAME = re.compile(r"test_f(\d\d)_")
PLACES = (("tests/unit/", "model"), ("tests/process/", "systemd"), ("tests/vm/", "VM"))
BEGIN, END = "<!-- faults:begin -->", "<!-- faults:end -->"

Results = dict[str, dict[str, Any]]


def source(classname: str) -> str:
    """The file of a JUnit class name such as tests.unit.fand.test_plant or unit.fand.test_plant."""
    parts = classname.split(".")
    for start in range(len(parts)):
        path = Path("tests", *[part for part in parts[start:] if part != "tests"]).with_suffix(".py")
        if (ROOT / path).is_file():
            return str(path)
    found = sorted((ROOT / "tests").rglob(f"{parts[-1]}.py"))
    return str(found[0].relative_to(ROOT)) if len(found) == 1 else classname


def read_report(path: Path) -> Results:
    """Results of the tests with an id in one report, by `file::function`."""
    found: Results = {}
    for case in ET.parse(path).iter("testcase"):  # noqa: S314 - written by our own pytest a moment ago
        name = case.get("name", "").partition("[")[0]
        if not NAME.match(name):
            continue
        key = f"{source(case.get('classname', ''))}::{name}"
        entry = found.setdefault(key, {"passed": 0, "failed": 0, "skipped": 0})
        bad = case.find("failure") is not None or case.find("error") is not None
        entry["failed" if bad else "skipped" if case.find("skipped") is not None else "passed"] += 1
    return found


def exists(key: str) -> bool:
    """Whether a test still stands in its file."""
    path, _, name = key.partition("::")
    return (ROOT / path).is_file() and f"def {name}(" in (ROOT / path).read_text()


def place(key: str) -> str:
    """Where a test runs, in a word."""
    return next((word for prefix, word in PLACES if key.startswith(prefix)), "other")


def outcome(entries: list[dict[str, Any]]) -> str:
    """Result of all tests of a fault."""
    passed, failed, skipped = (sum(entry[kind] for entry in entries) for kind in ("passed", "failed", "skipped"))
    if failed:
        return f"**{failed} failed**, {passed} passed"
    if not passed:
        return "**not run**" if skipped or not entries else "**nothing**"
    return f"{passed} passed" + (f", {skipped} not run" if skipped else "")


def fault_of(key: str) -> str:
    """The id of the fault that a test belongs to."""
    match = NAME.match(key.partition("::")[2])
    return f"F{match[1]}" if match else ""


def table(matrix: list[dict[str, str]], results: Results) -> str:
    """The Markdown table."""
    lines = ["| id | injected | must happen | tests | result |", "|---|---|---|---|---|"]
    for fault in matrix:
        by_hand = "procedure" in fault
        mine = sorted((place(key), key) for key in results if fault_of(key) == fault["id"])
        tests = "<br>".join(f"{where}: `{key.partition('::')[2]}`" for where, key in mine)
        result = outcome([results[key] for _, key in mine]) if mine else "" if by_hand else "**none**"
        tests = "<br>".join(filter(None, [tests, "by hand, below" if by_hand else ""]))
        lines.append(f"| {fault['id']} | {fault['inject']} | {fault['must']} | {tests} | {result} |")
    return "\n".join(lines)


def procedures(matrix: list[dict[str, str]]) -> str:
    """What a person does for the faults that need hardware."""
    return "\n".join(f"- **{fault['id']}** {fault['procedure']}" for fault in matrix if "procedure" in fault)


PROSE = f"""# What goes wrong with fans, and what mi50-fand does about it

Each fault is injected by the tests that carry its id in their name. `model`: the daemon's engine on the thermal model
in virtual time (`lab/plant`); `systemd`: the shipped units under a real systemd in a container; `VM`: real hwmon
drivers in QEMU. The table is written by `python -m tools.fan_faults` from their JUnit reports:

```sh
python -m pytest tests/unit/fand --junitxml=reports/fand.xml && python -m tools.fan_faults reports/fand.xml
```

{BEGIN}
%s
{END}

## On the machine
Three faults need hardware. Run the daemon with its shipped unit; watch `mi50-fand status` and
`journalctl -fu mi50-fand`.

%s
"""


def page(matrix: list[dict[str, str]], results: Results) -> str:
    """The whole document."""
    return PROSE % (table(matrix, results), procedures(matrix))


def load(path: Path) -> Any:  # noqa: ANN401 - two shapes of JSON
    """A JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def problems() -> list[str]:
    """What is wrong with the page: one line each."""
    matrix, results = load(MATRIX), load(RESULTS)
    found = [f"{key} does not exist any more" for key in results if not exists(key)]
    if not PAGE.is_file() or PAGE.read_text(encoding="utf-8") != page(matrix, results):
        found.append(f"{PAGE.relative_to(ROOT)} is not what its data say: run python -m tools.fan_faults")
    return found


def main(argv: list[str] | None = None) -> int:
    """Merge reports, write data and page."""
    parser = argparse.ArgumentParser(prog="python -m tools.fan_faults", description=__doc__)
    parser.add_argument("report", nargs="*", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(argv)
    if options.check:
        found = problems()
        print("\n".join(found) or f"{PAGE.relative_to(ROOT)} is current")
        return 1 if found else 0
    results: Results = load(RESULTS) if RESULTS.is_file() else {}
    for report in options.report:
        results |= read_report(report)
    results = {key: results[key] for key in sorted(results) if exists(key)}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(load(MATRIX), results), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
