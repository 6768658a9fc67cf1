"""`gatewise claims`: run and grade claims, list them, recompute published tables, set machines side by side."""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError

from ._progress import Progress

DEFAULT_OUT = "gatewise-claims"
INTERRUPTED = 130


def run(parsed: argparse.Namespace) -> int:
    """0 done, whatever the grades are."""
    _check(parsed)
    if parsed.published:
        from ._claims_published import show

        return show(Path(parsed.file) if parsed.file else None, as_json=parsed.json)
    from gatewise import claims, report

    if parsed.merge:
        document = claims.merge(parsed.merge)
        return _finish(document, Path(parsed.out) if parsed.out else None, as_json=parsed.json)
    known = claims.ledger(parsed.file)
    wanted = claims.chosen(known, parsed.ids)
    if parsed.seeds is not None:
        wanted = claims.with_seeds(wanted, parsed.seeds)
    if parsed.file:
        claims.check_plans(known)  # the built-in ones are checked by the tests
    if parsed.list:
        document = claims.listing(wanted)
        if parsed.json:
            print(json.dumps(document, allow_nan=False))
        else:
            report.claims_terminal(document)
        return 0
    return _run(parsed, known, wanted)


def _check(parsed: argparse.Namespace) -> None:
    """Options that do not go together are refused, not ignored."""
    modes = [f"--{name}" for name in ("list", "published", "merge") if getattr(parsed, name)]
    if len(modes) > 1:
        raise GatewiseError(f"{' and '.join(modes)} do not go together; give one of them")
    if modes and parsed.budget:
        raise GatewiseError(f"--budget goes with running claims, not with {modes[0]}")
    if modes and parsed.kernels:
        raise GatewiseError(f"--kernels goes with running claims, not with {modes[0]}")
    if modes and parsed.seeds is not None:
        raise GatewiseError(f"--seeds goes with running claims, not with {modes[0]}")
    if modes and modes[0] != "--list" and parsed.ids:
        raise GatewiseError(f"{modes[0]} takes no claim ids, not {' '.join(parsed.ids)}")
    if parsed.merge and parsed.file:
        raise GatewiseError("--merge reads results, not a claim file; leave --file out")
    if parsed.out is not None and (parsed.list or parsed.published):
        raise GatewiseError(f"{modes[0]} writes nothing; leave --out out")
    for name in ("out", "file"):
        value = getattr(parsed, name)
        if value is not None and not value.strip():
            raise GatewiseError(f"--{name} needs a name")


def _run(parsed: argparse.Namespace, known: Any, wanted: Any) -> int:
    from gatewise import claims
    from gatewise.study import seconds

    out = Path(parsed.out or DEFAULT_OUT)
    budget_s = seconds(parsed.budget) if parsed.budget else None
    if budget_s is None and not parsed.json:
        asked = sum({claim.plan.fingerprint: claim.plan.budget_s for claim in wanted if claim.plan}.values())
        if asked:
            print(f"gatewise: the plans ask for {asked / 60:.0f} min; --budget makes it less", file=sys.stderr)
    progress = Progress(sys.stderr)
    replay = {claim.id: _replay(parsed, claim.id) for claim in known}
    try:
        document = claims.run_claims(
            wanted,
            out,
            beside=known,
            budget_s=budget_s,
            progress=progress.show,
            replay=replay,
            own=bool(parsed.kernels),
        )
    except KeyboardInterrupt:
        progress.close()
        print(f"gatewise: stopped; what was finished is stored in {out}, the same command goes on", file=sys.stderr)
        return INTERRUPTED
    finally:
        progress.close()
    ids = [claim.id for claim in wanted]
    return _finish(document, out, as_json=parsed.json, shown=claims.only(document, ids))


def _replay(parsed: argparse.Namespace, claim: str) -> str:
    words = ["gatewise", "claims", claim]
    for name in ("file", "budget", "seeds", "out", "kernels"):
        value = getattr(parsed, name)
        words += [f"--{name}", str(value)] if value is not None else []
    return shlex.join(words)


def _finish(document: dict[str, Any], out: Path | None, *, as_json: bool, shown: dict[str, Any] | None = None) -> int:
    """Write the whole document, and print what was asked for."""
    from gatewise import report

    written = report.write_claims(document, out) if out else []
    if as_json:
        print(json.dumps(shown or document, allow_nan=False))
        return 0
    report.claims_terminal(shown or document)
    if written:
        print(f"\nwritten: {', '.join(str(path) for path in written)}")
    return 0
