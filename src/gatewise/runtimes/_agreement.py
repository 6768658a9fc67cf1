"""Whether a prepared runtime gives eager's outputs: looked at before anything is timed."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from gatewise.core import GatewiseError

from ._inputs import Inputs, flat, rebuilt, shape_text, with_rows
from ._runtime import CLOSE, RUNTIMES, Prepared, Task

GARBAGE = 0.5
"""A cosine to eager's outputs below which lower precision is no longer an approximation."""

ROUNDING = {torch.bfloat16: 500.0, torch.float16: 60.0}
"""How much wider the tolerance is where eager itself computes in half precision."""

BATCHES = (1, 2, 5)


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far a runtime's outputs lie from eager's.

    Attributes:
        largest: the largest absolute difference.
        relative: the same as a share of the largest eager output.
        cosine: the lowest cosine of an item's outputs to eager's.
        tolerance: the largest `relative` that passes; None where lower precision is reported only.
        calls: how many inputs were compared.
        shapes: their shapes.
    """

    largest: float
    relative: float
    cosine: float
    tolerance: float | None
    calls: int
    shapes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """As the record keeps it."""
        return asdict(self)


def variations(example: Inputs, *, seed: int = 0) -> list[Inputs]:
    """Random inputs of the example's kind in several batch sizes, the example itself first.

    Numbers are drawn with the example's mean and spread; whole numbers (token ids, masks) are its own rows in another
    order, because others may mean nothing to the model.
    """
    generator = torch.Generator().manual_seed(seed)
    found = [example]
    rows = len(flat(example)[0])
    for batch in dict.fromkeys((*BATCHES, rows)):
        drawn = torch.randint(rows, (batch,), generator=generator).tolist()
        tensors = [_drawn(tensor, generator) for tensor in flat(with_rows(example, drawn))]
        found.append(rebuilt(example, tensors))
    return found


def _drawn(tensor: Tensor, generator: torch.Generator) -> Tensor:
    if not tensor.is_floating_point() or tensor.numel() < 2:
        return tensor
    mean, spread = float(tensor.float().mean()), float(tensor.float().std())
    return (torch.randn(tensor.shape, generator=generator) * spread + mean).to(tensor.dtype)


def agreement(name: str, task: Task, prepared: Prepared, inputs: Iterable[Inputs], *, exact: bool = True) -> Agreement:
    """Compare a runtime with eager on some inputs: `prepared` with the task's model as torch runs it.

    `exact` is False where `prepared` computes with other kernels than the task's model: it may then differ by rounding
    even on a runtime that is eager itself.

    Raises:
        GatewiseError: another shape, numbers that are not finite where eager's are, a difference beyond the runtime's
            tolerance, or outputs that point elsewhere; with the numbers.
    """
    allowed = RUNTIMES[name].tolerance
    allowed = allowed if exact or allowed is None else max(allowed, CLOSE)
    tolerance = allowed
    largest = scale = 0.0
    cosine = 1.0
    seen: list[str] = []
    with torch.inference_mode():
        for each in inputs:
            outputs = task.run(task.model, each)
            wanted, found = outputs.double(), prepared.call(each).double()
            where = f"{name} on inputs of {shape_text(each)}"
            if wanted.shape != found.shape:
                raise GatewiseError(f"{where} gives {tuple(found.shape)}, eager gives {tuple(wanted.shape)}")
            odd = int((~found.isfinite() & wanted.isfinite()).sum())
            if odd:
                raise GatewiseError(f"{where} gives {odd} of {found.numel()} outputs that are not finite; eager's are")
            known = wanted.isfinite()
            if known.any():
                largest = max(largest, float((found - wanted)[known].abs().max()))
                scale = max(scale, float(wanted[known].abs().max()))
            cosine = min(cosine, _cosine(wanted, found))
            seen.append(shape_text(each))
            if tolerance is not None:
                tolerance = (allowed or 0.0) * ROUNDING.get(outputs.dtype, 1.0)
    relative = largest / scale if scale else largest
    told = f"the runtime {name!r} does not give eager's outputs"
    if tolerance is not None and relative > tolerance:
        raise GatewiseError(
            f"{told}: they differ by {relative:.1e} of the largest output, and {tolerance:.0e} is allowed"
            f"\n(largest difference {largest:.3g}, lowest cosine {cosine:.6f}, {len(seen)} inputs)"
        )
    if cosine < GARBAGE:
        raise GatewiseError(f"{told}: the lowest cosine is {cosine:.3f}, below {GARBAGE}; nothing is timed on that")
    return Agreement(
        largest=largest,
        relative=relative,
        cosine=cosine,
        tolerance=tolerance,
        calls=len(seen),
        shapes=tuple(dict.fromkeys(seen)),
    )


def _cosine(wanted: Tensor, found: Tensor) -> float:
    if wanted.numel() == 0 or torch.equal(wanted, found):
        return 1.0
    one, other = wanted.nan_to_num().flatten(1), found.nan_to_num().flatten(1)
    if one.shape[1] < 2:  # single numbers have no angle: the whole batch is one direction
        one, other = one.flatten()[None], other.flatten()[None]
    both_zero = (one == 0).all(1) & (other == 0).all(1)
    values = torch.nn.functional.cosine_similarity(one, other, dim=1, eps=1e-30)
    return float(torch.where(both_zero, torch.ones_like(values), values).min())
