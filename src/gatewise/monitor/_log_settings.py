"""What a log keeps, for how long, and how much may wait to be written."""

from dataclasses import dataclass
from typing import Literal

from gatewise.core import GatewiseError, unknown_name

Content = Literal["none", "fingerprint", "full"]
CONTENTS: tuple[Content, ...] = ("none", "fingerprint", "full")


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """How a `Log` keeps what it is given. It validates and never acts.

    Attributes:
        content: what may be stored of a request. `none`: no content, fingerprint, features, and no reason (an error's
            text may quote the input); `fingerprint`: all but the content; `full`: the content too.
        commit_s: a commit waits this long for company (group commit): what is acknowledged later, is written cheaper.
        queue: entries that may wait to be written; `queue_bytes`: bytes of content that may wait.
        block_s: how long `append` waits for room when the queue is full, before the record is dropped and counted.
        segment_bytes, segment_s: a file is closed when it is larger or older than this.
        keep_bytes, keep_s: the oldest closed files are deleted when all are larger than this together, or when the
            last entry of a file was written longer ago than this (whatever times the entries themselves tell).
        parquet: whether closed files become Parquet files (where pyarrow is installed).
        retry_s: how long the log waits after the disk refused a write, before it tries again.
    """

    content: Content = "fingerprint"
    commit_s: float = 0.005
    queue: int = 20_000
    queue_bytes: int = 64 << 20
    block_s: float = 0.0
    segment_bytes: int = 64 << 20
    segment_s: float = 3600.0
    keep_bytes: int = 4 << 30
    keep_s: float = 30 * 86_400.0
    parquet: bool = True
    retry_s: float = 1.0

    def __post_init__(self) -> None:
        if self.content not in CONTENTS:
            raise unknown_name("content", self.content, CONTENTS)
        for name, least in (("queue", 1), ("queue_bytes", 1), ("segment_bytes", 1), ("commit_s", 0), ("block_s", 0)):
            if not getattr(self, name) >= least:  # a NaN too
                raise GatewiseError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        for name in ("segment_s", "keep_s", "retry_s"):
            if not getattr(self, name) > 0:
                raise GatewiseError(f"{name} is {getattr(self, name)}; it must be above 0 seconds")
        if self.keep_bytes < 2 * self.segment_bytes:
            raise GatewiseError(
                f"keep_bytes is {self.keep_bytes}; it must be at least two segments, 2 x {self.segment_bytes}"
                "\ngive a larger keep_bytes or a smaller segment_bytes"
            )
