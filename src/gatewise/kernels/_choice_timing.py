"""Which of a few candidates is quickest here, in a fraction of a second: interleaved, in random order, in rounds."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import comb, inf
from statistics import median
from typing import NamedTuple

BUDGET_S = 0.4
"""About how long one question may be measured for, beyond its first calls."""
ROUNDS = (3, 10)
"""The fewest and the most. Candidates of a second each get the fewest, whatever it costs."""
MORE_S, MOST_ROUNDS = 2.0, 40
"""How much longer, and up to how many rounds, those are measured that seem quicker than the stock one but lost too many
rounds to tell."""
CHANCE = 0.011
"""How often chance alone may win as many rounds as are asked for."""
SAMPLE_S = 5e-3
"""What a reading should take at least: quicker candidates are called several times a reading."""
GAIN = 0.02
"""The share of the stock time that another candidate must save to be worth taking."""
SHOWN = 7
"""So many rounds are timed, whatever it costs, of a candidate that seems to take more than its price: the fewest that
can show it (each of them does)."""

Clock = Callable[[], float]


class Price(NamedTuple):
    """What a candidate may take, as a share of another's time: of the chosen one's where `of` is None, or raised."""

    most: float
    of: str | None = None


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The quickest candidate, the median time of a call of each in seconds, and how many rounds were timed.

    `note` says which candidates raised and were left out. `undecided`: another candidate was quicker in the median, but
    not in enough rounds, so that the stock one was taken for want of evidence. `dear`: those that took more than their
    price in more rounds than chance would allow.
    """

    chosen: str
    undecided: bool = False
    times_s: dict[str, float] = field(default_factory=dict[str, float])
    rounds: int = 0
    note: str | None = None
    dear: tuple[str, ...] = ()


def compare(
    candidates: Mapping[str, Callable[[], object]],
    *,
    clock: Clock,
    order: random.Random | None = None,
    prices: Mapping[str, Price] | None = None,
) -> Timing:
    """Time the candidates against the first, the stock one.

    Every round times each of them once, in an order drawn anew. Another candidate is chosen when it was quicker than
    the stock one in more rounds than chance would allow (nine of ten, sixteen of twenty; all of fewer than ten), and
    by at least `GAIN` in the median of the rounds' ratios; of several, the one with the lowest ratio. Where one is that
    much lower again in the median, but was not quicker in enough rounds, they go on with it, the stock one and the best
    so far alone, and it is looked at again each time that their number has doubled. A candidate that raises is left
    out.

    A candidate with a price is one that the caller takes for another reason than time, unless it is dear. Where it
    seems to be, it goes on for `SHOWN` rounds at least, and further as above: a few rounds of noise are no reason to
    leave it.

    Raises what the first candidate raised when all of them raise.
    """
    first_s, failed = _first_calls(candidates, clock)
    left = [name for name in candidates if name in first_s]
    if not left:
        raise next(iter(failed.values()))
    note = "; ".join(f"{name} failed: {_line(error)}" for name, error in failed.items()) or None
    if len(left) == 1:
        return Timing(chosen=left[0], note=note)
    race = _Race(candidates, first_s, clock, order or random.Random())
    stock, rounds = left[0], max(ROUNDS[0], min(ROUNDS[1], int(BUDGET_S / race.round_s(left))))
    race.run(left, rounds)
    chosen, promising = race.winner(left)
    end = clock() + MORE_S
    while promising and rounds < MOST_ROUNDS and clock() < end:
        rounds = min(2 * rounds, MOST_ROUNDS)
        names = tuple(dict.fromkeys((stock, chosen, *promising)))
        race.run(names, rounds, end)
        chosen, promising = race.winner(names)
    return Timing(
        chosen=chosen,
        undecided=chosen == stock and bool(promising),
        dear=race.dear(chosen, prices or {}),
        times_s={name: median(race.seen(name)) for name in left},
        rounds=len(race.seen(stock)),
        note=note,
    )


