"""What an activation or a gate does while a model runs, looked at from outside by hooks that come and go.

Of each place, over some tokens (rows of what goes into the activation; the pixels of a convolution):

| measure | meaning |
|---|---|
| quiet | share of units whose slope was below 1e-3 for every token: dead as far as these tokens tell |
| saturated | share of (token, unit) with such a slope |
| open | share of (token, unit) with a pre-activation above 0, where a gate lets at least half through |
| largest | largest |gate × up| of a gated unit, else largest |output| |
| clamped | share of (token, unit) at which a clamp cuts; only where the function has one |
| not finite | share of values that are NaN or infinite |
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor, nn

FLAT = 1e-3
CLAMPS = {"swiglu_clamped": 7.0}
MEASURES = ("quiet", "saturated", "open", "largest", "clamped", "not finite")


@dataclass(frozen=True, kw_only=True)
class HealthSite:
    """One place that is watched.

    Attributes:
        path: of the activation, or of the gated unit. `name`: the function or gate there.
        low, high: the slope is below `FLAT` at and below `low`, and at and above `high`.
        gated: whether a product with a second input follows. `clamp`: the limit of its clamp, or None.
        unit: whether it is a gated unit of gatewise, whose parts are known.
    """

    path: str
    name: str
    low: float
    high: float
    gated: bool
    clamp: float | None
    unit: bool

    @property
    def measures(self) -> tuple[str, ...]:
        """What is measured here, but for the share that is not finite, which is an alarm by itself."""
        kept = [name for name in MEASURES[:-1] if name != "clamped" or self.clamp is not None]
        return tuple(kept)


def flat_ends(function: str) -> tuple[float, float]:
    """Where the slope of a scalar function of the table is below `FLAT` for good: to the left, to the right."""
    from gatewise import activations

    grid = np.linspace(-30.0, 30.0, 6001)
    steep = np.flatnonzero(np.abs(activations.get(function).derivative(grid)) > FLAT)
    if not len(steep):
        return float("inf"), float("inf")
    first, last = int(steep[0]), int(steep[-1])
    low = float(grid[first - 1]) if first else -float("inf")
    return low, float(grid[last + 1]) if last + 1 < len(grid) else float("inf")


def health_sites(model: "nn.Module") -> tuple[HealthSite, ...]:
    """The places of a model that can be watched: modules whose function is known and that stand at one place only."""
    from gatewise import activations, surgery

    found: dict[str, HealthSite] = {}

    def add(path: str, name: str, *, gated: bool, unit: bool) -> None:
        low, high = flat_ends(activations.get(name).act or name)
        found[path] = HealthSite(
            path=path, name=name, low=low, high=high, gated=gated, clamp=CLAMPS.get(name), unit=unit
        )

    for path, module in model.named_modules():
        if isinstance(module, activations.GatedUnit):
            add(path, module.name, gated=True, unit=True)
    for site in surgery.find_sites(model):
        inside = any(site.path == path or site.path.startswith(f"{path}.") for path in found)
        if site.named and not site.aliases and not inside and _is_module(model, site.path):
            add(site.path, site.before, gated=site.gated, unit=False)
    return tuple(found.values())


def _is_module(model: "nn.Module", path: str) -> bool:
    try:
        model.get_submodule(path)
    except AttributeError:  # a function that an attribute holds
        return False
    return bool(path)


@dataclass(kw_only=True)
class Sample:
    """What has been seen at one place, until `tokens` are full."""

    site: HealthSite
    tokens: int
    seen: int = 0
    rows: int = 0
    saturated: float = 0.0
    above: float = 0.0
    clamped: float = 0.0
    entries: int = 0
    largest: float = 0.0
    not_finite: float = 0.0
    alive: Any = None

    @property
    def full(self) -> bool:
        return self.rows >= self.tokens

    def values(self) -> dict[str, float]:
        """The measures by name."""
        n = max(self.entries, 1)
        all_of_them = {
            "quiet": 0.0 if self.alive is None else 1.0 - float(self.alive.double().mean()),
            "saturated": self.saturated / n,
            "open": self.above / n,
            "largest": self.largest,
            "clamped": self.clamped / n,
        }
        return {name: all_of_them[name] for name in self.site.measures}

    def take(self, z: "Tensor", up: "Tensor | None", product: "Tensor | None") -> None:
        """Count some tokens: pre-activations [tokens, units], the second input, and what comes out."""
        import torch

        finite = torch.isfinite(z)
        active = (z > self.site.low) & (z < self.site.high)
        alive = active.any(dim=0)
        self.alive = alive if self.alive is None or self.alive.shape != alive.shape else self.alive | alive
        counts = [(~active).sum(), (z > 0).sum(), (~finite).sum()]
        if self.site.clamp is not None:
            cut = z > self.site.clamp
            counts.append((cut if up is None else cut | (up.abs() > self.site.clamp)).sum())
        sums = torch.stack(counts).tolist()
        self.saturated, self.above = self.saturated + sums[0], self.above + sums[1]
        self.not_finite += sums[2]
        self.clamped += sums[3] if len(sums) > 3 else 0.0
        self.entries += z.numel()
        self.rows += z.shape[0]
        if product is not None:
            most = float(product.abs().max()) if product.numel() else 0.0
            if np.isfinite(most):
                self.largest = max(self.largest, most)
            else:
                self.not_finite += 1.0


@contextmanager
def looking(model: "nn.Module", samples: dict[str, Sample], spent: Callable[[float], object]) -> Generator[None]:
    """Inside it, one call of the model is looked at. Afterwards no hook is left. What it computes is not touched.

    `spent` is told of each piece of time, in seconds, that looking took.
    """
    began = time.perf_counter()
    handles: list[Any] = []
    parts: dict[str, dict[str, Any]] = {path: {} for path in samples}

    def keep(path: str, part: str, *, of_input: bool) -> Callable[..., None]:
        def hook(module: Any, inputs: tuple[Any, ...], output: Any = None) -> None:
            began = time.perf_counter()
            value = (inputs[0] if inputs else None) if of_input else output
            if value is not None and value.is_floating_point() and part not in parts[path]:
                parts[path][part] = _some(value.detach(), samples[path].tokens - samples[path].rows)
            spent(time.perf_counter() - began)

        return hook

    try:
        for path, sample in samples.items():
            module = model.get_submodule(path)
            if sample.site.unit:
                handles.append(module.get_submodule("gate").register_forward_hook(keep(path, "z", of_input=False)))
                handles.append(module.get_submodule("up").register_forward_hook(keep(path, "up", of_input=False)))
            else:
                handles.append(module.register_forward_pre_hook(keep(path, "z", of_input=True)))
            if sample.site.gated and not sample.site.unit:
                for down in _downs(model, path):
                    handles.append(down.register_forward_pre_hook(partial(_product, parts[path], sample)))
            else:
                handles.append(module.register_forward_hook(keep(path, "product", of_input=False)))
        spent(time.perf_counter() - began)
        yield
    finally:
        began = time.perf_counter()
        for handle in handles:
            handle.remove()
    for path, sample in samples.items():
        found = parts[path]
        if "z" in found:
            sample.seen += 1
            sample.take(found["z"], found.get("up"), found.get("product"))
    spent(time.perf_counter() - began)


def _product(found: dict[str, Any], sample: Sample, module: Any, inputs: tuple[Any, ...]) -> None:
    """The input of the layer behind a gate: the last linear sibling to be called that takes as many units."""
    del module
    if inputs and "z" in found and inputs[0].shape[-1] == found["z"].shape[-1]:
        found["product"] = _some(inputs[0].detach(), sample.tokens - sample.rows)


def _downs(model: "nn.Module", path: str) -> "list[nn.Module]":
    parent = model.get_submodule(path.rpartition(".")[0])
    return [child for child in parent.children() if getattr(child, "weight", None) is not None]


def _some(value: "Tensor", most: int) -> "Tensor":
    """A copy of [tokens, units], of at most so many tokens, spread over the batch: an activation may write in place.

    Of a picture, [items, channels, height, width], each pixel is a token and each channel a unit.
    """
    import torch

    moved = value.movedim(1, -1) if value.dim() == 4 else value
    rows = moved.reshape(-1, moved.shape[-1]) if moved.dim() else moved.reshape(1, 1)
    if rows.shape[0] <= most:
        return rows.clone()
    return rows[torch.linspace(0, rows.shape[0] - 1, most, device=rows.device).long()]
