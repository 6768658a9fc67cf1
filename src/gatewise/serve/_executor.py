"""One version at work: its queue and the one thread that runs its batches."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import numpy as np

from gatewise.core import GatewiseError

from ._cost import Cost
from ._datatypes import DTYPES
from ._encode import check
from ._refusal import Refusal

if TYPE_CHECKING:
    from gatewise.monitor import Role, Status

    from ._beside import Beside, Both
    from ._decode import Inference
    from ._servable import Arrays, Servable
    from ._settings import ServeSettings

_CLIENTS_FAULT = (GatewiseError, ValueError, IndexError)
"""What a servable raises for values that it cannot take, such as a token beyond its vocabulary: 400.
The rest is 500."""
_CLIENTS_FAULT_NAMES = ("InvalidArgument",)


class Ticket:
    """A request on its way through one executor. The executor fills in everything from `status` on."""

    __slots__ = (
        "arrived_s", "asked", "at_ns", "batch_rows", "beside", "beside_s", "compute_s", "control", "deadline_s", "done",
        "failure", "first", "outputs", "queue_s", "reason", "request", "role", "status",
    )  # fmt: skip

    def __init__(self, asked: Inference, request: str, role: Role, *, at_ns: int, arrived_s: float) -> None:
        self.asked = asked
        self.request = request
        self.role: Role = role
        self.at_ns = at_ns
        self.arrived_s = arrived_s
        self.deadline_s = 0.0
        self.first: bool | None = None
        self.control: bool | None = None
        self.beside: Beside | None = None  # the copy of the live version that this one's pair was given to
        self.done: Callable[[Ticket], object] | None = None
        self.status: Status = "ok"
        self.reason: str | None = None
        self.failure: Refusal | None = None
        self.outputs: Mapping[str, np.ndarray] = {}
        self.queue_s = 0.0
        self.compute_s = 0.0
        self.beside_s: float | None = None
        self.batch_rows = 0


Post = Callable[[list[Ticket]], None]
"""Hands tickets that are done back to the thread of the event loop."""


class Executor:
    """Runs one servable. `submit` and `wait_s` are for the event loop's thread only."""

    def __init__(self, servable: Servable, settings: ServeSettings, post: Post) -> None:
        self.servable = servable
        self._settings = settings
        self._post = post
        self._queue: SimpleQueue[Ticket | None] = SimpleQueue()
        self._cost = Cost()
        self._lock = threading.Lock()
        self._closed = False
        self._thread: threading.Thread | None = None
        # Each counter has one writer, so none needs a lock: the loop writes the first two, the thread the others.
        self.num_in = 0
        self.rows_in = 0
        self.num_started = 0
        self.rows_started = 0
        self.num_done = 0
        self.num_batches = 0
        self.busy_s = 0.0
        self._running: tuple[float, float] = (0.0, 0.0)
        self._expected = 1
        self._ended_s = 0.0
        self._patience = 1.0
        self._good: Arrays = {}

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return self.num_in - self.num_started

    @property
    def under_way(self) -> int:
        """Requests in the queue or running."""
        return self.num_in - self.num_done

    def wait_s(self, rows: int, now_s: float) -> float:
        """Expected seconds from now until a request of `rows` that comes now would be done."""
        started_s, lasts_s = self._running
        left = max(0.0, lasts_s - (now_s - started_s)) if started_s else 0.0
        return left + self._cost.wait_s(self.rows_in - self.rows_started + rows, self._settings.max_batch)

    def full(self, rows: int, now_s: float, left_s: float) -> Refusal | None:
        """Why a request cannot be taken: too many wait, or its answer would come too late."""
        if self.waiting >= self._settings.max_queue:
            return Refusal("full", f"{self.waiting} requests are waiting", retry_s=self.wait_s(rows, now_s))
        if not self.under_way:
            return None  # nobody to wait for; and so that a version that was slow once is found out when it is not
        wait_s = self.wait_s(rows, now_s)
        own_s = self._cost.batch_s(min(rows, self._settings.max_batch))
        if wait_s - own_s > self._settings.max_queue_s or wait_s > left_s:
            return Refusal("full", f"the answer would take about {wait_s:.2g} s", retry_s=wait_s)
        return None

    def submit(self, ticket: Ticket) -> None:
        """Put into the queue. `ticket.done` is called later, in the event loop."""
        self.num_in += 1
        self.rows_in += ticket.asked.rows
        self._queue.put(ticket)

    def start(self) -> None:
        """Start the thread, or go on where `close` was called and its work is not done yet."""
        with self._lock:
            self._closed = False
            if self._thread is None:
                name = f"gatewise-{self.servable.model}-{self.servable.version}"
                self._thread = threading.Thread(target=self._work, name=name, daemon=True)
                self._thread.start()

    def close(self) -> None:
        """No more will be submitted; the thread ends when all that waits has run."""
        self._closed = True
        self._queue.put(None)

    def join(self, timeout_s: float) -> bool:
        """Wait for the thread to end; whether it did."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)
        return self._thread is None

    def _work(self) -> None:
        waiting: deque[Ticket] = deque()
        while True:
            if not waiting:
                ticket = self._queue.get()
                if ticket is not None:
                    waiting.append(ticket)
                else:
                    with self._lock:
                        if self._closed and self._queue.empty():
                            self._thread = None
                            return
                    continue
            batch = self._take(waiting)
            if batch:
                self._run(batch)

    def _fetch(self, waiting: deque[Ticket], timeout_s: float) -> bool:
        try:
            ticket = self._queue.get(timeout=timeout_s) if timeout_s > 0 else self._queue.get_nowait()
        except Empty:
            return False
        if ticket is None:
            self._queue.put(None)  # for `_work`, when all before it has run
            return False
        waiting.append(ticket)
        return True

    def _take(self, waiting: deque[Ticket]) -> list[Ticket]:
        while self._fetch(waiting, 0.0):
            pass
        self._gather(waiting)
        now_s = time.monotonic()
        expired = [each for each in waiting if each.deadline_s <= now_s]
        if expired:
            kept = [each for each in waiting if each.deadline_s > now_s]
            waiting.clear()
            waiting.extend(kept)
            self._expire(expired, now_s)
        if not waiting:
            return []
        head = waiting.popleft()
        batch, rows, key = [head], head.asked.rows, head.asked.key
        if key is not None and waiting and rows < self._settings.max_batch:
            kept: list[Ticket] = []
            for each in waiting:
                if each.asked.key == key and rows + each.asked.rows <= self._settings.max_batch:
                    batch.append(each)
                    rows += each.asked.rows
                else:
                    kept.append(each)
            waiting.clear()
            waiting.extend(kept)
        self.num_started += len(batch)
        self.rows_started += rows
        return batch

    def _gather(self, waiting: deque[Ticket]) -> None:
        """Wait for those that were under way with the last batch, as long as that pays.

        Callers that were answered together come again together. What a batch costs whatever its rows is saved by each
        batch that need not run, so a pause for `missing` more rows beside `rows` is worth `fixed * missing / rows`.
        """
        limit = self._settings.max_batch
        rows = sum(each.asked.rows for each in waiting)
        since_s = max(self._ended_s, waiting[-1].arrived_s)
        while len(waiting) < self._expected and rows < limit and waiting[0].asked.key is not None:
            missing = min(self._expected - len(waiting), limit - rows)
            worth_s = max(self._cost.fixed_s() * missing / rows, self._cost.batch_s(rows) / 32)
            left_s = since_s + min(self._settings.max_wait_s, self._patience * worth_s) - time.monotonic()
            if not self._fetch(waiting, left_s):
                self._expected = len(waiting)  # in vain: fewer are expected from now on
                self._patience = max(self._patience / 2, 1 / 32)
                return
            self._patience = min(self._patience * 2, 1.0)
            rows += waiting[-1].asked.rows
            since_s = time.monotonic()

    def _expire(self, expired: list[Ticket], now_s: float) -> None:
        for each in expired:
            each.status, each.reason = "expired", "expired: the deadline passed before it ran"
            each.queue_s = now_s - each.arrived_s
        self.num_started += len(expired)
        self.rows_started += sum(each.asked.rows for each in expired)
        self.num_done += len(expired)
        self._post(expired)

    def _run(self, batch: list[Ticket]) -> None:
        rows = sum(each.asked.rows for each in batch)
        start_s = time.monotonic()
        self._running = (start_s, self._cost.batch_s(rows))
        beside = batch[0].beside if len({id(each.beside) for each in batch}) == 1 else None
        outputs, failure, both = self._call(batch, rows, beside)
        if failure is not None and len(batch) > 1:
            # One bad request must not fail those that it met in a batch: each runs again alone.
            self._running = (0.0, 0.0)
            self.busy_s += time.monotonic() - start_s
            for each in batch:
                self._run([each])
            return
        end_s = time.monotonic()
        self._running = (0.0, 0.0)
        self.busy_s += end_s - start_s
        self.num_batches += 1
        if failure is None:
            self._cost.add(rows, end_s - start_s)
        at = 0
        for each in batch:
            each.queue_s, each.batch_rows = start_s - each.arrived_s, rows
            each.compute_s = end_s - start_s if both is None else both.compute_s
            if each.beside is not None:
                each.beside_s = 0.0  # one pair of times for each batch: its first record has them
            each.failure = failure
            if failure is not None:
                each.status, each.reason = "error", f"{failure.cause}: {failure}"
            elif len(batch) == 1:
                each.outputs = outputs
            else:
                end = at + each.asked.rows
                each.outputs = {name: found[at:end] for name, found in outputs.items()}
                at = end
        if both is not None and both.beside_s:
            batch[0].beside_s, batch[0].first = both.beside_s, both.first
        self._ended_s = end_s
        self._expected = max(len(batch), self.under_way)
        self.num_done += len(batch)
        self._post(batch)

    def _works(self) -> bool:
        """Whether the model runs on the last input that it took, or on zeros: then a failure was the input's."""
        inputs = self._good or {
            port.name: np.zeros([max(1, size) for size in port.shape], DTYPES[port.datatype])
            for port in self.servable.inputs
            if port.datatype != "BYTES"
        }
        broken: Exception | None = None
        try:
            self.servable.call(inputs)
        except Exception as error:  # noqa: BLE001  a failure here too is the answer
            broken = error
        return broken is None and len(inputs) == len(self.servable.inputs)

    def _call(
        self, batch: list[Ticket], rows: int, beside: Beside | None
    ) -> tuple[Arrays, Refusal | None, Both | None]:
        first = batch[0].asked
        inputs, both = first.inputs, None
        try:
            if len(batch) > 1:
                inputs = {name: np.concatenate([each.asked.inputs[name] for each in batch]) for name in inputs}
            if beside is None:
                outputs = self.servable.call(inputs)
            else:
                both = beside.run(self.servable, inputs)
                outputs = both.outputs
            wrong = check(self.servable, outputs, None if first.key is None else rows)
        except Exception as error:  # noqa: BLE001  a model's failure is an answer, and never ends the server
            line = " ".join(str(error).split())[:300] or type(error).__name__
            theirs = isinstance(error, _CLIENTS_FAULT) or type(error).__name__ in _CLIENTS_FAULT_NAMES
            if theirs or (len(batch) == 1 and not isinstance(error, MemoryError) and self._works()):
                return {}, Refusal("input", f"the model does not take this input: {line}"), None
            return {}, Refusal("model", f"the model failed: {type(error).__name__}: {line}"), None
        if wrong is not None:
            return {}, Refusal("model", f"the model failed: {wrong}"), None
        self._good = first.inputs
        return outputs, None, both
