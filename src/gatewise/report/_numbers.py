"""Numbers as people read them: 1.031 as a ratio is "+3.1 %", 0.00842 s is "8.42 ms", 22.7e6 is "22.7 M".

The minus sign is the real one (U+2212), and a number that is not there is an en dash, never "nan" or "None".
"""

import math

MINUS = "\N{MINUS SIGN}"
MISSING = "\N{EN DASH}"
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SMALL = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
_LARGE = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def decimals(margin: float | None, kind: str) -> int:
    """How many decimals a column needs so that its margin is seen; one rule for a column keeps it aligned."""
    shown = (margin if margin else 0.02) * (100.0 if kind == "ratio" else 1.0)
    return min(max(1 - math.floor(math.log10(abs(shown)) + 1e-9), 1), 7)


def signed(value: float, places: int) -> str:
    """A fixed number of decimals with its sign; what rounds to zero has none."""
    body = f"{abs(value):,.{places}f}"
    if float(body.replace(",", "")) == 0.0:
        return body
    return f"{MINUS if value < 0 else '+'}{body}"


def percent(ratio: float | None, places: int = 1) -> str:
    """A ratio as a change: 1.031 is "+3.1 %"; from ten times on it is "×12.3"."""
    if ratio is None:
        return MISSING
    change = (ratio - 1.0) * 100.0
    if not -1000.0 < change < 900.0:
        return f"×{significant(ratio)}"
    return f"{signed(change, 0 if change >= 100.0 else places)} %"


def difference(value: float | None, places: int = 3) -> str:
    """A difference with its sign, in decimals that show the margin; a much smaller one as a power of ten."""
    if value is None:
        return MISSING
    if value == 0.0:
        return "0"
    if value and abs(value) < 0.5 * 10.0**-places:
        return f"{MINUS if value < 0 else '+'}{power(abs(value), 1)}"
    return signed(value, places) if abs(value) < 1e6 else f"{MINUS if value < 0 else '+'}{power(abs(value), 2)}"


def effect(value: float | None, kind: str, places: int) -> str:
    """An estimate or one end of its interval, on the scale of its kind (`ratio` or `difference`)."""
    return percent(value, places) if kind == "ratio" else difference(value, places)


def power(value: float, digits: int = 2) -> str:
    """A power of ten: 1.2e-7 is "1.2×10⁻⁷"."""
    mantissa, _, exponent = f"{value:.{digits}e}".partition("e")
    return f"{mantissa}×10{str(int(exponent)).translate(_SUPERSCRIPT)}".replace("-", MINUS)


def significant(value: float | None, digits: int = 3) -> str:
    """Three significant digits, thousands set apart: 0.0421, 8.42, 84.2, 8,420."""
    if value is None:
        return MISSING
    if value == 0.0:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    size = math.floor(math.log10(abs(rounded)))
    if size < -4 or size >= 9:
        return power(value, digits - 1)
    return f"{rounded:,.{max(digits - 1 - size, 0)}f}".replace("-", MINUS)


def _prefixed(value: float, steps: tuple[tuple[float, str], ...], unit: str) -> str:
    rounded = float(f"{value:.2e}")
    factor, prefix = next((step for step in steps if abs(rounded) >= step[0]), steps[-1])
    return f"{significant(value / factor)} {prefix}{unit}".rstrip()


def count(value: float | None, unit: str = "") -> str:
    """A count with an SI prefix: 22.7 M, 1.13 GFLOP, 90.9 MB. Below ten thousand it is exact."""
    if value is None:
        return MISSING
    if abs(value) < 10_000 and not unit:
        return (f"{value:,.0f}" if value == round(value) else significant(value)).replace("-", MINUS)
    return _prefixed(value, _LARGE, unit)


def quantity(value: float | None, unit: str) -> str:
    """One measured value with its unit: seconds and bytes get a prefix, any other unit stands as it is."""
    if value is None:
        return MISSING
    if unit == "s":
        return duration(value) if value >= 100.0 else _prefixed(value, _SMALL, "s") if value else "0 s"
    if unit in ("B", "FLOP"):
        return count(value, unit)
    if unit in ("1", ""):
        return count(value)
    if unit == "1/s":
        return f"{significant(value)}/s"
    if unit == "1 - cosine":
        return significant(value)  # a pure number; the metric's name says what it is
    if unit == "steps":
        return f"{count(value)} steps"
    return f"{significant(value)} {unit}"


def duration(seconds: float | None) -> str:
    """A time span for people: 42 s, 5 min 32 s, 2 h 05 min."""
    if seconds is None:
        return MISSING
    if seconds < 60.0:
        return f"{significant(seconds)} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole >= 36_000_000:
        return f"{significant(seconds / 3600.0)} h"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02d} min"


def share(fraction: float | None, digits: int = 2) -> str:
    """A fraction as a share without a sign: 0.02 is "2 %", 0.9875 is "98.75 %"; a tiny one as a power of ten."""
    if fraction is None:
        return MISSING
    hundredths = fraction * 100.0
    if hundredths and abs(hundredths) < 10.0**-digits:
        return f"{power(hundredths, 1)} %"
    return f"{round(hundredths, digits):g} %".replace("-", MINUS)


def plain(value: float) -> str:
    """A round number (a tick, a margin) without zeros at its end: -4, 0.001, 10."""
    shown = f"{value:.6g}"
    return power(value, 0) if "e" in shown else shown.replace("-", MINUS)


def median(values: list[float]) -> float | None:
    """The middle value, None of an empty list."""
    if not values:
        return None
    ordered, half = sorted(values), len(values) // 2
    low, high = ordered[half - (len(ordered) + 1) % 2], ordered[half]
    return high if low == high else 0.5 * low + 0.5 * high
