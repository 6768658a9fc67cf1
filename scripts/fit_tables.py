"""Fit every polynomial of the kernels against scipy/mpmath and write csrc/tables.h. Prints the error of each fit."""

import sys

import mpmath as mp
import numpy as np
from scipy.special import erfcx, log_ndtr

INV_SQRT_2PI = 0.3989422804014326779
FAR = 14.6  # from here on GELU and its derivative are 0 in float32


def q(a):
    """P(Z > a) for a standard normal Z."""
    return np.exp(log_ndtr(-a))


def d(a):
    """The derivative of GELU at -a."""
    return q(a) - a * INV_SQRT_2PI * np.exp(-a * a / 2)


def mills(a):
    """q(a) exp(a^2 / 2)."""
    return 0.5 * erfcx(a * 0.5**0.5)


def fit(f, low, high, degree, weight, basis=lambda t: t, count=600, rounds=40):
    """Weighted minimax by Lawson's iteration, in the monomials of basis(t); float64 coefficients, lowest first."""
    t = np.cos(np.pi * (np.arange(count) + 0.5) / count) * (high - low) / 2 + (high + low) / 2
    y, w = f(t), weight(t)
    v = basis(t)
    c, r = (v.max() + v.min()) / 2, (v.max() - v.min()) / 2
    a = np.polynomial.chebyshev.chebvander((v - c) / r, degree)
    lawson = np.ones(count)
    best, best_error = None, np.inf
    for _ in range(rounds):
        s = np.sqrt(lawson) * w
        x = np.linalg.lstsq(a * s[:, None], y * s, rcond=None)[0]
        e = np.abs(a @ x - y) * w
        if e.max() < best_error:
            best, best_error = x, e.max()
        lawson *= e / e.max() + 1e-12
        lawson /= lawson.sum()
    p = np.polynomial.chebyshev.Chebyshev(best, domain=[c - r, c + r]).convert(kind=np.polynomial.Polynomial)
    out = np.zeros(degree + 1)
    out[: len(p.coef)] = p.coef
    return out, best_error


def rounded(f, low, high, degree, weight, count=400, rounds=25):
    """As `fit`, with float32 coefficients: each is rounded before the next ones are fitted, which make up for it.

    Also the largest error before rounding and after it.
    """
    t = np.cos(np.pi * (np.arange(count) + 0.5) / count) * (high - low) / 2 + (high + low) / 2
    left, w, c, unrounded = f(t), weight(t), np.zeros(degree + 1), None
    for k in range(degree + 1):
        a = t[:, None] ** np.arange(k, degree + 1)
        lawson, best, best_error = np.ones(count), None, np.inf
        for _ in range(rounds):
            s = np.sqrt(lawson) * w
            x = np.linalg.lstsq(a * s[:, None], left * s, rcond=None)[0]
            e = np.abs(a @ x - left) * w
            if e.max() < best_error:
                best, best_error = x, e.max()
            lawson *= e / e.max() + 1e-12
            lawson /= lawson.sum()
        unrounded = best_error if unrounded is None else unrounded
        c[k] = np.float32(best[0])
        left = left - c[k] * t**k
    return c, unrounded, np.max(np.abs(left) * w)


def horner(c, t):
    """What fused multiply-adds in float32 make of the polynomial."""
    y = np.float32(c[-1])
    for v in c[-2::-1]:
        y = np.float32(np.float64(y) * np.float64(t) + np.float64(v))
    return float(y)


def ending(f, end, degree, weight):
    """Float32 coefficients for f on [-1, end] that come, evaluated in float32, to exactly 0 at `end` of few digits."""
    x, _ = fit(lambda t: f(t) / (t - end), -1.0, end - 1e-9, degree - 1, lambda t: weight(t) * (end - t))
    c = np.float32(np.polynomial.polynomial.polymul(x, [-end, 1.0])).astype(np.float64)
    for _ in range(1000):  # until the last product is a float32 number
        c[0] = np.float32(-horner(c[1:], end) * end)
        if horner(c, end) == 0.0:
            break
        c[2] = np.nextafter(np.float32(c[2]), np.float32(0))
    assert horner(c, end) == 0.0
    t = np.linspace(-1.0, end, 400)
    return c, np.max(np.abs(np.polynomial.polynomial.polyval(t, c) - f(t)) * weight(t))


