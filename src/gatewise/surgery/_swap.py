"""Swapping the activations or FFNs of a model: the original stays as it is, the new model comes with a report."""

import copy
from collections.abc import Iterable

from torch import nn

from gatewise import activations
from gatewise.core import GatewiseError

from ._choose import Left, choose
from ._fit_inputs import Batch
from ._gate import simple_gate
from ._keep_run import Kept, keep
from ._report import SiteChange, SurgeryReport, WeightsState, check_model, combined, history, set_history, weights_state
from ._sites import FoundSite, locate
from ._surgeon import Surgeon, SwapPlan, count_parameters


def swap(
    model: nn.Module,
    to: str,
    *,
    only: str | list[str] | None = None,
    matching: str | None = None,
    multiple_of: int = 1,
    seed: int = 0,
    keep_function: bool = False,
    calibration: Iterable[Batch] | None = None,
) -> tuple[nn.Module, SurgeryReport]:
    """A copy of the model with another activation or gate in it, and a report of what changed.

    Without `only` all sites are swapped that compute the model's main activation: the most frequent one among FFN
    sites, or among bare activations where there is no FFN. `only` is a glob or a list of globs over site paths (or
    over the modules that hold them) and overrides that rule.

    A scalar keeps all weights of a scalar FFN, and a simple gate (act(gate) * up) those of a gated one. A gate
    (`swiglu`, ...) in a scalar FFN brings two input matrices instead of one, a hidden width by `matching` (`params`,
    the default, `flops` or `none`) and `multiple_of`, and new weights in the whole FFN, drawn from `seed` without
    touching the global random state; so does a scalar in a gated FFN, the other way round. A bare activation takes no
    gate.

    With `keep_function` nothing is drawn: the new model computes what the old one computes. down(act(W x + b)) becomes
    a gate of the same hidden width with W_gate = W, b_gate = b, W_up = 0, b_up = 1. With the gate that bends as the
    site does (relu: `reglu`, gelu: `geglu`, gelu_tanh: `geglu_tanh`, silu: `swiglu`) that is exact. Other targets
    (gelu to `swiglu`, one scalar to another, one gate to another) are fitted on `calibration`, real batches (tensors,
    tuples, or dicts of keywords): two to four constants a hidden unit, folded into the layers around it. The report
    then has the errors against the original before and after. A `matching` other than `none` removes, after that, the
    hidden units that contribute least, down to the original's cost.

    Raises `GatewiseError` when the name is unknown, no site is found, `only` matches nothing, a gate is asked for
    at a site that cannot take one, or the function cannot be kept: with this target, without a calibration set, or
    with one that is too small.
    """
    check_model(model)
    spec = activations.get(to)
    if calibration is not None and not keep_function:
        raise GatewiseError("a calibration set is for keep_function=True; without it nothing is fitted")
    rule = matching or ("none" if keep_function and spec.kind == "gate" else "params")
    activations.matched_hidden(1, 1, rule, multiple_of, False)  # checks the two, also where no width is chosen
    plan = SwapPlan(to=spec.name, matching=rule, multiple_of=multiple_of, seed=seed)
    try:
        new = copy.deepcopy(model)
    except (RuntimeError, TypeError, ValueError) as error:
        raise GatewiseError(f"the model cannot be copied, so it cannot be swapped: {error}") from error
    gate = spec.kind == "gate"
    chosen, left = choose(locate(new), plan.to, gate=gate, only=only)
    surgeon = Surgeon(new, plan)
    before = count_parameters(new)
    if keep_function:
        done = keep(surgeon, chosen, model, calibration)
    else:
        done = Kept(changes=_carry_out(surgeon, chosen, gate=gate))
    return new, _record(model, new, surgeon, done, tuple(left), before)


def _record(
    model: nn.Module, new: nn.Module, surgeon: Surgeon, done: Kept, left: tuple[Left, ...], before: int
) -> SurgeryReport:
    """The report of a swap, which the new model carries in its history too."""
    state: WeightsState = "original"
    for change in done.changes:
        state = combined(state, change.weights_state)
    report = SurgeryReport(
        to=surgeon.plan.to,
        sites=tuple(done.changes),
        left=left,
        weights_state=combined(weights_state(model), state),
        parameters_before=before,
        parameters_after=count_parameters(new),
        matching=surgeon.plan.matching,
        steps=done.steps,
    )
    past = history(new)
    record = {
        "weights_state": report.weights_state,
        "edits": [*past["edits"], *surgeon.edits],
        "surgeries": [*past["surgeries"], report.to_json()],
    }
    set_history(new, record)
    return report


def _carry_out(surgeon: Surgeon, chosen: list[FoundSite], *, gate: bool) -> list[SiteChange]:
    """Swap every chosen site. In a gated FFN a simple gate is its function alone; whatever else is a new block."""
    act = simple_gate(surgeon.plan.to)
    gated = [found for found in chosen if found.site.gated]
    plain = [found for found in chosen if not found.site.gated]
    changes = surgeon.scalar(gated, act) if act is not None else [surgeon.rebuild(found) for found in gated]
    return changes + ([surgeon.gate(found) for found in plain] if gate else surgeon.scalar(plain, surgeon.plan.to))
