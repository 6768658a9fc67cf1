"""Real series for `forecaster`: yearly sunspots, monthly sea temperature and weekly CO2, out of statsmodels."""

import csv
import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gatewise.core import GatewiseError, MissingExtraError

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """One series.

    Attributes:
        name: what it is.
        values: float64, [T]; NaN where nothing was observed.
        season: observations in one season, the m of the seasonal naive forecast.
        horizon: observations that are forecast at once.
        sha256: of the file.
    """

    name: str
    values: NDArray[np.float64]
    season: int
    horizon: int
    sha256: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """One forecast to be made: what is known at the origin, what came, and what an error of one unit is.

    Attributes:
        context: float64, [C]: everything up to the origin.
        target: float64, [H]: what came then.
        naive: float64, [H]: the seasonal naive forecast: the value one season earlier, or several.
        scale: mean |y_t - y_(t-m)| within the context: the error of the seasonal naive forecast there.
    """

    series: str
    context: NDArray[np.float64]
    target: NDArray[np.float64]
    naive: NDArray[np.float64]
    scale: float

    def scaled_error(self, forecast: NDArray[np.float64]) -> float:
        """Mean absolute error over the observed part of the horizon, divided by `scale` (MASE)."""
        return float(np.nanmean(np.abs(forecast - self.target))) / self.scale


def _column(rows: Rows) -> list[float]:
    return [float(row[1]) if row[1].strip() else math.nan for row in rows]


def _months(rows: Rows) -> list[float]:
    return [float(cell) for row in rows for cell in row[1:]]


_FILES: tuple[tuple[str, str, Callable[[Rows], list[float]], int, int], ...] = (
    ("yearly sunspots", "sunspots", _column, 11, 11),
    ("monthly sea temperature (El Niño)", "elnino", _months, 12, 12),
    ("weekly CO2 at Mauna Loa", "co2", _column, 52, 48),
)


@lru_cache(maxsize=1)
def series() -> tuple[Series, ...]:
    """The series from statsmodels' own files, read without importing it.

    Raises `GatewiseError` where statsmodels is missing or a file is not what it should be.
    """
    spec = find_spec("statsmodels")
    if spec is None or spec.origin is None:
        raise MissingExtraError("the series of statsmodels", "forecast")
    folder = Path(spec.origin).parent / "datasets"
    return tuple(
        read_series(folder / file / f"{file}.csv", name=name, parse=parse, season=season, horizon=horizon)
        for name, file, parse, season, horizon in _FILES
    )


def read_series(path: Path, *, name: str, parse: Callable[[Rows], list[float]], season: int, horizon: int) -> Series:
    """A series from a file with one header line. Raises `GatewiseError` for what is no such file."""
    try:
        content = path.read_bytes()
        values = np.array(parse([row for row in csv.reader(content.decode("ascii").splitlines()[1:]) if row]))
    except (OSError, ValueError, IndexError) as error:
        raise GatewiseError(f"cannot read the series in {path}: {error}") from error
    if len(values) < 4 * (season + horizon):
        raise GatewiseError(f"{path} is too short for the series {name}: {len(values)} observations")
    return Series(name=name, values=values, season=season, horizon=horizon, sha256=hashlib.sha256(content).hexdigest())


def windows(found: Series, *, longest: int) -> tuple[Window, ...]:
    """The rolling origins of one series: through its second half, one horizon apart, so that no two targets overlap.

    A context is everything before its origin, at most `longest` observations. A window with less than half of its
    horizon observed is left out.
    """
    season, horizon, values = found.season, found.horizon, found.values
    made: list[Window] = []
    for origin in range(len(values) // 2, len(values) - horizon + 1, horizon):
        context, target = values[max(0, origin - longest) : origin], values[origin : origin + horizon]
        if np.isfinite(target).mean() < 0.5:
            continue
        made.append(
            Window(
                series=found.name,
                context=context,
                target=target,
                naive=seasonal_naive(context, season, horizon),
                scale=float(np.nanmean(np.abs(context[season:] - context[:-season]))),
            )
        )
    return tuple(made)


def seasonal_naive(context: NDArray[np.float64], season: int, horizon: int) -> NDArray[np.float64]:
    """The last value observed at the same place of an earlier season, for each step of the horizon."""
    forecast = np.full(horizon, np.nan)
    for step in range(horizon):
        same = context[len(context) - season + step % season :: -season]
        seen = same[np.isfinite(same)]
        forecast[step] = seen[0] if len(seen) else np.nanmean(context)
    return forecast
