"""One learner against another: evidence from the held-out rows and from the seeds, under the one judge of gatewise.

What is compared is what would be used: the average of a learner's models over all seeds. The effect is the difference
of the mean losses on held-out rows, as a share of what guessing costs on the same rows.

- Rows: the paired differences of all held-out rows, summed over rows that are copies of each other; a t interval.
- Seeds: how far the average would move with other seeds, by the jackknife (Quenouille 1956, Tukey 1958): with m the
  effect from all S seeds and m_s without seed s, the values S m - (S - 1) m_s are taken as S independent effects.

The two sources are independent, so the half-widths are added in squares (MOVER: Zou and Donner 2008, Statistics in
Medicine 27:1693). Each is the judge's own interval at the level asked for.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from gatewise.core import Comparison, Evidence, Rule

from ._parts import row_losses

METHOD = "t over held-out rows and jackknife over seeds, half-widths added in squares"


@dataclass(frozen=True, kw_only=True)
class Crossed:
    """An effect with two sources of chance, to be judged at any level."""

    center: float
    rows: Evidence
    seeds: Evidence
    rule: Rule

    def at(self, alpha: float) -> Comparison:
        """The comparison at one level; refused with the reason of a source that is refused."""
        found = self.rows.at(alpha), self.seeds.at(alpha)
        n = found[0].n
        squares = 0.0
        for each in found:
            if each.interval is None:
                return self.rule.refuse(str(each.reason), alpha=alpha, n=n, method=METHOD, estimate=self.center)
            squares += ((each.interval[1] - each.interval[0]) / 2) ** 2
        half = math.sqrt(squares)
        spread = math.hypot(*(_standard_error(each.effects) for each in (self.rows, self.seeds)))
        return self.rule.conclude(
            self.center, self.center - half, self.center + half, spread, alpha=alpha, n=n, method=METHOD
        )


def _standard_error(effects: tuple[float, ...]) -> float:
    return float(np.std(effects, ddof=1)) / math.sqrt(len(effects))


@dataclass(frozen=True, kw_only=True)
class Heldout:
    """The held-out rows: targets, which rows are copies of each other, classes, and what a guess costs there.

    `rounds`: where each round of a cross-validation held each row out, [rounds, rows]; of no round elsewhere.
    """

    y: np.ndarray
    groups: np.ndarray
    classes: int
    guess_loss: float
    rounds: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.int64))

    def losses(self, given_SRC: np.ndarray) -> np.ndarray:
        """The loss of each row when the predictions of S models, [S, rows, classes or 1], are averaged."""
        return row_losses(self.classes, self.y, given_SRC.mean(axis=0))


def crossed(heldout: Heldout, baseline_SRC: np.ndarray, arm_SRC: np.ndarray, rule: Rule) -> Crossed:
    """The evidence on an arm against a baseline, both from the same seeds in the same order."""
    num_seeds, scale = len(arm_SRC), heldout.guess_loss
    apart = (heldout.losses(arm_SRC) - heldout.losses(baseline_SRC)) / scale
    center = float(apart.mean())
    place = np.unique(heldout.groups, return_inverse=True)[1]
    by_group = np.bincount(place, weights=apart) * (place.max() + 1) / len(apart)
    pseudo: list[float] = []
    for left_out in range(num_seeds if num_seeds > 1 else 0):
        rest = np.arange(num_seeds) != left_out
        without = (heldout.losses(arm_SRC[rest]) - heldout.losses(baseline_SRC[rest])).mean() / scale
        pseudo.append(num_seeds * center - (num_seeds - 1) * float(without))
    return Crossed(
        center=center,
        rows=Evidence(effects=tuple(by_group.tolist()), rule=rule, method="mean"),
        seeds=Evidence(effects=tuple(pseudo) or (center,), rule=rule, method="mean"),
        rule=rule,
    )
