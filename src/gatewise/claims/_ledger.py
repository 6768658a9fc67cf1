"""The built-in ledger: what two articles say about GELU and SwiGLU, and what would decide each sentence."""

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from gatewise.core import unknown_name

from ._claim import Claim
from ._claim_file import read_claims

PLANS = "plans.toml"
FILES = ("gelu.toml", "swiglu.toml", "checks.toml")


def ledger(file: Path | str | None = None) -> list[Claim]:
    """The claims of a file, or the built-in ones in the order of the ledger. Raises `GatewiseError` for bad input."""
    if file is not None:
        return read_claims(Path(file))
    folder = Path(str(files(__package__ or "") / "ledger"))
    return [claim for name in FILES for claim in read_claims(folder / name, plans=folder / PLANS)]


def chosen(claims: Sequence[Claim], ids: Sequence[str]) -> list[Claim]:
    """The claims of these ids, in the order asked, each once; all that run where none is named.

    Raises:
        GatewiseError: an id that is not there, with the nearest one.
    """
    known = {claim.id: claim for claim in claims}
    if not ids:
        return list(claims)
    for name in ids:
        if name not in known:
            raise unknown_name("claim", name, known)
    wanted = [known[name] for name in ids]
    # A claim that follows from another needs that one's grade.
    for claim in wanted:  # grows as it is read: chains are followed to their end, and have one
        if claim.follows:
            wanted.append(known[claim.follows])
    return list({claim.id: claim for claim in wanted}.values())
