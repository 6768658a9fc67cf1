"""What `gatewise train` takes."""

import argparse
from collections.abc import Callable

Add = Callable[..., argparse.ArgumentParser]

DEFAULT_OUT = "gatewise-train"


def train(add: Add) -> None:
    """`gatewise train`."""
    command = add(
        "train",
        help="train one arm of a workload, alone or over several processes",
        description="Train one arm from scratch and write train.json (settings, held-out curve, what ran), the model "
        "and checkpoints. Under torchrun the processes share each batch and end with the loss of one process, within "
        "rounding.",
        epilog="exit codes: 0 done, also where the loss diverged; 2 bad input, or another rank has ended",
    )
    command.add_argument(
        "--workload",
        default="byte-lm",
        metavar="NAME",
        help="byte-lm (default), convnet, digits, mnist-5k, vit, wordnet",
    )
    command.add_argument("--arm", default="gelu", metavar="NAME", help="an activation or gate (default: gelu)")
    command.add_argument("--steps", type=int, metavar="N", help="optimiser steps (default: 900)")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="of weights and data (default: 0)")
    command.add_argument("--out", metavar="DIR", help=f"the run's folder (default: {DEFAULT_OUT})")
    command.add_argument(
        "--parallel",
        metavar="KIND",
        help="under torchrun: ddp (the whole model on each rank; the default there) or fsdp (a part on each)",
    )
    command.add_argument("--precision", metavar="NAME", help="f32 (default), or bf16 where the processor has it")
    command.add_argument(
        "--checkpoint-every", metavar="N|TIME", help="steps (100) or time (90s, 5m) between checkpoints (default: 60s)"
    )
    command.add_argument("--resume", action="store_true", help="go on from the last checkpoint in --out")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="KEY=VALUE",
        help="of the workload: dim=64 layers=4; of the training: train.batch=16 train.learning_rate=0.01; "
        "matching=params|flops|none; timeout_s=300 for an answer of another rank",
    )
