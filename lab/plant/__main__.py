"""`python -m lab.plant plots` and `python -m lab.plant footprint [--seconds 600]`."""

from __future__ import annotations

import argparse

from lab.plant import footprint, plots


def main() -> None:
    """Run a verb and print its table."""
    parser = argparse.ArgumentParser(prog="python -m lab.plant", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("plots", help="run the laws, draw docs/images/cooling-*.svg, write the table of docs/cooling.md")
    run = verbs.add_parser("footprint", help="memory and CPU beside Debian's fancontrol, into docs/cooling.md")
    run.add_argument("--seconds", type=float, default=600.0)
    run.add_argument("--example", default="two-cards-one-blower", help="of tests/fixtures/fand (default: %(default)s)")
    options = parser.parse_args()
    print(plots.write() if options.verb == "plots" else footprint.write(options.seconds, options.example))


if __name__ == "__main__":
    main()
