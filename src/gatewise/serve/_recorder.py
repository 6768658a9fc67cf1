"""Turns a request that is over into its `Record`."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from gatewise.monitor import Record, Role, Status

from ._summary import Summariser, Summary, fingerprint, finite

if TYPE_CHECKING:
    from ._executor import Ticket
    from ._servable import Servable

Watch = Callable[[Record], object]

_EMPTY = Summary()

_LATER_S = 0.02
_AT_ONCE = 8
"""Records that are made in one turn of the event loop."""


class Recorder:
    """Calls `watch` with each record. A watch or a summary that fails is said once and never touches an answer."""

    def __init__(self, watch: Watch | None, summarise: Summariser) -> None:
        self._watch = watch
        self._summarise = summarise
        self.num_failed = 0
        self._waiting: deque[Callable[[], None]] = deque()
        self._loop: asyncio.AbstractEventLoop | None = None

    def later(self, make: Callable[[], None]) -> None:
        """Record a little later: the answers of a batch leave, and its callers' next requests are read, before."""
        if self._watch is None:
            return
        self._waiting.append(make)
        loop = asyncio.get_running_loop()
        if len(self._waiting) == 1 or loop is not self._loop:
            self._loop = loop
            loop.call_later(_LATER_S, self._some)

    def flush(self) -> None:
        """Record all that waits."""
        while self._waiting:
            self._waiting.popleft()()

    def _some(self) -> None:
        for _ in range(min(_AT_ONCE, len(self._waiting))):
            self._waiting.popleft()()
        if self._waiting and self._loop is not None:
            self._loop.call_soon(self._some)

    def ran(self, ticket: Ticket, servable: Servable, content: bytes | None) -> None:
        """Record a request that an executor is done with."""
        if self._watch is None:
            return
        try:
            asked = ticket.asked
            ok = ticket.status == "ok"
            summary = self._summarise(asked.inputs, ticket.outputs) if ok else _EMPTY
            self._watch(
                Record(
                    request=ticket.request,
                    at_ns=ticket.at_ns,
                    model=servable.model,
                    version=servable.version,
                    digest=servable.digest,
                    role=ticket.role,
                    first=ticket.first,
                    status=ticket.status,
                    reason=ticket.reason,
                    queue_s=ticket.queue_s,
                    compute_s=ticket.compute_s,
                    beside_s=ticket.beside_s,
                    control=ticket.control,
                    rows=asked.rows,
                    batch_rows=ticket.batch_rows or asked.rows,
                    fingerprint=fingerprint(asked.inputs),
                    features=finite(summary.features),
                    outputs=finite(summary.outputs),
                    predictions=summary.predictions,
                    confidences=summary.confidences,
                    content=content,
                )
            )
        except Exception as error:  # noqa: BLE001  watching must not break serving
            self._failed(error)

    def refused(
        self, servable: Servable, role: Role, request: str, at_ns: int, reason: str, *, status: Status = "refused"
    ) -> None:
        """Record a request that no executor saw."""
        if self._watch is None:
            return
        try:
            self._watch(
                Record(
                    request=request,
                    at_ns=at_ns,
                    model=servable.model,
                    version=servable.version,
                    digest=servable.digest,
                    role=role,
                    status=status,
                    reason=reason,
                    rows=0,
                    batch_rows=0,
                )
            )
        except Exception as error:  # noqa: BLE001
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self.num_failed += 1
        if self.num_failed == 1:
            print(f"gatewise: recording failed: {type(error).__name__}: {error}", file=sys.stderr)
