"""Command line: `python -m mi50_compute [--device auto|cpu|cuda:N] [--json] [--train] [--timeout S] [--only id,id]`.

Exit code 0: everything right; 1: something is not; 2: nothing could be tried (no torch, no GPU, unknown operation).
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import torch

from mi50_compute import allreduce, report, supervise
from mi50_compute.operations import BY_ID


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="mi50-compute", description=__doc__)
    parser.add_argument("--device", default="auto", help="auto (every GPU), cpu, or one GPU as cuda:N")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument(
        "--timeout", type=float, default=300.0, help="seconds for each operation (a first run compiles)"
    )
    parser.add_argument("--only", default="", help="operations, separated by commas; --list names them")
    parser.add_argument("--ranks", type=int, default=0, help="ranks of the all-reduce on --device cpu (0: none)")
    parser.add_argument("--train", action="store_true", help="also train a small network (a minute)")
    parser.add_argument("--list", action="store_true", help="name the operations and end")
    parser.add_argument("--expect-gpus", type=int, default=0, help="fail unless torch sees this many GPUs")
    return parser.parse_args(argv)


def chosen(options: argparse.Namespace) -> list[str]:
    """Ids of the operations to run, the all-reduce last. Raises ValueError naming one that does not exist."""
    standard = [*(name for name in BY_ID if name != "train"), allreduce.ID]
    names = [name for name in options.only.split(",") if name] or standard
    unknown = [name for name in names if name not in (*BY_ID, allreduce.ID)]
    if unknown:
        raise ValueError(f"--only {unknown[0]}: there are {', '.join(BY_ID)}, {allreduce.ID}")
    return [*names, "train"] if options.train and "train" not in names else names


def ranks(options: argparse.Namespace, ids: list[str], count: int) -> int:
    """Ranks of the all-reduce: one for each of `count` GPUs when it is chosen; on the CPU what --ranks says."""
    if options.device == "cpu":
        return int(options.ranks)
    return count if allreduce.ID in ids else 0


def devices(choice: str, expected: int) -> list[str]:
    """Devices to prove. Raises ValueError when there is none, or not as many as expected."""
    count = torch.cuda.device_count()
    if expected and count != expected:
        raise ValueError(
            f"torch sees {count} GPU(s), {expected} expected: /dev/kfd, groups render and video, HIP_VISIBLE_DEVICES"
        )
    if choice == "auto":
        if not count:
            raise ValueError("torch sees no GPU: /dev/kfd, groups render and video? (--device cpu proves torch alone)")
        return [f"cuda:{number}" for number in range(count)]
    return [choice]


def versions() -> dict[str, Any]:
    """What is proven: torch and the HIP it was built with."""
    return {"torch": torch.__version__, "hip": getattr(torch.version, "hip", None)}


def main(argv: list[str] | None = None) -> int:
    """Run the proof and print the outcome."""
    options = arguments(argv)
    if options.list:
        print("\n".join(f"{operation.id:<24} {operation.title}" for operation in BY_ID.values()))
        print(f"{allreduce.ID:<24} sums over two or more GPUs, one process each")
        return 0
    try:
        ids, names = chosen(options), devices(options.device, options.expect_gpus)
    except ValueError as error:
        print(f"mi50-compute: {error}", file=sys.stderr)
        return 2
    sink = sys.stderr if options.json else sys.stdout
    found = []
    for device in names:

        def show(result: supervise.Result, where: str = device) -> None:
            print(report.line(where, result), file=sink, flush=True)

        alone = [name for name in ids if name != allreduce.ID]
        if alone:
            found.append(supervise.run_device(device, alone, options.timeout, show))
    joint = []
    together = ranks(options, ids, len(names))
    if together > 1:
        joint.append(allreduce.run("cpu" if options.device == "cpu" else "cuda", together, options.timeout))
        print(report.line("all", joint[0]), file=sink, flush=True)
    outcome = report.as_dict(versions(), found, joint)
    if options.json:
        print(report.as_json(outcome))
    print(report.verdict(outcome), file=sink)
    return 0 if outcome["ok"] else 1
