"""Takes a version that alarms out of its callers' way: the canary goes, live goes back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from gatewise.core import GatewiseError, unknown_name

if TYPE_CHECKING:
    from gatewise.monitor import Alarm
    from gatewise.versions import Registry

UNDONE_BY = ("latency", "tail", "accuracy", "errors", "disagreement", "health")
"""Kinds of alarms that another version may cure. Drift is not one: an older version gets the same requests."""
BY = "gatewise serve"
NAME = "rollback"


class Undo:
    """What to do in the registry about an alarm.

    An alarm about the canary empties that alias. One about live rolls it back; where the alarm compares it with another
    version, only to that one. One about a shadow does nothing: a shadow answers nobody.

    Args:
        registry: whose aliases are moved, by compare-and-swap.
        did: is told of each move, in a line.
    """

    def __init__(self, registry: Registry, did: Callable[[Alarm, str], object]) -> None:
        self._registry, self._did = registry, did

    def way(self, alarm: Alarm) -> Literal["canary", "live"] | None:
        """Which alias to move; None where that would help nobody."""
        aliases = self._registry.aliases(alarm.model)
        if aliases["live"].version == alarm.version:
            before = self._registry.before(alarm.model)
            if before is None or before == alarm.version:
                return None
            return "live" if alarm.baseline in (None, before) else None
        return "canary" if aliases["canary"].version == alarm.version else None

    def possible(self, alarm: Alarm) -> bool:
        """Whether there is anything to move."""
        return self.way(alarm) is not None

    def act(self, alarm: Alarm) -> str:
        """Move it; one line on what was done. Raises `GatewiseError` where somebody was faster."""
        way = self.way(alarm)
        said = {"expect": alarm.version, "because": f"{alarm.kind} alarm: {alarm.summary}", "by": BY}
        if way is None:
            raise GatewiseError(f"{NAME}: there is nothing to go back to")
        if way == "canary":
            self._registry.promote(alarm.model, "none", "canary", **said)
            line = f"took the canary {alarm.version} of {alarm.model} out"
        else:
            now = self._registry.rollback(alarm.model, **said)
            line = f"rolled {alarm.model} back from {alarm.version} to {now.version}"
        self._did(alarm, line)
        return line


def check_kinds(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Kinds of alarms that may be acted on. Raises `GatewiseError` for another one."""
    for kind in kinds:
        if kind not in UNDONE_BY:
            raise unknown_name("kind of alarm to roll back on", kind, UNDONE_BY)
    return kinds
