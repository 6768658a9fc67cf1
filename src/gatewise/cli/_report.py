"""`gatewise report`: render a stored study again."""

import argparse
import json
from pathlib import Path


def run(parsed: argparse.Namespace) -> int:
    """Read the record, write the three files, print the table."""
    from gatewise import report, study

    document = study.read_study(Path(parsed.study))
    written = report.write(document, Path(parsed.out or parsed.study))
    if parsed.json:
        print(json.dumps(document, allow_nan=False))
    else:
        report.terminal(document)
        print(f"\nwritten: {', '.join(str(path) for path in written)}")
    return 0
