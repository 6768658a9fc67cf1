"""What holds for every test: no network, no model hub, laws of Hypothesis without a stopwatch."""

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import settings

# Before anything imports transformers, which reads them once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

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
