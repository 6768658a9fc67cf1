"""From an edge to a central log: each record exactly once, over a link that fails, repeats and reorders.

The edge sends again until it hears that the receiver holds a batch for good. The receiver knows, for each edge's log,
up to which number it holds everything; that number is stored in the same transaction as the entries. So what comes
twice is stepped over, what comes too early is refused, and a kill on either side changes nothing.
"""

import json
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError

from ._forward_batch import Ack, Batch, Range, pack, pack_ack, pack_entry, unpack, unpack_ack
from ._log import Log
from ._log_read import log_facts, read_entries

Transport = Callable[[bytes], bytes]


@dataclass(frozen=True, kw_only=True)
class Forwarded:
    """How forwarding is doing.

    Attributes:
        until: the receiver holds everything up to this number; None before it has answered once.
        entries: how many entries it has taken in this run.
        lost: what retention deleted unsent, in this run, as (first, last) numbers: at most these, numbers have gaps.
        problem: why nothing arrives at the moment, in one line; None where all is well.
    """

    until: int | None = None
    entries: int = 0
    lost: tuple[Range, ...] = ()
    problem: str | None = None


class Forwarder:
    """Sends a log to a receiver. It only reads the log: the edge goes on without the link, and without this.

    Arguments:
        folder: the edge's log. `edge`: its name, another one for each edge.
        transport: takes a batch to `Receiver.receive` and brings its answer back; it raises where it cannot.
        batch: how many entries are sent at once; `batch_bytes`: how many bytes, before they are compressed.
    """

    def __init__(
        self, folder: str | Path, edge: str, transport: Transport, *, batch: int = 500, batch_bytes: int = 4 << 20
    ) -> None:
        if not edge or len(edge) > 200:
            raise GatewiseError("an edge needs a name of at most 200 characters")
        if batch < 1:
            raise GatewiseError(f"batch is {batch}; it must be at least 1")
        self._folder, self._edge, self._transport = Path(folder), edge, transport
        self._batch, self._batch_bytes = batch, batch_bytes
        self._log = log_facts(folder)["log"]
        self.state = Forwarded()

    def step(self) -> int:
        """Send one batch; gives how many entries the receiver has taken. A link that fails is no error: see `state`.

        Raises:
            GatewiseError: the receiver holds numbers that this log has not reached: it was set back, or copied.
        """
        for _ in range(4):  # it may answer first where to go on, or step back once
            state = self.state
            batch, data = self._hello() if state.until is None else self._next(state.until)
            if data is None:
                self._set(problem=None)
                return 0
            try:
                ack = unpack_ack(self._transport(data))
                if (ack.edge, ack.log) != (self._edge, self._log):
                    raise GatewiseError("the answer is for another edge")
            except Exception as error:  # noqa: BLE001 - the transport is the caller's; what it raises, we try again
                self._set(problem=f"no good answer from the receiver: {error}")
                return 0
            if state.until is None or ack.until < batch.until:
                self._check(ack.until)
                self._set(until=ack.until, problem=None)
                continue
            count = len(batch.entries)
            self._set(until=ack.until, entries=state.entries + count, lost=state.lost + batch.lost, problem=None)
            if count:
                return count
        return 0

    def _set(self, **changes: Any) -> None:
        self.state = Forwarded(**({name: getattr(self.state, name) for name in _FIELDS} | changes))

    def _hello(self) -> tuple[Batch, bytes]:
        batch = Batch(edge=self._edge, log=self._log, after=0, until=0, lost=(), entries=())
        return batch, pack(batch, [])

    def _check(self, until: int) -> None:
        reserved = int(log_facts(self._folder)["reserved"])
        if until > reserved:
            raise GatewiseError(
                f"{self._folder}: the receiver holds entries up to {until}, this log has numbers up to {reserved} only"
                "\nit was set back to an older state, or another edge runs on a copy of it; begin a new log folder"
            )

    def _next(self, after: int) -> tuple[Batch, bytes | None]:
        packed, entries, size = list[str](), [], 0
        for entry in read_entries(self._folder, after=after):
            line = pack_entry(entry)
            if entries and size + len(line) > self._batch_bytes:
                break
            entries.append(entry)
            packed.append(line)
            size += len(line)
            if len(entries) >= self._batch:
                break
        deleted = int(log_facts(self._folder)["deleted_until"])
        until = entries[-1].number if entries else deleted
        lost = _gaps(after, [entry.number for entry in entries], min(deleted, until))
        batch = Batch(
            edge=self._edge, log=self._log, after=after, until=until, lost=tuple(lost), entries=tuple(entries)
        )
        return batch, pack(batch, packed) if until > after else None

    def run(self, stop: threading.Event, *, idle_s: float = 1.0, longest_s: float = 60.0) -> None:
        """Send until told to stop; without a link it waits longer each time, up to `longest_s`."""
        failed = 0
        while not stop.is_set():
            sent = self.step()
            failed = failed + 1 if self.state.problem else 0
            if failed:
                stop.wait(min(longest_s, idle_s * 2 ** min(failed, 20)) * random.uniform(0.5, 1.0))
            elif not sent:
                stop.wait(idle_s)


