"""What holds for every test: no network, no model hub, no stopwatch for laws, a heap that has settled."""

import gc
import os
import socket
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

# Before anything imports transformers, which reads them once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
# What is measured in a test about which way is quickest is nobody else's.
os.environ["GATEWISE_CACHE"] = "off"

# A deadline would be an assertion on seconds. In CI the examples are the same in every run.
settings.register_profile("gatewise", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "gatewise")

_LOOPBACK = ("127.", "::1", "localhost")
_connect = socket.socket.connect


def _connect_to_this_machine(self: socket.socket, address: object) -> None:
    host = address[0] if isinstance(address, tuple) else ""
    if isinstance(host, str) and host and not host.startswith(_LOOPBACK):
        raise AssertionError(f"a test reached for the network: {host}")
    _connect(self, address)  # type: ignore[arg-type]


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _connect_to_this_machine)
        yield


@contextmanager
def _room(*, alone: bool) -> Generator[None]:
    """A place beside the other workers' tests, or, `alone`, the machine without them.

    Two locks: who comes in passes the gate, and who wants to be alone keeps it shut until the others have ended their
    tests. They are this folder and this file, so nothing is left behind; a worker that dies gives its locks back.
    """
    import fcntl

    gate, room = os.open(Path(__file__).parent, os.O_RDONLY), os.open(__file__, os.O_RDONLY)
    try:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield
    finally:
        # Not only closed: a process that the test forked and left behind would hold them.
        for lock in (room, gate):
            fcntl.flock(lock, fcntl.LOCK_UN)
            os.close(lock)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Where workers share the tests (`-n 2`), one that is marked `alone` runs beside no other, its fixtures too."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    with _room(alone=item.get_closest_marker("alone") is not None):
        return (yield)


@pytest.fixture(autouse=True, scope="module")
def _settled_heap() -> None:
    """What earlier modules loaded stays, and no collection walks over it again.

    A full collection costs most of a second once torch, transformers, pandas and the engines are there, and both what
    we test (before it times) and what we test it against (statsmodels, in every call) ask for one. Garbage goes first.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def short_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A study that is conducted here times each cell for a tenth of a second a process, in two rounds or more.

    For what is asked of any study, however precise it is.
    """
    monkeypatch.setattr("gatewise.study._budget.SLICE_S", 0.1)
    monkeypatch.setattr("gatewise.study._budget.MOST_ROUNDS", 2)


@pytest.fixture
def nothing_chosen() -> Iterator[None]:
    """No way of computing is chosen yet, nor is one afterwards that this test chose."""
    from gatewise.kernels import _choice

    _choice.forget()
    yield
    _choice.forget()
