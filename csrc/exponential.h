// Two to a power in [-250, 0], and the level of accuracy that the formulas are written for.
#pragma once
#include "tables.h"

namespace gatewise {
namespace {

// coarse: for results that are rounded to bfloat16. standard and high: the two levels of float32.
enum class Level { coarse, standard, high };

// A function and its derivative.
template <class F>
struct Both {
    F value, slope;
};

// max(-0, x) is -0 on the left, so that the difference is -0 where the tail is 0; and it keeps NaN and the sign of zero.
template <class F>
GATEWISE_INLINE F right_part(F x) {
    return max(F(-0.0f), x);
}

// coefficients[0] + x (coefficients[1] + x (...)), without a loop that a compiler might leave as one.
template <int i = 0, class F, int n>
GATEWISE_INLINE F polynomial(const float (&coefficients)[n], F x) {
    const F c(coefficients[i]);
    if constexpr (i + 1 == n) {
        return c;
    } else {
        return fma(polynomial<i + 1>(coefficients, x), x, c);
    }
}

// 2^(k + f) = mantissa 2^k, the two kept apart: 2^k alone may be out of range where a product with it is not.
template <class F>
struct Power {
    F mantissa, k;
    GATEWISE_INLINE F times(F factor) const { return scale(factor * mantissa, k); }
    GATEWISE_INLINE F value() const { return scale(mantissa, k); }
};

// 2^(x y + low).
template <Level level, class F>
GATEWISE_INLINE Power<F> power(F x, F y, F low) {
    const F k = round(x * y), f = fms(x, y, k) + low;
    return {polynomial(EXP2_6, f), k};
}
// 2^(x y), which is enough where y is a constant of 24 bits and the result no more than 2^-10 at the standard level.
template <Level level, class F>
GATEWISE_INLINE Power<F> power(F x, F y) {
    const F k = round(x * y), f = fms(x, y, k);
    if constexpr (level == Level::coarse) return {polynomial(EXP2_4, f), k};
    return {polynomial(EXP2_6, f), k};
}

}  // namespace
}  // namespace gatewise
