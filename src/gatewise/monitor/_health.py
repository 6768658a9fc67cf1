"""Activation health: dead units, open gates, large products, clamp hits, as an early warning. Sampled, switchable."""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from gatewise.core import GatewiseError

from ._alarm import Alarm
from ._drift import DriftSettings, FeatureWatch
from ._drift_words import Moved
from ._health_sites import HealthSite, Sample, health_sites, looking
from ._reference import Histogram, Reference

if TYPE_CHECKING:
    from torch import nn


@dataclass(kw_only=True)
class _Place:
    """One place: what is being counted, what was observed while it learns, and the watch once it compares."""

    site: HealthSite
    sample: Sample
    past: list[list[float]] = field(default_factory=list[list[float]])
    watch: FeatureWatch | None = None
    observations: int = 0

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f"{self.site.path} {measure}" for measure in self.site.measures)


@dataclass(frozen=True, kw_only=True)
class HealthSettings:
    """How activations are watched.

    Attributes:
        every: look at every n-th batch; 0 switches it off.
        tokens: one observation of a place is of so many tokens, from as many batches as it takes.
        learn: observations that make the reference, where none is given: the first traffic.
        false_alarm_every: at most one false alarm is expected in so many observations of each place, over all together.
        least_share, least_ratio: no alarm where the 10 %, 50 % and 90 % points of a share move by less than the first,
            nor where those of `largest` and `clamped` change by less than the second: too small to matter.
        most_share: at most this share of the time of all batches goes into looking, whatever `every` says.
    """

    every: int = 16
    tokens: int = 256
    learn: int = 64
    false_alarm_every: float = 100_000.0
    least_share: float = 0.02
    least_ratio: float = 1.25
    most_share: float = 0.02

    def __post_init__(self) -> None:
        if self.every < 0 or self.tokens < 8 or self.learn < 16:
            raise GatewiseError("every is from 0 (off), tokens from 8, learn from 16")
        if not 0.0 < self.most_share <= 1.0:
            raise GatewiseError("most_share is a share of the time, above 0 and at most 1")
        if self.least_share < 0.0 or self.least_ratio < 1.0:
            raise GatewiseError("least_share is from 0, least_ratio from 1")
        DriftSettings(false_alarm_every=self.false_alarm_every)


