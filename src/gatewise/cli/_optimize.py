"""`gatewise optimize`: activations in pieces become single operations."""

import argparse
import json
import sys
from pathlib import Path

from gatewise.core import GatewiseError

from ._progress import Progress


def run(parsed: argparse.Namespace) -> int:
    """Fuse, check, measure, write, and say what changed."""
    from gatewise import optimize

    if parsed.threads < 1:
        raise GatewiseError(f"--threads must be 1 or more, not {parsed.threads}")
    progress = Progress(sys.stderr)
    try:
        found = optimize.optimize(
            Path(parsed.model),
            Path(parsed.out),
            data=Path(parsed.data) if parsed.data else None,
            threads=parsed.threads,
            timed=not parsed.no_timing,
            tell=progress.show,
        )
    finally:
        progress.close()
    print(json.dumps(optimize.to_json(found), allow_nan=False) if parsed.json else optimize.show(found))
    return 0
