"""Evidence from repeated cross-validation: what a small file is judged by, where one held-out quarter says little.

Every row is held out once in each round, so all rows are asked about and no single draw decides. The trainings share
most of their rows, so their differences are not independent, and a plain t interval over them would be far too short.
Nadeau and Bengio (2003, Machine Learning 52:239) correct its variance: with J trainings, the differences' variance s²,
and the numbers of rows asked about and learnt from,

    half-width = t(J - 1, 1 - alpha / 2) · s · sqrt(1 / J + asked / learnt)

What is compared is a single model of each learner, not an average over models.
"""

import math
from dataclasses import dataclass

import numpy as np

from gatewise.core import Comparison, Evidence, Rule

from ._evidence import Heldout

METHOD = "corrected resampled t over the folds of repeated cross-validation (Nadeau and Bengio)"


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """The effects of all trainings, and by how much their shared rows widen the interval; at any level."""

    folds: Evidence
    ratio: float
    rule: Rule

    def at(self, alpha: float) -> Comparison:
        """The comparison at one level; refused with the reason for which the plain t interval is."""
        plain, effects = self.folds.at(alpha), self.folds.effects
        center, n = math.fsum(effects) / len(effects), len(effects)
        if plain.interval is None:
            return self.rule.refuse(str(plain.reason), alpha=alpha, n=n, method=METHOD, estimate=center)
        wider = math.sqrt(1.0 + n * self.ratio)
        half = wider * (plain.interval[1] - plain.interval[0]) / 2
        spread = wider * float(np.std(effects, ddof=1)) / math.sqrt(n)
        return self.rule.conclude(center, center - half, center + half, spread, alpha=alpha, n=n, method=METHOD)


def resampled(heldout: Heldout, baseline_SRC: np.ndarray, arm_SRC: np.ndarray, rule: Rule) -> Resampled:
    """The evidence on an arm against a baseline: an effect for each fold of each round."""
    effects: list[float] = []
    for base, arm, folds in zip(baseline_SRC, arm_SRC, heldout.rounds, strict=True):
        apart = (heldout.losses(arm[None]) - heldout.losses(base[None])) / heldout.guess_loss
        sums = np.bincount(folds, weights=apart)
        effects += (sums / np.bincount(folds)).tolist()
    num_folds = int(heldout.rounds.max()) + 1
    evidence = Evidence(effects=tuple(effects), rule=rule, method="mean")
    return Resampled(folds=evidence, ratio=1.0 / (num_folds - 1), rule=rule)