class HealthWatch:
    """The activations of one live version. Not for two threads at once: a version's executor calls it.

        with health.batch(at_ns):
            outputs = servable.call(inputs)

    The model's code is not changed: hooks stand only while a sampled batch runs. A runtime that does not call the
    modules (a compiled graph, another engine) shows nothing; `state()["sees"]` says so, and nothing is made up.

    A value that is not finite is an alarm at once, if there was none in the reference. Everything else is compared with
    the reference by the same bets as drift, an observation at a time.

    Args:
        model: the live module. `name`, `version`: whose alarms they are.
        on_alarm: is handed each alarm; it must not block (`Notifier.send` does not).
        settings: how often, how much.
        reference: what `reference()` of an earlier watch gave, such as at registration.
        replay: the command that shows the alarm again.

    Raises:
        GatewiseError: nothing in the model can be watched; a reference of other places.
    """

    def __init__(
        self,
        model: "nn.Module",
        *,
        name: str,
        version: str,
        on_alarm: Callable[[Alarm], object],
        settings: HealthSettings | None = None,
        reference: Reference | None = None,
        replay: str = "",
    ) -> None:
        self.settings = settings or HealthSettings()
        self.sites: tuple[HealthSite, ...] = health_sites(model)
        if not self.sites:
            raise GatewiseError("there is no activation in the model that could be watched")
        self.name, self.version, self.replay = name, version, replay
        self._model, self._on_alarm = model, on_alarm
        self._places = {site.path: _Place(site=site, sample=self._fresh(site)) for site in self.sites}
        self._latest: dict[str, float] = {}
        self._broken = False
        self._batches = self._sampled = 0
        self._batch_s = self._look_s = 0.0
        if reference is not None:
            if set(reference.histograms) != {name for place in self._places.values() for name in place.names}:
                raise GatewiseError("the reference is of other activations than this model has")
            for place in self._places.values():
                self._follow(place, reference)

    def _fresh(self, site: HealthSite) -> Sample:
        return Sample(site=site, tokens=self.settings.tokens)

    def _follow(self, place: _Place, reference: Reference) -> None:
        most = self.settings.false_alarm_every * len(self.sites)
        settings = DriftSettings(false_alarm_every=most, window=200)
        place.watch = FeatureWatch(reference, settings, place.names, partial(self._matters, place))
        place.watch.warm(place.past)
        place.past = []

    def _matters(self, place: _Place, index: int, now: Moved) -> bool:
        by_ratio = place.site.measures[index] in ("largest", "clamped")
        for before, after in zip(now.before, now.now, strict=True):
            if before is None or after is None:
                return True
            if not by_ratio and abs(after - before) >= self.settings.least_share:
                return True
            if by_ratio and max(before, after) >= self.settings.least_ratio * min(before, after) and before != after:
                return True
        return False

    @contextmanager
    def batch(self, at_ns: int | None = None) -> Generator[None]:
        """Around the call of one batch; looks at it if it is its turn and there is time to."""
        self._batches += 1
        every = self.settings.every
        turn = every > 0 and self._batches % every == 0 and self._look_s <= self.settings.most_share * self._batch_s
        began = time.perf_counter()
        if not turn:
            yield
            self._batch_s += time.perf_counter() - began
            return
        with looking(self._model, {path: each.sample for path, each in self._places.items()}, self._looked):
            yield
        self._sampled += 1
        self._batch_s += time.perf_counter() - began
        self._after(time.time_ns() if at_ns is None else at_ns)

    def _looked(self, seconds: float) -> None:
        self._look_s += seconds

    def _after(self, at_ns: int) -> None:
        broken = {path: each.sample.not_finite for path, each in self._places.items() if each.sample.not_finite}
        if broken:
            if not self._broken:
                self._broken = True
                self._on_alarm(self._not_finite(broken, at_ns))
            for place in self._places.values():
                place.sample = self._fresh(place.site)  # what NaN makes of the other measures says nothing more
            return
        for place in self._places.values():
            if place.sample.full:
                self._observe(place, list(place.sample.values().values()), at_ns)
                place.sample = self._fresh(place.site)

    def _observe(self, place: _Place, vector: list[float], at_ns: int) -> None:
        place.observations += 1
        self._latest.update(zip(place.names, vector, strict=True))
        if place.watch is None:
            place.past.append(vector)
            if len(place.past) == self.settings.learn:
                self._follow(place, _reference([place]))
            return
        for index in place.watch.add(vector):
            now = place.watch.describe(index)
            if now is not None:
                self._on_alarm(self._moved(place, index, now, at_ns))

    def reference(self) -> Reference:
        """What was observed so far, while it learns: to be stored, and given to the next watch.

        Raises `GatewiseError` where a place was not observed yet, or is compared already.
        """
        lacking = [path for path, place in self._places.items() if not place.past]
        if lacking:
            raise GatewiseError(f"there are no observations to make a reference of at {', '.join(lacking)}")
        return _reference(list(self._places.values()))

    def _moved(self, place: _Place, index: int, now: Moved, at_ns: int) -> Alarm:
        site, measure = place.site.path, place.site.measures[index]
        words = f"{measure} is {_shown(now.now[1])}, not {_shown(now.before[1])}"
        evidence = {
            "feature": place.names[index],
            "site": site,
            "measure": measure,
            "before": list(now.before),
            "now": list(now.now),
            "gap": now.gap,
            "observations": place.observations,
            "false_alarm_every": self.settings.false_alarm_every,
        }
        return Alarm(
            kind="health",
            model=self.name,
            version=self.version,
            at_ns=at_ns,
            summary=f"{site}: {words} (medians, {self.settings.tokens} tokens each)",
            evidence=evidence,
            replay=self.replay,
        )

    def _not_finite(self, broken: Mapping[str, float], at_ns: int) -> Alarm:
        first = next(site.path for site in self.sites if site.path in broken)
        return Alarm(
            kind="health",
            model=self.name,
            version=self.version,
            at_ns=at_ns,
            severity="page",
            summary=f"{first}: NaN or infinite values, the first of {len(broken)} places",
            evidence={"feature": "not finite", "site": first, "measure": "not finite", "places": dict(broken)},
            replay=self.replay,
        )

    def features(self) -> list[dict[str, Any]]:
        """Each place and measure as it stands, as JSON values, the strongest evidence first; none while it learns."""
        found: list[dict[str, Any]] = []
        for place in self._places.values():
            for each in place.watch.drifts() if place.watch is not None else []:
                found.append(
                    {
                        "model": self.name,
                        "version": self.version,
                        "feature": each.feature,
                        "site": place.site.path,
                        "measure": each.feature.removeprefix(f"{place.site.path} "),
                        "value": self._latest.get(each.feature),
                        "before": each.moved.before[1] if each.moved else None,
                        "now": each.moved.now[1] if each.moved else None,
                        "strength": each.strength,
                        "alarmed": each.alarmed,
                        "n": each.n,
                    }
                )
        return sorted(found, key=lambda each: (not each["alarmed"], -each["strength"]))

    def latest(self) -> dict[tuple[str, str], float]:
        """The latest observation by place and measure, for gauges."""
        places = self._places.values()
        pairs = [
            ((place.site.path, name), f"{place.site.path} {name}") for place in places for name in place.site.measures
        ]
        return {pair: self._latest[feature] for pair, feature in pairs if feature in self._latest}

    def state(self) -> dict[str, Any]:
        """What it has done, as JSON values."""
        places = self._places.values()
        return {
            "batches": self._batches,
            "sampled": self._sampled,
            "sees": any(place.observations or place.sample.rows for place in places),
            "observations": {place.site.path: place.observations for place in places},
            "learning": [place.site.path for place in places if place.watch is None],
            "looking_share": self._look_s / self._batch_s if self._batch_s > 0 else 0.0,
            "not_finite": self._broken,
        }


def _reference(places: Sequence[_Place]) -> Reference:
    histograms: dict[str, Histogram] = {}
    for place in places:
        for name, values in zip(place.names, zip(*place.past, strict=True), strict=True):
            histograms[name] = Histogram()
            for value in values:
                histograms[name].add(value)
    return Reference(histograms=histograms)


def _shown(value: float | None) -> str:
    return "nothing finite" if value is None else f"{value:.4g}"
