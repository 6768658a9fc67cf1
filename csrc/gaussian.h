// gelu(x) = x P(Z < x). With a = |x| and the tail Q(a) = P(Z > a): gelu(x) = max(x, 0) - a Q(a), which is as accurate on
// the left, where gelu is small, as Q is; and gelu'(-a) = D(a) = Q(a) - a phi(a), gelu'(a) = 1 - D(a).
#pragma once
#include "exponential.h"

namespace gatewise {
namespace {

// One polynomial for each row of a table.
template <int i = 0, class F, class I, int n, int count>
GATEWISE_INLINE F piecewise(const float (&rows)[n][count], I row, F t) {
    if constexpr (i + 1 == n) {
        return lookup(rows[i], row);
    } else {
        const F higher = piecewise<i + 1>(rows, row, t);  // before the lookup: fewer registers
        return fma(higher, t, lookup(rows[i], row));
    }
}

// exp(a^2 / 2) Q(a), 0 <= a < 15.
template <Level level, class F>
GATEWISE_INLINE F mills(F a) {
    if constexpr (F::rows == 16) {
        const auto row = high_bits(a + F(1.0f), 21);
        const F t = a - lookup(MILLS_CENTRE, row);
        return piecewise(MILLS, row, t);
    } else if constexpr (level == Level::coarse) {
        const F t = divide(F(1.0f), a + F(MILLS_RATIONAL_COARSE_K));
        return t * polynomial(MILLS_RATIONAL_COARSE, fnma(t, F(2 * MILLS_RATIONAL_COARSE_K), F(1.0f)));
    } else {
        const F k(MILLS_RATIONAL_K), d = a + k, t = divide(F(1.0f), d);
        const F m = t * polynomial(MILLS_RATIONAL, fnma(t, k + k, F(1.0f)));
        // The relative error of t, times how strongly m depends on it: from 2.4 at 0 to 1.5 at 5.
        const F error = fnma(t, a - (d - k), fnma(t, d, F(1.0f)));
        return fma(m + m, error, m);
    }
}

// exp(-a^2 / 2) / LOWER
template <Level level, class F>
GATEWISE_INLINE F density(F a) {
    const F h = a * a;
    if constexpr (level == Level::coarse) return power<level>(h, F(-HALF_LOG2E));
    const F low = h * F(-HALF_LOG2E_LOW);
    if constexpr (level == Level::standard) return power<level>(h, F(-HALF_LOG2E), low);
    return power<level>(h, F(-HALF_LOG2E), fma(fms(a, a, h), F(-HALF_LOG2E), low));
}

constexpr float FAR = 14.9f;  // beyond it both are 0

// Right everywhere, to the last subnormal number.
template <Level level, bool want_value, bool want_slope, class F>
GATEWISE_INLINE Result<F> far(F x) {
    const F a = min(F(FAR), abs(x)), m = mills<level>(a);
    const F e = density<level>(a);
    Result<F> both;
    if constexpr (want_value) both.value = fnma(a * m * e, F(LOWER), right_part(x));
    if constexpr (want_slope) both.slope = turned(x, fnma(a, F(INV_SQRT_2PI), m) * e * F(LOWER));
    return both;
}

// Polynomials in sixteen or eight intervals of equal width: right up to `NEAR`, and at the standard level 0 in the last.
#define GATEWISE_PICK(name)                                                  \
    template <Level level, int rows>                                         \
    constexpr auto& name() {                                                 \
        if constexpr (rows == 16) {                                          \
            if constexpr (level == Level::coarse) return name##_COARSE_16;   \
            else if constexpr (level == Level::high) return name##_HIGH_16;  \
            else return name##_DEFAULT_16;                                   \
        } else {                                                             \
            if constexpr (level == Level::coarse) return name##_COARSE_8;    \
            else if constexpr (level == Level::high) return name##_HIGH_8;   \
            else return name##_DEFAULT_8;                                    \
        }                                                                    \
    }
GATEWISE_PICK(TAIL)
GATEWISE_PICK(SLOPE)
#undef GATEWISE_PICK
constexpr float NEAR = Float::rows == 16 ? NEAR_16 : NEAR_8;
constexpr float ROWS_A_UNIT = Float::rows == 16 ? ROWS_A_UNIT_16 : ROWS_A_UNIT_8;

template <Level level, bool want_value, bool want_slope, class F>
GATEWISE_INLINE Result<F> near(F x) {
    const F a = min(F(NEAR), abs(x));
    const F magic(12582912.0f), per_unit(ROWS_A_UNIT);  // 1.5 2^23: the low bits of the sum are the row
    F shifted;
    if constexpr (F::rows == 8 && level == Level::high) {
        shifted = fma(a, per_unit, F(0x1.000002p-1f)) + magic;  // rows end where the next begins: -1 <= t <= 0
    } else {
        shifted = fma(a, per_unit, magic);  // -1/2 <= t <= 1/2
    }
    const F t = fms(a, per_unit, shifted - magic);
    const auto row = bits(shifted);
    Result<F> both;
    if constexpr (want_value) both.value = fnma(a, piecewise(TAIL<level, F::rows>(), row, t), right_part(x));
    if constexpr (want_slope) both.slope = turned(x, piecewise(SLOPE<level, F::rows>(), row, t));
    return both;
}

// For bfloat16: Q by its logarithm, accurate enough everywhere, so that numbers far on the left cost no more than others.
template <bool want_slope, class F>
GATEWISE_INLINE Result<F> by_logarithm(F x) {
    const F a = min(F(LOG_LIMIT), abs(x)), magic(12582912.0f), per_unit(LOG_ROWS_A_UNIT);
    const F shifted = fma(a, per_unit, magic), t = fms(a, per_unit, shifted - magic);
    const auto row = bits(shifted);
    const F log = piecewise(LOG_TAIL, row, t), near_log = log + F(EXP2_MAGIC);
    const F tail = power_of<Level::coarse>(near_log, log - (near_log - F(EXP2_MAGIC)));
    Result<F> both;
    both.value = fnma(a * tail, F(LOWER), right_part(x));
    if constexpr (want_slope) both.slope = turned(x, tail * piecewise(LOG_RATIO, row, t) * F(LOWER));
    return both;
}

struct Gelu {
    static constexpr bool is_short = false;  // next to reading a table
    // Is the fast way right only up to a limit, so that numbers have to be looked at first? At the coarse level with
    // sixteen rows the logarithm serves wherever the value is wanted; for a slope alone it would cost half as much again.
    template <Level level, bool want_value>
    static constexpr bool limited() {
        if (Float::rows == 0 || level == Level::standard) return false;
        return !(Float::rows == 16 && level == Level::coarse && want_value);
    }

