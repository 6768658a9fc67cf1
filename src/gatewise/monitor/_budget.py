"""How many false alarms a user can bear, turned into the level of every test and the run length of every detector."""

import math
from dataclasses import dataclass

from gatewise.core import GatewiseError

SECONDS = {"hour": 3600.0, "day": 86_400.0, "week": 604_800.0, "month": 2_629_800.0, "year": 31_557_600.0}

LARGEST_ALPHA = 0.05
"""No test is more lenient than this, whatever the budget allows."""


@dataclass(frozen=True, kw_only=True)
class FalseAlarmBudget:
    """At most one false alarm in so much time, over everything that is watched.

    Half of it goes to the tests that compare two versions from their first pair on (each may raise one false alarm
    in its whole life, with probability alpha), half to the detectors of a change (each raises one in `run_length`
    units on average). Expected numbers add up whether or not the tests depend on each other: nothing is assumed of it.

    Attributes:
        every_s: seconds in which one false alarm is borne.
        requests_per_s: requests to the model, on average.
        share: how many of them are judged (the share of shadow or canary).
        metrics: how many metrics are tested: latency, tail, errors, disagreement, accuracy.
        at_once: comparisons that run at the same time (a shadow and a canary are two).
        started: comparisons that begin within `every_s`: how often a new version comes, times `at_once`.
    """

    every_s: float
    requests_per_s: float
    share: float = 1.0
    metrics: int = 5
    at_once: int = 1
    started: int = 1

    def __post_init__(self) -> None:
        for name in ("every_s", "requests_per_s", "share"):
            value = getattr(self, name)
            if isinstance(value, (bool, str)) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
                raise GatewiseError(f"{name} must be a finite number above 0, not {value!r}")
        if self.share > 1:
            raise GatewiseError(f"share is a part of the requests, at most 1, not {self.share!r}")
        for name in ("metrics", "at_once", "started"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise GatewiseError(f"{name} must be a whole number of 1 or more, not {value!r}")
        if self.started < self.at_once:
            raise GatewiseError(f"{self.at_once} comparisons at once cannot be more than the {self.started} started")

    @classmethod
    def one_in(cls, period: str, *, requests_per_s: float, share: float = 1.0, started: int = 1) -> "FalseAlarmBudget":
        """One false alarm in an hour, a day, a week, a month or a year."""
        if period not in SECONDS:
            raise GatewiseError(f"the period must be one of {', '.join(SECONDS)}, not {period!r}")
        return cls(every_s=SECONDS[period], requests_per_s=requests_per_s, share=share, started=started)

    @property
    def units(self) -> float:
        """Pairs (or judged requests) within `every_s`, at least one."""
        return max(self.every_s * self.requests_per_s * self.share, 1.0)

    @property
    def alpha(self) -> float:
        """The level of each test of each comparison: half an alarm, split over all that begin within `every_s`."""
        return min(0.5 / (self.started * self.metrics), LARGEST_ALPHA)

    @property
    def run_length(self) -> float:
        """Units between two false alarms of one detector: half an alarm in `every_s`, split over all that run."""
        return max(2.0 * self.units * self.at_once * self.metrics, 2.0)

    def words(self) -> str:
        """The budget in words, with its arithmetic."""
        return (
            f"one false alarm in {_duration(self.every_s)} at {self.requests_per_s:g} requests/s, "
            f"of which {self.share:.3g} are judged ({self.units:,.0f} in that time).\n"
            f"{self.started} comparisons begin in that time, with {self.metrics} metrics each: every test has "
            f"alpha = {self.alpha:.2g} for its whole life "
            f"(at most {self.alpha * self.started * self.metrics:.2g} false alarms).\n"
            f"{self.at_once * self.metrics} detectors of a change run at a time: each has an average run length of "
            f"{self.run_length:,.0f} (0.5 false alarms)."
        )


def _duration(seconds: float) -> str:
    name, unit = min(SECONDS.items(), key=lambda item: abs(math.log(seconds / item[1])))
    count = seconds / unit
    return f"a {name}" if abs(count - 1) < 0.005 and name != "hour" else f"{count:.3g} {name}s"
