"""Which rows train, which tune and which are held out; rows that are each other's copies stay together."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

HELDOUT_SHARE, TUNING_SHARE = 0.25, 0.2
FEWEST_HELDOUT = 30
_BANDS = 5
SMALL, FOLDS = 1000, 5
"""Fewer different rows than this are cross-validated, in so many folds."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """One way to hold rows out.

    Attributes:
        name: `random` (the same mix of targets on both sides) or `time` (the newest rows are held out).
        train, heldout: places among the usable rows, ascending.
        since: for a split by time, the first day that is held out, as an ISO date.
        rounds: for a cross-validation the fold of each row, [rounds, rows]; there `train` and `heldout` are all rows.
    """

    name: str
    train: np.ndarray
    heldout: np.ndarray
    since: str | None = None
    rounds: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))

    @property
    def folds(self) -> int:
        """How many; 0 where one part of the rows is held out for good."""
        return int(self.rounds.max()) + 1 if self.rounds.size else 0

    def turn(self, run: int) -> tuple[np.ndarray, np.ndarray]:
        """The rows that one training learns from and those that it is asked about."""
        if not self.folds:
            return self.train, self.heldout
        held = self.rounds[run // self.folds] == run % self.folds
        return np.flatnonzero(~held), np.flatnonzero(held)

    def runs(self, seed: int) -> Sequence[int]:
        """The trainings that one of the plan's seeds stands for: one, or every second time a whole round of folds."""
        if not self.folds:
            return (seed,)
        start = seed // 2 * self.folds
        return range(start, start + self.folds) if seed % 2 == 0 else ()


def groups_of(rows: Sequence[Sequence[str]]) -> np.ndarray:
    """A number for each row, the same for rows with equal cells."""
    seen: dict[tuple[str, ...], int] = {}
    return np.asarray([seen.setdefault(tuple(row), len(seen)) for row in rows])


def strata_of(values: np.ndarray, *, classes: bool) -> np.ndarray:
    """The class of each row, or which fifth of all values it lies in."""
    if classes:
        return values.astype(np.int64)
    edges = np.quantile(values, np.linspace(0.0, 1.0, _BANDS + 1)[1:-1])
    return np.searchsorted(edges, values, side="right")


def take(places: np.ndarray, groups: np.ndarray, strata: np.ndarray, share: float, seed: int) -> np.ndarray:
    """About `share` of each stratum of `places`, whole groups only. The same arguments give the same rows."""
    rng = np.random.default_rng(seed)
    members: dict[int, list[int]] = defaultdict(list)
    for place in places.tolist():
        members[int(groups[place])].append(place)
    by_stratum: dict[int, list[list[int]]] = defaultdict(list)
    for rows in members.values():
        by_stratum[int(strata[rows[0]])].append(rows)
    taken: list[int] = []
    for stratum in sorted(by_stratum):
        whole = by_stratum[stratum]
        wanted = share * sum(map(len, whole))
        got = 0
        for index in rng.permutation(len(whole)).tolist():
            if got + len(whole[index]) / 2 > wanted:
                continue
            got += len(whole[index])
            taken += whole[index]
    return np.asarray(sorted(taken), dtype=np.int64)


def random_split(groups: np.ndarray, strata: np.ndarray, seed: int) -> Split:
    """A quarter of the rows held out, stratified by the target."""
    places = np.arange(len(groups))
    heldout = take(places, groups, strata, HELDOUT_SHARE, seed)
    return Split(name="random", train=np.setdiff1d(places, heldout), heldout=heldout)


def cross_validation(groups: np.ndarray, strata: np.ndarray, folds: int, rounds: int, seed: int) -> Split:
    """Every row held out once in each round, whole groups together, each fold with the same mix of targets."""
    places = np.arange(len(groups))
    drawn = [fold_of(groups, strata, folds, seed * 1_000_003 + each) for each in range(rounds)]
    return Split(name="random", train=places, heldout=places, rounds=np.stack(drawn))


def fold_of(groups: np.ndarray, strata: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of each row. Groups go in random order, large ones first, where their stratum has the fewest rows."""
    rng = np.random.default_rng(seed)
    names, first, place, sizes = np.unique(groups, return_index=True, return_inverse=True, return_counts=True)
    order = rng.permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    held = np.zeros((int(strata.max()) + 1, folds))
    found = np.zeros(len(names), dtype=np.int64)
    for each in order.tolist():
        row = held[strata[first[each]]]
        # Of folds that lack this stratum alike, the one with the fewest rows in all.
        found[each] = np.lexsort((held.sum(axis=0), row))[0]
        row[found[each]] += sizes[each]
    return found[place]


def time_split(days: np.ndarray, groups: np.ndarray, strata: np.ndarray, *, classes: bool) -> Split | str:
    """The newest quarter held out, or the sentence that says why not. Rows without a date only train.

    A training row whose copy is held out is left out altogether.
    """
    known = np.flatnonzero(np.isfinite(days))
    cut = float(np.quantile(days[known], 1.0 - HELDOUT_SHARE)) if len(known) else 0.0
    heldout = known[days[known] >= cut]
    train = np.setdiff1d(np.arange(len(days)), heldout)
    train = train[~np.isin(groups[train], groups[heldout])]
    if len(heldout) < FEWEST_HELDOUT or len(train) < FEWEST_HELDOUT:
        return "There is no split by time: too few rows lie on one side of every day."
    if classes:
        before, after = np.bincount(strata[train], minlength=1), np.bincount(strata[heldout], minlength=1)
        here = np.flatnonzero(after)
        if len(here) < 2 or any(place >= len(before) or before[place] < 8 for place in here.tolist()):
            return "There is no split by time: a value of the target is missing, or too rare, on one side."
    since = str(np.datetime64("1970-01-01") + np.timedelta64(int(np.floor(days[heldout].min())), "D"))
    return Split(name="time", train=train, heldout=heldout, since=since)
