"""The one error that a user sees: one or two lines that say what is wrong and what is valid."""

from collections.abc import Iterable


class GatewiseError(Exception):
    """Bad input, or a machine that lacks something. The command line prints it and exits with 2.

    The message is one or two lines: what is wrong, what is valid, the nearest name.
    """


class MissingExtraError(GatewiseError):
    """A package of an optional extra is not installed; the message carries the pip line that brings it."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f"{package} is not installed; it comes with: pip install 'gatewise[{extra}]'")
        self.package = package
        self.extra = extra


def unknown_name(kind: str, name: object, valid: Iterable[str]) -> GatewiseError:
    """The error for a name that is not in a table: names the nearest one, then all that are valid."""
    import difflib  # keeps `gatewise --help` light

    names = sorted(valid)
    lowered = {known.lower(): known for known in names}
    nearest = difflib.get_close_matches(str(name).lower(), lowered, n=1, cutoff=0.5)
    hint = f"; did you mean {lowered[nearest[0]]!r}?" if nearest else ""
    return GatewiseError(f"unknown {kind} {name!r}{hint}\nvalid: {', '.join(names) or '(none)'}")
