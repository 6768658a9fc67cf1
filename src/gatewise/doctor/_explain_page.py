"""What computes here, as people read it."""

from collections.abc import Iterator, Mapping
from typing import Any

from ._line import Line


def explain_lines(found: Mapping[str, Any]) -> Iterator[Line]:
    """The kernels, the choices with their times, and how to force one."""
    yield Line(f"gatewise doctor --explain, {found['started']}", style="bold")
    yield Line("\nNative kernels", style="bold")
    native = found["native_kernels"]
    if native["path"]:
        yield Line("run with", native["instruction_set"])
        yield Line("from", native["path"], "dim")
        if native["reason"]:
            yield Line("but", native["reason"], "yellow")
    else:
        yield Line("absent", f"torch computes: {native['reason']}", "yellow")
    yield Line("\nChosen by measuring on this machine", style="bold")
    yield from _chosen(found)
    yield Line("\nHow to force a way", style="bold")
    yield from _forcing(found)


def _chosen(found: Mapping[str, Any]) -> Iterator[Line]:
    machine, kept = found["machine"], found["kept"]
    yield Line("holds for", ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in machine.items()), "dim")
    if kept["path"]:
        yield Line("kept in", kept["path"], "dim")
    if kept["reason"]:
        yield Line("but" if kept["path"] else "not kept", kept["reason"], "yellow")
    if not found["choices"]:
        yield Line("none yet", "each is made when a model first asks for it, in a fraction of a second")
    for each in found["choices"]:
        yield Line(each["question"], f"{each['chosen']} for {_key(each['key'])}: {_times(each)}")


def _key(key: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in key.items())


def _times(choice: Mapping[str, Any]) -> str:
    others = {name: value for name, value in choice["times_s"].items() if name != choice["chosen"]}
    own = choice["times_s"].get(choice["chosen"])
    if own is None:
        return choice["note"] or "nothing else was there"
    against = ", ".join(f"{name} {_time(value)}" for name, value in others.items())
    when = f", measured {choice['at']}" if choice["at"] else ""
    note = f"; {choice['note']}" if choice["note"] else ""
    return f"{_time(own)} (others: {against}), median of {choice['rounds']}{when}{note}"


def _time(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale or unit == "µs":
            return f"{seconds / scale:.3g} {unit}"
    raise AssertionError("unreachable")


def _forcing(found: Mapping[str, Any]) -> Iterator[Line]:
    for question, way in found["forced"].items():
        yield Line("forced now", f"{question}: {way}", "yellow")
    yield Line("environment", 'GATEWISE_CHOOSE="linear=torch,ffn=torch"')
    yield Line("in Python", 'with gatewise.kernels.forced(linear="torch"): ...')
    for question, ways in found["questions"].items():
        yield Line(question, ", ".join(ways))
    if found["kept"]["path"]:
        yield Line("measure again", "gatewise.kernels.forget(stored=True), or delete the file")
