"""The versions of one model, and which of them a request goes to. For the event loop's thread only."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from gatewise.core import GatewiseError

from ._beside import Beside
from ._executor import Executor, Post, Ticket
from ._refusal import Refusal
from ._routes import HALF

if TYPE_CHECKING:
    from gatewise.monitor import Role

    from ._routes import Routes
    from ._servable import Servable
    from ._settings import ServeSettings

Done = Callable[[Ticket], object]


class Way(NamedTuple):
    """Where a request goes: the executor, the version's role, and which side of a canary's comparison it is on."""

    executor: Executor
    role: Role
    control: bool | None = None


ROLES = ("live", "canary", "shadow", "control")
"""What an executor is for. What the control answers is recorded as live's: it is the same version."""


class Deployment:
    """One model. A request is given to versions by one look at the routes, so a swap of them is atomic."""

    def __init__(self, routes: Routes, settings: ServeSettings, post: Post, *, seed: int | None = None) -> None:
        self.model = routes.live.model
        self.counts: Counter[str] = Counter()
        self._settings = settings
        self._post = post
        self._random = random.Random(seed)
        self._slot: tuple[float, bool] = (-1.0, False)
        self._executors: dict[int, Executor] = {}
        self._routes = routes
        self._beside: Beside | None = None
        self._live = self._canary = self._shadow = self._control = None
        self.route(routes)

    @property
    def routes(self) -> Routes:
        return self._routes

    def route(self, routes: Routes) -> None:
        """Swap every alias at once. Versions without an alias finish what they have and stop."""
        if routes.live.model != self.model:
            raise GatewiseError(f"{routes.live.version!r} is a version of {routes.live.model!r}, not of {self.model!r}")
        used = {role: self._executor(each) for role in ROLES if (each := getattr(routes, role)) is not None}
        if routes.beside is None:
            self._beside = None
        elif self._beside is None or self._beside.copy is not routes.beside:
            self._beside = Beside(routes.beside)
        self._routes = routes
        self._live, self._canary, self._shadow = used["live"], used.get("canary"), used.get("shadow")
        self._control = used.get("control")
        for executor in self._executors.values():
            if executor not in used.values():
                executor.close()

    def _executor(self, servable: Servable) -> Executor:
        for key, known in list(self._executors.items()):
            if known.servable is servable:
                known.start()  # one that still drains is taken up again: a servable is never called twice at once
                return known
            if not known.under_way and known.join(0):
                del self._executors[key]
        executor = Executor(servable, self._settings, self._post)
        executor.start()
        self._executors[id(servable)] = executor
        return executor

    def versions(self) -> list[Servable]:
        """Those that have an alias, live first."""
        found: dict[str, Servable] = {}
        for each in (self._routes.live, self._routes.canary, self._routes.shadow):
            if each is not None:
                found.setdefault(each.version, each)
        return list(found.values())

    def named(self, version: str) -> Way:
        """The executor of a version that a request names, and the role it has."""
        places: tuple[tuple[Executor | None, Role], ...] = (
            (self._live, "live"),
            (self._canary, "canary"),
            (self._shadow, "shadow"),
        )
        for executor, role in places:
            if executor is not None and executor.servable.version == version:
                return Way(executor, role)
        known = ", ".join(each.version for each in self.versions())
        raise Refusal("unknown", f"model {self.model!r} has no version {version[:80]!r} loaded; it has: {known}")

    def choose(self) -> Way:
        """Where a request goes that names no version."""
        assert self._live is not None  # set by `route`
        if self._canary is None:
            return Way(self._live, "live")
        drawn, share = self._random.random(), self._routes.canary_share
        control = self._live if share >= HALF else self._control
        if drawn < share:
            return Way(self._canary, "canary", None if control is None else False)
        if control is not None and drawn < 2 * share:
            return Way(control, "live", True)
        return Way(self._live, "live")

    def submit(self, executor: Executor, ticket: Ticket, on_shadow: Done) -> None:
        """Give a request to its version and, where it is to be a pair, to the shadow at the same moment.

        Both tickets are put into queues of executors of equal rank (a thread each, the same limits and batching)
        within microseconds, and nothing ever waits for the other. Where a copy of live runs beside the shadow, live
        goes first; else the order is random. A full shadow queue drops the pair before the answer is touched. Raises
        `Refusal` where live's queue is full.
        """
        now_s = time.monotonic()
        refusal = executor.full(ticket.asked.rows, now_s, ticket.deadline_s - now_s)
        if refusal is not None:
            self.counts["refused_full"] += 1
            raise refusal
        shadow = self._shadow if executor is self._live and ticket.role == "live" else None
        if shadow is None or not self._heads(now_s):
            executor.submit(ticket)
            return
        if shadow.full(ticket.asked.rows, now_s, ticket.deadline_s - now_s) is not None:
            self.counts["pairs_dropped"] += 1
            executor.submit(ticket)
            return
        self.counts["pairs"] += 1
        twin = Ticket(ticket.asked, ticket.request, "shadow", at_ns=ticket.at_ns, arrived_s=ticket.arrived_s)
        twin.deadline_s, twin.done, twin.beside = ticket.deadline_s, on_shadow, self._beside
        ticket.first = self._beside is not None or self._random.random() < 0.5
        twin.first = not ticket.first if self._beside is None else None
        for where, what in (
            ((executor, ticket), (shadow, twin)) if ticket.first else ((shadow, twin), (executor, ticket))
        ):
            where.submit(what)

    def _heads(self, now_s: float) -> bool:
        """Whether this moment's requests are run on the shadow too; one throw of the coin for each slot of time."""
        share = self._routes.shadow_share
        if share >= 1:
            return True
        slot = now_s // self._settings.slot_s if self._settings.slot_s else now_s
        if slot != self._slot[0]:
            self._slot = (slot, self._random.random() < share)
        return self._slot[1]

    @property
    def under_way(self) -> int:
        """Requests in any queue or running, shadows too."""
        return sum(each.under_way for each in self._executors.values())

    def close(self) -> None:
        """No more will be submitted."""
        for each in self._executors.values():
            each.close()

    def stats(self) -> dict[str, Any]:
        """Counters and gauges, for `/stats` and `/metrics`."""
        executors = (self._live, self._canary, self._shadow, self._control)
        roles: Mapping[str, Executor | None] = dict(zip(ROLES, executors, strict=True))
        return {
            "model": self.model,
            "canary_share": self._routes.canary_share,
            "shadow_share": self._routes.shadow_share,
            "counts": dict(self.counts),
            "beside_failed": 0 if self._beside is None else self._beside.num_failed,
            "versions": [
                {
                    "role": role,
                    "version": each.servable.version,
                    "digest": each.servable.digest,
                    "waiting": each.waiting,
                    "under_way": each.under_way,
                    "requests": each.num_done,
                    "batches": each.num_batches,
                    "busy_s": each.busy_s,
                }
                for role, each in roles.items()
                if each is not None
            ],
        }
