"""Correctness, before any time is taken: errors of the kernels against float64, and gradients of blocks and models.

What rounding may do is not a constant here: gradients in float32 are compared with those in float64, and ours may lie
no further off than `ROUNDING` times what the stock code does (and a floor of a few roundings).
"""

import copy
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from . import lm
from .blocks import block
from .functions import native
from .parts_of_ours import find
from .record import Job, Record

ROUNDING = 4.0
FLOOR = 16 * 2.0**-24
"""Of a tensor's largest number: where the stock code happens to be exact, this much is rounding too."""
MOST_RED = 20


def run(job: Job) -> Record:
    """The tables and, under notes named `RED ...`, everything that is wrong."""
    torch.set_num_threads(job.threads)
    record, red = Record(), []
    if (why := native()) is not None:
        record.skipped["ours"] = why
        red.append(f"the native kernels are absent ({why}): there is nothing of ours to time")
    else:
        red += _kernels(record)
    red += _blocks(record)
    red += _model(record)
    record.notes |= {f"RED {number:02}": line for number, line in enumerate(red[:MOST_RED])}
    if len(red) > MOST_RED:
        record.notes[f"RED {MOST_RED}"] = f"and {len(red) - MOST_RED} more"
    return record


def _kernels(record: Record) -> list[str]:
    """Observed maxima beside torch's and the promises, and against the measured budgets of the path that runs."""
    from gatewise import kernels
    from gatewise.kernels import _figures, _observed
    from gatewise.kernels._budgets import PRECISIONS

    record.notes["accuracy"] = "\n".join(_figures.table(seed=0))
    red = _figures.broken(seed=0)
    path = str(kernels.status().instruction_set)
    for name in kernels.names():
        for precision in PRECISIONS:
            seen, allowed = _observed.observed(name, precision, path), _observed.budget(name, precision, path)
            for what, got, most in (
                ("value", seen.value, allowed.value),
                ("gradient", seen.gradient, allowed.gradient),
            ):
                if not (got.ulp <= most.ulp and got.absolute <= most.absolute):
                    red.append(
                        f"{name} {precision} {path}: {what} is off by {got.ulp:.3g} ULP, {got.absolute:.2g} absolute; "
                        f"its budget is {most.ulp:g} ULP, {most.absolute:g}"
                    )
    return red


def distance(got: Iterable[Tensor], exact: Iterable[Tensor]) -> float:
    """The largest difference of all tensors, each as a share of its own largest number."""
    return max(
        float((one.double() - right).abs().max() / right.abs().max().clamp(min=1e-300))
        for one, right in zip(got, exact, strict=True)
    )


def verdict(what: str, stock: float, mine: float) -> list[str]:
    """A red line where ours lies further from float64 than rounding explains; NaN is red."""
    if mine <= max(ROUNDING * stock, FLOOR):
        return []
    return [f"{what}: ours lies {mine:.1e} from float64, eager {stock:.1e}; more than rounding explains"]


def value_and_gradients(model: nn.Module, x: Tensor, grad: Tensor) -> list[Tensor]:
    """The output, and the gradients by the input and every parameter."""
    leaf = x.clone().requires_grad_()
    y: Tensor = model(leaf)
    return [y.detach(), *torch.autograd.grad(y, [leaf, *model.parameters()], grad)]


def _compared(record: Record, what: str, stock: nn.Module, mine: Callable[[nn.Module], nn.Module]) -> list[str]:
    first = next(stock.parameters())
    x, grad = (torch.randn(2, 96, first.shape[1]) for _ in range(2))
    with torch.no_grad():
        grad = torch.randn_like(stock(x))
    exact = value_and_gradients(copy.deepcopy(stock).double(), x.double(), grad.double())
    eager = distance(value_and_gradients(stock, x, grad), exact)
    ours = distance(value_and_gradients(mine(stock), x, grad), exact)
    record.notes[f"gradients of {what}"] = f"from float64: eager {eager:.1e}, ours {ours:.1e}"
    return verdict(what, eager, ours)


def _blocks(record: Record) -> list[str]:
    red: list[str] = []
    for name, stocks in {
        "FeedForward": {f"{act} block, d = {dim}": block(dim, act) for dim in (384, 768) for act in ("gelu", "swiglu")},
        "Linear": {"linear 384 to 1024": nn.Linear(384, 1024)},
    }.items():
        kind, why = find(name)
        if kind is None:
            record.skipped[name] = why or ""
            continue
        for what, stock in stocks.items():
            red += _compared(record, what, stock, kind.of)
    return red


def _model(record: Record) -> list[str]:
    """First-step gradients of a byte-lm."""
    found = lm.first_gradients(lm.QUICK, record)
    if "ours" not in found:
        return []
    record.notes["gradients of byte-lm"] = f"from float64: eager {found['eager']:.1e}, ours {found['ours']:.1e}"
    return verdict("byte-lm's first gradients", found["eager"], found["ours"])
