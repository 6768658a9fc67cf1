"""Where a study's untimed cells run. The protocol, the table of what implements it, and the one that is in force.

Training runs are untimed: their losses are the same wherever they run, so they may go to other processes and machines.
Timed cells never do: they run on the machine that conducts the study, alone, and an executor says when that holds.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from importlib import import_module
from typing import Any, Protocol

from gatewise.core import GatewiseError, unknown_name

from ._executor_processes import Processes
from ._plan import Plan

Job = dict[str, Any]
"""Small plain data: the plan, the part, and which cell of it. Never a model."""

Answer = dict[str, Any]


class Executor(Protocol):
    """Where untimed cells run. What it is asked is asked by one thread, one call after the other."""

    def check(self, plan: Plan) -> None:
        """Raises `GatewiseError` for a plan of which nothing can go there."""
        ...

    def untimed(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Answer]]:
        """Run jobs, the first ones first, and give each with its answer as it ends.

        When the iterator ends or is closed, none of the jobs runs any more.

        Raises:
            GatewiseError: bad input that a job found; a cluster that was lost.
            WorkerFailedError: a job that ends its process every time.
        """
        ...

    def alone(self, timed: Iterator[Answer]) -> Iterator[Answer]:
        """Pass on what is timed on this machine, each answer only if nothing of the executor ran here meanwhile.

        Raises `GatewiseError` where something did.
        """
        ...


Opener = Callable[[str], AbstractContextManager[Executor]]

EXECUTORS = {"processes": "._executor_processes:opened", "dask": "._executor_dask:opened"}
"""By the name before `://`. Each is opened with what follows it, which may be empty."""

_current: ContextVar[Executor] = ContextVar("executor", default=Processes())  # noqa: B039  (it holds no state)


def current() -> Executor:
    """The executor of the `running_on` that encloses the caller; without one, processes on this machine."""
    return _current.get()


@contextmanager
def running_on(where: str) -> Generator[None]:
    """Studies that are evaluated inside train on `processes`, on `dask` (a cluster of its own) or `dask://HOST:PORT`.

    What is out of reach or does not fit is refused on the way in, before a study's folder is made.

    Raises:
        GatewiseError: an unknown name; a cluster that cannot be reached, has no workers, or runs other versions.
        MissingExtraError: Dask is not installed.
    """
    name, _, address = where.partition("://")
    if name not in EXECUTORS:
        raise unknown_name("place to run on", where, (*EXECUTORS, "dask://HOST:PORT"))
    module, _, function = EXECUTORS[name].partition(":")
    opened: Opener = getattr(import_module(module, __package__), function)
    if "://" in where and not address:
        raise GatewiseError(f"--on {where} lacks an address\nvalid: {name}, {name}://HOST:PORT")
    with opened(address) as executor:
        token = _current.set(executor)
        try:
            yield
        finally:
            _current.reset(token)
