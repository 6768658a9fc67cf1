"""`train.search` of a plan: how each arm's own learning rate is looked for."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, cast

from gatewise.core import GatewiseError, unknown_name

ENGINES = ("halving", "optuna")
MOST_SEEDS, MOST_RATES, MOST_RUNGS = 100, 51, 6


@dataclass(frozen=True, kw_only=True)
class Search:
    """Successive halving over a grid of learning rates, the same for every arm. Raises `GatewiseError`.

    Attributes:
        rates: how many rates, an odd number: the plan's own stands in the middle.
        factor: from one rate to the next.
        steps: of a run that goes to the end; 0 takes `train.steps`, or 400 where the budget decides those.
        rungs: 3 looks after a quarter, a half and all of the steps, each time keeping the better half; 1 keeps all.
        seeds: runs for each rate. They are other seeds than those that are judged.
        distance: the basin holds the rates whose loss is at most so much above the best, in the loss's unit.
        noise: a second basin, in units of the spread over seeds.
        engine: `halving`, which is built in, or `optuna`: the same search as one Optuna study for each arm, whose
            journal stays in the study's folder.
    """

    rates: int = 7
    factor: float = 2.0
    steps: int = 0
    rungs: int = 3
    seeds: int = 2
    distance: float = 0.02
    noise: float = 2.0
    engine: str = "halving"

    def __post_init__(self) -> None:
        self._whole("rates", 3, MOST_RATES)
        self._whole("rungs", 1, MOST_RUNGS)
        self._whole("seeds", 1, MOST_SEEDS)
        self._whole("steps", 0, 10**9)
        if self.engine not in ENGINES:
            raise unknown_name("engine of train.search", str(self.engine), ENGINES)
        if self.rates % 2 == 0:
            raise GatewiseError(f"train.search.rates must be odd, so that the plan's rate is one, not {self.rates}")
        if 0 < self.steps < 2 ** (self.rungs - 1) * 10:
            raise GatewiseError(f"train.search.steps of {self.steps} leave the first of {self.rungs} rungs too few")
        for name, least in (("factor", 1.0), ("distance", 0.0), ("noise", 0.0)):
            value: object = getattr(self, name)
            good = type(value) in (int, float) and math.isfinite(cast(float, value)) and cast(float, value) > least
            if not good:
                raise GatewiseError(f"train.search.{name} must be a number above {least:g}, not {value!r}")

    def _whole(self, name: str, least: int, most: int) -> None:
        value: object = getattr(self, name)
        if type(value) is not int or not least <= value <= most:
            raise GatewiseError(f"train.search.{name} must be a whole number from {least} to {most}, not {value!r}")

    def grid(self, middle: float) -> tuple[float, ...]:
        """The rates, rising, around the plan's own."""
        half = self.rates // 2
        return tuple(middle * self.factor**place for place in range(-half, half + 1))


def search_of(value: object) -> Search | None:
    """The search that a plan asks for: `true`, `false`, or a table. Raises `GatewiseError` for anything else."""
    if value is None or value is False:
        return None
    if value is True:
        return Search()
    if isinstance(value, Search):
        return value
    if not isinstance(value, Mapping):
        raise GatewiseError(f"train.search is true, or a table such as {{ rates = 7, steps = 400 }}, not {value!r}")
    table = cast("Mapping[str, Any]", value)
    known = [field.name for field in fields(Search)]
    for key in table:
        if key not in known:
            raise unknown_name("key in train.search", key, known)
    return Search(**table)
