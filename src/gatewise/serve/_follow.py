"""Follows the aliases of a model in a registry: what they point at is loaded, then swapped in at once."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gatewise.core import GatewiseError

from ._resources import ResourcePlan
from ._routes import Routes

if TYPE_CHECKING:
    from gatewise.versions import Registry

    from ._app import App
    from ._servable import Servable


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How much of the traffic goes to the canary, and of live's to the shadow, where these aliases point somewhere."""

    canary: float = 0.05
    shadow: float = 1.0


class Follower:
    """The routes of one model, as its aliases say.

    A version that cannot be loaded, or does not compute what was registered, changes nothing: what is served goes on,
    and `problem` says why. Loading happens in the caller's thread; only the swap is done by the server's.
    """

    def __init__(
        self,
        registry: Registry,
        model: str,
        *,
        shares: Shares,
        plan: ResourcePlan,
        wrap: Callable[[Servable], Servable] | None = None,
    ) -> None:
        self._wrap = wrap
        self._registry = registry
        self._model = model
        self._shares = shares
        self._plan = plan
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._loaded: dict[tuple[str, bool], Servable] = {}
        self._aliases: dict[str, str | None] = {}
        self.problem: str | None = None
        self.routes = self._read()

    def _read(self) -> Routes:
        """Load what the aliases point at now. Raises `GatewiseError`."""
        aliases = {name: each.version for name, each in self._registry.aliases(self._model).items()}
        if aliases["live"] is None:
            self._registry.versions(self._model)  # which knows the names, if this is none
            raise GatewiseError(
                f"{self._model}: live points at no version\nfirst: gatewise promote {self._model} VERSION"
            )
        plan = {label: self._plan.share(label) for label in aliases.values() if label is not None}
        ResourcePlan(shares=plan, spare_bytes=self._plan.spare_bytes).check()
        kept: dict[tuple[str, bool], Servable] = {}
        live = self._load(aliases["live"], kept, twin=False)
        canary = self._load(aliases["canary"], kept, twin=False)
        shadow = self._load(aliases["shadow"], kept, twin=aliases["shadow"] == aliases["live"])
        assert live is not None
        routes = Routes(
            live=live,
            canary=canary,
            canary_share=self._shares.canary if canary is not None else 0.0,
            shadow=shadow,
            shadow_share=self._shares.shadow if shadow is not None else 0.0,
        )
        self._loaded, self._aliases = kept, aliases
        return routes

    def _load(self, label: str | None, kept: dict[tuple[str, bool], Servable], *, twin: bool) -> Servable | None:
        """A twin is a second copy of the live version, as its shadow: an A/A comparison."""
        from gatewise.versions import load

        if label is None:
            return None
        key = (label, twin)
        found = kept.get(key) or self._loaded.get(key)
        if found is None:
            found = load(self._registry, self._model, label, threads=self._plan.share(label).threads)
            found = found if self._wrap is None else self._wrap(found)
        kept[key] = found
        return found

    def refresh(self, app: App) -> bool:
        """Look once; whether the routes changed. Never raises for a version that is bad: see `problem`."""
        with self._lock:
            try:
                aliases = {name: each.version for name, each in self._registry.aliases(self._model).items()}
                if aliases == self._aliases:
                    self.problem = None
                    return False
                self.routes = self._read()
                app.route(self.routes)
            except Exception as error:  # noqa: BLE001  an engine that fails while it loads must not end the following
                told = str(error) if isinstance(error, GatewiseError) else f"{type(error).__name__}: {error}"
                if told != self.problem:
                    print(f"gatewise: {told}\ngatewise: what was served goes on; tried again soon", file=sys.stderr)
                self.problem = told
                return False
            self.problem = None
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
