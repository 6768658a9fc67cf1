"""How a server behaves. Times are in seconds, sizes in bytes."""

import math
from dataclasses import dataclass, fields

from gatewise.core import GatewiseError


@dataclass(frozen=True, kw_only=True)
class ServeSettings:
    """Limits and windows of a server; the same for every version, so that a shadow stands where live stands.

    Attributes:
        max_batch: rows that run together at most. A larger request is not cut: it runs alone.
        max_rows: rows of one request at most; a larger one is refused (400).
        max_wait_s: the longest pause between two requests that a batch waits out. It waits only for those that were
            under way with the last batch, and only as long as a fuller batch gains more than the pause costs.
        max_queue: requests that may wait for one version. max_queue_s: how long the wait may be, as expected from
            the times of the last batches. Beyond either a request is refused at once (503).
        deadline_s: a request's time from arrival to answer, where it states none itself; 504 after it.
        max_body_bytes: of a request, before and after decompression (413).
        quota_per_s, quota_burst: requests a second of one caller, and how many it may save up (429); 0 is no quota.
        caller_header: names the caller; without it, or without the setting, the caller is the address.
        finite: refuse NaN and infinity in inputs (400).
        slot_s: the coin of a shadow share is thrown once for all requests of such a slot, so that both versions of a
            pair see the same arrivals and form the same batches.
        lame_duck_s: how long a server that was told to stop still takes requests. drain_s: how long it then waits
            for those under way.
        features_share: the share of requests whose inputs and outputs are summed up for drift.
        content: keep the bodies of requests in their records.
    """

    max_batch: int = 32
    max_rows: int = 4096
    max_wait_s: float = 0.01
    max_queue: int = 1024
    max_queue_s: float = 0.5
    deadline_s: float = 30.0
    max_body_bytes: int = 64 << 20
    quota_per_s: float = 0.0
    quota_burst: float = 10.0
    caller_header: str = ""
    finite: bool = True
    slot_s: float = 0.05
    lame_duck_s: float = 5.0
    drain_s: float = 30.0
    features_share: float = 1.0
    content: bool = False

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and not (math.isfinite(value) and value >= 0):
                raise GatewiseError(f"{each.name} must be a finite number from 0 up, not {value}")
        for name in ("max_batch", "max_rows", "max_queue", "max_body_bytes", "deadline_s", "max_queue_s"):
            if not getattr(self, name):
                raise GatewiseError(f"{name} must be above 0")
        if self.features_share > 1:
            raise GatewiseError(f"features_share must be from 0 to 1, not {self.features_share}")
        if self.quota_per_s and self.quota_burst < 1:
            raise GatewiseError(f"quota_burst must be at least 1, not {self.quota_burst}")
