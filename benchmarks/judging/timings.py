"""The judge of times under every stream: false alarms, coverage, power, and its rivals on the same numbers."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewise.core import Rule

from .gates import Gate
from .ours import disagreements, first_verdicts, running, units
from .rivals import RIVALS, WITHOUT_MARGIN
from .streams import Array, Stream

ALPHA = 0.05
MARGIN = 0.02
POWER = ((0.02, 0.0), (0.05, 0.0), (0.10, 0.0), (0.05, MARGIN), (0.10, MARGIN))
CHECKED = 10
"""Studies of each stream on which the twin is compared with the real judge, for each of two rules."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What one stream showed; counts are out of `studies`."""

    stream: Stream
    studies: int
    no_effect: int
    at_margin: int
    missed: int
    equivalent: int
    power: tuple[dict[str, Any], ...]
    rivals: dict[str, dict[str, int | None]]
    disagreements: int

    def gates(self) -> list[Gate]:
        """What is promised where the judge is used as documented, and that it does answer."""
        if not self.stream.sound:
            return []
        names = ("false alarm, no effect", "wrong verdict at the margin", "interval missed")
        counts = (self.no_effect, self.at_margin, self.missed)
        found = [
            Gate(name=f"{self.stream.name}: {name}", count=count, trials=self.studies, limit=ALPHA)
            for name, count in zip(names, counts, strict=True)
        ]
        ten = self.power[-1]["worse"]
        name = f"{self.stream.name}: +10 % found"
        return [*found, Gate(name=name, count=ten, trials=self.studies, limit=0.8, at_most=False)]

    def json(self) -> dict[str, Any]:
        """Plain data."""
        found = {name: getattr(self, name) for name in ("studies", "no_effect", "at_margin", "missed", "equivalent")}
        return {
            "stream": self.stream.name,
            "about": self.stream.about,
            "unit": "process" if self.stream.block > 1 else "pair",
            "sound": self.stream.sound,
            "listed": self.stream.listed,
            **found,
            "power": list(self.power),
            "rivals": self.rivals,
            "disagreements": self.disagreements,
        }


def simulate(stream: Stream, rng: np.random.Generator, studies: int) -> Timing:
    """Judge fresh studies of one stream, ours and theirs."""
    baseline, arm = stream.draw(rng, studies)
    run = running(units(baseline, arm, stream.block), ALPHA)
    direction, margin = Rule(margin=0.0), Rule(margin=MARGIN)
    power: list[dict[str, Any]] = []
    for effect, of in POWER:
        words, ends = first_verdicts(run, float(np.log1p(effect)), Rule(margin=of))
        found = ends[words == 2]
        middle = [float(value) for value in np.quantile(found, [0.5, 0.9])] if len(found) else [None, None]
        power.append(
            {
                "effect": effect,
                "margin": of,
                "worse": int(np.sum(words == 2)),
                "other": int(np.sum((words != 2) & (words != 0))),
                "never": int(np.sum(words == 0)),
                "median": middle[0],
                "p90": middle[1],
            }
        )
    few = baseline[:CHECKED], arm[:CHECKED], stream.block
    return Timing(
        stream=stream,
        studies=studies,
        no_effect=int(np.sum(first_verdicts(run, 0.0, direction)[0] != 0)),
        at_margin=int(np.sum(first_verdicts(run, margin.bound, margin)[0] != 0)),
        missed=int(run.missed().sum()),
        equivalent=int(np.sum(first_verdicts(run, 0.0, margin)[0] == 3)),
        power=tuple(power),
        rivals=_rivals(baseline, arm, rng),
        disagreements=disagreements(*few, margin, alpha=ALPHA, effect=margin.bound)
        + disagreements(*few, direction, alpha=ALPHA, effect=float(np.log1p(0.05))),
    )


def _rivals(baseline: Array, arm: Array, rng: np.random.Generator) -> dict[str, dict[str, int | None]]:
    """False alarms of the others, and how often they call +2 % slower; times lie between 1 and 10 ms."""
    scale = 10.0 ** rng.uniform(-3, -2, (len(baseline), 1))
    base, same = scale * np.exp(baseline), scale * np.exp(arm)
    found: dict[str, dict[str, int | None]] = {}
    for name, rival in RIVALS.items():
        found[name] = {
            "no_effect": int(np.sum(rival(base, same, 0.0) != 0)),
            "at_margin": None if name in WITHOUT_MARGIN else int(np.sum(rival(base, same * (1 + MARGIN), MARGIN) != 0)),
            "worse": int(np.sum(rival(base, same * 1.02, 0.0) == 1)),
        }
    return found