def piecewise(name, f, scale, degree, weight, count, *, start, end=None):
    """Rows k = 0, 1...: polynomials in t = a * scale - k - 1 - start, -1 <= t <= 0; row 0 is exactly f(0) at a = 0.

    Around its right end, where these functions are least, a row's terms all have one sign, so that rounding is not
    magnified as it is around the middle. With `end` the last row is 0 there.
    """
    rows, errors = [], []
    for k in range(count):
        here, weighted = (lambda t, k=k, g=g: g((t + k + 1 + start) / scale) for g in (f, weight))
        if end is not None and k == count - 1:
            c, after = ending(here, end * scale - k - 1 - start, degree, weighted)
            errors.append(f"to 0 {after:.1e}")
        else:
            c, before, after = rounded(here, -1.0 if k else -1.0 - start, 0.0, degree, weighted)
            errors.append(f"{before:.1e} {after:.1e}")
        if k == 0:
            for _ in range(8):
                c[0] = np.float32(c[0] + f(0.0) - horner(c, -1.0 - start))
            assert horner(c, -1.0 - start) == f(0.0), name
        rows.append(c)
    print(
        f"{name}: degree {degree}, scale {scale}: weighted error by row, then with rounded coefficients:",
        ", ".join(errors),
    )
    return np.array(rows)


def uniform(name, f, scale, degree, weight):
    """16 rows k = 0, 1...: polynomials in t = a * scale - k, |t| <= 1/2. Row 0 uses t >= 0 only."""
    rows, errors = [], []
    for k in range(16):
        low = -0.5 if k else 0.0
        x, e = fit(lambda t, k=k: f((t + k) / scale), low, 0.5, degree, lambda t, k=k: weight((t + k) / scale))
        rows.append(x)
        errors.append(e)
    print(f"{name}: degree {degree}, scale {scale}: weighted error by row", " ".join(f"{e:.1e}" for e in errors))
    return np.array(rows)


def near_end(functions, end):
    """A float32 number before `end` where every function is almost one: its powers multiply its errors."""
    at = np.float32(end - np.arange(60000) * 2.0**-20).astype(np.float64)
    worst = np.max([np.abs(np.float32(f(at)) / f(at) - 1) for f in functions], axis=0)
    return at[np.argmin(worst)], worst.min()


def roots(logs, power, left, right, first, degree, count):
    """Rows for the root of exp(f), each f of `logs`: row k where a^2 rows_a_unit rounds to k + `first`.

    Polynomials in t = a - end, where all terms have one sign. A tail that falls by 1000 in a row is no polynomial's
    task; its root is, and products undo it, which multiply the relative error by `power`. Also these ends, and rows a
    unit of a^2.
    """
    per_unit = float(np.float32((first + count - 0.51) / right**2))
    assert round(left**2 * per_unit) == first
    assert round(right**2 * per_unit) == first + count - 1
    functions = [lambda a, f=f: np.exp(f(a) / power) for f in logs]
    ends, tables = np.zeros(count), [np.zeros((count, degree + 1)) for _ in logs]
    for row in range(count):
        n = row + first
        low, high = (np.sqrt((n + by) / per_unit) for by in (-0.5, 0.5))
        low, high = max(low, left), min(high, right)
        ends[row], off = near_end(functions, high)
        errors = []
        for root, rows in zip(functions, tables, strict=True):
            here = lambda t, m=ends[row], root=root: root(m + t)  # noqa: E731
            sides = low - ends[row] - 1e-6, high - ends[row] + 1e-6
            rows[row], before, after = rounded(here, *sides, degree, lambda t, here=here: 1 / here(t))
            errors.append(f"{power * before:.1e} {power * after:.1e}")
        print(f"row {row} of {count} from {low:.3f} to {high:.3f}, end off by {power * off:.1e}: error", *errors)
    return tables, ends, per_unit


def binades(name, f, degree):
    """16 rows over a in [0, 15), four to each binade of a + 1, polynomials in t = a - centre; row order as the low
    four bits of (bits(a + 1) >> 21)."""
    rows, centres, errors = np.zeros((16, degree + 1)), np.zeros(16), []
    for k in range(16):
        e, m = divmod(k, 4)
        low, width = 2.0**e * (1 + m / 4) - 1, 2.0**e / 4
        centre = low + width / 2
        x, error = fit(lambda t, c=centre: f(c + t), -width / 2, width / 2, degree, lambda t, c=centre: 1 / f(c + t))
        index = (np.float32(low + 1 + width / 2).view(np.uint32) >> 21) & 15
        rows[index], centres[index] = x, centre
        errors.append(error)
    print(f"{name}: degree {degree}: relative error by row", " ".join(f"{e:.1e}" for e in errors))
    return rows, centres


def number(v):
    mantissa, _, exponent = float(np.float32(v)).hex().partition("p")
    return (mantissa.rstrip("0") if "." in mantissa else mantissa) + "p" + exponent + "f"


def array(name, values):
    cells = ", ".join(number(v) for v in np.ravel(values))
    return f"inline constexpr float {name}[{np.size(values)}] = {{{cells}}};\n"


