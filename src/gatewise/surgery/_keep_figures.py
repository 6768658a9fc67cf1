"""The error of a conversion: per site and for the whole model, as an outside recomputation would find it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gatewise.core import GatewiseError

from ._fit_inputs import Batch, Reader, call, checked_batches, evaluating, main_output, rows
from ._keep_site import KeptSite
from ._report import Step, check_model


@dataclass
class _Sums:
    """Adds up the differences of two outputs, batch by batch, in float64."""

    rows: int = 0
    numbers: int = 0
    largest: float = 0.0
    squares: float = 0.0
    reference: float = 0.0
    cosines: float = 0.0
    least: float = math.inf

    def add(self, before: Tensor, after: Tensor) -> None:
        one, other = before.double(), after.double()
        if not len(one):
            return
        difference = other - one
        self.rows += len(one)
        self.numbers += one.numel()
        self.largest = max(self.largest, float(difference.abs().max()))
        self.squares += float(difference.square().sum())
        self.reference += float(one.square().sum())
        cosine = torch.where(
            (one == other).all(1), 1.0, torch.nn.functional.cosine_similarity(one, other, dim=1, eps=0.0).clamp(max=1.0)
        )
        self.cosines += float(cosine.sum())
        self.least = min(self.least, float(cosine.min()))

    def step(self, name: str, *, cosine: bool) -> Step:
        if not all(map(math.isfinite, (self.largest, self.squares, self.reference))):
            raise GatewiseError("the outputs on the calibration set are not finite, so no error can be stated")
        rms = math.sqrt(self.squares / max(1, self.numbers))
        size = math.sqrt(self.reference / max(1, self.numbers))
        known = cosine and math.isfinite(self.cosines)
        return Step(
            name=name,
            rows=self.rows,
            max=self.largest,
            rms=rms,
            relative=rms / size if size else None,
            cosine_mean=self.cosines / max(1, self.rows) if known else None,
            cosine_least=self.least if known else None,
        )


def output_error(original: nn.Module, changed: nn.Module, batches: object, name: str = "compared") -> Step:
    """How far a changed model's outputs are from the original's, on these batches (such as held-out ones).

    Both run in eval mode without gradients. `batches` is a list of batches: a tensor, a tuple, or a dict of keywords.
    Raises `GatewiseError` where a model does not take a batch or the outputs are not finite.
    """
    check_model(original)
    check_model(changed)
    given = checked_batches(batches)
    with evaluating(original, changed):
        return whole_figures(original, changed, given, name)


def whole_figures(original: nn.Module, changed: nn.Module, batches: list[Batch], name: str) -> Step:
    """The error of the main output. Both models have to be in eval mode already."""
    sums = _Sums()
    for batch in batches:
        before, after = main_output(call(original, batch)), main_output(call(changed, batch))
        if before.shape != after.shape:
            raise GatewiseError(f"the models answer in the shapes {list(before.shape)} and {list(after.shape)}")
        sums.add(rows(before, batch), rows(after, batch))
    return sums.step(name, cosine=True)


def site_figures(model: nn.Module, sites: list[KeptSite], batches: list[Batch]) -> dict[str, tuple[Step, ...]]:
    """The error of each site alone, on the inputs that it gets in the model as it is now."""
    reader = Reader(entries={site.path: site.entry for site in sites})
    sums = {site.path: [_Sums() for _ in site.steps] for site in sites}
    for batch in batches:
        read, _ = reader.read(model, batch)
        for site in sites:
            x = read.get(site.path)
            if x is None:
                continue
            reference = site.before(x)
            for total, (_, after) in zip(sums[site.path], site.steps, strict=True):
                total.add(reference, after(x))
    return {
        site.path: tuple(
            total.step(name, cosine=False) for total, (name, _) in zip(sums[site.path], site.steps, strict=True)
        )
        for site in sites
    }
