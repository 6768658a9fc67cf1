"""What a registry holds, as rows: versions, aliases, and each move of an alias."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gatewise.core import GatewiseError, unknown_name

ALIASES = ("live", "shadow", "canary")
NOTHING = "none"
"""What an alias is set to, or expected at, where it points nowhere."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Version:
    """One immutable build of a model.

    Attributes:
        model, version: the served name and the label.
        digest: sha256 of its files and of what decides how they are run.
        threads: how many a call may use.
        registered: when, in ISO 8601. `by`: who.
        study: what justified it: the hash of `result.json`, its headline and its recommendation; None without one.
        manifest: what was registered: files, runtime, precision, identity, ports.
        environment: the machine and the software that it was registered on.
    """

    model: str
    version: str
    digest: str
    threads: int
    registered: str
    by: str
    study: Mapping[str, Any] | None = None
    manifest: Mapping[str, Any] = field(default_factory=dict[str, Any])
    environment: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_json(self) -> dict[str, Any]:
        """As `gatewise versions --json` shows it."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Alias:
    """Where a name such as `live` points now.

    Attributes:
        version: its label; None where it points nowhere.
        revision: how often it was moved.
    """

    model: str
    alias: str
    version: str | None
    revision: int

    def to_json(self) -> dict[str, Any]:
        """As `gatewise versions --json` shows it."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Move:
    """One move of an alias; `revision` counts them from 1 without a gap.

    Attributes:
        before, after: labels; None for nowhere.
        kind: `promote` or `rollback`.
        at: when, in ISO 8601. `by`: who. `because`: why, "" where nobody said.
    """

    model: str
    alias: str
    revision: int
    before: str | None
    after: str | None
    kind: str
    at: str
    by: str
    because: str

    def to_json(self) -> dict[str, Any]:
        """As `gatewise versions --json` shows it."""
        return asdict(self)


def check_name(kind: str, name: object) -> str:
    """A model's name or a version's label, as it may stand in a URL. Raises `GatewiseError`."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise GatewiseError(
            f"{name!r} is no name of a {kind}\n"
            "valid: 1 to 64 of letters, digits, '.', '_' and '-', a letter or a digit first"
        )
    if kind == "version" and (name in (*ALIASES, NOTHING) or _DIGEST.fullmatch(name)):
        raise GatewiseError(f"a version cannot be called {name!r}: that is the name of something else")
    return name


def check_alias(alias: object) -> str:
    """One of the three. Raises `GatewiseError`."""
    if alias not in ALIASES:
        raise unknown_name("alias", alias, ALIASES)
    return str(alias)


def before_rollback(moves: "list[Move]") -> tuple[str | None] | None:
    """What an alias pointed at before its present version, as a tuple of one; None where there is nothing before.

    Moves are a stack: a promotion puts its version on top, a rollback takes the top away. So rolling back twice goes
    two promotions back, and what was rolled back does not return by rolling back again.
    """
    stack: list[str | None] = []
    for move in moves:
        if move.kind == "rollback":
            stack.pop()
        else:
            stack.append(move.after)
    return (stack[-2],) if len(stack) > 1 else None
