"""Untimed cells over a few processes of this machine: the executor that needs nothing."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from gatewise.core import GatewiseError

from ._plan import Plan
from ._workers import at_once, queue


class Processes:
    """As many fresh processes side by side as this machine has cores, two at most."""

    def check(self, plan: Plan) -> None:
        """Every plan can run here."""

    def untimed(self, jobs: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Jobs in the order of their ends; the processes are gone when the iterator is."""
        return queue(jobs, at_once())

    def alone(self, timed: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The conductor does one thing after the other, and no process of `untimed` outlives it."""
        return timed


@contextmanager
def opened(address: str) -> Generator[Processes]:
    """Processes have no address."""
    if address:
        raise GatewiseError(f"processes run on this machine and have no address: --on processes, not ://{address}")
    yield Processes()