class _Race:
    """Rounds of readings: in each, the seconds of a call of every candidate that took part in it."""

    def __init__(
        self,
        candidates: Mapping[str, Callable[[], object]],
        first_s: Mapping[str, float],
        clock: Clock,
        order: random.Random,
    ) -> None:
        self._candidates, self._clock, self._order = candidates, clock, order
        self._calls = {name: max(1, min(1000, round(SAMPLE_S / max(each, 1e-9)))) for name, each in first_s.items()}
        self._first_s = first_s
        self._rounds: list[dict[str, float]] = []

    def round_s(self, names: Sequence[str]) -> float:
        """What a round of these would take, by their first calls."""
        return max(sum(self._first_s[name] * self._calls[name] for name in names), 1e-9)

    def seen(self, name: str) -> list[float]:
        return [each[name] for each in self._rounds if name in each]

    def run(self, names: Sequence[str], upto: int, end: float = inf) -> None:
        """Rounds of these, till each took part in `upto`; none is begun after `end`."""
        while min(len(self.seen(name)) for name in names) < upto and self._clock() <= end:
            self.round(names)

    def round(self, names: Sequence[str]) -> None:
        """Each of these once, in an order drawn anew."""
        drawn = self._order.sample(names, len(names))
        self._rounds.append({name: _reading(self._candidates[name], self._calls[name], self._clock) for name in drawn})

    def _ratios(self, name: str, base: str) -> list[float]:
        """One candidate's time over another's, in the rounds that both took part in."""
        return [each[name] / max(each[base], 1e-12) for each in self._rounds if name in each and base in each]

    def winner(self, names: Sequence[str]) -> tuple[str, list[str]]:
        """The candidate to take, the stock one first, and those that noise alone may have kept from it."""
        ratios = {name: self._ratios(name, names[0]) for name in names[1:]}
        middles = {name: median(each) for name, each in ratios.items()}
        won = [
            name
            for name, each in ratios.items()
            if middles[name] <= 1 - GAIN and sum(ratio >= 1 for ratio in each) <= _may_lose(len(each))
        ]
        chosen = min(won, key=middles.__getitem__, default=names[0])
        best = middles.get(chosen, 1.0)
        promising = [name for name in middles if name not in won and middles[name] <= best * (1 - GAIN)]
        return chosen, promising

    def dear(self, chosen: str, prices: Mapping[str, Price]) -> tuple[str, ...]:
        """Those that take more than their price, beyond noise. What only seems to is timed further."""
        doubtful = {
            name: (price.of if price.of and self.seen(price.of) else chosen, price.most)
            for name, price in prices.items()
            if self.seen(name)
        }
        found: list[str] = []
        end = self._clock() + MORE_S
        while True:
            for name, (base, most) in tuple(doubtful.items()):
                ratios = self._ratios(name, base)
                shown = len(ratios) >= SHOWN
                if not ratios or median(ratios) <= most:
                    del doubtful[name]
                elif shown and sum(ratio <= most for ratio in ratios) <= _may_lose(len(ratios)):
                    del doubtful[name]
                    found.append(name)
                elif len(ratios) >= MOST_ROUNDS or (shown and self._clock() > end):
                    del doubtful[name]
            if not doubtful:
                return tuple(found)
            bases = (base for base, _ in doubtful.values())
            self.round(tuple(dict.fromkeys((*bases, *doubtful))))


def _first_calls(
    candidates: Mapping[str, Callable[[], object]], clock: Clock
) -> tuple[dict[str, float], dict[str, Exception]]:
    """How long a second call takes (a first one compiles and allocates), and which candidates raise."""
    seconds: dict[str, float] = {}
    failed: dict[str, Exception] = {}
    for name, call in candidates.items():
        try:
            start = clock()
            call()
            seconds[name] = clock() - start
            if seconds[name] < BUDGET_S:
                seconds[name] = _reading(call, 1, clock)
        except Exception as error:  # noqa: BLE001  # whatever a way raises here, another may do without
            seconds.pop(name, None)
            failed[name] = error
    return seconds, failed


def _reading(call: Callable[[], object], times: int, clock: Clock) -> float:
    start = clock()
    for _ in range(times):
        call()
    return (clock() - start) / times


def _may_lose(rounds: int) -> int:
    """How many of the rounds may be lost by one that wins more than chance does."""
    lost, chance = 0, 2.0**-rounds
    while (chance := chance + comb(rounds, lost + 1) / 2**rounds) <= CHANCE:
        lost += 1
    return lost


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__
