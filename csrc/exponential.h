// Two to a power from -250 to 190, and the level of accuracy that the formulas are written for.
#pragma once
#include "tables.h"

namespace gatewise {
namespace {

// coarse: for results that are rounded to bfloat16. standard and high: the two levels of float32.
enum class Level { coarse, standard, high };

// max(-0, x) is -0 on the left, so that the difference is -0 where the tail is 0; and it keeps NaN and the sign of zero.
template <class F>
GATEWISE_INLINE F right_part(F x) {
    return max(F(-0.0f), x);
}

// For bfloat16: a product of two of its numbers is often half way between two others. Next to 0, where float32 cannot tell
// the activation from half the gate, what the right product lies beside would be lost; so the left part is kept below half
// by about this much, relative to it, which leaves the activation on the side where it is.
constexpr float NEXT = 0x1p-22f;

// From the slope at -|x|, of a function with f(x) - f(-x) = x.
template <class F>
GATEWISE_INLINE F turned(F x, F slope) {
    return select(negative(x), slope, F(1.0f) - slope);
}
// The same from slope / by.
template <class F>
GATEWISE_INLINE F turned(F x, F slope, F by) {
    return select(negative(x), slope * by, fnma(slope, by, F(1.0f)));
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

// Powers are kept 2^64 times too great, or too small where they rise: no power that matters is then subnormal or infinite,
// and a product loses no bits before the last multiplication, by LOWER.
constexpr float LOWER = 0x1p-64f;

// 2^(k + f + 64), with the row of 2^k and its exponent in the low bits of `shifted` = k + EXP2_MAGIC.
template <Level level, class F>
GATEWISE_INLINE F power_of(F shifted, F f) {
    if constexpr (F::rows == 16) {
        const F whole = add_bits(lookup(EXP2_ROWS_16, bits(shifted)), shift_left<19>(bits(shifted)));
        if constexpr (level == Level::coarse) return fma(whole * f, polynomial(EXP2_16_COARSE, f), whole);
        return fma(whole * f, polynomial(EXP2_16, f), whole);
    } else {
        const F whole = add_bits(lookup(EXP2_ROWS_8, bits(shifted)), shift_left<20>(bits(shifted)));
        if constexpr (level == Level::coarse) return fma(whole * f, polynomial(EXP2_8_COARSE, f), whole);
        return fma(whole * f, polynomial(EXP2_8, f), whole);
    }
}
// 1.5 2^23 over the number of rows to an octave: adding it leaves a multiple of one row's width.
constexpr float EXP2_MAGIC = Float::rows == 16 ? 0x1.8p19f : 0x1.8p20f;

// 2^(x y + u v + to) for x y from -190 to 0 with `to` 64, or from 0 to 190 with -64.
template <Level level, int to, class F>
GATEWISE_INLINE F power(F x, F y, F u, F v) {
    static_assert(to == 64 || to == -64, "what the rows hold, or 128 less");
    if constexpr (F::rows == 0) {
        const F k = round(x * y), f = fma(u, v, fms(x, y, k));
        return scale(polynomial(EXP2_6, f), k + F(static_cast<float>(to)));
    } else {
        const F magic(EXP2_MAGIC + static_cast<float>(to - 64)), shifted = fma(x, y, magic);
        return power_of<level>(shifted, fma(u, v, fms(x, y, shifted - magic)));
    }
}
// The same without u v, which is enough where y is a constant of 24 bits and 2^|x y| no more than 2^10 at the standard level.
template <Level level, int to, class F>
GATEWISE_INLINE F power(F x, F y) {
    if constexpr (F::rows == 0) {
        return power<level, to>(x, y, F(0.0f), F(0.0f));
    } else {
        const F magic(EXP2_MAGIC + static_cast<float>(to - 64)), shifted = fma(x, y, magic);
        return power_of<level>(shifted, fms(x, y, shifted - magic));
    }
}

}  // namespace
}  // namespace gatewise
