"""What `gatewise serve` takes."""

import argparse
from collections.abc import Callable

Add = Callable[..., argparse.ArgumentParser]


def serve(add: Add) -> None:
    """`gatewise serve`."""
    command = add(
        "serve",
        help="serve a model's versions over HTTP: live, canary and shadow, recorded and judged",
        description="Serve what live, canary and shadow of a registered model point at, by the Open Inference Protocol "
        "v2. Aliases that move are followed within a second, under load.",
        epilog="SIGTERM begins the lame-duck window: readiness is false, requests are still answered; then it drains. "
        "exit codes: 0 stopped, 2 bad input",
    )
    command.add_argument("model", metavar="MODEL", help="the served name, as registered")
    command.add_argument("--registry", default="gatewise-registry", metavar="DIR", help="default: gatewise-registry")
    command.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    command.add_argument("--port", type=int, default=8080, help="0 takes a free one (default: 8080)")
    command.add_argument("--record", metavar="DIR", help="keep every request here, durably, for gatewise monitor")
    command.add_argument("--canary", default="5%", metavar="SHARE", help="of the requests, to canary (default: 5%%)")
    command.add_argument("--shadow", default="50%", metavar="SHARE", help="of live's, on shadow too (default: 50%%)")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="KEY=VALUE",
        help="max_batch=16 threads.v2=2 memory.v2=500MiB judge.one_in=year judge.requests_per_s=20 "
        "learn_reference=2000 webhook=https://... rollback=latency,accuracy,errors price_per_hour=0.2; "
        "docs/serve.md, docs/alarms.md",
    )
    command.add_argument("--json", action="store_true", help="print the address and the versions as one JSON line")
