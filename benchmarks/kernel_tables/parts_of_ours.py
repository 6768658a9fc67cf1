"""Our blocks, linears and `use`, whichever of them are there."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

_HOMES = {"FeedForward": "_feedforward", "Linear": "_linear", "use": "_use", "choices": "_choice"}


def find(name: str) -> tuple[Any, str | None]:
    """One of them and None, or None and why it is not there."""
    kernels = import_module("gatewise.kernels")
    try:
        return getattr(kernels, name), None
    except AttributeError:
        pass
    try:
        return getattr(import_module(f"gatewise.kernels.{_HOMES[name]}"), name), None
    except (ImportError, AttributeError) as error:
        return None, f"gatewise.kernels has no {name} here ({str(error).splitlines()[0]})"


def made(name: str, use: Callable[[Any], Any], skipped: dict[str, str]) -> Any:
    """What `use` makes of it; None, and a line in `skipped`, where it is not there."""
    found, why = find(name)
    if found is None:
        skipped["ours"] = why or ""
        return None
    return use(found)


def chosen() -> dict[str, str]:
    """Which ways were chosen, for what, in lines."""
    choices, _ = find("choices")
    lines: dict[str, str] = {}
    for choice in choices() if choices is not None else ():
        key = ", ".join(f"{name} {value}" for name, value in choice.key)
        times = ", ".join(f"{name} {1e6 * value:.0f} us" for name, value in (choice.times_s or {}).items())
        lines[f"chosen for {choice.question}"] = f"{choice.chosen} at {key}" + (f" ({times})" if times else "")
    return lines
