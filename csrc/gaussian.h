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

// The same with as many rows again.
template <int i = 0, class F, class I, int n, int count>
GATEWISE_INLINE F piecewise(const float (&rows)[n][count], const float (&more)[n][count], I row, F t) {
    if constexpr (i + 1 == n) {
        return lookup(rows[i], more[i], row);
    } else {
        const F higher = piecewise<i + 1>(rows, more, row, t);
        return fma(higher, t, lookup(rows[i], more[i], row));
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
    const F half(-HALF_LOG2E);
    if constexpr (level == Level::coarse) return power<level, 64>(h, half);
    if constexpr (level == Level::standard) return power<level, 64>(h, half, h, F(-HALF_LOG2E_LOW));
    return power<level, 64>(h, half, F(1.0f), fma(h, F(-HALF_LOG2E_LOW), fms(a, a, h) * half));
}

template <Level level>
constexpr float less_for(float factor) {
    return level == Level::coarse ? factor * (1.0f - 2 * NEXT) : factor;
}

constexpr float FAR = 14.6f;  // beyond it both are 0

// Right everywhere, to the last subnormal number.
template <Level level, bool want_value, bool want_slope, class F>
GATEWISE_INLINE Result<F> far(F x) {
    const F a = min(F(FAR), abs(x)), m = mills<level>(a);
    const F e = density<level>(a);
    Result<F> both;
    if constexpr (want_value) both.value = fnma(a * m * e, F(less_for<level>(LOWER)), right_part(x));
    if constexpr (want_slope) both.slope = turned(x, fnma(a, F(INV_SQRT_2PI), m) * e, F(LOWER));
    return both;
}

// Polynomials in sixteen or eight intervals of equal width: right up to NEAR, where at the standard level they are 0.
#define GATEWISE_PICK(name)                                               \
    template <Level level, int rows>                                      \
    constexpr auto& name() {                                              \
        if constexpr (rows == 16) {                                       \
            if constexpr (level == Level::high) return name##_HIGH_16;    \
            else return name##_DEFAULT_16;                                \
        } else {                                                          \
            if constexpr (level == Level::coarse) return name##_COARSE_8; \
            else if constexpr (level == Level::high) return name##_HIGH_8;\
            else return name##_DEFAULT_8;                                 \
        }                                                                 \
    }
GATEWISE_PICK(TAIL)
GATEWISE_PICK(SLOPE)
GATEWISE_PICK(NEAR)
GATEWISE_PICK(ROWS_A_UNIT)
#undef GATEWISE_PICK

// How far from 0 the rows above are as accurate as `high` asks.
template <int rows>
constexpr float LEFT = rows == 16 ? LEFT_HIGH_16 : LEFT_HIGH_8;

// Where a number lies in a table: its row in the low bits of a number, and how far into it.
template <class F>
struct Place {
    F row, t;
};

// The low bits of a sum with 2^23 are the row, and t is the distance from its end, -1 <= t <= 0, where all terms have one
// sign: around the middle rounding would be magnified.
template <Level level, class F>
GATEWISE_INLINE Place<F> place(F a) {
    const F per_unit(ROWS_A_UNIT<level, F::rows>());
    F shifted, end;
    if constexpr (F::rows == 8 && level == Level::high) {
        const F magic(0x1.8p23f);  // below 2^23 there are halves
        shifted = fma(a, per_unit, F(-0x1.fffffep-2f)) + magic;  // a row more where they are dear: the first begins at 0
        end = shifted - F(0x1.8p23f - 1.0f);
    } else {
        shifted = fma(a, per_unit, F(0x1p23f));  // the first begins at -1/2
        end = shifted - F(0x1p23f - 0.5f);
    }
    return {shifted, fms(a, per_unit, end)};
}

// `bounded`: no |x| is beyond NEAR.
template <Level level, bool want_value, bool want_slope, bool bounded, class F>
GATEWISE_INLINE Result<F> near(F x) {
    const F a = bounded ? abs(x) : min(F(NEAR<level, F::rows>()), abs(x));
    const Place<F> at = place<level>(a);
    const auto row = bits(at.row);
    Result<F> both;
    const F by = level == Level::coarse ? a * F(less_for<level>(1.0f)) : a;
    if constexpr (want_value) both.value = fnma(by, piecewise(TAIL<level, F::rows>(), row, at.t), right_part(x));
    if constexpr (want_slope) both.slope = turned(x, piecewise(SLOPE<level, F::rows>(), row, at.t));
    return both;
}

// Beyond LEFT the rows are of equal width in a^2.
template <class F>
GATEWISE_INLINE Place<F> far_place(F a) {
    if constexpr (F::rows == 16) {
        const F shifted = fma(a * a, F(FAR_ROWS_16), F(0x1p23f + 16.0f - FAR_FIRST_16));  // bit 4: the other half
        return {shifted, a - lookup(FAR_END_16, bits(shifted))};
    } else {
        const F shifted = fma(a * a, F(FAR_ROWS_8), F(0x1p23f + 8.0f - FAR_FIRST_8));
        return {shifted, a - lookup(FAR_END_8, bits(shifted))};
    }
}

// -x y where that is subnormal, for positive x and y above 2^-90, and up to 2^-125. It is put together as an integer: a
// multiplication whose result is subnormal costs Intel's processors more than a hundred cycles. Rounded twice: .504 units.
template <class F>
GATEWISE_INLINE F minus_small(F x, F y) {
    return add_bits(F(-0.0f), nearest((x * F(0x1p75f)) * (y * F(0x1p74f))));
}

// Shortly beyond, a Q and -D fall below 2^-126; up to 2^-125 an integer holds them as well.
constexpr float SMALL_VALUE = 13.12f, SMALL_SLOPE = 13.31f;

// Right everywhere, but for a slope of 0 from SMALL_SLOPE on, and for |x| up to LEFT what `near` gives. Beyond, other rows
// hold the fourth roots of Q and -D, and products undo them: a polynomial of that degree follows no tail that falls by a
// thousand in a row. `tail` and `slope` are those roots or, where `out` is not, Q and D.
template <bool want_value, bool want_slope, class F, class M>
GATEWISE_INLINE Result<F> from_roots(F x, F a, M out, F tail, F slope) {
    Result<F> both;
    if constexpr (want_value) {
        const F two = tail * tail, by = select(out, a * two, a);
        const auto small = less(x, F(-SMALL_VALUE));
        if (__builtin_expect(any(small), 0)) {
            const F value = fnma(by, select(small, F(0.0f), select(out, two, tail)), right_part(x));
            both.value = select(small, minus_small(by, two), value);
        } else {
            both.value = fnma(by, select(out, two, tail), right_part(x));
        }
    }
    if constexpr (want_slope) {
        const F two = select(less(F(SMALL_SLOPE), a), F(0.0f), slope * slope);
        both.slope = turned(x, select(out, fnma(two, two, F(0.0f)), slope));
    }
    return both;
}

template <bool want_value, bool want_slope, class F>
GATEWISE_INLINE Result<F> wide(F x) {
    const F a = min(F(FAR), abs(x));
    const auto out = less(F(LEFT<F::rows>), a);
    [[maybe_unused]] F tail, slope;
    if constexpr (F::rows == 16) {  // both kinds of rows at once
        const Place<F> in = place<Level::high>(a), beyond = far_place(a);
        const auto row = bits(select(out, beyond.row, in.row));
        const F t = select(out, beyond.t, in.t);
        if constexpr (want_value) tail = piecewise(TAIL_HIGH_16, TAIL_FAR_16, row, t);
        if constexpr (want_slope) slope = piecewise(SLOPE_HIGH_16, SLOPE_FAR_16, row, t);
    } else {
        const Place<F> beyond = far_place(a);
        const auto far_row = bits(beyond.row);
        if constexpr (want_value) tail = piecewise(TAIL_FAR_8, far_row, beyond.t);
        if constexpr (want_slope) slope = piecewise(SLOPE_FAR_8, far_row, beyond.t);
        const Place<F> in = place<Level::high>(a);
        const auto row = bits(in.row);
        if constexpr (want_value) tail = select(out, tail, piecewise(TAIL_HIGH_8, row, in.t));
        if constexpr (want_slope) slope = select(out, slope, piecewise(SLOPE_HIGH_8, row, in.t));
    }
    return from_roots<want_value, want_slope>(x, a, out, tail, slope);
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
    both.value = fnma(a * tail, F(less_for<Level::coarse>(LOWER)), right_part(x));
    if constexpr (want_slope) both.slope = turned(x, tail * piecewise(LOG_RATIO, row, t), F(LOWER));
    return both;
}

struct Gelu {
    // Is the fast way right only up to a limit, so that numbers have to be looked at first? At the coarse level with
    // sixteen rows the logarithm serves wherever the value is wanted; for a slope alone it would cost half as much again.
    template <Level level, bool want_value>
    static constexpr bool limited() {
        if (Float::rows == 0 || level == Level::standard) return false;
        return !(Float::rows == 16 && level == Level::coarse && want_value);
    }

    template <Level level, class F>
    static GATEWISE_INLINE auto outside(F x) {
        constexpr float left = level == Level::coarse ? LEFT_COARSE_8 : LEFT<F::rows>;
        return less(F(left), abs(x));
    }

    // A number must not depend on its neighbours in the vector, so that only those outside are taken from `far`.
    template <Level level, bool want_value, bool want_slope, bool everywhere, class F>
    static GATEWISE_INLINE Result<F> evaluate(F x) {
        if constexpr (F::rows == 0) {
            return far<level, want_value, want_slope>(x);
        } else if constexpr (F::rows == 16 && level == Level::coarse && want_value) {
            return by_logarithm<want_slope>(x);
        } else if constexpr (level == Level::standard || !everywhere) {
            return near<level, want_value, want_slope, level != Level::standard>(x);
        } else if constexpr (level == Level::high) {
            return wide<want_value, want_slope>(x);
        } else {
            const Result<F> a = far<level, want_value, want_slope>(x), b = near<level, want_value, want_slope, true>(x);
            const auto out = outside<level>(x);
            Result<F> both;
            if constexpr (want_value) both.value = select(out, a.value, b.value);
            if constexpr (want_slope) both.slope = select(out, a.slope, b.slope);
            return both;
        }
    }
};

}  // namespace
}  // namespace gatewise
