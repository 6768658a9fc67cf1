"""Which of a few candidates is quickest here, in a fraction of a second: interleaved, in random order, in rounds."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import comb, inf
from statistics import median

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

Clock = Callable[[], float]


@dataclass(frozen=True, kw_only=True)
class Timing:
    """The quickest candidate, the median time of a call of each in seconds, and how many rounds were timed.

    `note` says which candidates raised and were left out. `undecided`: another candidate was quicker in the median, but
    not in enough rounds, so that the stock one was taken for want of evidence.
    """

    chosen: str
    undecided: bool = False
    times_s: dict[str, float] = field(default_factory=dict[str, float])
    rounds: int = 0
    note: str | None = None


def compare(
    candidates: Mapping[str, Callable[[], object]], *, clock: Clock, order: random.Random | None = None
) -> Timing:
    """Time the candidates against the first, the stock one.

    Every round times each of them once, in an order drawn anew. Another candidate is chosen when it was quicker than
    the stock one in more rounds than chance would allow (nine of ten, sixteen of twenty; all of fewer than ten), and
    by at least `GAIN` in the median of the rounds' ratios; of several, the one with the lowest ratio. Where one is that
    much quicker in the median but not in enough rounds, the rounds go on with it alone, and it is looked at again each
    time that their number has doubled. A candidate that raises is left out.

    Raises what the first candidate raised when all of them raise.
    """
    shuffled = order or random.Random()
    first_s, failed = _first_calls(candidates, clock)
    left = [name for name in candidates if name in first_s]
    if not left:
        raise next(iter(failed.values()))
    note = "; ".join(f"{name} failed: {_line(error)}" for name, error in failed.items()) or None
    if len(left) == 1:
        return Timing(chosen=left[0], note=note)
    calls = {name: max(1, min(1000, round(SAMPLE_S / max(first_s[name], 1e-9)))) for name in left}
    one_round_s = sum(first_s[name] * calls[name] for name in left)
    rounds = max(ROUNDS[0], min(ROUNDS[1], int(BUDGET_S / max(one_round_s, 1e-9))))
    seen: dict[str, list[float]] = {name: [] for name in left}

    def race(names: Sequence[str], upto: int, seconds: float) -> None:
        start = clock()
        while len(seen[left[0]]) < upto and clock() - start <= seconds:
            for name in shuffled.sample(names, len(names)):
                seen[name].append(_reading(candidates[name], calls[name], clock))

    race(left, rounds, inf)
    chosen, promising = _winner(left, seen)
    end = clock() + MORE_S
    while chosen == left[0] and promising and rounds < MOST_ROUNDS and clock() < end:
        rounds = min(2 * rounds, MOST_ROUNDS)
        left = [left[0], *promising]
        race(left, rounds, end - clock())
        chosen, promising = _winner(left, {name: seen[name] for name in left})
    times = {name: median(values) for name, values in seen.items()}
    undecided = chosen == left[0] and bool(promising)
    return Timing(chosen=chosen, undecided=undecided, times_s=times, rounds=len(seen[left[0]]), note=note)


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


def _winner(names: Sequence[str], seen: Mapping[str, Sequence[float]]) -> tuple[str, list[str]]:
    """The candidate to take, and those that noise alone may have kept from it."""
    stock = names[0]
    best, chosen = 1 - GAIN, stock
    promising: list[str] = []
    for name in names[1:]:
        ratios = [own / max(base, 1e-12) for own, base in zip(seen[name], seen[stock], strict=True)]
        middle = median(ratios)
        if middle <= 1 - GAIN:
            promising.append(name)
        if middle <= best and sum(ratio >= 1 for ratio in ratios) <= _may_lose(len(ratios)):
            best, chosen = middle, name
    return chosen, promising


def _may_lose(rounds: int) -> int:
    """How many of the rounds may be lost by one that wins more than chance does."""
    lost, chance = 0, 2.0**-rounds
    while (chance := chance + comb(rounds, lost + 1) / 2**rounds) <= CHANCE:
        lost += 1
    return lost


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0] or type(error).__name__
