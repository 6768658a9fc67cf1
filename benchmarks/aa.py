"""A/A studies as a gate: `gatewise doctor --aa`, and exit code 1 where a rate contradicts what the judge promises.

    python benchmarks/aa.py --studies 34 --out aa

It fails where more studies held a wrong verdict than alpha can explain (the lower end of the Clopper-Pearson interval
lies above it), or where the arm that was slowed down by 10 % was ever judged anything but worse or undecided. Nothing
else should run on the machine.
"""

import argparse
import sys

from gatewise import doctor


def main() -> int:
    """Run the studies, print the rates; 1 when one contradicts a promise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int)
    parser.add_argument("--budget")
    parser.add_argument("--workload")
    parser.add_argument("--out")
    found = doctor.aa(**vars(parser.parse_args()))
    doctor.show(found)
    control, wrong = found["control"], found["wrong_by_study"]
    missed = control["better"] + control["equivalent"]
    alarmed = wrong["interval"] is not None and wrong["interval"][0] > found["alpha"]
    return 1 if missed or alarmed else 0


if __name__ == "__main__":
    sys.exit(main())
