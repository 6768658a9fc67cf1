"""An arm's kernel: torch's own code, or gatewise's native kernels in its place, and what that came to."""

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from gatewise import kernels
from gatewise.core import GatewiseError
from gatewise.runtimes import RUNTIMES

from ._plan import GATEWISE, Arm, Measure, Part

DTYPES = ("float32", "bfloat16")


def check_kernels(part: Part) -> None:
    """Raises `GatewiseError` where an arm asks for native kernels and they, its runtime, dtype or device cannot."""
    asked = [arm for arm in part.arms if arm.kernel == GATEWISE]
    if not asked:
        return
    status = kernels.status()
    if status.path is None:
        raise GatewiseError(
            f"the arm {asked[0].label!r} asks for kernel = {GATEWISE}, and native kernels are absent: {status.reason}"
        )
    if part.measure is not None:
        for arm in asked:
            _check_measured(arm, part.measure)


def _check_measured(arm: Arm, measured: Measure) -> None:
    takes = [name for name in RUNTIMES if RUNTIMES[name].custom_operators]
    for name in (arm.runtime,) if arm.runtime else measured.runtimes:
        if not RUNTIMES[name].custom_operators:
            raise GatewiseError(
                f"the runtime {name!r} runs code of its own, so the arm {arm.label!r} cannot have kernel = {GATEWISE} "
                f"there\nvalid: {', '.join(takes)}"
            )
    if measured.dtype not in DTYPES:
        raise GatewiseError(f"kernel = {GATEWISE} is for {' and '.join(DTYPES)}, not {measured.dtype}")
    if measured.device != "cpu":
        raise GatewiseError(f"kernel = {GATEWISE} is for the CPU, not {measured.device}")


def exchanged(model: nn.Module, arm: Arm, record: dict[str, Any]) -> nn.Module:
    """The model on an arm's kernel, with what that is into the arm's record."""
    record |= {"kernel": arm.kernel, "kernel_facts": None}
    if arm.kernel != GATEWISE:
        return model
    found = kernels.use(model)
    record |= {
        "kernel_facts": found.to_json(),
        "implementation": f"{record['implementation']}; on gatewise's kernels: {found}",
    }
    return found.model


def check_exchanged(part: Part, record: Mapping[str, Any]) -> None:
    """Raises `GatewiseError` where native kernels were asked for and no arm has any; one without is a warning."""
    asked = [arm.label for arm in part.arms if arm.kernel == GATEWISE]
    if asked and all(not record["arms"][label]["kernel_facts"]["replaced"] for label in asked):
        why = record["arms"][asked[0]]["implementation"].rpartition(": ")[2]
        raise GatewiseError(f"kernel = {GATEWISE} changes nothing in {', '.join(asked)}: {why}")


def on_kernel(model: nn.Module, kernel: str) -> nn.Module:
    """The model on an arm's kernel, exchanged in place. Raises `GatewiseError` where the kernels are absent."""
    if kernel != GATEWISE:
        return model
    status = kernels.status()
    if status.path is None:
        raise GatewiseError(f"kernel = {GATEWISE}: the native kernels are absent: {status.reason}")
    return kernels.use(model).model


def fresh_on_kernel(made: Any, arm: Arm) -> Any:
    """A workload whose fresh models run on an arm's kernel."""
    if arm.kernel != GATEWISE:
        return made
    found, fresh = copy.copy(made), made.fresh

    def on(name: str, **how: Any) -> nn.Module:
        return on_kernel(fresh(name, **how), arm.kernel)

    object.__setattr__(found, "fresh", on)  # some workloads are frozen
    return found


def words(kernel: str, model: nn.Module | None = None) -> str:
    """What stands behind the runtime's own words in the record: empty for torch's code.

    With native kernels: their instruction set, and by question the ways that this process took, each where it measured
    fastest, was forced, or is the only one; `torch` is among them.
    """
    if kernel != GATEWISE:
        return ""
    if model is not None and not kernels.in_use(model):
        return ", stock: nothing in it has a gatewise kernel"
    taken: dict[str, set[str]] = {}
    for each in kernels.choices():
        taken.setdefault(each.question, set()).add(each.chosen)
    ways = "; ".join(f"{question}: {' and '.join(sorted(found))}" for question, found in sorted(taken.items()))
    return f", gatewise kernels {kernels.status().instruction_set}{f' ({ways})' if ways else ''}"


def chosen(arms: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What this process chose by measuring, for the record of a cell; empty where no arm has native kernels."""
    asked = any(arm.get("kernel") == GATEWISE for arm in arms)
    return {"choices": [each.plain() for each in kernels.choices()]} if asked else {}
