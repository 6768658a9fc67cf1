"""Looks at the activations of what is served while it runs, where PyTorch calls the modules themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from gatewise.core import GatewiseError

if TYPE_CHECKING:
    from gatewise.monitor import Alarm, HealthSettings, HealthWatch

    from ._servable import Arrays, Port, Servable

TRIES = 3


class HealthLink:
    """A servable whose batches run under its `HealthWatch`; in everything else it is the one that it was made of."""

    def __init__(self, servable: Servable, health: HealthWatch) -> None:
        self._servable, self._health = servable, health
        self.model, self.version = servable.model, servable.version
        self.digest, self.platform = servable.digest, servable.platform

    @property
    def inputs(self) -> Sequence[Port]:
        return self._servable.inputs

    @property
    def outputs(self) -> Sequence[Port]:
        return self._servable.outputs

    def call(self, inputs: Arrays) -> Arrays:
        with self._health.batch():
            return self._servable.call(inputs)


class HealthLinks:
    """Links every version that has a `module`; the others are served as they are, for nothing can be seen in them.

    Args:
        alarmed: gets each alarm, in the thread of the version: it must not block.
        settings: how often is looked.
    """

    def __init__(self, alarmed: Callable[[Alarm], object], settings: HealthSettings | None = None) -> None:
        self._alarmed, self._settings = alarmed, settings
        self._watches: WeakSet[HealthWatch] = WeakSet()

    def wrap(self, servable: Servable, unseen: bool = False) -> Servable:
        """The servable with its activations watched, or itself.

        `unseen`: it takes as long as if it were watched, and nobody is told what it sees: for a copy beside a shadow.
        """
        from gatewise.monitor import HealthWatch

        module: Any = getattr(servable, "module", None)
        if module is None:
            return servable
        try:
            watch = HealthWatch(
                module,
                name=servable.model,
                version=servable.version,
                on_alarm=_nobody if unseen else self._alarmed,
                settings=self._settings,
            )
        except GatewiseError:  # no activation in it
            return servable
        if not unseen:
            self._watches.add(watch)
        return HealthLink(servable, watch)

    def features(self) -> list[dict[str, Any]]:
        """Each place and measure of what is served, as JSON values; from any thread."""
        return [each for watch in list(self._watches) for each in _read(watch)]

    def latest(self) -> list[tuple[dict[str, str], float]]:
        """The latest observations with their labels, for gauges; from any thread."""
        return [
            ({"model": watch.name, "version": watch.version, "site": site, "measure": measure}, value)
            for watch in list(self._watches)
            for (site, measure), value in watch.latest().items()
        ]


def _nobody(_: Alarm) -> None:
    pass


def _read(watch: HealthWatch) -> list[dict[str, Any]]:
    """A version that runs may change what is being read; then it is read once more."""
    for _ in range(TRIES):
        try:
            return watch.features()
        except RuntimeError:  # the window grew while it was read
            continue
    return []
