"""Command line of the sysfs stand-in: `python3 -m lab.sysfs --out DIR --preset two-mi50`."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from . import CARDS, FAN_CHIPS, PRESETS, Host, build_host, device_nodes, host_of


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lab.sysfs", description="Write a simulated /sys with AMD GPUs.")
    parser.add_argument("--out", type=Path, help="directory that stands for /sys")
    parser.add_argument("--preset", choices=sorted(PRESETS), help="a named machine")
    parser.add_argument("--card", action="append", choices=sorted(CARDS), default=[], help="one card; repeatable")
    parser.add_argument("--fan", action="append", choices=sorted(FAN_CHIPS), default=[], help="a fan chip; repeatable")
    parser.add_argument("--bmc", action="store_true", help="add a BMC whose VGA takes card0")
    parser.add_argument("--unbound", action="store_true", help="leave every GPU without a driver")
    parser.add_argument("--module-version", default="", help="version of amdgpu (only DKMS's module has one)")
    parser.add_argument("--seed", default="", help="text that decides the unique ids; give each node its own")
    parser.add_argument("--list-devices", action="store_true", help="print what mknod needs: PATH TYPE MAJOR MINOR")
    return parser


def _host(args: argparse.Namespace) -> Host:
    host = host_of(args.preset) if args.preset else Host()
    cards = (*host.cards, *(CARDS[name] for name in args.card))
    if args.unbound:
        cards = tuple(replace(card, driver="") for card in cards)
    return replace(
        host,
        cards=cards,
        bmc=host.bmc or args.bmc,
        fan_chips=(*host.fan_chips, *(FAN_CHIPS[name] for name in args.fan)),
        seed=args.seed or host.seed,
        module_version=args.module_version or host.module_version,
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command line; 0 when done, 2 for bad arguments, 1 when the directory cannot be written."""
    parser = _parser()
    args = parser.parse_args(argv)
    if not args.preset and not args.card:
        parser.error("say what the machine has: --preset NAME or --card NAME (repeatable)")
    if not args.out and not args.list_devices:
        parser.error("say where to write with --out, or ask for --list-devices")
    host = _host(args)
    try:
        if args.out:
            build_host(args.out, host)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"lab.sysfs: {error}\n")
        return 1
    if args.list_devices:
        for path, major, minor in device_nodes(host):
            sys.stdout.write(f"{path} c {major} {minor}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