def table(name, rows, note):
    """Stored by coefficient: all 16 constants, then all 16 slopes..."""
    degree, count = rows.shape[1] - 1, rows.shape[0]
    cells = ",\n    ".join("{" + ", ".join(number(v) for v in rows[:, j]) + "}" for j in range(degree + 1))
    return f"// {note}\nalignas(64) inline constexpr float {name}[{degree + 1}][{count}] = {{\n    {cells}}};\n"


def split(name, value):
    """A constant as the nearest float32, and the nearest float32 to what that leaves."""
    high = np.float32(value)
    low = np.float32(value - mp.mpf(float(high)))
    return f"inline constexpr float {name} = {float(high).hex()}f, {name}_LOW = {float(low).hex()}f;\n"


def constants():
    root, log2e = 2 * mp.sqrt(2 / mp.pi), 1 / mp.log(2)
    cubic = mp.mpf("0.044715")
    found = {
        "LOG2E": log2e,
        "HALF_LOG2E": log2e / 2,
        "QUICK_LOG2E": mp.mpf("1.702") * log2e,
        "TANH_C1": root * log2e,
        "TANH_C3": root * cubic * log2e,
        "TANH_SLOPE1": root,
        "TANH_SLOPE3": 3 * root * cubic,
        "INV_SQRT_2PI": 1 / mp.sqrt(2 * mp.pi),
    }
    return ["// Each constant, and what float32 leaves of it.\n" + "".join(split(n, v) for n, v in found.items())]


