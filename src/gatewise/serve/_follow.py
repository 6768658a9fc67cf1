"""Follows the aliases of a model in a registry: what they point at is loaded, then swapped in at once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from gatewise.core import GatewiseError

from ._resources import ResourcePlan
from ._routes import HALF, Routes

if TYPE_CHECKING:
    from gatewise.versions import Registry

    from ._app import App
    from ._servable import Servable


Wrap = Callable[["Servable", bool], "Servable"]
"""Puts something around a version that was loaded; told whether it is one of the copies of live."""

Use = Literal["answer", "shadow", "canary", "beside", "control"]
"""What a loaded copy of a version is for: to answer; to be the shadow or the canary of itself (A/A); to run beside the
shadow; to answer as many requests as the canary."""


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How much of the traffic goes to the canary, and of live's to the shadow, where these aliases point somewhere.

    `beside`: copies of live, so that times may be compared: one runs beside the shadow (a shadowed request then costs
    three computations instead of two), one answers as many requests as the canary. Each holds live once more.
    """

    canary: float = 0.05
    shadow: float = 0.5
    beside: bool = True


class Follower:
    """The routes of one model, as its aliases say.

    A version that cannot be loaded, or does not compute what was registered, changes nothing: what is served goes on,
    and `problem` says why. A canary or shadow that is refused does not hold up live. Loading happens in the caller's
    thread; only the swap is done by the server's.
    """

    def __init__(
        self,
        registry: Registry,
        model: str,
        *,
        shares: Shares,
        plan: ResourcePlan,
        wrap: Wrap | None = None,
    ) -> None:
        self._wrap = wrap
        self._registry = registry
        self._model = model
        self._shares = shares
        self._plan = plan
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._loaded: dict[tuple[str, Use], Servable] = {}
        self._aliases: dict[str, str | None] = {}
        self.problem: str | None = None
        aliases = self._now()
        self._check(aliases)
        self.routes, refused = self._most(aliases)
        self._tell(refused)

    def _now(self) -> dict[str, str | None]:
        return {name: each.version for name, each in self._registry.aliases(self._model).items()}

    def _check(self, aliases: Mapping[str, str | None]) -> None:
        """Refuse what cannot be served at all, before anything is loaded. Raises `GatewiseError`."""
        if aliases["live"] is None:
            self._registry.versions(self._model)  # which knows the names, if this is none
            raise GatewiseError(
                f"{self._model}: live points at no version\nfirst: gatewise promote {self._model} VERSION"
            )
        plan = {label: self._plan.share(label) for label in aliases.values() if label is not None}
        twins = [role for role in ("shadow", "canary") if aliases[role] == aliases["live"]]
        again = [aliases["live"]] * (len(self._copied(aliases)) + len(twins))
        ResourcePlan(shares=plan, spare_bytes=self._plan.spare_bytes).check(again=again)

    def _copied(self, aliases: Mapping[str, str | None]) -> set[str]:
        """Beside which aliases a copy of live runs."""
        wanted = {"shadow": True, "canary": 0 < self._shares.canary < HALF}
        return {role for role, want in wanted.items() if want and self._shares.beside and aliases[role] is not None}

    def _most(self, aliases: dict[str, str | None]) -> tuple[Routes, Exception | None]:
        """What the aliases point at, or, where that is refused, live's alone with what stood beside it before."""
        try:
            return self._read(aliases), None
        except Exception as error:
            less = {**aliases, "canary": self._aliases.get("canary"), "shadow": self._aliases.get("shadow")}
            if less in (aliases, self._aliases):
                raise
            return self._read(less), error

    def _tell(self, error: Exception | None) -> None:
        """Keep what is wrong, and print it once."""
        told = None
        if error is not None:
            told = str(error) if isinstance(error, GatewiseError) else f"{type(error).__name__}: {error}"
        if told is not None and told != self.problem:
            print(f"gatewise: {told}\ngatewise: what was served goes on; tried again soon", file=sys.stderr)
        self.problem = told

    def _read(self, aliases: dict[str, str | None]) -> Routes:
        """Load what these aliases point at. Raises `GatewiseError`."""
        self._check(aliases)
        uses: dict[str, Use] = {"shadow": "shadow", "canary": "canary"}
        uses = {role: use if aliases[role] == aliases["live"] else "answer" for role, use in uses.items()}
        copied = self._copied(aliases)
        kept: dict[tuple[str, Use], Servable] = {}
        live = self._load(aliases["live"], kept, "answer")
        canary = self._load(aliases["canary"], kept, uses["canary"])
        shadow = self._load(aliases["shadow"], kept, uses["shadow"])
        beside = self._load(aliases["live"] if "shadow" in copied else None, kept, "beside")
        control = self._load(aliases["live"] if "canary" in copied else None, kept, "control")
        assert live is not None
        routes = Routes(
            live=live,
            canary=canary,
            canary_share=self._shares.canary if canary is not None else 0.0,
            shadow=shadow,
            shadow_share=self._shares.shadow if shadow is not None else 0.0,
            beside=beside,
            control=control,
        )
        self._loaded, self._aliases = kept, aliases
        return routes

    def _load(self, label: str | None, kept: dict[tuple[str, Use], Servable], use: Use) -> Servable | None:
        from gatewise.versions import load

        if label is None:
            return None
        key = (label, use)
        found = kept.get(key) or self._loaded.get(key)
        if found is None:
            found = load(self._registry, self._model, label, threads=self._plan.share(label).threads)
            found = found if self._wrap is None else self._wrap(found, use in ("beside", "control"))
        kept[key] = found
        return found

    def refresh(self, app: App) -> bool:
        """Look once; whether the routes changed. Never raises for a version that is bad: see `problem`."""
        with self._lock:
            try:
                aliases = self._now()
                if aliases == self._aliases:
                    self.problem = None
                    return False
                self.routes, refused = self._most(aliases)
                app.route(self.routes)
            except Exception as error:  # noqa: BLE001  an engine that fails while it loads must not end the following
                self._tell(error)
                return False
            self._tell(refused)
            return True

    def start(self, app: App, *, every_s: float = 1.0, changed: Callable[[Routes], object] | None = None) -> None:
        """Look again and again, in a thread, until `stop`."""

        def work() -> None:
            while not self._stop.wait(every_s):
                if self.refresh(app) and changed is not None:
                    changed(self.routes)

        self._thread = threading.Thread(target=work, name="gatewise-follower", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10)
