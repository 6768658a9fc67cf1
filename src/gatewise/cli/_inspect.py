"""`gatewise inspect`: which activation stands where, and with `--against` where another model differs."""

import argparse
import json

from gatewise.core import GatewiseError

DONE, FAILED = 0, 1


def run(parsed: argparse.Namespace) -> int:
    """Inspect, compare, print. With `--fail-on mismatch` 1 where the models differ."""
    from gatewise import inspection

    if parsed.fail_on is not None and parsed.against is None:
        raise GatewiseError("--fail-on mismatch needs --against MODEL")
    found = inspection.inspect(parsed.model, data=parsed.data, ranges=parsed.against is None)
    if parsed.against is None:
        if parsed.json:
            print(json.dumps(found.to_json(), allow_nan=False))
        else:
            inspection.show(found)
        return DONE
    difference = inspection.against(found, inspection.inspect(parsed.against, data=parsed.data, ranges=False))
    if parsed.json:
        print(json.dumps(difference.to_json(), allow_nan=False))
    else:
        inspection.show(difference)
    return FAILED if parsed.fail_on is not None and difference.mismatches else DONE
