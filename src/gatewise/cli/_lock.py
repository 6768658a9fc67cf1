"""`gatewise lock` writes what was accepted of a model beside it; `gatewise check` compares the model with it."""

import argparse
import json

DONE, FAILED = 0, 1


def run(parsed: argparse.Namespace) -> int:
    """Lock or check. A check gives 1 where something changed that nobody explained."""
    from gatewise import inspection

    if parsed.command == "lock":
        path, changes = inspection.lock(parsed.model, study=parsed.study, because=parsed.because)
        if parsed.json:
            print(json.dumps(inspection.read_lock(path), allow_nan=False))
            return DONE
        for change in changes:
            print(f"explained: {change}")
        print(f"locked: {path}")
        return DONE
    found = inspection.check(parsed.model, study=parsed.study)
    if parsed.json:
        print(json.dumps(found.to_json(), allow_nan=False))
    else:
        inspection.show(found)
    return FAILED if found.changes else DONE
