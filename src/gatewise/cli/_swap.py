"""`gatewise swap`: surgery on a real model."""

import argparse
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatewise.core import GatewiseError

if TYPE_CHECKING:
    from torch import nn

    from gatewise.surgery import Step, SurgeryReport
    from gatewise.workloads import Workload

    from ._swap_inputs import Inputs


def run(parsed: argparse.Namespace) -> int:
    """Load, swap, save, and say what changed."""
    from gatewise import surgery
    from gatewise.workloads import WORKLOADS, workload

    out = Path(parsed.out)
    if out.exists() and any(out.iterdir() if out.is_dir() else [out]):
        raise GatewiseError(f"{out} is not empty; give another --out")
    if parsed.calibration and not parsed.keep_function:
        raise GatewiseError("--calibration goes with --keep-function; without it nothing is fitted")
    if parsed.heal is not None and not parsed.calibration:
        raise GatewiseError("--heal trains on the inputs of --calibration; give that too")
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
    healed: surgery.HealReport | None = None
    healing_in = out.parent / f".{out.name}.healing"
    if parsed.heal is not None and inputs:
        settings = surgery.Healing(steps=parsed.heal, seed=parsed.seed)
        model, healed = surgery.heal(model, original, inputs.fitted, healing=settings, checkpoint=healing_in)
    held_out = _held_out(found, original, model, inputs) if inputs and inputs.held_out else None
    surgery.save(model, out)
    _keep_tokenizer(found, out)
    shutil.rmtree(healing_in, ignore_errors=True)
    if parsed.json:
        told = report.to_json() | ({"held_out": held_out} if inputs else {})
        print(json.dumps(told | ({"healing": healed.to_json()} if healed else {}), allow_nan=False))
        return 0
    _print_sites(report, surgery.weights_state(model))
    for step in (*report.steps, *((healed.before, healed.after) if healed else ())):
        _print_step(step)
    if healed:
        print(f"healed: stopped by {healed.stopped}, the weights of step {healed.best_step} came back")
    if held_out and held_out["cosine_mean"] is not None:
        cosine = f"cosine to the original {held_out['cosine_mean']:.5f} (least {held_out['cosine_least']:.5f})"
        print(f"held out, {held_out['items']} items: {cosine}")
    print(f"parameters {report.parameters_before:,} -> {report.parameters_after:,}; saved in {out}")
    return 0


def _inputs(parsed: argparse.Namespace, found: "Workload") -> "Inputs | None":
    if not parsed.calibration:
        return None
    from ._swap_inputs import read_inputs

    return read_inputs(Path(parsed.calibration), found)


def _held_out(found: "Workload", original: "nn.Module", model: "nn.Module", inputs: "Inputs") -> dict[str, Any]:
    """The workload's own outputs, one row an item, on inputs that the fit has not seen."""
    import torch

    from gatewise.workloads import cosine_rows

    with torch.inference_mode():
        cosines = torch.cat(
            [cosine_rows(found.run(original, batch), found.run(model, batch)) for batch in inputs.held_out]
        )
    finite = bool(torch.isfinite(cosines).all())
    return {
        "items": len(cosines),
        "cosine_mean": float(cosines.mean()) if finite else None,
        "cosine_least": float(cosines.min()) if finite else None,
    }


def _keep_tokenizer(found: "Workload", out: Path) -> None:
    """Texts are still read as before: the tokenizer goes along."""
    folder: Path | None = getattr(found, "folder", None)
    if folder is not None and (folder / "tokenizer.json").is_file():
        shutil.copyfile(folder / "tokenizer.json", out / "tokenizer.json")


def _print_sites(report: "SurgeryReport", state: str) -> None:
    print(f"{len(report.sites)} sites now compute {report.to}; weights: {state}")
    for site in report.sites:
        counts = f"{site.parameters_before:,} -> {site.parameters_after:,} parameters"
        kept = f", {site.method}" if site.method else ""
        errors = "; ".join(f"{step.name} {_share(step.relative)}" for step in site.steps)
        print(f"  {site.path}: {site.before} -> {site.after}, {counts}{kept}" + (f", error {errors}" if errors else ""))
    for path, reason in report.left:
        print(f"  left alone {path}: {reason}")


def _print_step(step: "Step") -> None:
    cosine = "" if step.cosine_mean is None else f", cosine {step.cosine_mean:.5f} (least {step.cosine_least:.5f})"
    print(f"whole model, {step.name}: error {_share(step.relative)}, at most {step.max:.3g}{cosine}, {step.rows} rows")


def _share(relative: float | None) -> str:
    return "not stated" if relative is None else f"{100 * relative:.2g} %"
