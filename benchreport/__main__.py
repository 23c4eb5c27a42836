"""`python -m benchreport RUNS... --dest FOLDER [--against RUNS...]`: the report without Ansible."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .blog import LANGUAGES
from .build import FORMATS, Options, build
from .records import ReportError


def main(arguments: list[str] | None = None) -> int:
    """Make a report; return the exit code: 0 made, 1 nothing to report or wrong options."""
    parser = argparse.ArgumentParser(prog="python -m benchreport", description="Report of benchmark runs.")
    parser.add_argument("sources", nargs="+", type=Path, help="folders or .jsonl files of runs")
    parser.add_argument("--dest", "-o", type=Path, required=True, help="folder for the report's files")
    parser.add_argument("--against", nargs="+", type=Path, default=[], help="runs to compare with")
    parser.add_argument("--across", nargs="+", default=[], help="what may differ, such as commit or driver")
    parser.add_argument("--title", default="LLM benchmark")
    parser.add_argument("--language", choices=LANGUAGES, default="en", help="of the Markdown table's heads")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    given = parser.parse_args(arguments)
    options = Options(
        given.sources, given.dest, given.against, given.across, given.title, given.language, tuple(given.formats)
    )
    try:
        result = build(options)
    except ReportError as exc:
        sys.stderr.write(f"benchreport: {exc}\n")
        return 1
    for problem in result.problems:
        sys.stderr.write(f"benchreport: {problem}\n")
    statuses = ", ".join(f"{count} {name}" for name, count in sorted(result.statuses.items()))
    verdicts = ", ".join(f"{count} {name}" for name, count in sorted(result.verdicts.items()))
    sys.stdout.write(f"{result.cells} cells: {statuses}" + (f"; compared: {verdicts}" if verdicts else "") + "\n")
    sys.stdout.writelines(f"{path}\n" for path in result.files.values())
    return 0


if __name__ == "__main__":
    sys.exit(main())
