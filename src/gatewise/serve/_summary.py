"""What a record keeps of a request: a fingerprint, numbers that sum it up, and predictions. Made to be cheap."""

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np

_SAMPLED = 4096
"""Elements of a tensor that are summed up at most, evenly spread."""

_WORDS = ("logits", "scores", "probabilities", "probs", "label", "class", "prediction")
"""Words in an output's name that say it carries the answer."""


@dataclass(frozen=True, slots=True)
class Summary:
    """See the same fields of `gatewise.monitor.Record`."""

    features: Mapping[str, float] = field(default_factory=dict[str, float])
    outputs: Mapping[str, float] = field(default_factory=dict[str, float])
    predictions: tuple[float, ...] = ()
    confidences: tuple[float, ...] = ()


class Summariser(Protocol):
    """Called in the event loop's thread after the answer was sent, so it must take microseconds."""

    def __call__(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> Summary: ...


def fingerprint(inputs: Mapping[str, np.ndarray]) -> str:
    """blake2b over names, types, shapes and values, in the order of the names; 32 hex digits."""
    digest = blake2b(digest_size=16)
    for name in sorted(inputs):
        each = inputs[name]
        digest.update(f"{name}\0{each.dtype.str}\0{each.shape}\0".encode())
        if each.dtype.kind == "O":
            for element in each.reshape(-1).tolist():
                digest.update(b"%d\0" % len(element))
                digest.update(element)
        else:
            digest.update((each if each.flags.c_contiguous else np.ascontiguousarray(each)).data)
    return digest.hexdigest()


class Standard:
    """The summary of every tensor by mean and root of the mean square, and predictions from logits or scores.

    A float output of two dimensions is taken for scores of classes where its rows are probabilities or its name says
    so (`logits`, `scores`, ...): the prediction is the column of the largest, its confidence the largest itself, or
    its softmax. An output of one number a row is the prediction itself. Anything else, such as an embedding, has none.
    """

    def __init__(self, features_share: float = 1.0, *, seed: int | None = None) -> None:
        self._share = features_share
        self._random = random.Random(seed)

    def __call__(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> Summary:
        predictions, confidences = _answers(outputs)
        if self._share < 1 and self._random.random() >= self._share:
            return Summary({}, {}, predictions, confidences)
        return Summary(_numbers(inputs), _numbers(outputs), predictions, confidences)


def _numbers(tensors: Mapping[str, np.ndarray]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, each in tensors.items():
        flat = each.reshape(-1)
        kind = each.dtype.kind
        if (each.ndim > 1 and each.shape[1] > 1) or each.ndim > 2:
            found[f"{name}.size"] = float(flat.size // max(1, each.shape[0]))
        if not flat.size:
            continue
        if flat.size > _SAMPLED:
            flat = flat[:: -(-flat.size // _SAMPLED)]
        if kind == "O":
            found[f"{name}.mean_bytes"] = sum(map(len, flat.tolist())) / flat.size
            continue
        if kind not in "fiub":
            continue
        if each.dtype.char not in "df":
            flat = flat.astype(np.float64)
        mean, square = float(np.add.reduce(flat)) / flat.size, float(np.dot(flat, flat)) / flat.size
        found[f"{name}.mean"] = mean
        found[f"{name}.rms"] = square**0.5
    return found


def _answers(outputs: Mapping[str, np.ndarray]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    able = {name: each for name, each in outputs.items() if each.dtype.kind in "fiub" and 1 <= each.ndim <= 2}
    named = [each for name, each in able.items() if any(word in name.lower() for word in _WORDS)]
    for found in (*named, *able.values()):
        if not found.size:
            continue
        if found.ndim == 1 or found.shape[1] == 1:
            return tuple(map(float, found.reshape(-1).tolist())), ()
        if found.dtype.kind == "f":
            likely = _probabilities(found)
            if likely or any(found is each for each in named):
                return _best(found, probabilities=likely)
    return (), ()


def _probabilities(found: np.ndarray) -> bool:
    with np.errstate(all="ignore"):
        return bool(found.min() >= 0 and np.abs(np.add.reduce(found, axis=1) - 1).max() < 1e-2)


def _best(found: np.ndarray, *, probabilities: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    best = found.argmax(axis=1)
    with np.errstate(all="ignore"):
        top = found[np.arange(len(found)), best].astype(np.float64)
        if not probabilities:
            top = 1 / np.add.reduce(np.exp(found - top[:, None]), axis=1)
    return tuple(map(float, best.tolist())), tuple(top.clip(0, 1).tolist())


def finite(numbers: Mapping[str, float]) -> dict[str, Any]:
    """Without those that are NaN or infinite: what is not there is not a number."""
    return {name: each for name, each in numbers.items() if each - each == 0}
