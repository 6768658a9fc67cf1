"""What is written down of a request: one `Record` for each version that ran it, and its labels, which come later."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Role = Literal["live", "canary", "shadow"]
ROLES: tuple[Role, ...] = ("live", "canary", "shadow")

Status = Literal["ok", "error", "refused", "expired"]
STATUSES: tuple[Status, ...] = ("ok", "error", "refused", "expired")


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """One request on one version. A shadow pair is two records with the same `request`, of roles `live` and `shadow`.

    Attributes:
        request: the id of the request; the client's own where it gave one that is new.
        at_ns: when it arrived, Unix time in nanoseconds.
        model, version, digest: the served name, the version's label, its content hash.
        role: why this version ran it.
        first: whether it ran before its partner (the other record, or the copy of `beside_s`); None without one.
        status: `ok`; `error` (the model failed); `refused` (queue full, quota, bad input); `expired` (its deadline
            passed before it ran). `reason`: one line where it is not ok.
        queue_s, compute_s: seconds from arrival to the start of its batch, and of the batch's computation.
        beside_s: of a shadow: seconds that a second copy of the live version took for the same batch, on the same
            thread, right before it or after it. 0: another record of its batch carries them. None: there is no copy.
        control: True: a second copy of the live version answered, which gets as many requests as the canary; False: the
            canary answered, and there is such a copy. These two are compared in time. None: of neither.
        rows, batch_rows: items of the request, and of the whole batch that it ran in.
        fingerprint: a hash of the inputs (names, types, shapes, values): the same inputs have the same one.
        features: numbers that sum up the inputs, by name, for drift.
        outputs: numbers that sum up the outputs, by name.
        predictions: what each row was taken for: a class, or a number. Empty where the model says neither.
        confidences: of each prediction, from 0 to 1; empty where the model has none.
        content: the request as it came, only where storing it was allowed.
    """

    request: str
    at_ns: int
    model: str
    version: str
    digest: str
    role: Role
    first: bool | None = None
    status: Status = "ok"
    reason: str | None = None
    queue_s: float = 0.0
    compute_s: float = 0.0
    beside_s: float | None = None
    control: bool | None = None
    rows: int = 1
    batch_rows: int = 1
    fingerprint: str = ""
    features: Mapping[str, float] = field(default_factory=dict[str, float])
    outputs: Mapping[str, float] = field(default_factory=dict[str, float])
    predictions: tuple[float, ...] = ()
    confidences: tuple[float, ...] = ()
    content: bytes | None = None

    @property
    def latency_s(self) -> float:
        """Seconds from arrival to the end of the computation."""
        return self.queue_s + self.compute_s


@dataclass(frozen=True, kw_only=True, slots=True)
class Label:
    """What a row of a request turned out to be. Labels come late, twice, and in any order; the first one counts.

    Attributes:
        request, row: which prediction it belongs to.
        value: the class, or the number.
        at_ns: when it became known, Unix time in nanoseconds.
    """

    request: str
    row: int = 0
    value: float
    at_ns: int
