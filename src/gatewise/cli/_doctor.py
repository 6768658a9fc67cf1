"""`gatewise doctor`: look at the machine; with `--aa` try the judge on identical arms; `--explain` what computes."""

import argparse
import json
import sys
from typing import Any

from gatewise.core import GatewiseError

from ._progress import Progress

DONE, INTERRUPTED = 0, 130
OPTIONS = ("studies", "budget", "workload", "out")


def run(parsed: argparse.Namespace) -> int:
    """Look, print, and with `--aa` run studies and print their rates. 130 when Ctrl-C ended it early."""
    from gatewise import doctor

    given = {name: getattr(parsed, name) for name in OPTIONS}
    alone = [f"--{name}" for name, value in given.items() if value is not None]
    if alone and not parsed.aa:
        raise GatewiseError(f"{', '.join(alone)} must stand beside --aa")
    if parsed.out is not None and not parsed.out.strip():
        raise GatewiseError("--out needs a folder's name")
    if parsed.explain:
        return _explain(parsed)
    if parsed.aa:
        doctor.check(**given)  # what cannot work is said before the look, not after it
    progress = Progress(sys.stderr)
    studies: dict[str, Any] | None = None
    try:
        found = doctor.look(progress=progress.show)
        progress.close()
        if not parsed.json:
            doctor.show(found)
            sys.stdout.flush()
        if parsed.aa:
            studies = doctor.aa(**given, progress=progress.show)
    except KeyboardInterrupt:
        progress.close()
        print("gatewise: stopped", file=sys.stderr)
        return INTERRUPTED
    finally:
        progress.close()
    if parsed.json:
        print(json.dumps(found | ({"aa": studies} if studies else {}), allow_nan=False))
    elif studies:
        doctor.show(studies)
    return INTERRUPTED if studies and studies["interrupted"] else DONE


def _explain(parsed: argparse.Namespace) -> int:
    from gatewise import doctor

    if parsed.aa:
        raise GatewiseError("--explain and --aa are two different things: ask for one of them")
    found = doctor.explain()
    if parsed.json:
        print(json.dumps(found, allow_nan=False))
    else:
        doctor.show(found)
    return DONE
