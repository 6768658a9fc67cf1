"""`gatewise forward` and `gatewise collect`: the records of edges, in one central log, each exactly once."""

import argparse
import json
import os
import signal
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from gatewise.core import GatewiseError

if TYPE_CHECKING:
    from gatewise.monitor import Forwarder

TOKEN = "GATEWISE_TOKEN"


def run(parsed: argparse.Namespace) -> int:
    """0 when all was sent, or when it was told to stop."""
    return _forward(parsed) if parsed.command == "forward" else _collect(parsed)


def _forward(parsed: argparse.Namespace) -> int:
    from gatewise import monitor, serve

    if not Path(parsed.folder).is_dir():
        raise GatewiseError(f"{parsed.folder}: there is no such folder of records")
    with closing(serve.HttpLink(parsed.to, token=os.environ.get(TOKEN, ""))) as link:
        forwarder = monitor.Forwarder(parsed.folder, parsed.edge, link)
        if parsed.once:
            _until_all_is_sent(forwarder, parsed.to)
        else:
            stop = threading.Event()
            for each in (signal.SIGTERM, signal.SIGINT):
                signal.signal(each, lambda *_: stop.set())
            print(f"gatewise: forwarding {parsed.folder} to {parsed.to} as {parsed.edge}", file=sys.stderr)
            forwarder.run(stop)
    state = forwarder.state
    if parsed.json:
        told = {"until": state.until, "entries": state.entries, "lost": state.lost, "problem": state.problem}
        print(json.dumps(told))
        return 0
    lost = sum(last - first + 1 for first, last in state.lost)
    print(f"sent {state.entries} entries; all up to number {state.until} is held" + (f"; {lost} lost" if lost else ""))
    return 0


def _until_all_is_sent(forwarder: "Forwarder", to: str) -> None:
    before = None
    while forwarder.state != before:
        before = forwarder.state
        forwarder.step()
        if forwarder.state.problem is not None:
            raise GatewiseError(f"{to}: {forwarder.state.problem}")


def _collect(parsed: argparse.Namespace) -> int:
    from gatewise import monitor, serve

    token = os.environ.get(TOKEN, "")
    if not token and parsed.host not in ("127.0.0.1", "::1", "localhost"):
        raise GatewiseError(f"set {TOKEN} to listen on {parsed.host}: whoever reaches the port could write records")
    with monitor.Log(parsed.folder) as log:
        receiver = monitor.Receiver(log)
        serve.listen(
            serve.collector(receiver.receive, token=token, facts=receiver.edges),
            host=parsed.host,
            port=parsed.port,
            started=lambda address: print(f"{address}  collecting into {parsed.folder}", flush=True),
        )
    return 0