_FIELDS = tuple(Forwarded.__dataclass_fields__)


def _gaps(after: int, numbers: list[int], until: int) -> list[Range]:
    """The numbers in (after, until] that are not among `numbers`, as ranges."""
    gaps: list[Range] = []
    for number in (*numbers, until + 1):
        if after + 1 <= min(number - 1, until):
            gaps.append((after + 1, min(number - 1, until)))
        after = max(after, number)
    return gaps


class Receiver:
    """Takes what edges send into a log. Any number of threads may call `receive`.

    Who may send is for the caller to decide, before the bytes come here. What a central log may keep of the content is
    its own setting; one that is stricter than the edge's is obeyed.
    """

    def __init__(self, log: Log, *, timeout_s: float = 30.0) -> None:
        self._log, self._timeout_s = log, timeout_s
        self._lock = threading.Lock()
        self._queued: dict[str, dict[str, Any]] = {}

    def receive(self, data: bytes) -> bytes:
        """Take in a batch; the answer goes back to the edge. It is given when everything that it speaks of is durable.

        Raises:
            GatewiseError: these are not an edge's bytes, or the log has no room at the moment: the edge tries again.
        """
        batch = unpack(data)
        key = f"edge:{batch.edge}:{batch.log}"
        with self._lock:
            known = self._known(key)
            number = 0
            if batch.after <= known["until"] < batch.until:
                number, known = self._take(key, batch, known)
        deadline = time.monotonic() + self._timeout_s
        if number and not self._log.wait(number, self._timeout_s):
            why = self._log.state().problem or "slow"
            raise GatewiseError(f"the log could not store a batch of {batch.edge}: {why}")
        while (held := self._durable(key)["until"]) < known["until"]:
            if time.monotonic() > deadline:
                raise GatewiseError(f"the log could not store a batch of {batch.edge} in {self._timeout_s} s")
            time.sleep(0.002)
        return pack_ack(Ack(edge=batch.edge, log=batch.log, until=held))

    def _durable(self, key: str) -> dict[str, Any]:
        return json.loads(self._log.fact(key) or '{"until": 0, "entries": 0, "lost": []}')

    def _known(self, key: str) -> dict[str, Any]:
        return self._queued.get(key) or self._durable(key)

    def _take(self, key: str, batch: Batch, known: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        held = known["until"]
        fresh = [entry for entry in batch.entries if entry.number > held]
        lost = [[max(first, held + 1), last] for first, last in batch.lost if last > held]
        known = {
            "until": batch.until,
            "entries": known["entries"] + len(fresh),
            "lost": _joined([*known["lost"], *lost]),
        }
        # A batch with our own source column: which edge's log, and the number there.
        entries = [(entry.item, f"{batch.edge}:{batch.log}", entry.number) for entry in fresh]
        number = self._log.append_group(entries, {key: json.dumps(known)})
        if not number and entries:
            raise GatewiseError("the central log has no room at the moment")
        self._queued[key] = known
        return number if entries else 0, known

    def edges(self) -> dict[str, dict[str, Any]]:
        """By `edge:log`: `until` which number all is held, how many `entries`, what was `lost` to retention there."""
        names = [name for name in self._log.facts() if name.startswith("edge:")]
        return {name.removeprefix("edge:"): self._durable(name) for name in sorted(names)}


def _joined(ranges: list[list[int]], most: int = 1000) -> list[list[int]]:
    """Neighbouring ranges as one; of very many, the nearest are joined."""
    joined: list[list[int]] = []
    for first, last in sorted(ranges):
        if joined and first <= joined[-1][1] + 1:
            joined[-1][1] = max(joined[-1][1], last)
        else:
            joined.append([first, last])
    while len(joined) > most:
        nearest = min(range(1, len(joined)), key=lambda i: joined[i][0] - joined[i - 1][1])
        joined[nearest - 1 : nearest + 1] = [[joined[nearest - 1][0], joined[nearest][1]]]
    return joined
