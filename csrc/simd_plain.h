// One number, for any machine, and the description of what a vector type has to offer. It computes in double, because
// there may be no fused multiply-add: the formulas' correction terms are then next to nothing and do no harm.
#pragma once
#include <stdint.h>
#include <string.h>

#define GATEWISE_INLINE inline __attribute__((always_inline))
#define GATEWISE_UNROLL _Pragma("GCC unroll 4")
#include "simd_twice.h"

namespace gatewise {
namespace {

struct Float {
    static constexpr int width = 1;           // numbers in a vector
    static constexpr int rows = 0;            // floats among which there is a fast lookup: 16, 8 or 0
    double v;
    Float() = default;
    GATEWISE_INLINE explicit Float(double x) : v(x) {}

    // With n: the first n numbers only; nothing beyond them is touched. n < width, so it is 0 here.
    static GATEWISE_INLINE Float load(const float* p) { return Float(static_cast<double>(*p)); }
    static GATEWISE_INLINE Float load(const float*, int64_t) { return Float(0.0); }
    GATEWISE_INLINE void store(float* p) const { *p = static_cast<float>(v); }
    GATEWISE_INLINE void store(float*, int64_t) const {}
    GATEWISE_INLINE void stream(float* p) const { store(p); }
};

struct Mask {
    bool v;
};

GATEWISE_INLINE Float operator+(Float a, Float b) { return Float(a.v + b.v); }
GATEWISE_INLINE Float operator-(Float a, Float b) { return Float(a.v - b.v); }
GATEWISE_INLINE Float operator*(Float a, Float b) { return Float(a.v * b.v); }
GATEWISE_INLINE Float fma(Float a, Float b, Float c) { return Float(a.v * b.v + c.v); }   // a b + c
GATEWISE_INLINE Float fms(Float a, Float b, Float c) { return Float(a.v * b.v - c.v); }   // a b - c
GATEWISE_INLINE Float fnma(Float a, Float b, Float c) { return Float(c.v - a.v * b.v); }  // c - a b
// The second argument where either is NaN, and where both are zero.
GATEWISE_INLINE Float divide(Float a, Float b) { return Float(a.v / b.v); }
GATEWISE_INLINE Float min(Float a, Float b) { return a.v < b.v ? a : b; }
GATEWISE_INLINE Float max(Float a, Float b) { return a.v > b.v ? a : b; }
GATEWISE_INLINE Float abs(Float a) { return Float(__builtin_fabs(a.v)); }
// To the nearest whole number, |a| < 2^22.
GATEWISE_INLINE Float round(Float a) {
    const double magic = 6755399441055744.0;
    return Float((a.v + magic) - magic);
}
// a 2^k for a whole k from -250 to 100, rounded once, subnormal where it has to be.
GATEWISE_INLINE Float scale(Float a, Float k) {
    const double magic = 6755399441055744.0 + 1023.0;
    const double shifted = k.v + magic;
    uint64_t u;
    memcpy(&u, &shifted, sizeof u);
    u <<= 52;
    double power;
    memcpy(&power, &u, sizeof u);
    return Float(a.v * power);
}
// 0, with its sign, where float32 has nothing else left; vectors of float32 do that by themselves.
GATEWISE_INLINE Float settled(Float a) { return Float(__builtin_fabs(a.v) <= 0x1p-150 ? __builtin_copysign(0.0, a.v) : a.v); }
// A type with rows also offers `Index`, bits(a), nearest(a), whole(a), subnormal(a), which may be true of 0, lookup(row, i),
// shift_left<n>(i) and add_bits(a, i), and its Pair looks up tables of all bfloat16 numbers; `round` and `scale` are then not
// needed.

GATEWISE_INLINE Mask negative(Float a) { return {__builtin_signbit(a.v) != 0}; }  // the sign bit
GATEWISE_INLINE Mask less(Float a, Float b) { return {a.v < b.v}; }               // false where either is NaN
GATEWISE_INLINE Mask operator|(Mask a, Mask b) { return {a.v || b.v}; }
GATEWISE_INLINE bool any(Mask m) { return m.v; }
GATEWISE_INLINE Float select(Mask m, Float yes, Float no) { return m.v ? yes : no; }

using Floats = Float;

GATEWISE_INLINE float total(Float a) { return static_cast<float>(a.v); }  // the sum of its numbers

// Two bfloat16 vectors, in any order as long as load and store agree.
struct Pair {
    static constexpr int width = 2;
    Twice<Float> v;
    static GATEWISE_INLINE Float wide(uint16_t x) {
        const uint32_t u = static_cast<uint32_t>(x) << 16;
        float f;
        memcpy(&f, &u, sizeof u);
        return Float(static_cast<double>(f));
    }
    static GATEWISE_INLINE Pair load(const uint16_t* p) { return {{wide(p[0]), wide(p[1])}}; }
    static GATEWISE_INLINE Pair load(const uint16_t* p, int64_t n) { return {{wide(n > 0 ? p[0] : 0), Float(0.0)}}; }
    static GATEWISE_INLINE uint16_t rounded(Float x) {
        const float f = static_cast<float>(x.v);
        uint32_t u;
        memcpy(&u, &f, sizeof u);
        // To the odd one of two neighbours, so that rounding again does not take for half way what only lies near it.
        const double lost = __builtin_fabs(x.v) - __builtin_fabs(static_cast<double>(f));
        if (!(u & 1) && (lost > 0 || lost < 0)) u += lost > 0 ? 1u : ~0u;
        return static_cast<uint16_t>((u + 0x7fff + ((u >> 16) & 1)) >> 16);
    }
    GATEWISE_INLINE void store(uint16_t* p) const {
        p[0] = rounded(v.a);
        p[1] = rounded(v.b);
    }
    GATEWISE_INLINE void store(uint16_t* p, int64_t n) const {
        if (n > 0) p[0] = rounded(v.a);
    }
    GATEWISE_INLINE void stream(uint16_t* p) const { store(p); }
};

GATEWISE_INLINE void fence() {}
template <class Block>
constexpr bool gathers() {
    return false;
}

}  // namespace
}  // namespace gatewise
