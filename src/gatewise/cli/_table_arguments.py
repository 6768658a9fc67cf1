"""What `gatewise table` takes."""

import argparse
from collections.abc import Callable

Add = Callable[..., argparse.ArgumentParser]


def table(add: Add) -> None:
    """`gatewise table`."""
    command = add(
        "table",
        help="is a neural network worth it on your own CSV file, and with which activation?",
        description="Train small neural networks that differ in nothing but the activation on a CSV file, beside a "
        "linear model and boosted trees; say in plain words which to use, how good it is on rows it has not seen and "
        "how sure that is, and predict a second file.",
        epilog="exit codes: 0 done, whatever came out; 2 bad input",
    )
    command.add_argument("data", metavar="FILE.csv", help="a header line, then one row for each case")
    command.add_argument("--target", required=True, metavar="COLUMN", help="the column to predict")
    command.add_argument("--predict", metavar="NEW.csv", help="a second file to answer; it needs no target")
    command.add_argument("--arms", metavar="A,B,…", help="activations and gates (default: gelu,swiglu,relu)")
    command.add_argument("--task", default="auto", metavar="TASK", help="classify, regress or auto (default: auto)")
    command.add_argument("--seeds", type=int, metavar="N", help="how often everything is trained (default: 6)")
    command.add_argument("--budget", metavar="TIME", help="start no training after this time (default: 5m)")
    command.add_argument("--out", metavar="DIR", help="the folder of the result (default: gatewise-table)")
    command.add_argument("--resume", action="store_true", help="go on with the study in --out")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="KEY=VALUE",
        help="drop=a,b keep=a,b group=COLUMN time=COLUMN folds=5 seed=0; docs/own-data.md",
    )
    command.add_argument("--json", action="store_true", help="print table.json on standard output and nothing else")