    template <Level level>
    static constexpr float left() {
        if constexpr (Float::rows == 16) return level == Level::high ? LEFT_HIGH_16 : LEFT_COARSE_16;
        return level == Level::high ? LEFT_HIGH_8 : LEFT_COARSE_8;
    }
    // For a slope also on the right: 1 - D(NEAR) is not quite 1.
    template <Level level, bool slope, class F>
    static GATEWISE_INLINE auto outside(F x) {
        return slope ? less(F(left<level>()), abs(x)) : less(x, F(-left<level>()));
    }

    // A number must not depend on its neighbours in the vector, so that only those outside are taken from `far`.
    template <Level level, bool want_value, bool want_slope, bool everywhere, class F>
    static GATEWISE_INLINE Result<F> evaluate(F x) {
        if constexpr (F::rows == 0) {
            return far<level, want_value, want_slope>(x);
        } else if constexpr (F::rows == 16 && level == Level::coarse && want_value) {
            return by_logarithm<want_slope>(x);
        } else if constexpr (level == Level::standard || !everywhere) {
            return near<level, want_value, want_slope>(x);
        } else {
            const Result<F> a = far<level, want_value, want_slope>(x), b = near<level, want_value, want_slope>(x);
            Result<F> both;
            if constexpr (want_value) both.value = select(outside<level, false>(x), a.value, b.value);
            if constexpr (want_slope) both.slope = select(outside<level, true>(x), a.slope, b.slope);
            return both;
        }
    }
};

}  // namespace
}  // namespace gatewise
