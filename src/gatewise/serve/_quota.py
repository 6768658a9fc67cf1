"""A quota for each caller: a token bucket, of which only callers that used some are remembered."""

from collections import OrderedDict

_CALLERS = 10_000
"""Remembered at once. The one that was quiet longest is forgotten first, in its favour."""


class Quota:
    """`per_s` requests a second and `burst` at once, for each caller. `per_s` of 0 takes everything."""

    def __init__(self, per_s: float, burst: float) -> None:
        self.per_s = per_s
        self.burst = burst
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, caller: str, now_s: float) -> float:
        """Take one request. 0 where it is granted, else the seconds until the next would be."""
        if not self.per_s:
            return 0.0
        left, then = self._left.pop(caller, (self.burst, now_s))
        left = min(self.burst, left + (now_s - then) * self.per_s)
        granted = left >= 1
        self._left[caller] = (left - 1 if granted else left, now_s)
        if len(self._left) > _CALLERS:
            self._left.popitem(last=False)
        return 0.0 if granted else (1 - left) / self.per_s
