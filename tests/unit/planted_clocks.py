"""Candidates of a measured choice with planted times: no test waits, none depends on a machine."""

from collections.abc import Callable, Mapping

import pytest

from gatewise.kernels import _choice


class Planted:
    """Candidates that take what they are told to, by a clock that only they advance."""

    def __init__(self, seconds: Mapping[str, float | list[float]]) -> None:
        self.now = 0.0
        self.calls: list[str] = []
        self.seconds = seconds

    def clock(self) -> float:
        return self.now

    def candidates(self) -> dict[str, Callable[[], object]]:
        return {name: self._call(name) for name in self.seconds}

    def _call(self, name: str) -> Callable[[], object]:
        def call() -> None:
            takes = self.seconds[name]
            self.now += takes if isinstance(takes, float) else takes[self.calls.count(name) % len(takes)]
            self.calls.append(name)

        return call


def plant(monkeypatch: pytest.MonkeyPatch, **seconds: float | list[float]) -> Planted:
    planted = Planted(seconds)
    monkeypatch.setattr(_choice, "clock_for", lambda key: planted.clock)
    return planted
