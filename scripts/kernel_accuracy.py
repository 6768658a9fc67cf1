"""Prints how far the native kernels and torch's own code are from float64, by function, precision and path.

    python scripts/kernel_accuracy.py                 the promises, and what is seen, as a Markdown table
    python scripts/kernel_accuracy.py --budgets       what is seen beside the measured budgets
    python scripts/kernel_accuracy.py --write         measures the budgets anew and writes them to kernels/_budgets.py

Ends with 1 where a promise or a budget is broken.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from gatewise import kernels
from gatewise.activations import Observed
from gatewise.kernels._budgets import PRECISIONS
from gatewise.kernels._figures import broken, table
from gatewise.kernels._library import INSTRUCTION_SETS
from gatewise.kernels._observed import budget, observed, paths

BUDGETS = Path(__file__).parent.parent / "src/gatewise/kernels/_budgets.py"
BEGIN, END = "    # measured: begin\n", "    # measured: end\n"
HEADROOM = 1.5


def up_to_two_digits(value: float) -> float:
    """The least number of two digits that is not below `value`."""
    if value == 0.0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / step) * step:.2g}")


def pair(seen: Observed) -> str:
    ulp, absolute = (up_to_two_digits(HEADROOM * each) for each in (seen.ulp, seen.absolute))
    return f"({ulp:g}, {absolute:g})"


def measured(ways: Sequence[str]) -> list[str]:
    """The lines of the table of measured budgets."""
    lines: list[str] = []
    for name, precision, path in product(kernels.names(), PRECISIONS, ways):
        seen = observed(name, precision, path)
        lines.append(f'    ("{name}", "{precision}", "{path}"): ({pair(seen.value)}, {pair(seen.gradient)}),\n')
    return lines


def write() -> None:
    """Put the measured budgets between their marks. Asks for a machine that has every path."""
    if paths() != INSTRUCTION_SETS:
        raise SystemExit(
            f"this machine has {', '.join(paths())} of {', '.join(INSTRUCTION_SETS)}: budgets are measured on all"
        )
    before, _, rest = BUDGETS.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    BUDGETS.write_text(before + BEGIN + "".join(measured(paths())) + END + after, encoding="utf-8")


def against_budgets() -> bool:
    """Print every budget beside what is seen; whether one is broken, or more than four times that."""
    wrong = False
    for name, precision, path in product(kernels.names(), PRECISIONS, paths()):
        seen, allowed = observed(name, precision, path), budget(name, precision, path)
        for what, one, bound in (("value", seen.value, allowed.value), ("gradient", seen.gradient, allowed.gradient)):
            over = one.ulp > bound.ulp or one.absolute > bound.absolute
            loose = bound.ulp > 4 * one.ulp or bound.absolute > 4 * one.absolute
            wrong |= over or loose
            ulp = f"{one.ulp:8.3g} ULP at {one.ulp_at:<10.5g} (budget {bound.ulp:g})"
            absolute = f"absolute {one.absolute:8.2e} at {one.absolute_at:<10.5g} (budget {bound.absolute:g})"
            word = "BROKEN" if over else "LOOSE" if loose else ""
            print(f"{name:15s} {precision:12s} {path:6s} {what:8s} {ulp:46s} {absolute} {word}".rstrip())
    return wrong


def main() -> int:
    """What the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budgets", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--seed", type=int, default=0, help="of the numbers that the promises are looked at with")
    chosen = parser.parse_args()
    if not kernels.names():
        print(f"no native kernels: {kernels.status()}", file=sys.stderr)
        return 1
    if chosen.write:
        write()
        return 0
    if chosen.budgets:
        return int(against_budgets())
    print("\n".join(table(seed=chosen.seed)))
    wrong = broken(seed=chosen.seed)
    print("\n".join(("", *wrong)) if wrong else "\nevery promise is kept")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
