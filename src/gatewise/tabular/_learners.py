"""The learners of a study: the guess, the two baselines, and a neural network for each arm."""

from ._baselines import guess, linear, trees
from ._network import neural
from ._parts import Fitted, Parts

GUESS, LINEAR, TREES = "guess", "linear", "trees"
BASELINES = (LINEAR, TREES)


def fit_learner(name: str, parts: Parts, seed: int) -> Fitted:
    """Train one learner on one seed's rows; any name that is no baseline's is an arm."""
    if name == GUESS:
        return guess(parts)
    if name == LINEAR:
        return linear(parts, seed)
    if name == TREES:
        return trees(parts, seed)
    return neural(parts, name, seed)
