"""Which gate of the table some code of two inputs computes: act(gate) * g(up), found by numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from gatewise.activations import get, names
from gatewise.core import unknown_name

from ._graph import Array, Evaluate
from ._identity import DTYPES, describe, identify_values
from ._identity_families import limited, swish, tidy
from ._identity_probes import GRID, NEAR, OTHER, ROUNDED, TOLERANCE, distance, index_of, is_affine
from ._site import Found

NO_PRODUCT = "it is no product"
"""How the reason begins where it is not of the wanted form at all."""
_SLOPE = 1.702
_LIMIT = 7.0


@dataclass(frozen=True, kw_only=True)
class _Up:
    """What stands beside the activation: clip(up, low, high) + offset."""

    low: float
    high: float
    offset: float

    def values(self, up: Array) -> Array:
        return np.clip(up, self.low, self.high) + self.offset

    @property
    def settings(self) -> dict[str, float]:
        found = {"up_low": self.low, "up_high": self.high}
        found = {key: tidy(limit) for key, limit in found.items() if np.isfinite(limit)}
        return {**found, "up_offset": tidy(self.offset)} if self.offset else found


def identify_gate(f: Evaluate, *, constants_dtype: str = "float32") -> Found:
    """Which gate of the table `f` computes; `f` takes a list with two float64 arrays of one shape, in either order.

    `Found.gate` says which of the two is the gate. The other one may be clipped and moved by a constant. See
    `identify_scalar` for the probes, `constants_dtype` and what is raised.
    """
    if constants_dtype not in DTYPES:
        raise unknown_name("dtype of constants", constants_dtype, DTYPES)
    data = [np.ascontiguousarray(mesh).tobytes() for mesh in meshes(f)]
    return _identify(data[0], data[1], constants_dtype)


def meshes(f: Evaluate) -> tuple[Array, Array]:
    """The values on every pair of probes, [gate, up], with the first input as the gate and with the second."""
    gate = np.repeat(GRID, len(OTHER))
    up = np.tile(OTHER, len(GRID))
    shape = (len(GRID), len(OTHER))
    with np.errstate(all="ignore"):
        first = np.asarray(f([gate, up]), dtype=np.float64)
        second = np.asarray(f([up, gate]), dtype=np.float64)
    return np.broadcast_to(first, gate.shape).reshape(shape), np.broadcast_to(second, gate.shape).reshape(shape)


@lru_cache(maxsize=32)
def _identify(first: bytes, second: bytes, constants_dtype: str) -> Found:
    both = [np.frombuffer(data, dtype=np.float64).reshape(len(GRID), len(OTHER)) for data in (first, second)]
    found = [_with_gate(place, mesh, constants_dtype) for place, mesh in enumerate(both)]
    split = [one for one in found if one is not None]
    named = [one for one in split if one.name is not None]
    if named or split:
        return (named or split)[0]
    nearest = [_nearest(mesh) for mesh in both]
    place = 0 if nearest[0][1] <= nearest[1][1] else 1
    name, away = nearest[place]
    finite = all(np.isfinite(mesh[NEAR]).all() for mesh in both)
    reason = f"{NO_PRODUCT} of a function of one input and a line or clip of the other"
    if not finite:
        reason = f"{NO_PRODUCT}: it gives values that are not finite on finite input"
    return Found(name=None, nearest=name if np.isfinite(away) else None, distance=away, reason=reason, gate=place)


def _nearest(mesh: Array) -> tuple[str, float]:
    gates = {name: _distance(mesh, _reference(name)) for name in names("gate")}
    nearest = min(gates, key=lambda name: gates[name])
    return nearest, gates[nearest]


@lru_cache(maxsize=64)
def _reference(name: str) -> Array:
    gate, up = np.meshgrid(GRID, OTHER, indexing="ij")
    return get(name).reference(gate, up)


def _distance(mesh: Array, reference: Array) -> float:
    return distance(mesh, reference, np.abs(GRID)[:, None], np.abs(OTHER)[None, :])


def _with_gate(place: int, mesh: Array, constants_dtype: str) -> Found | None:
    """What it is with this input as the gate; None where that is no product of the wanted form."""
    up = _fit_up(mesh)
    if up is None:
        return None
    weight = up.values(OTHER)
    unit = 0.5 if abs(up.offset + 0.5) > 0.1 else 1.0
    steady = int(np.flatnonzero(unit == OTHER)[0])
    act = mesh[:, steady] / weight[steady]
    if not np.isfinite(act[NEAR]).all():
        return None
    with np.errstate(all="ignore"):
        product = act[:, None] * weight[None, :]
    if _distance(mesh, product) > TOLERANCE:
        return None
    if is_affine(act):
        linear = not up.settings and abs(float(act[index_of(0.0)])) <= TOLERANCE
        away = _distance(mesh, _reference("bilinear"))
        if linear and away <= TOLERANCE:
            return Found(name="bilinear", nearest="bilinear", distance=away, gate=place)
        return None
    return _name(place, mesh, identify_values(act, constants_dtype), up, constants_dtype)


def _fit_up(mesh: Array) -> _Up | None:
    """clip(up, low, high) + offset, as it stands beside the activation, whatever the scale."""
    at = {x: int(np.flatnonzero(x == OTHER)[0]) for x in (-1000.0, -100.0, -0.25, 0.0, 0.25, 100.0, 1000.0)}
    for x in (1.0, 3.0, -1.0):
        line = mesh[index_of(x)]
        slope = float(line[at[0.25]] - line[at[-0.25]]) / 0.5
        if not np.isfinite(line).all() or abs(slope) < 1e-6:
            continue
        offset = float(line[at[0.0]]) / slope
        ends: list[float] = []
        for side in (-1.0, 1.0):
            far, farther = float(line[at[side * 100.0]]), float(line[at[side * 1000.0]])
            flat = abs(far - farther) <= 1e-9 * max(1.0, abs(far))
            ends.append(farther / slope - offset if flat else side * np.inf)
        offset = 0.0 if abs(offset) < 1e-6 else offset
        up = _Up(low=ends[0], high=ends[1], offset=offset)
        if up.low < 0.0 < up.high and distance(line / slope, up.values(OTHER), OTHER) <= TOLERANCE:
            return up
    return None


def _name(place: int, mesh: Array, act: Found, up: _Up, constants_dtype: str) -> Found:
    tolerance = ROUNDED.get(constants_dtype, TOLERANCE)
    if act.name is not None and not act.settings and not up.settings:
        for name in names("gate"):
            if get(name).act == act.name and _distance(mesh, _reference(name)) <= tolerance:
                away = _distance(mesh, _reference(name))
                return Found(name=name, nearest=name, distance=away, gate=place)
    beta = _beta(act)
    if beta is not None and set(act.settings) <= {"beta"} and not up.settings:
        own = swish(beta)(GRID)[:, None] * OTHER[None, :]
        away = _distance(mesh, own)
        return Found(name="swiglu", nearest="swiglu", distance=away, settings={"beta": beta}, gate=place)
    clamped = _clamped(place, mesh, act, up, tolerance)
    if clamped is not None:
        return clamped
    nearest, away = _nearest(mesh)
    settings = {**act.settings, **up.settings}
    kin = [name for name in names("gate") if get(name).act == act.nearest]
    if beta is not None:
        kin = ["swiglu_clamped" if abs(up.offset - 1.0) <= 1e-6 else "swiglu"]
    if kin:
        nearest = kin[0]
        away = _distance(mesh, _reference(nearest))
    if beta is not None and abs(beta - 1.0) > 1e-6:
        settings["beta"] = beta
    what = f"act is {act.name}" if act.name else f"act is near {act.nearest}"
    reason = f"no gate of the table: its {what}" + (f", with {describe(settings)}" if settings else "")
    return Found(name=None, nearest=nearest, distance=away, settings=settings, reason=reason, gate=place)


def _beta(act: Found) -> float | None:
    """beta, where the activation is x * sigmoid(beta x), limited or not."""
    own = {"silu": 1.0, "quick_gelu": _SLOPE}.get(act.nearest or "")
    if own is None or (act.name is None and not act.settings) or "scale" in act.settings:
        return None
    return act.settings.get("beta", own)


def _clamped(place: int, mesh: Array, act: Found, up: _Up, tolerance: float) -> Found | None:
    """gpt-oss' gate, with any limit and any beta."""
    # Where the limit is large, x * sigmoid(beta x) is x there: a limit of the input reads as one of the output.
    beta, limit = _beta(act), act.settings.get("high", act.settings.get("out_high"))
    if beta is None or limit is None or set(act.settings) - {"beta", "high", "out_high"}:
        return None
    if not _same(up.settings, {"up_low": -limit, "up_high": limit, "up_offset": 1.0}):
        return None
    settings: dict[str, float] = {}
    if abs(limit - _LIMIT) > 1e-5:
        settings["limit"] = limit
    if abs(beta - _SLOPE) > max(1e-5, tolerance):
        settings["beta"] = beta
    own = limited(swish(beta), {"high": limit})(GRID)[:, None] * up.values(OTHER)[None, :]
    name = "swiglu_clamped"
    if _distance(mesh, own) > tolerance:
        return None
    return Found(name=name, nearest=name, distance=_distance(mesh, own), settings=settings, gate=place)


def _same(a: Mapping[str, float], b: Mapping[str, float]) -> bool:
    return set(a) == set(b) and all(abs(a[key] - b[key]) <= 1e-5 for key in a)
