"""`forecaster`: a real time-series model with three SwiGLU FFNs, on real series.

The model is Fracast-0 of the package fracast 0.1.0: 85,001 parameters, pretrained, nothing is fitted here. Protocol:

- Rolling origin: through the second half of each series, one horizon apart, so that no two targets overlap. What is
  known at an origin is everything before it, at most 2,048 observations.
- Horizon: 11 years of sunspots, 12 months of sea temperature, 48 weeks of CO2 (the most that the model gives at once).
- Score of an origin: 1 - MAE / scale, for the median forecast. The scale is the mean absolute error of the seasonal
  naive forecast within the context (MASE: Hyndman & Koehler, Int. J. Forecasting 22, 2006). 1 is perfect; what the
  seasonal naive forecast itself scores at the same origins stands beside it.

The model's authors trained on large public collections, which may hold these series: the scores tell arms apart, and
say nothing about data that the model has never seen. Origins of one series follow each other, so their errors are not
quite independent.

Shapes: B batch, W context, H horizon, Q quantiles.
"""

import hashlib
from collections.abc import Sequence
from functools import cached_property, lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gatewise import surgery
from gatewise.core import GatewiseError, MissingExtraError

from ._forecaster_data import Window, series, windows
from ._workload import Quality, Workload

WEIGHTS_SHA256 = "0d678f123f3d1f91c5065cca2b5d40eccc469360afc2381b27290486011ded2c"
_PROBE_BATCH = 16
_LEAST_SPAN = 1e-5


class Forecaster(nn.Module):
    """Encoder and head of Fracast-0 as one module: normalised contexts in, normalised quantiles out.

    `values` is float32, [B, 1, W], 0 where nothing was observed; `mask` is bool, [B, 1, W]. Gives [B, H, Q].
    """

    def __init__(self, core: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.core, self.head = core, head

    def forward(self, values: Tensor, mask: Tensor) -> Tensor:
        hidden = self.core(values, mask, mask.to(values.dtype))
        head: Any = self.head
        return head.forward_horizon(hidden, last_obs=values[:, 0, -1:], ctx=values[:, 0], ctx_mask=mask[:, 0])


@lru_cache(maxsize=1)
def _package() -> Path:
    """The package's folder, its weights checked. Raises `GatewiseError` where it is missing or another version."""
    spec = find_spec("fracast")
    if spec is None or spec.origin is None:
        raise MissingExtraError("the model package fracast", "forecast")
    folder = Path(spec.origin).parent
    path = folder / "weights" / "model.safetensors"
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "missing"
    if digest != WEIGHTS_SHA256:
        raise GatewiseError(f"{path} is not the model of fracast 0.1.0 (sha256 {digest[:12]})\ninstall fracast==0.1.0")
    return folder


class ForecasterWorkload(Workload):
    """Fracast-0 on sunspots, sea temperature and CO2. `tokens` has no meaning here: a context has its own length."""

    name = "forecaster"

    def facts(self) -> dict[str, Any]:
        _package()
        found = series()
        return {
            "workload": self.name,
            "data": {
                "source": f"{', '.join(each.name for each in found)}, from statsmodels",
                "sha256": hashlib.sha256("".join(each.sha256 for each in found).encode()).hexdigest(),
                "windows": len(self._windows),
                "protocol": "rolling origin in the second half, one horizon apart; horizons "
                + ", ".join(str(each.horizon) for each in found),
            },
            "model": {"package": "fracast 0.1.0", "sha256": WEIGHTS_SHA256},
        }

    @cached_property
    def _settings(self) -> tuple[int, int, int]:
        """Context length, horizon, and which quantile is the median."""
        loaded = _load()
        return loaded.context_length, loaded.horizon, loaded.quantiles.index(0.5)

    def original(self) -> nn.Module:
        loaded = _load()
        return Forecaster(loaded.core, loaded.head).eval()

    def save(self, model: nn.Module, folder: Path) -> None:
        """An arm to disk. The code of the model is the package's, so only its edits and tensors are stored."""
        surgery.save(model, folder, builder=self.original)

    def load(self, folder: Path) -> nn.Module:
        return surgery.load(folder, builder=self.original)

    @cached_property
    def _windows(self) -> tuple[Window, ...]:
        longest = self._settings[0]
        return tuple(window for each in series() for window in windows(each, longest=longest))

    def inputs(self, batch: int, tokens: int, seed: int) -> dict[str, Tensor]:
        """Contexts of `batch` origins, as `Forecaster` takes them."""
        del tokens
        picked = np.random.default_rng([seed, batch]).integers(0, len(self._windows), size=batch)
        return self._prepared([self._windows[index] for index in picked])

    def run(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        """All quantiles of the whole horizon, normalised as the context is, [B, H x Q]."""
        return model(**inputs).flatten(1)

    def probe(self) -> Sequence[dict[str, Tensor]]:
        """Every origin of every series, in their order."""
        return [self._prepared(group) for group in self._groups()]

    def quality(self, model: nn.Module) -> Quality:
        """1 - scaled error of the median forecast, origin by origin."""
        _, steps, middle = self._settings
        scores: list[float] = []
        for group in self._groups():
            with torch.inference_mode():
                quantiles = self.run(model, self._prepared(group)).double().reshape(len(group), steps, -1).numpy()
            for window, row in zip(group, quantiles[:, :, middle], strict=True):
                low, span = _range(window)
                scores.append(1.0 - window.scaled_error(row[: len(window.target)] * span + low))
        naive = [1.0 - window.scaled_error(window.naive) for window in self._windows]
        return Quality(
            name="1 - scaled error (MASE) of the median forecast; chance is the seasonal naive forecast",
            scores=tuple(scores),
            chance=float(np.mean(naive)),
        )

    def _groups(self) -> list[tuple[Window, ...]]:
        return [self._windows[start : start + _PROBE_BATCH] for start in range(0, len(self._windows), _PROBE_BATCH)]

    def _prepared(self, group: Sequence[Window]) -> dict[str, Tensor]:
        """Contexts at the right end of the model's own length, scaled to [0, 1] by what was observed in each."""
        width = self._settings[0]
        values = np.zeros((len(group), 1, width), dtype=np.float32)
        mask = np.zeros((len(group), 1, width), dtype=bool)
        for row, window in enumerate(group):
            low, span = _range(window)
            seen = np.isfinite(window.context)
            start = width - len(seen)
            mask[row, 0, start:] = seen
            values[row, 0, start:] = np.where(seen, (window.context.astype(np.float32) - low) / span, 0.0)
        return {"values": torch.from_numpy(values), "mask": torch.from_numpy(mask)}


def _range(window: Window) -> tuple[float, float]:
    """The least value that was observed, and how far the largest lies above it; in float32, as the model's own code."""
    seen = window.context[np.isfinite(window.context)].astype(np.float32)
    return float(seen.min()), max(float(seen.max()) - float(seen.min()), _LEAST_SPAN)


def _load() -> Any:
    _package()
    return import_module("fracast").FracastModel.from_pretrained(weights="fp32")
