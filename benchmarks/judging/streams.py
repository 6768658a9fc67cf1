"""Seeded streams of paired times without any effect: two identical arms under one kind of noise.

Log times have shape (studies, pairs). An effect is put in afterwards by adding its log to the second arm, so every
effect meets the same noise. Where calls have a place in time, a pair takes two neighbouring places in random order.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], tuple[Array, Array]]

PAIRS = 200
PROCESSES, PAIRS_EACH = 40, 8
CALL = 0.03
"""The SD of the log of one call's time, apart from what the pair shares."""


@dataclass(frozen=True, kw_only=True)
class Stream:
    """One noise model.

    Attributes:
        name, about: for people.
        draw: the log times of both arms for a number of studies.
        block: how many pairs stand in one process, which then counts once; 1 where each pair counts.
        sound: whether the judge is used as documented; where it is not, its rates are shown and not required.
        listed: one of the six noise models that were asked for.
    """

    name: str
    about: str
    draw: Draw
    block: int = 1
    sound: bool = True
    listed: bool = False


def _calls(rng: np.random.Generator, studies: int, pairs: int = PAIRS) -> tuple[Array, Array]:
    return rng.normal(0, CALL, (studies, pairs)), rng.normal(0, CALL, (studies, pairs))


def _autocorrelated(rng: np.random.Generator, shape: tuple[int, int], sd: float, phi: float = 0.95) -> Array:
    """A stationary AR(1) along the last axis."""
    values = rng.normal(0, sd, shape)
    for i in range(1, shape[1]):
        values[:, i] = phi * values[:, i - 1] + np.sqrt(1 - phi**2) * values[:, i]
    return values


def _placed(rng: np.random.Generator, load: Array) -> tuple[Array, Array]:
    """Deal a load of (studies, 2 x pairs) places in time to both arms, in random order inside each pair."""
    first, second = load[:, ::2], load[:, 1::2]
    swap = rng.random(first.shape) < 0.5
    return np.where(swap, second, first), np.where(swap, first, second)


def _loaded(rng: np.random.Generator, load: Array) -> tuple[Array, Array]:
    baseline, arm = _calls(rng, *load[:, ::2].shape)
    first, second = _placed(rng, load)
    return baseline + first, arm + second


def _iid(rng: np.random.Generator, studies: int) -> tuple[Array, Array]:
    return _calls(rng, studies)


def _shared_load(rng: np.random.Generator, studies: int) -> tuple[Array, Array]:
    baseline, arm = _calls(rng, studies)
    load = _autocorrelated(rng, (studies, PAIRS), 0.2)
    return baseline + load, arm + load


def _tail(rng: np.random.Generator, studies: int) -> tuple[Array, Array]:
    baseline, arm = (times + np.log(10) * (rng.random(times.shape) < 0.01) for times in _calls(rng, studies))
    return baseline, arm


def _drift(rng: np.random.Generator, studies: int) -> tuple[Array, Array]:
    slope = rng.uniform(0, 0.5, (studies, 1))
    return _loaded(rng, slope * np.linspace(0, 1, 2 * PAIRS))


def _co_tenant(rng: np.random.Generator, studies: int) -> tuple[Array, Array]:
    switches = rng.random((studies, 2 * PAIRS)) < 0.02
    switches[:, 0] = rng.random(studies) < 0.5
    return _loaded(rng, np.log(1.35) * (np.cumsum(switches, axis=1) % 2))


def _process_offset(rng: np.random.Generator, studies: int) -> tuple[Array, Array]:
    baseline, arm = _calls(rng, studies, PROCESSES * PAIRS_EACH)
    offsets = rng.normal(0, 0.01, (2, studies, PROCESSES)).repeat(PAIRS_EACH, axis=2)
    return baseline + offsets[0], arm + offsets[1]


def _private(rng: np.random.Generator, studies: int) -> tuple[Array, Array]:
    baseline, arm = _calls(rng, studies)
    return baseline, arm + _autocorrelated(rng, (studies, PAIRS), CALL)


def _private_blocks(rng: np.random.Generator, studies: int) -> tuple[Array, Array]:
    baseline, arm = _calls(rng, studies, PROCESSES * PAIRS_EACH)
    fresh = _autocorrelated(rng, (studies * PROCESSES, PAIRS_EACH), CALL).reshape(studies, -1)
    return baseline, arm + fresh


def _skewed(rng: np.random.Generator, studies: int) -> tuple[Array, Array]:
    """The log-ratio itself is skewed, with a median of 0 and a mean that is not."""
    baseline, _ = _calls(rng, studies)
    return baseline, baseline + 1.5 * CALL * (rng.exponential(1.0, baseline.shape) - np.log(2))


def _ticks(rng: np.random.Generator, studies: int) -> tuple[Array, Array]:
    """A clock that ticks every 5 %: about one pair in two is an exact tie."""
    tick = np.log(1.05)
    baseline, arm = (np.round(times / tick) * tick for times in _calls(rng, studies))
    return baseline, arm


def _cauchy(rng: np.random.Generator, studies: int) -> tuple[Array, Array]:
    baseline, arm = (np.clip(0.01 * rng.standard_cauchy((studies, PAIRS)), -20, 20) for _ in range(2))
    return baseline, arm


def _regimes(rng: np.random.Generator, studies: int) -> tuple[Array, Array]:
    """Each call runs in a fast or a slow mode, by chance; the noise itself quintuples now and then."""
    wild = 1 + 4 * (np.cumsum(rng.random((studies, PAIRS)) < 0.03, axis=1) % 2)
    baseline, arm = (times * wild + np.log(1.5) * (rng.random(times.shape) < 0.3) for times in _calls(rng, studies))
    return baseline, arm


STREAMS = (
    Stream(name="iid", about="independent lognormal calls", draw=_iid, listed=True),
    Stream(name="shared load", about="an AR(1) load, phi = .95, that the pair shares", draw=_shared_load, listed=True),
    Stream(name="tail", about="1 % of the calls take ten times as long", draw=_tail, listed=True),
    Stream(name="drift", about="the machine slows down by up to 65 %", draw=_drift, listed=True),
    Stream(name="co-tenant", about="a neighbour switches on and off, also inside a pair", draw=_co_tenant, listed=True),
    Stream(
        name="process offset",
        about="each process shifts each arm by an SD of 1 %; judged by process",
        draw=_process_offset,
        block=PAIRS_EACH,
        listed=True,
    ),
    Stream(
        name="private AR, pairs", about="AR(1) inside one arm only, judged pair by pair", draw=_private, sound=False
    ),
    Stream(
        name="private AR, processes",
        about="AR(1) inside one arm only, judged by process",
        draw=_private_blocks,
        block=PAIRS_EACH,
    ),
    Stream(name="skewed", about="a skewed log-ratio with a median of 0", draw=_skewed),
    Stream(name="ticks", about="a clock that ticks every 5 %: half of the pairs tie", draw=_ticks),
    Stream(name="Cauchy", about="no mean and no variance", draw=_cauchy),
    Stream(name="regimes", about="fast and slow mode by chance, bursts of noise", draw=_regimes),
)
