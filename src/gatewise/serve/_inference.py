"""The way of a request from its bytes to its answer: what runs for every request stands here."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from ._decode import decode
from ._encode import Headers, compress, decompress, encode
from ._executor import Ticket
from ._http import CLOSE, Gone, Receive, Scope, Send, body, check_type, refused, reply
from ._quota import Quota
from ._refusal import Refusal, bad

if TYPE_CHECKING:
    from gatewise.monitor import Role

    from ._deployment import Deployment, Way
    from ._recorder import Recorder
    from ._settings import ServeSettings

_REMEMBERED = 65_536
"""Ids of clients that are known to be taken. A second request with one gets an id of ours in its record."""

_LONGEST_MS = 3_600_000


class _Request:
    """What is known of a request before it has a ticket."""

    __slots__ = ("arrived_s", "at_ns", "control", "deadline_s", "executor", "role")

    def __init__(self, way: Way) -> None:
        self.at_ns = time.time_ns()
        self.arrived_s = time.monotonic()
        self.deadline_s = 0.0
        self.executor = way.executor
        self.role: Role = way.role
        self.control = way.control


class Inferences:
    """Answers inference requests on the deployments of a server."""

    def __init__(self, deployments: Mapping[str, Deployment], settings: ServeSettings, recorder: Recorder) -> None:
        self._deployments = deployments
        self._settings = settings
        self._recorder = recorder
        self._quota = Quota(settings.quota_per_s, settings.quota_burst)
        self._caller_header = settings.caller_header.lower().encode()
        self._prefix = secrets.token_hex(6)
        self._numbers = itertools.count(1)
        self._taken: OrderedDict[str, None] = OrderedDict()
        self.answers: Counter[int] = Counter()
        self.stopping = False

    async def answer(self, scope: Scope, receive: Receive, send: Send, model: str, version: str | None) -> None:
        """One request, one answer; nothing it holds makes this raise."""
        request: _Request | None = None
        ticket: Ticket | None = None
        content = b""
        headers = dict(scope["headers"])
        try:
            deployment = self.deployment(model)
            request = _Request(deployment.choose() if version is None else deployment.named(version))
            self._admit(request, headers, scope.get("client"))
            content = await body(receive, headers, self._settings.max_body_bytes, self._settings.deadline_s)
            ticket = self._ticket(request, headers, content)
            await self._run(deployment, request, ticket)
            kind, found = self._encoded(request, ticket, headers)
            status = 200
        except Refusal as refusal:
            status, kind, found = refused(refusal)
            if request is not None:
                self._refused(request, ticket, refusal)
        except Gone:
            return
        self.answers[status] += 1
        if self.stopping:
            kind.append(CLOSE)
        await reply(send, status, kind, found)
        if status == 200 and ticket is not None and request is not None:
            kept = content if self._settings.content else None
            self._recorder.later(partial(self._recorder.ran, ticket, request.executor.servable, kept))

    def finished(self, tickets: list[Ticket]) -> None:
        """What executors are done with; called in the event loop's thread."""
        for ticket in tickets:
            if ticket.done is not None:
                ticket.done(ticket)

    def _admit(self, request: _Request, headers: Mapping[bytes, bytes], client: tuple[str, int] | None) -> None:
        """Refuse what can be refused before the body is read."""
        check_type(headers)
        if self._quota.per_s:
            named = headers.get(self._caller_header) if self._caller_header else None
            caller = named.decode("latin-1")[:200] if named else client[0] if client else ""
            retry_s = self._quota.take(caller, request.arrived_s)
            if retry_s:
                raise Refusal("quota", f"more than {self._quota.per_s:g} requests a second", retry_s=retry_s)
        left_s = self._settings.deadline_s
        stated = headers.get(b"gatewise-timeout-ms")
        if stated is not None:
            if not stated.isdigit() or not 0 < int(stated[:12]) <= _LONGEST_MS:
                raise bad(f"gatewise-timeout-ms must be a whole number from 1 to {_LONGEST_MS}")
            left_s = int(stated[:12]) / 1000
        request.deadline_s = request.arrived_s + left_s
        full = request.executor.full(1, request.arrived_s, left_s)
        if full is not None:
            raise full

    def _ticket(self, request: _Request, headers: Mapping[bytes, bytes], content: bytes) -> Ticket:
        packed = headers.get(b"content-encoding")
        if packed is not None:
            content = decompress(content, packed, self._settings.max_body_bytes)
        asked = decode(
            content,
            headers.get(b"inference-header-content-length"),
            request.executor.servable,
            max_rows=self._settings.max_rows,
            finite=self._settings.finite,
        )
        if asked.timeout_s is not None:
            request.deadline_s = min(request.deadline_s, request.arrived_s + asked.timeout_s)
        ticket = Ticket(asked, self._new_id(asked.id), request.role, at_ns=request.at_ns, arrived_s=request.arrived_s)
        ticket.deadline_s, ticket.control = request.deadline_s, request.control
        return ticket

    def _new_id(self, asked: str | None) -> str:
        """The client's id where it is new, else one of ours."""
        if asked is not None and asked not in self._taken:
            self._taken[asked] = None
            if len(self._taken) > _REMEMBERED:
                self._taken.popitem(last=False)
            return asked
        return f"{self._prefix}-{next(self._numbers)}"

    async def _run(self, deployment: Deployment, request: _Request, ticket: Ticket) -> None:
        """Wait for the executor, or for the deadline: then the work keeps its place, but its answer goes nowhere."""
        loop = asyncio.get_running_loop()
        over: asyncio.Future[bool] = loop.create_future()
        ticket.done = lambda _: over.done() or over.set_result(True)
        deployment.submit(request.executor, ticket, self._shadowed(deployment))
        timer = loop.call_later(ticket.deadline_s - time.monotonic(), _give_up, over)
        try:
            in_time = await over
        finally:
            timer.cancel()
        if not in_time:
            ticket.done = self._late(request)
        if not in_time or ticket.status == "expired":
            raise Refusal("expired", "the deadline passed")
        if ticket.failure is not None:
            raise ticket.failure

    def _late(self, request: _Request) -> Callable[[Ticket], object]:
        def record(ticket: Ticket) -> None:
            if ticket.status == "ok":
                ticket.status, ticket.reason = "expired", "expired: the deadline passed while it ran"
            self._recorder.later(partial(self._recorder.ran, ticket, request.executor.servable, None))

        return record

    def _shadowed(self, deployment: Deployment) -> Callable[[Ticket], object]:
        shadow = deployment.routes.shadow

        def record(ticket: Ticket) -> None:
            if shadow is not None:
                self._recorder.later(partial(self._recorder.ran, ticket, shadow, None))

        return record

    def _encoded(self, request: _Request, ticket: Ticket, headers: Mapping[bytes, bytes]) -> tuple[Headers, bytes]:
        asked = ticket.asked
        kind, found = encode(asked, request.executor.servable, ticket.outputs, asked.id or ticket.request)
        accepted = headers.get(b"accept-encoding")
        if accepted:
            more, found = compress(found, accepted)
            kind += more
        if asked.id is not None and asked.id != ticket.request:
            kind.append((b"gatewise-request", ticket.request.encode()))
        return kind, found

    def _refused(self, request: _Request, ticket: Ticket | None, refusal: Refusal) -> None:
        servable = request.executor.servable
        if ticket is not None and (ticket.batch_rows or ticket.status == "expired"):
            self._recorder.later(partial(self._recorder.ran, ticket, servable, None))
        elif ticket is None or refusal.cause != "expired":  # what is late is recorded when its executor is done with it
            name = self._new_id(None) if ticket is None else ticket.request
            reason = f"{refusal.cause}: {refusal}"
            refused = self._recorder.refused
            self._recorder.later(partial(refused, servable, request.role, name, request.at_ns, reason))

    def deployment(self, model: str) -> Deployment:
        """The deployment of a model's name, or a refusal that names the nearest."""
        found = self._deployments.get(model)
        if found is None:
            known = ", ".join(self._deployments)
            raise Refusal("unknown", f"unknown model {model[:80]!r}; this server has: {known}")
        return found


def _give_up(over: asyncio.Future[bool]) -> None:
    if not over.done():
        over.set_result(False)
