"""The benchmark without Ansible: `python3 -m mi50.bench --help`, with module_utils in PYTHONPATH."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from . import again, api, host, overhead
from .settings import SettingsError
from .store import utc


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mi50.bench", description="Measures an OpenAI-compatible server.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, text in (
        ("cell", "measure one task"),
        ("plan", "say what would be done"),
        ("probe", "what the server is"),
    ):
        one = commands.add_parser(name, help=text)
        one.add_argument("--url", required=True, help="address of the server, without /v1")
        one.add_argument("--kind", default="openai", help="llama.cpp, lmstudio, vllm, lmdeploy, ollama or openai")
        one.add_argument("--model", default="", help="name of the model in requests")
        one.add_argument("--key-file", help="file with the API key, mode 0600")
        if name != "probe":
            one.add_argument("--task", required=True, help="JSON file with one task, - for standard input")
            one.add_argument(
                "--run", default=utc().replace(":", ""), help="id of the run; the same one goes on with it"
            )
            one.add_argument("--dir", default="bench-runs", help="where the runs are kept")
            one.add_argument("--gpu", help="PCI address of the GPU, none for no sensors")
            one.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a value of `measure`")
            one.add_argument("--json", action="store_true", help="print the whole cell record")
    again_ = commands.add_parser("again", help="compute a run's metrics again from its raw streams and compare")
    again_.add_argument("file", help="the run's JSONL file")
    cost = commands.add_parser("overhead", help="measure this client on loopback")
    cost.add_argument("--write", metavar="FILE", help="write the page docs/benchmark-client.md")
    cost.add_argument("--seconds", type=float, default=4.0, help="length of one stream")
    cost.add_argument("--repeats", type=int, default=6)
    return parser


def _params(args: argparse.Namespace) -> dict[str, Any]:
    measure: dict[str, Any] = {}
    for entry in getattr(args, "set", []):
        name, _equals, value = entry.partition("=")
        try:
            measure[name] = json.loads(value)
        except ValueError:
            measure[name] = value
    params: dict[str, Any] = {
        "engine": {"kind": args.kind, "url": args.url, "api_key_file": args.key_file},
        "model": {"requested": args.model},
        "run": {"id": getattr(args, "run", "probe"), "dir": getattr(args, "dir", None)},
        "gpu": getattr(args, "gpu", None),
        "measure": measure,
    }
    if args.command != "probe":
        text = sys.stdin.read() if args.task == "-" else Path(args.task).read_text(encoding="utf-8")
        params["task"] = json.loads(text)
    return params


def _say(step: dict[str, Any]) -> None:
    done = f" {step['rep']}/{step['reps']}" if step["reps"] else ""
    note = f" {step['message']}" if step["message"] else ""
    sys.stderr.write(f"{step['cell_id']}: {step['phase']}{done}{note}\n")


def _figure(row: dict[str, Any]) -> str:
    if row["median"] is None:
        return f"- ({row['reason']})"
    interval = f" [{row['low']:.2f}, {row['high']:.2f}]" if row["low"] is not None else ""
    return f"{row['median']:.2f}{interval} tok/s ({row['formula']})"


def _show(cell: dict[str, Any]) -> str:
    lines = [f"{cell['cell_id']}: {cell['status']}, {cell['ok']} of {cell['measured']} requests"]
    lines += [f"  {cell['reject_reason']}"] if cell["reject_reason"] else []
    lines += [f"  {what:8}{_figure(cell['headline'][what])}" for what in ("prefill", "decode")]
    lines += [f"  note: {note}" for note in cell["warnings"]]
    return "\n".join(lines)


def _out(text: str) -> None:
    # This folder is sent to nodes inside of modules, where nothing may print; this file is the exception, run by hand.
    sys.stdout.write(text + "\n")


def _again(path: Path) -> int:
    try:
        count, found = again.differences(path)
    except (OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"mi50.bench: {path}: {error}\n")
        return 2
    _out("\n".join([*found, f"{count} values computed again, {len(found)} differ"]))
    return 1 if found else 0


def main(argv: list[str] | None = None) -> int:
    """Run a command; 0 when a cell is OK, 1 when it is not, 2 for unusable parameters."""
    args = _parser().parse_args(argv)
    if args.command == "overhead":
        return overhead.main(args.write, args.seconds, args.repeats)
    if args.command == "again":
        return _again(Path(args.file))
    try:
        params = _params(args)
        if args.command == "probe":
            _out(json.dumps(api.identify(params, host.Roots()), indent=2))
            return 0
        found = api.measure(params, host.Roots(), _say, check=args.command == "plan")
    except (SettingsError, OSError, ValueError) as error:
        sys.stderr.write(f"mi50.bench: {error}\n")
        return 2
    if "plan" in found:
        _out(json.dumps(found["plan"], indent=2))
        return 0
    _out(json.dumps(found["cell"], indent=2) if args.json else _show(found["cell"]))
    sys.stderr.write(f"  records in {found['file']}\n")
    return 0 if found["status"] == "OK" else 1


if __name__ == "__main__":
    raise SystemExit(main())
