"""Each arm's own learning rate as a reader sees it: losses by rate and rung, what was chosen, how wide its basin is."""

from dataclasses import dataclass
from statistics import fmean

from . import _numbers as num
from ._read import Document, number, record, records, strings, text

Points = tuple[tuple[float, float], ...]

_EDGES = {
    "between": "",
    "at or beyond the grid": "the grid ends there",
    "not known: stopped early": "its neighbour was stopped early",
}


@dataclass(frozen=True, kw_only=True)
class Basin:
    """The rates around the best whose loss lies within a distance of it. An edge that was not found says why."""

    distance: float
    low: float
    high: float
    low_open: str
    high_open: str
    least: float
    most: float | None

    @property
    def range(self) -> str:
        """The rates inside."""
        return f"{rate(self.low)} to {rate(self.high)}" if self.low < self.high else f"{rate(self.low)} alone"

    @property
    def width(self) -> str:
        """Between which factors the width lies; without an upper end where an edge was not found."""
        least = num.significant(self.least, 2)
        return f"×{least} or more" if self.most is None else f"×{least} to ×{num.significant(self.most, 2)}"

    @property
    def ends(self) -> str:
        """Which edges were not found, and why."""
        found = [f"{side} end not found: {why}" for side, why in self._open if why]
        return "; ".join(found) or "both ends found"

    @property
    def _open(self) -> tuple[tuple[str, str], ...]:
        return ("lower", self.low_open), ("upper", self.high_open)


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One look: the mean loss of every rate that stood there, and the basins at it."""

    steps: int
    losses: Points
    noise: float | None
    within_distance: Basin | None
    within_noise: Basin | None


@dataclass(frozen=True, kw_only=True)
class Found:
    """One arm's search."""

    arm: str
    unfair: str
    chosen: float | None
    rungs: tuple[Rung, ...]
    seeds: int
    failed: tuple[tuple[float, str], ...]
    """Rates of which a run failed, with the first failure."""

    steps: float | None
    seconds: float | None
    warnings: tuple[str, ...]

    @property
    def shown(self) -> str:
        """The chosen rate."""
        return num.MISSING if self.chosen is None else rate(self.chosen)

    @property
    def told(self) -> tuple[str, ...]:
        """What must be known of it: its warnings, and where runs failed, each reason once."""
        why: dict[str, list[str]] = {}
        for at, reason in self.failed:
            why.setdefault(reason, []).append(rate(at))
        return (*self.warnings, *(f"Failed at {', '.join(rates)}: {reason}." for reason, rates in why.items()))

    @property
    def last(self) -> Rung | None:
        """The last look, after which the rate was chosen."""
        return self.rungs[-1] if self.rungs else None


@dataclass(frozen=True, kw_only=True)
class Search:
    """The searches of one part."""

    part: str
    unit: str
    rates: tuple[float, ...]
    steps: tuple[int, ...]
    budget: float | None
    distance: float | None
    noise: float | None
    engine: str
    journal: str
    found: tuple[Found, ...]

    def row(self, found: Found) -> list[tuple[str, str]]:
        """The losses of an arm at every rate: at the last look at which it stood, with the steps of that look."""
        cells: list[tuple[str, str]] = []
        failures = dict(found.failed)
        for each in self.rates:
            seen = [(rung.steps, loss) for rung in found.rungs for at, loss in rung.losses if at == each]
            if seen:
                steps, loss = seen[-1]
                cells.append((f"{loss:.3f}", "" if steps == self.steps[-1] else f"after {steps:,}"))
            else:
                cells.append(("failed", "") if each in failures else (num.MISSING, ""))
        return cells


