"""Whether a version fails more often than it may: an anytime-valid test on the share of failed requests."""

import math
from dataclasses import dataclass, field
from typing import Any

from gatewise.core import GatewiseError

from ._alarm import Alarm
from ._prometheus import outcome_of
from ._record import Record

STAKES = (0.5, 0.1, 0.02, 0.005, 0.001)
"""The shares of their capital that the bettors stake on each block."""
FAILED = ("error", "expired", "refused")


@dataclass(frozen=True, kw_only=True)
class ErrorSettings:
    """What is allowed.

    Attributes:
        allowed: the share of requests that may fail; what was the caller's fault does not count.
        false_alarm_every: at most one false alarm is expected in so many blocks with requests.
        block_s: failures come in bursts, so each block of time counts once, by the share that failed in it.
    """

    allowed: float = 0.001
    false_alarm_every: float = 10_000_000.0
    block_s: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.allowed < 0.5:
            raise GatewiseError("allowed is a share, above 0 and below 0.5")
        if not (self.false_alarm_every >= 100.0 and self.block_s > 0.0):
            raise GatewiseError("false_alarm_every is at least 100, and block_s above 0")


@dataclass(kw_only=True)
class ErrorWatch:
    """The failures of one version. It alarms once; `rearm` begins anew.

    Where the share X that fails in a block is at most `allowed` on average, whatever came before, 1 + s (X / allowed
    - 1) multiplies a bettor's capital by at most 1 on average, for any stake s from 0 to 1 and however the failures
    within the block hang together (Waudby-Smith and Ramdas 2024, arXiv 2010.09686). The sum of bettors that begin at
    every block alarms at `false_alarm_every`, as in `_drift_bets`.
    """

    model: str
    version: str
    settings: ErrorSettings = field(default_factory=ErrorSettings)
    replay: str = ""

    def __post_init__(self) -> None:
        self.n = self.failed = self.blocks = 0
        self._block: int | None = None
        self._asked = self._hit = 0
        self._at_ns = 0
        self.rearm()

    def rearm(self) -> None:
        """Forget the evidence, so that a new alarm is possible."""
        self._sums = [0.0] * len(STAKES)
        self._alarmed = False

    @property
    def strength(self) -> float:
        """The evidence as a share of what an alarm takes, on a log scale."""
        return math.log1p(sum(self._sums) / len(STAKES)) / math.log1p(self.settings.false_alarm_every)

    def add(self, record: Record) -> list[Alarm]:
        """Take one record; a block counts when a record of a later one comes. Other versions are passed over."""
        outcome = outcome_of(record)
        if record.model != self.model or record.version != self.version or outcome == "rejected":
            return []
        block = record.at_ns // int(self.settings.block_s * 1e9)
        alarms = self._close() if self._block is not None and block > self._block else []
        self._block = block if self._block is None else max(block, self._block)
        self._at_ns = max(self._at_ns, record.at_ns)
        self.n += 1
        self._asked += 1
        if outcome in FAILED:
            self.failed += 1
            self._hit += 1
        return alarms

    def _close(self) -> list[Alarm]:
        excess = self._hit / self._asked / self.settings.allowed - 1.0
        self._sums = [
            min((1.0 + stake * excess) * (capital + 1.0), 1e200)
            for stake, capital in zip(STAKES, self._sums, strict=True)
        ]
        self.blocks += 1
        self._asked = self._hit = 0
        if self._alarmed or sum(self._sums) / len(STAKES) < self.settings.false_alarm_every:
            return []
        self._alarmed = True
        return [self._alarm()]

    def _alarm(self) -> Alarm:
        share = self.failed / self.n
        return Alarm(
            kind="errors",
            model=self.model,
            version=self.version,
            at_ns=self._at_ns,
            severity="page",
            summary=f"more than {self.settings.allowed:.3g} of the requests fail: {self.failed} of {self.n} so far",
            evidence={
                "failed": self.failed,
                "n": self.n,
                "share": share,
                "allowed": self.settings.allowed,
                "blocks": self.blocks,
                "block_s": self.settings.block_s,
                "false_alarm_every": self.settings.false_alarm_every,
                "strength": self.strength,
            },
            replay=self.replay,
        )

    def state(self) -> dict[str, Any]:
        """As it stands, as JSON values."""
        return {"failed": self.failed, "n": self.n, "strength": round(self.strength, 4), "alarmed": self._alarmed}
