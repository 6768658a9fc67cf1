"""What `gatewise proxy`, `forward` and `collect` take."""

import argparse
from collections.abc import Callable

Add = Callable[..., argparse.ArgumentParser]


def proxy(add: Add) -> None:
    """`gatewise proxy`."""
    command = add(
        "proxy",
        help="watch a server that already runs; judge a second one beside it",
        description="Pass every request on to URL and keep a record of each. With --shadow, requests go to that server "
        "too, in random order: its answers go nowhere, and the pairs are judged as they come.",
        epilog="exit codes: 0 stopped, 2 bad input",
    )
    command.add_argument("url", metavar="URL", help="the server that answers, such as http://127.0.0.1:8000")
    command.add_argument("--shadow", metavar="URL", help="a server that gets copies")
    command.add_argument("--record", required=True, metavar="DIR", help="keep the records here, for gatewise monitor")
    command.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    command.add_argument("--port", type=int, default=8080, help="0 takes a free one (default: 8080)")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="KEY=VALUE",
        help="model=ranker version=v7 path=/score prediction=/scores share=0.1; docs/proxy.md",
    )


def forward(add: Add) -> None:
    """`gatewise forward`."""
    command = add(
        "forward",
        help="send an edge's records to a central log, each exactly once",
        description="Read the records in DIR and send them to a collector, again and again until they are held there. "
        "The server that writes DIR goes on without the link. A token goes in GATEWISE_TOKEN.",
        epilog="exit codes: 0 stopped, or with --once all was sent; 2 bad input, or with --once no link",
    )
    command.add_argument("folder", metavar="DIR", help="the edge's records (--record of gatewise serve)")
    command.add_argument("--to", required=True, metavar="URL", help="a gatewise collect, such as http://central:8090")
    command.add_argument("--edge", required=True, metavar="NAME", help="this edge's name, another one for each edge")
    command.add_argument("--once", action="store_true", help="send what is there, and end")
    command.add_argument("--json", action="store_true", help="print what was sent as JSON")


def collect(add: Add) -> None:
    """`gatewise collect`."""
    command = add(
        "collect",
        help="take the records of edges into one log",
        description="Listen for gatewise forward and keep what it sends in DIR. GATEWISE_TOKEN is what senders must "
        "show; without it only this machine may send.",
        epilog="exit codes: 0 stopped, 2 bad input",
    )
    command.add_argument("folder", metavar="DIR", help="the central log; gatewise monitor reads it")
    command.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    command.add_argument("--port", type=int, default=8090, help="0 takes a free one (default: 8090)")
