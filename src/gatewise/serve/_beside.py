"""A second copy of the live version beside the shadow: what their times are compared by.

Live answers while callers wait, and the shadow runs while live's answer is written: two versions of the same cost do
not take the same time there, least of all at the tail. So a shadow's batch runs once more, on a copy of the live
version that answers nobody: both on the shadow's thread, on the same arrays, one right after the other, in random
order. What the machine does meanwhile may fall on either with the same chance, and nothing else tells them apart.
"""

import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._servable import Arrays, Servable

if TYPE_CHECKING:
    import numpy as np

_REST_S = 1e-3
"""A rest before either call. A thread that has just slept goes first for a while: on a busy machine the second of two
calls in a row took 2.6 times as long as the first. After a rest each they differ little, and pairs say more."""


@dataclass(frozen=True, slots=True)
class Both:
    """A batch on both. `beside_s` is 0 where the copy could not run; then nothing is known of the order either."""

    outputs: "Mapping[str, np.ndarray]"
    compute_s: float
    beside_s: float
    first: bool


class Beside:
    """The copy, and the coin. A copy that is still at work for another shadow is left alone: nothing is measured.

    Attributes:
        num_failed: batches on which the copy failed.
    """

    def __init__(self, copy: Servable, *, seed: int | None = None) -> None:
        self.copy = copy
        self.num_failed = 0
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def run(self, shadow: Servable, inputs: Arrays) -> Both:
        """One batch on the shadow and on the copy. Raises what the shadow raises."""
        if not self._lock.acquire(blocking=False):
            outputs, compute_s = _timed(shadow, inputs)
            return Both(outputs, compute_s, 0.0, True)
        try:
            first = self._random.random() < 0.5
            beside_s = 0.0 if first else self._copy_s(inputs)
            outputs, compute_s = _timed(shadow, inputs)
            if first:
                beside_s = self._copy_s(inputs)
            return Both(outputs, compute_s, beside_s, first)
        finally:
            self._lock.release()

    def _copy_s(self, inputs: Arrays) -> float:
        try:
            return _timed(self.copy, inputs)[1]
        except Exception:  # noqa: BLE001  live itself fails on this input, and its own record says so
            self.num_failed += 1
            return 0.0


def _timed(servable: Servable, inputs: Arrays) -> tuple[Arrays, float]:
    time.sleep(_REST_S)
    began = time.perf_counter()
    outputs = servable.call(inputs)
    return outputs, time.perf_counter() - began