def powers():
    """2^f on a whole octave, and in an octave of rows: 2^(k / rows + f) with |f| <= 1 / (2 rows)."""
    found = []
    # 2^f = 1 + f * poly(f): exact at 0.
    g = lambda f: np.where(f == 0, np.log(2), np.expm1(f * np.log(2)) / np.where(f == 0, 1, f))  # noqa: E731
    x, e = fit(g, -0.5, 0.5, 5, lambda f: np.abs(f) * 2.0**-f)
    print(f"exp2 degree 6: {e:.1e}")
    found.append(f"// 2^f on [-1/2, 1/2]; relative error {e:.1e}\n" + array("EXP2_6", np.concatenate([[1.0], x])))
    for name, rows, degree in (
        ("EXP2_16", 16, 3),
        ("EXP2_16_COARSE", 16, 2),
        ("EXP2_8", 8, 3),
        ("EXP2_8_COARSE", 8, 2),
    ):
        x, e = fit(g, -0.501 / rows, 0.501 / rows, degree - 1, np.abs)
        print(f"{name} degree {degree}: {e:.1e}")
        found.append(f"// (2^f - 1) / f on [-1/{2 * rows}, 1/{2 * rows}]; error of 2^f {e:.1e}\n" + array(name, x))
    for rows in (16, 8):
        k = np.arange(rows)
        whole = np.float32(2.0 ** (k / rows)).view(np.int32) - k * (2**23 // rows) + 64 * 2**23
        cells = ", ".join(number(v) for v in whole.astype(np.int32).view(np.float32))
        found.append(
            f"// 2^(k / {rows} + 64), less k in the bits above the {rows} rows',\n"
            + "// so that adding the shifted k gives the power\n"
            + f"alignas(64) inline constexpr float EXP2_ROWS_{rows}[{rows}] = {{{cells}}};\n"
        )
    return found


def main(path):
    out = ["// Written by scripts/fit_tables.py; do not edit.\n#pragma once\n\nnamespace gatewise {\n"]
    out += constants()
    rel = lambda a: 1 / q(a)  # noqa: E731
    value = {"DEFAULT": lambda a: 1 / np.maximum(q(a), 2e-3), "COARSE": rel, "HIGH": rel}
    slope = {
        "DEFAULT": lambda a: 1 / np.maximum(np.abs(d(a)), 0.1),
        "COARSE": lambda a: 1 / np.maximum(np.abs(d(a)), 1e-9 + 0.01 * (np.abs(a - 0.75) < 0.2)),
        "HIGH": lambda a: 1 / np.maximum(np.abs(d(a)), 1e-9 + 0.05 * (np.abs(a - 0.75) < 0.2)),
    }
    # Rows, level: rows a unit; the degrees; where x stops, and how far from 0 the fast way is as accurate as its level
    # asks. A multiple of few binary digits leaves t exact where the tail falls steeply.
    tables = {
        (16, "DEFAULT"): (2.75, 5, 5, 5.625, None),
        (16, "HIGH"): (2.75, 7, 7, 5.625, 5.6),
        (8, "DEFAULT"): (1.25, 7, 7, 5.9375, None),
        (8, "COARSE"): (1.25, 6, 7, 5.9375, 4.5),
        (8, "HIGH"): (1.5, 9, 9, 5.3125, 5.3),
    }
    for (count, level), (per_unit, of_value, of_slope, near, left) in tables.items():
        ends = {"start": 0.0 if (count, level) == (8, "HIGH") else -0.5, "end": near if level == "DEFAULT" else None}
        limits = {"NEAR": near, "ROWS_A_UNIT": per_unit} | ({} if left is None else {"LEFT": left})
        out.append(
            "inline constexpr float "
            + ", ".join(f"{n}_{level}_{count} = {number(v)}" for n, v in limits.items())
            + ";\n"
        )
        for what, f, degree, weight, note in (
            ("TAIL", q, of_value, value[level], "P(Z > a)"),
            ("SLOPE", d, of_slope, slope[level], "GELU'(-a)"),
        ):
            name = f"{what}_{level}_{count}"
            out.append(table(name, piecewise(name, f, per_unit, degree, weight, count, **ends), note))
    # Beyond, to where both are 0: the root, the first row, the degree.
    log_d = lambda a: np.log(a * INV_SQRT_2PI - mills(a)) - a * a / 2  # noqa: E731
    for count, (power, first, degree) in {16: (4, 3, 7), 8: (4, 1, 9)}.items():
        left = tables[count, "HIGH"][4]
        found, ends, per_unit = roots((lambda a: log_ndtr(-a), log_d), power, left, FAR, first, degree, count)
        limits = {"ROWS": per_unit, "FIRST": first}
        out.append(
            "inline constexpr float " + ", ".join(f"FAR_{n}_{count} = {number(v)}" for n, v in limits.items()) + ";\n"
        )
        out.append("alignas(64) " + array(f"FAR_END_{count}", ends))
        for what, rows, note in zip(("TAIL", "SLOPE"), found, ("P(Z > a)", "-GELU'(-a)"), strict=True):
            out.append(table(f"{what}_FAR_{count}", rows, f"({note})^(1/{power}), by a^2"))
    limit = 14.7  # from here on value and slope are 0 in float32
    per_unit = float(np.float32(15.49 / limit))
    out.append(f"inline constexpr float LOG_LIMIT = {number(limit)}, LOG_ROWS_A_UNIT = {number(per_unit)};\n")
    log2_q = lambda a: log_ndtr(-a) / np.log(2)  # noqa: E731
    ratio = lambda a: 1 - a * INV_SQRT_2PI / mills(a)  # noqa: E731
    out.append(
        table("LOG_TAIL", uniform("log2 tail", log2_q, per_unit, 4, lambda a: np.log(2) + 0 * a), "log2 P(Z > a)")
    )
    out.append(
        table(
            "LOG_RATIO",
            uniform("ratio", ratio, per_unit, 4, lambda a: 1 / np.maximum(np.abs(ratio(a)), 0.05)),
            "GELU'(-a) / P(Z > a)",
        )
    )
    rows, centres = binades("mills", mills, 6)
    out.append(table("MILLS", rows, "exp(a^2/2) P(Z > a), four rows to each binade of a + 1"))
    out.append(array("MILLS_CENTRE", centres))
    # Without a table: M(a) = t * poly(q), t = 1 / (a + K), q = 1 - 2 K t = (a - K) / (a + K). poly(-1) is exactly
    # K / 2, so that M(0) = 1/2: gelu(x) = x / 2 near 0, where half of the subnormal numbers are ties.
    for name, k, degree in (("MILLS_RATIONAL", 3.0, 10), ("MILLS_RATIONAL_COARSE", 3.0, 6)):
        whole = lambda a, k=k: mills(a) * (a + k)  # noqa: E731
        q_of = lambda a, k=k: (a - k) / (a + k)  # noqa: E731
        x, e = fit(
            lambda a, k=k, whole=whole, q_of=q_of: (whole(a) - k / 2) / (q_of(a) + 1),
            1e-9,
            15.0,
            degree - 1,
            lambda a, whole=whole, q_of=q_of: (q_of(a) + 1) / whole(a),
            q_of,
            4000,
            80,
        )
        c = np.polynomial.polynomial.polyadd(np.polynomial.polynomial.polymul(x, [1.0, 1.0]), [k / 2])
        c = np.float32(c)
        for _ in range(4):
            y = c[-1]
            for v in c[-2::-1]:
                y = np.float32(np.float64(y) * -1.0 + np.float64(v))
            c[0] += np.float32(k / 2) - y
        print(name, f"degree {degree}, K {k}: {e:.1e}, poly(-1) {y!r}")
        out.append(
            f"// exp(a^2/2) P(Z > a) = t poly(1 - 2 K t), t = 1 / (a + K); relative error {e:.1e}\n"
            + f"inline constexpr float {name}_K = {k}f;\n"
            + array(name, c)
        )
    out += powers()
    out.append("\n}  // namespace gatewise\n")
    with open(path, "w") as f:
        f.write("\n".join(out))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "csrc/tables.h")
