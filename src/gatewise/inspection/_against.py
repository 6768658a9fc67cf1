"""Finds where two models that should be the same compute something else."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from gatewise.graphs import Site

from ._align import Pair, akin, align, gate_weights, prints, same_path, shares_weights
from ._curve import Gap, curve, gap, tolerance
from ._inspection import Inspection, without_nan
from ._quantised import held_by_range
from ._scale import Lines, lines_of

SCHEMA = "gatewise.against/1"


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """One place where two models differ in what they compute.

    Attributes:
        kind: `function`, `scale`, `gate`, `dtype`, `swapped`, `lost` or `added`.
        path_a, path_b: the sites; None where there is none.
        text: what differs, with the evidence.
        distance: of the functions, largest |a - b| / max(1, |x|, |a|); None where that is not what differs.
        at: the inputs where it is largest: (x,) or (gate, up).
    """

    kind: str
    path_a: str | None
    path_b: str | None
    text: str
    distance: float | None = None
    at: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As the record shows it."""
        return {
            "kind": self.kind,
            "path_a": self.path_a,
            "path_b": self.path_b,
            "text": self.text,
            "distance": self.distance,
            "at": list(self.at),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Difference:
    """Two inspections side by side.

    Attributes:
        mismatches: what the second model computes otherwise.
        notes: what differs and is no mismatch: other weights, another dtype of weights.
    """

    a: Inspection
    b: Inspection
    mismatches: tuple[Mismatch, ...]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The document of `gatewise inspect A --against B --json`."""
        document: dict[str, Any] = {
            **self.a.to_json(),
            "against": self.b.to_json(),
            "mismatches": [mismatch.to_json() for mismatch in self.mismatches],
            "notes": list(self.notes),
        }
        cleaned: dict[str, Any] = without_nan(document)
        return cleaned


def against(a: Inspection, b: Inspection) -> Difference:
    """Compare what two models compute, site by site."""
    pairs = align(a, b)
    cut = [pair for pair in pairs if _is_cut_off(a, b, pair)]
    held = held_by_range(a, b, pairs)
    judged = [pair for pair in pairs if pair not in cut and not _is_held(pair, held)]
    mismatches = [mismatch for pair in judged for mismatch in _judge(a, b, pair)]
    notes = [*_notes(a, b, pairs), *(_cut_note(pair) for pair in cut), *held.values()]
    return Difference(a=a, b=b, mismatches=tuple(mismatches), notes=tuple(notes))


def _is_held(pair: Pair, held: Mapping[str, str]) -> bool:
    only = pair.one if pair.other is None else pair.other if pair.one is None else None
    return only is not None and only.output in held


def _is_cut_off(a: Inspection, b: Inspection, pair: Pair) -> bool:
    """Whether a site stands in one model only because the other has fewer outputs: a head that was not exported."""
    if pair.one is not None and pair.other is None:
        site, full, other = pair.one, a.graph, b.graph
    elif pair.other is not None and pair.one is None:
        site, full, other = pair.other, b.graph, a.graph
    else:
        return False
    if full is None or other is None or len(other.outputs) >= len(full.outputs):
        return False
    reached, waiting = {site.output}, [site.output]
    while waiting:
        for node in full.consumers.get(waiting.pop(), ()):
            if node.output not in reached:
                reached.add(node.output)
                waiting.append(node.output)
    return sum(name not in reached for name in full.outputs) >= len(other.outputs)


def _cut_note(pair: Pair) -> str:
    site, which = (pair.one, "second") if pair.one is not None else (pair.other, "first")
    return f"{site.path}: {named(site)} leads only to outputs that the {which} model does not have" if site else ""


def _judge(a: Inspection, b: Inspection, pair: Pair) -> Iterator[Mismatch]:
    one, other = pair.one, pair.other
    if one is None or other is None:
        only = one or other
        if only is not None:
            yield _alone(only, lost=other is None)
        return
    mismatch = partial(Mismatch, path_a=one.path, path_b=other.path)
    if one.kind != other.kind:
        word = "the gate is lost" if one.kind == "gate" else "a gate was added"
        yield mismatch(kind="gate", text=f"{word}: {named(one)} became {named(other)}")
    else:
        yield from _functions(lines_of(a, one, b, other), lines_of(a, one, b, other, akin))
        swapped = _swapped(a, one, b, other)
        if swapped:
            yield mismatch(kind="swapped", text=swapped)
    rounded = lines_of(a, one, b, other).rounded()
    if _floats(one) and _floats(other) and _floats(one) != _floats(other):
        yield mismatch(kind="dtype", text=f"{named(one)} is computed in {other.dtype}, not in {one.dtype}")
    elif rounded:
        yield mismatch(kind="dtype", text=f"{named(one)}: {rounded}")


def _floats(site: Site) -> str:
    """The dtypes it is computed in; "" where nothing says, or where its values are kept in 8 bits."""
    return " ".join(dtype for dtype in site.dtype.split() if dtype.startswith(("float", "bfloat")))


def _alone(site: Site, *, lost: bool) -> Mismatch:
    word = "is missing in the second" if lost else "is only in the second"
    return Mismatch(
        kind="lost" if lost else "added",
        path_a=site.path if lost else None,
        path_b=None if lost else site.path,
        text=f"{named(site)} {word}",
    )


def _functions(lines: Lines, rough: Lines) -> Iterator[Mismatch]:
    """`rough`: the lines where quantised weights count as the same; they can show that nothing differs, no more."""
    one, other = lines.one, lines.other
    mismatch = partial(Mismatch, path_a=one.path, path_b=other.path)
    try:
        first, second = curve(one), curve(other)
    except (ValueError, TypeError, ArithmeticError, RuntimeError):
        first = second = None
    if first is None or second is None:
        if one.found.name != other.found.name or dict(one.found.settings) != dict(other.found.settings):
            yield mismatch(kind="function", text=f"{named(one)} became {named(other)} (not compared by value)")
        return
    found = gap(*lines.inside(first, second))
    with_lines = lines.gap() if lines.differ else None
    roughly = rough.gap() if rough.differ and found.distance > tolerance(one, other) else with_lines
    if any(each is not None and each.distance <= tolerance(one, other) for each in (with_lines, roughly)):
        return  # written otherwise: what one has inside of the function the other has beside it
    if found.distance > tolerance(one, other):
        yield mismatch(kind="function", text=_change(one, other, found), distance=found.distance, at=found.at)
    elif lines.differ:
        text = f"{named(one)}: {lines.text()}"
        if with_lines is None:
            yield mismatch(kind="scale", text=text)
        else:
            text = f"{text}; apart by {_spot(one, with_lines)}"
            yield mismatch(kind="scale", text=text, distance=with_lines.distance, at=with_lines.at)


def _change(one: Site, other: Site, found: Gap) -> str:
    head = f"{named(one)} became {named(other)}" if named(one) != named(other) else f"{named(one)} with other constants"
    limits = [key for key in one.found.settings if key.endswith(("low", "high")) and key not in other.found.settings]
    clamp = f"; the limits {', '.join(limits)} are gone" if limits else ""
    return f"{head}{clamp}; apart by {_spot(one, found)}"


def _spot(site: Site, found: Gap) -> str:
    """How far, and where it is largest."""
    at = ", ".join(f"{name} = {value:g}" for name, value in zip(_axes(site), found.at, strict=True))
    return f"{found.distance:.1e} at {at}"


def _axes(site: Site) -> tuple[str, ...]:
    return ("x",) if site.kind == "scalar" else ("gate", "up")


def _swapped(a: Inspection, one: Site, b: Inspection, other: Site) -> str:
    """Whether what was the gate is now multiplied, and the other way round; "" if not, or if nothing tells."""
    if one.kind != "gate" or _is_symmetric(one):
        return ""
    ours, theirs = gate_weights(a, one), gate_weights(b, other)
    if ours is None or theirs is None:
        packed = one.gate_part is not None and other.gate_part is not None
        if packed and one.gate_part != other.gate_part and (same_path(one, other) or shares_weights(a, one, b, other)):
            return f"the gate is part {_part(other)} of the projection, not {_part(one)}"
        return ""
    straight = akin(ours[0], theirs[0]) or akin(ours[1], theirs[1])
    if not straight and akin(ours[0], theirs[1]) and akin(ours[1], theirs[0]):
        if ours[0].name == theirs[0].name:
            return f"gate and up are swapped: {ours[0].name} holds what {ours[1].name} held, and the other way round"
        return f"gate and up are swapped: {ours[0].name} was the gate's weight, now {theirs[0].name} is"
    if not straight and (ours[0].name, ours[1].name) == (theirs[1].name, theirs[0].name):
        return f"gate and up are swapped: {theirs[0].name} is the gate's weight, not {ours[0].name}"
    return ""


def _is_symmetric(site: Site) -> bool:
    """Whether gate and up may change places, as in a plain product."""
    return site.found.name == "bilinear"


def _part(site: Site) -> str:
    index, count = site.gate_part or (0, 0)
    return f"{index + 1} of {count}"


def named(site: Site) -> str:
    """A function in a few words: its name and settings, or the nearest one."""
    found = site.found
    settings = ", ".join(f"{key} {value:.4g}" for key, value in found.settings.items())
    if found.name is not None:
        return f"{found.name} ({settings})" if settings else found.name
    if found.nearest is None:
        return "none (nothing is near)"
    return f"none (nearest {found.nearest}, {found.distance:.1e} away{'; ' + settings if settings else ''})"


def _notes(a: Inspection, b: Inspection, pairs: list[Pair]) -> Iterator[str]:
    changed: list[str] = []
    dtypes: dict[tuple[str, str], int] = {}
    for pair in pairs:
        if pair.one is None or pair.other is None:
            continue
        ours, theirs = prints(a, pair.one), prints(b, pair.other)
        if ours and theirs and not any(akin(x, y) for x in ours for y in theirs):
            changed.append(pair.one.path)
        if ours and theirs and ours[0].dtype != theirs[0].dtype:
            key = (ours[0].dtype, theirs[0].dtype)
            dtypes[key] = dtypes.get(key, 0) + 1
    kept = [pair for pair in pairs if pair.one and pair.other and bool(_floats(pair.one)) != bool(_floats(pair.other))]
    if kept:
        yield f"values are kept in 8 bits in one of the models at {len(kept)} of {len(pairs)} sites"
    if changed:
        yield f"other weights at {len(changed)} of {len(pairs)} sites, first {changed[0]}"
    for (one, other), count in dtypes.items():
        yield f"weights stored in {other}, not in {one}, at {count} sites"
