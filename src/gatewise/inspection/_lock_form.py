"""What the parts of a lock look like, so that one that was edited by hand is refused with the place."""

from collections.abc import Mapping
from typing import Any

_NUMBER = (int, float)
_WEIGHT = {"name": str, "shape": [int], "dtype": str, "fingerprint": [_NUMBER]}
_LINE = {
    "weight": str,
    "factor": _NUMBER,
    "offset": _NUMBER,
    "dtypes": [str],
    "low": (*_NUMBER, type(None)),
    "high": (*_NUMBER, type(None)),
}
SITE: Mapping[str, Any] = {
    "path": str,
    "kind": str,
    "identity": (str, type(None)),
    "settings": dict,
    "dtype": str,
    "curve": (list, type(None)),
    "gate_part": (list, type(None)),
    "width": (int, type(None)),
    "feeding": [_WEIGHT],
    "parts": [_WEIGHT],
}
LATER: Mapping[str, Any] = {
    "constants_dtype": str,
    "before": (list, type(None)),
    "after": (dict, type(None)),
    "behind": [_WEIGHT],
    "nearest": (str, type(None)),
    "distance": (*_NUMBER, type(None)),
}
"""Of a site, what older locks do not hold."""
WEIGHT: Mapping[str, Any] = {"name": str, "at": str, "shape": [int], "dtype": str, "sha256": str}


def wrong_site(entry: object) -> str:
    """What is wrong with a site of a lock, as the path in it; "" where nothing is."""
    wrong = wrong_at(entry, SITE)
    if wrong is not None or not isinstance(entry, dict):
        return wrong or "its entry"
    wrong = wrong_at(entry, {key: form for key, form in LATER.items() if key in entry})
    if wrong is not None:
        return wrong
    lines = [line for line in (*(entry.get("before") or ()), entry.get("after")) if line is not None]
    checks: list[tuple[str, object, Any]] = [("a line", line, _LINE) for line in lines]
    checks += [("settings", value, _NUMBER) for value in entry["settings"].values()]
    checks += [("curve", value, (*_NUMBER, type(None))) for value in entry["curve"] or ()]
    checks += [("gate_part", value, int) for value in entry["gate_part"] or ()]
    for name, value, form in checks:
        if wrong_at(value, form) is not None:
            return name
    prints = [weight["fingerprint"] for key in ("feeding", "parts", "behind") for weight in entry.get(key, ())]
    short = entry["gate_part"] is not None and len(entry["gate_part"]) != 2
    return "gate_part" if short else "fingerprint" if any(len(one) != 3 for one in prints) else ""


def wrong_at(value: object, form: Any) -> str | None:
    """Where a value is not of a form (a type, several, a list of one form, a dict with these keys); None if nowhere."""
    if isinstance(form, (type, tuple)):
        return None if isinstance(value, form) and not isinstance(value, bool) else "its value"
    if isinstance(form, list):
        if not isinstance(value, list):
            return "its value"
        return next((wrong for one in value if (wrong := wrong_at(one, form[0])) is not None), None)
    if not isinstance(value, dict):
        return "its value"
    return next(
        (key for key, inner in form.items() if key not in value or wrong_at(value[key], inner) is not None), None
    )
