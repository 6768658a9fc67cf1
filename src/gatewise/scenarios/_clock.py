"""Two clocks with one face: the machine's, and one that jumps, so that a queue of hours is tried in seconds."""

import time
from typing import Protocol


class Clock(Protocol):
    """Seconds since some moment, and waiting."""

    def now_s(self) -> float:
        """The time."""
        ...

    def wait_until(self, moment_s: float) -> None:
        """Return at that moment, or at once where it has passed."""
        ...


class MachineClock:
    """The monotonic clock of the machine, which all its processes share.

    Args:
        spin_s: sleep until so long before the moment, then look at the clock until it has come. The thread that waits
            is the one that serves, so spinning takes no core from the model.
    """

    def __init__(self, spin_s: float = 0.0002) -> None:
        self.spin_s = spin_s

    def now_s(self) -> float:
        """The time."""
        return time.monotonic_ns() * 1e-9

    def wait_until(self, moment_s: float) -> None:
        """Return at that moment, or at once where it has passed."""
        while (left := moment_s - self.now_s()) > 0:
            if left > self.spin_s:
                time.sleep(left - self.spin_s)


class VirtualClock:
    """A clock that stands still until somebody waits or says how long something took."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def now_s(self) -> float:
        """The time."""
        return self._now_s

    def wait_until(self, moment_s: float) -> None:
        """Jump to that moment."""
        self._now_s = max(self._now_s, moment_s)

    def advance(self, seconds: float) -> None:
        """What was just done took so long."""
        self._now_s += seconds
