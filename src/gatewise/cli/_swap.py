"""`gatewise swap`: surgery on a real model."""

import argparse
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatewise.core import GatewiseError

from ._swap_report import Done

if TYPE_CHECKING:
    from torch import nn

    from gatewise.surgery import HealReport
    from gatewise.workloads import Workload

    from ._swap_inputs import Inputs


def run(parsed: argparse.Namespace) -> int:
    """Load, swap, save, and say what changed."""
    from gatewise import surgery
    from gatewise.workloads import WORKLOADS, workload

    from ._swap_held_out import held_out

    out = Path(parsed.out)
    _check(parsed, out)
    settings = None if parsed.heal is None else surgery.Healing(steps=parsed.heal, seed=parsed.seed)
    named = parsed.model in WORKLOADS
    found = workload(name=parsed.model if named else "", model="" if named else parsed.model)
    inputs = _inputs(parsed, found)
    original = found.original()
    model, report = surgery.swap(
        original,
        parsed.to,
        only=parsed.only,
        matching=parsed.matching,
        multiple_of=parsed.multiple_of,
        seed=parsed.seed,
        keep_function=parsed.keep_function,
        calibration=inputs.fitted if inputs else None,
    )
    unseen: dict[str, Any] = {}
    if inputs and inputs.held_out:
        unseen["held out"] = held_out(found, original, model, inputs.held_out)
    healed: HealReport | None = None
    healing_in = out.parent / f".{out.name}.healing"
    if settings is not None and inputs:
        model, healed = surgery.heal(model, original, inputs.fitted, healing=settings, checkpoint=healing_in)
        if unseen:
            unseen = {"held out, before healing": unseen["held out"]}
            unseen["held out"] = held_out(found, original, model, inputs.held_out)
    _save(found, model, out)
    _keep_tokenizer(found, out)
    shutil.rmtree(healing_in, ignore_errors=True)
    repeats = inputs.repeats if inputs else 0
    done = Done(
        report=report, state=surgery.weights_state(model), healed=healed, unseen=unseen, out=out, repeats=repeats
    )
    if parsed.json:
        print(json.dumps(done.to_json(), allow_nan=False))
    else:
        done.show()
    return 0


def _check(parsed: argparse.Namespace, out: Path) -> None:
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise GatewiseError(f"{out} is not empty; give another --out")
    if parsed.calibration and not parsed.keep_function:
        raise GatewiseError("--calibration goes with --keep-function; without it nothing is fitted")
    if parsed.heal is not None and not parsed.calibration:
        raise GatewiseError("--heal trains on the inputs of --calibration; give that too")


def _inputs(parsed: argparse.Namespace, found: "Workload") -> "Inputs | None":
    if not parsed.calibration:
        return None
    from ._swap_inputs import BATCH, read_inputs

    inputs = read_inputs(Path(parsed.calibration), found)
    if parsed.heal is not None and len(inputs.fitted) < 2:
        raise GatewiseError(
            f"{parsed.calibration} is too small for --heal: a quarter of the inputs is held out, and what is left is "
            f"one batch of up to {BATCH}; healing trains on one and checks on another"
        )
    return inputs


def _save(found: "Workload", model: "nn.Module", out: Path) -> None:
    """As plain data where it can be; else as the workload saves it, whose own code `load` then needs again."""
    from gatewise import surgery

    try:
        surgery.save(model, out)
    except GatewiseError:
        found.save(model, out)


def _keep_tokenizer(found: "Workload", out: Path) -> None:
    """Texts are still read as before: the tokenizer goes along."""
    folder: Path | None = getattr(found, "folder", None)
    if folder is not None and (folder / "tokenizer.json").is_file():
        shutil.copyfile(folder / "tokenizer.json", out / "tokenizer.json")
