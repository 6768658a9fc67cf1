"""What `gatewise monitor` takes."""

import argparse
from collections.abc import Callable

Add = Callable[..., argparse.ArgumentParser]


def monitor(add: Add) -> None:
    """`gatewise monitor`."""
    command = add(
        "monitor",
        help="how a service stands, from the records that it writes: alarms, versions, latency, drift, cost",
        description="Read a folder of records, judge them again from the first to the last, and say what is wrong, "
        "since when, of which version, with which evidence, and what to do.",
        epilog="exit codes: 0 no alarm, 1 an alarm, 2 bad input; with --follow, --serve and --out 0 whatever was found",
    )
    command.add_argument("folder", metavar="FOLDER", help="the folder that the server writes its records into")
    command.add_argument("--model", metavar="NAME", help="show this served model alone")
    command.add_argument("--until", type=int, metavar="NS", help="as it was at this Unix time in nanoseconds")
    command.add_argument("--out", metavar="FILE.html", help="write one page that needs nothing else")
    command.add_argument("--follow", action="store_true", help="look again every two seconds, until Ctrl-C")
    command.add_argument("--serve", type=int, metavar="PORT", help="serve the live page on this machine alone")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        dest="settings",
        metavar="KEY=VALUE",
        help="cores=2 threads=v1:1,v2:1 price_per_hour=0.2 idle=reserved since=NS alpha=0.001; docs/monitor.md",
    )
    command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
