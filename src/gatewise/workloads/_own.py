"""A user's own workload: a subclass of `Workload` in a Python file. It is code, so for the command line only."""

from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any, cast

from gatewise.core import GatewiseError

from ._function import resolve, told
from ._options import with_options
from ._workload import Workload


def own_workload(target: str, options: Mapping[str, Any]) -> Workload | None:
    """The workload of the class that `package.module:ClassName` names; None where that is no class of a workload.

    `options` set the fields of a class that is a dataclass. A class without a `name` is called as it was named here.

    Raises `GatewiseError` for a class that lacks a method or cannot be made, and for options that it does not have.
    """
    try:
        found = cast(object, resolve(target))
    except GatewiseError:
        if options:
            return None
        raise
    if not (isinstance(found, type) and issubclass(found, Workload)):
        return None
    try:
        made = with_options(target, found, options) if is_dataclass(found) or options else found()
    except GatewiseError:
        raise
    except Exception as error:
        raise GatewiseError(f"{target} cannot be made: {told(error)}") from error
    if not hasattr(made, "name"):
        object.__setattr__(made, "name", target)
    return made