def searches(document: Document) -> tuple[Search, ...]:
    """The searches of every part that has them."""
    units = {
        text(each.get("part")): text(each.get("unit"))
        for each in records(document, "measurements")
        if text(each.get("metric")) in ("heldout_curve", "heldout_loss")
    }
    unfair = {(text(a.get("part")), text(a.get("label"))): text(a.get("unfair")) for a in records(document, "arms")}
    made: list[Search] = []
    for part in records(record(document, "study"), "parts"):
        name, held = text(part.get("name")), record(record(part, "training"), "search")
        grid = _numbers(held, "rates")
        arms = record(held, "arms")
        found = tuple(
            _found(text(label), each, unfair.get((name, text(label)), ""))
            for label, each in arms.items()
            if isinstance(each, dict)
        )
        if len(grid) > 1 and grid[0] > 0 and any(each.rungs for each in found):
            steps = tuple(sorted({rung.steps for each in found for rung in each.rungs}))
            made.append(
                Search(
                    part=name,
                    unit=units.get(name, ""),
                    rates=grid,
                    steps=steps,
                    budget=number(held.get("budget_steps_per_arm")),
                    distance=number(held.get("distance")),
                    noise=number(held.get("noise")),
                    engine=text(held.get("engine")),
                    journal=text(held.get("journal")),
                    found=found,
                )
            )
    return tuple(made)


def _numbers(held: Document, key: str) -> tuple[float, ...]:
    value = held.get(key)
    return tuple(sorted(each for item in value if (each := number(item)))) if isinstance(value, list) else ()


def _found(label: str, held: Document, unfair: str) -> Found:
    table = records(held, "table")
    rungs: list[Rung] = []
    for each in records(held, "rungs"):
        steps = number(each.get("steps"))
        if steps is None:
            continue
        rungs.append(
            Rung(
                steps=int(steps),
                losses=_losses(table, str(int(steps))),
                noise=number(each.get("noise")),
                within_distance=_basin(record(each, "within_distance")),
                within_noise=_basin(record(each, "within_noise")),
            )
        )
    failed = [(at, strings(entry, "failures")) for entry in table if (at := number(entry.get("rate"))) is not None]
    chosen = number(held.get("chosen"))
    seeds = held.get("seeds")
    return Found(
        arm=label,
        unfair=unfair,
        chosen=chosen,
        rungs=tuple(rungs),
        seeds=len(seeds) if isinstance(seeds, list) else 0,
        failed=tuple((at, why[0]) for at, why in failed if why),
        steps=number(held.get("steps")),
        seconds=number(held.get("seconds")),
        warnings=tuple(_warnings(held, table, chosen)),
    )


def _losses(table: list[Document], steps: str) -> Points:
    """Rate and mean loss after so many steps, of the rates whose every seed got there."""
    found: list[tuple[float, float]] = []
    for entry in table:
        at, losses = number(entry.get("rate")), record(entry, "losses").get(steps)
        if at is None or not isinstance(losses, list) or not losses:
            continue
        values = [value for item in losses if (value := number(item)) is not None]
        if len(values) == len(losses):
            found.append((at, fmean(values)))
    return tuple(sorted(found))


def _basin(held: Document) -> Basin | None:
    low, high, least = number(held.get("low")), number(held.get("high")), number(held.get("factor_least"))
    if low is None or high is None or least is None or low <= 0:
        return None
    return Basin(
        distance=number(held.get("distance")) or 0.0,
        low=low,
        high=high,
        low_open=_edge(held, "low_edge"),
        high_open=_edge(held, "high_edge"),
        least=least,
        most=number(held.get("factor_most")),
    )


def _edge(held: Document, key: str) -> str:
    said = text(held.get(key))
    return _EDGES.get(said, said)


def _warnings(held: Document, table: list[Document], chosen: float | None) -> list[str]:
    grid = [at for entry in table if (at := number(entry.get("rate"))) is not None]
    found: list[str] = []
    if chosen is None:
        found.append("Every rate failed: the judged runs used the plan's rate.")
    elif held.get("at_edge") is True and grid:
        end, beyond = ("lowest", "lower") if chosen == min(grid) else ("highest", "higher")
        found.append(
            f"The best is the {end} rate of the grid: a {beyond} one may be better. Widen the grid for all arms."
        )
    if held.get("heldout_shared") is True:
        found.append(
            "The search and the judged runs were looked at with the same held-out data: there was one batch only."
        )
    return found


def rate(value: float) -> str:
    """A learning rate: three significant digits, no zeros at the end."""
    shown = f"{value:.3g}"
    return num.power(value, 1) if "e" in shown else shown
