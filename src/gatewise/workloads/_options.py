"""A workload's options: plain values from a plan, checked against the fields of the workload's dataclass."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from types import NoneType
from typing import Any, cast, get_args, get_type_hints

from gatewise.core import GatewiseError, unknown_name

from ._workload import Workload

_WORDS: dict[object, str] = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def with_options(name: str, kind: Callable[..., Workload], options: Mapping[str, Any]) -> Workload:
    """The workload `name` with some of its fields set.

    `size`, where the workload has sizes, sets several of them at once; an option that is named beside it wins.

    Raises `GatewiseError` for an option that is none of its fields (with the nearest one), for a value of another
    type, and, from the workload itself, for a value out of range.
    """
    if not options:
        return kind()
    if not (isinstance(kind, type) and is_dataclass(kind)):
        raise GatewiseError(f"the workload {name!r} takes no options, got {', '.join(map(str, options))}")
    options = _sized(name, kind, options)
    known = [field.name for field in fields(kind)]
    hints: dict[str, Any] = get_type_hints(kind)
    for key, value in options.items():
        if key not in known:
            raise unknown_name(f"option of {name}", key, [*known, *(["size"] if getattr(kind, "sizes", {}) else [])])
        _check_type(f"{name}: {key}", value, hints[key])
    return cast(Workload, kind(**options))


def _sized(name: str, kind: type[Any], options: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options with those of a named size in place of `size`. Raises `GatewiseError` for an unknown size."""
    sizes: Mapping[str, Mapping[str, Any]] = getattr(kind, "sizes", {})
    if "size" not in options or not sizes:
        return options
    if options["size"] not in sizes:
        raise unknown_name(f"size of {name}", options["size"], sizes)
    return {**sizes[options["size"]], **{key: value for key, value in options.items() if key != "size"}}


def _check_type(what: str, value: object, hint: object) -> None:
    allowed = get_args(hint) or (hint,)
    taken = (*allowed, int) if float in allowed else allowed
    if type(value) not in taken:
        words = " or ".join(_WORDS.get(kind, str(kind)) for kind in allowed if kind is not NoneType)
        raise GatewiseError(f"{what} must be {words}, got {value!r}")


def check_whole(name: str, value: object, *, least: int, most: int | None = None) -> None:
    """Raises `GatewiseError` for what is no whole number from `least` to `most`."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        span = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise GatewiseError(f"{name} must be a whole number {span}, got {value!r}")
