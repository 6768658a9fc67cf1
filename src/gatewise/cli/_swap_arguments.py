"""What `gatewise swap` takes."""

import argparse
from collections.abc import Callable

Add = Callable[..., argparse.ArgumentParser]


def swap(add: Add) -> None:
    """`gatewise swap`."""
    command = add(
        "swap",
        help="surgery on a real model, saved as safetensors + recipe",
        description="Swap the activation or the feed-forward blocks of a model and save the new one. With "
        "--keep-function the new model computes what the old one did: exactly where the gate bends as the model does "
        "(relu: reglu, gelu: geglu, gelu_tanh: geglu_tanh), else by constants fitted on --calibration.",
        epilog="exit codes: 0 saved, 2 bad input",
    )
    command.add_argument("model", metavar="MODEL", help="a model folder, a workload, or package.module:function")
    command.add_argument("--to", required=True, metavar="NAME", help="the activation or gate to bring in")
    command.add_argument("--out", required=True, metavar="DIR", help="where the new model is saved")
    command.add_argument("--only", action="append", metavar="GLOB", help="only the sites whose path matches")
    command.add_argument(
        "--matching",
        metavar="RULE",
        help="a gate's width: params, flops, none (default: params; with --keep-function none: no unit is removed)",
    )
    command.add_argument(
        "--multiple-of", type=int, default=1, metavar="N", help="round a gate's width up to a multiple"
    )
    command.add_argument(
        "--seed", type=int, default=0, help="the seed of new weights, and of the rows that are fitted on"
    )
    command.add_argument("--keep-function", action="store_true", help="the new model computes what the old one does")
    command.add_argument(
        "--calibration",
        metavar="FILE",
        help="real inputs: .txt, one text a line, or .npz, one array an input; a quarter of them is held out",
    )
    command.add_argument(
        "--heal", type=int, metavar="STEPS", help="then train the new blocks to give what the old ones did"
    )
    command.add_argument("--json", action="store_true", help="print the surgery report as JSON")
