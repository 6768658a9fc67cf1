// Eight floats in a 256-bit register, with fused multiply-add. See simd_plain.h for what the names mean.
#pragma once
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define GATEWISE_INLINE inline __attribute__((always_inline))
#define GATEWISE_UNROLL _Pragma("GCC unroll 4")
#include "simd_lookup.h"
#include "simd_twice.h"

namespace gatewise {
namespace {

struct Float {
    static constexpr int width = 8;
    static constexpr int rows = 8;
    __m256 v;
    Float() = default;
    GATEWISE_INLINE Float(__m256 x) : v(x) {}
    GATEWISE_INLINE explicit Float(float x) : v(_mm256_set1_ps(x)) {}

    static GATEWISE_INLINE __m256i first(int64_t n) {
        return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
    }
    static GATEWISE_INLINE Float load(const float* p) { return _mm256_loadu_ps(p); }
    static GATEWISE_INLINE Float load(const float* p, int64_t n) { return _mm256_maskload_ps(p, first(n)); }
    GATEWISE_INLINE void store(float* p) const { _mm256_storeu_ps(p, v); }
    GATEWISE_INLINE void store(float* p, int64_t n) const { _mm256_maskstore_ps(p, first(n), v); }
    GATEWISE_INLINE void stream(float* p) const { _mm256_stream_ps(p, v); }
};

struct Mask {
    __m256 v;
};
struct Index {
    __m256i v;
};

GATEWISE_INLINE Float operator+(Float a, Float b) { return _mm256_add_ps(a.v, b.v); }
GATEWISE_INLINE Float operator-(Float a, Float b) { return _mm256_sub_ps(a.v, b.v); }
GATEWISE_INLINE Float operator*(Float a, Float b) { return _mm256_mul_ps(a.v, b.v); }
GATEWISE_INLINE Float fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a.v, b.v, c.v); }
GATEWISE_INLINE Float fms(Float a, Float b, Float c) { return _mm256_fmsub_ps(a.v, b.v, c.v); }
GATEWISE_INLINE Float fnma(Float a, Float b, Float c) { return _mm256_fnmadd_ps(a.v, b.v, c.v); }
GATEWISE_INLINE Float divide(Float a, Float b) { return _mm256_div_ps(a.v, b.v); }
GATEWISE_INLINE Float min(Float a, Float b) { return _mm256_min_ps(a.v, b.v); }
GATEWISE_INLINE Float max(Float a, Float b) { return _mm256_max_ps(a.v, b.v); }
GATEWISE_INLINE Float abs(Float a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v); }
GATEWISE_INLINE Float settled(Float a) { return a; }

GATEWISE_INLINE Mask negative(Float a) { return {a.v}; }
GATEWISE_INLINE Mask subnormal(Float a) { return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(
        _mm256_and_si256(_mm256_castps_si256(a.v), _mm256_set1_epi32(0x7f800000)), _mm256_setzero_si256()))}; }
GATEWISE_INLINE Mask less(Float a, Float b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
GATEWISE_INLINE Mask operator|(Mask a, Mask b) { return {_mm256_or_ps(a.v, b.v)}; }
GATEWISE_INLINE bool any(Mask m) { return _mm256_movemask_ps(m.v) != 0; }
GATEWISE_INLINE Float select(Mask m, Float yes, Float no) { return _mm256_blendv_ps(no.v, yes.v, m.v); }

GATEWISE_INLINE Index bits(Float a) { return {_mm256_castps_si256(a.v)}; }
GATEWISE_INLINE Float whole(Float a) { return _mm256_cvtepi32_ps(_mm256_castps_si256(a.v)); }  // its bits as a number
GATEWISE_INLINE Index nearest(Float a) { return {_mm256_cvtps_epi32(a.v)}; }
template <int n>
GATEWISE_INLINE Index shift_left(Index i) {
    return {_mm256_slli_epi32(i.v, n)};
}
GATEWISE_INLINE Float add_bits(Float a, Index i) {
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a.v), i.v));
}
// row[i mod 8]
GATEWISE_INLINE Float lookup(const float (&row)[8], Index i) {
    return _mm256_permutevar8x32_ps(_mm256_load_ps(row), i.v);
}

using Floats = Twice<Float>;

GATEWISE_INLINE float total(Float a) {  // of its numbers
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps(two, two, 1)));
}

// bfloat16, 16 at a time: the even elements in one vector and the odd ones in the other, which costs no shuffle.
struct Pair {
    static constexpr int width = 16;
    Twice<Float> v;
    static GATEWISE_INLINE Pair split(__m256i x) {
        return {{_mm256_castsi256_ps(_mm256_slli_epi32(x, 16)),
                _mm256_castsi256_ps(_mm256_and_si256(x, _mm256_set1_epi32(static_cast<int>(0xffff0000u))))}};
    }
    static GATEWISE_INLINE Pair load(const uint16_t* p) {
        return split(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
    }
    static GATEWISE_INLINE Pair load(const uint16_t* p, int64_t n) {
        uint16_t part[width] = {};
        memcpy(part, p, static_cast<size_t>(n) * sizeof(uint16_t));
        return load(part);
    }
    static GATEWISE_INLINE __m256i rounded(Float x) {
        const __m256i u = _mm256_castps_si256(x.v);
        const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
        return _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    }
    GATEWISE_INLINE __m256i join() const {
        return _mm256_blend_epi16(_mm256_srli_epi32(rounded(v.a), 16), rounded(v.b), 0xaa);
    }
    GATEWISE_INLINE void store(uint16_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), join()); }
    GATEWISE_INLINE void store(uint16_t* p, int64_t n) const {
        uint16_t part[width];
        store(part);
        memcpy(p, part, static_cast<size_t>(n) * sizeof(uint16_t));
    }
    GATEWISE_INLINE void stream(uint16_t* p) const { _mm256_stream_si256(reinterpret_cast<__m256i*>(p), join()); }

    static GATEWISE_INLINE __m256i even(const uint16_t* x) {
        return _mm256_and_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)), _mm256_set1_epi32(0xffff));
    }
    static GATEWISE_INLINE __m256i odd(const uint16_t* x) {
        return _mm256_srli_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)), 16);
    }
    // The masked forms, all on: of the others compilers say that they read a register that nobody set.
    static GATEWISE_INLINE __m256 gathered(const float* entries, __m256i i) {
        const __m256 all = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
        return _mm256_mask_i32gather_ps(_mm256_setzero_ps(), entries, i, all, 4);
    }
    static GATEWISE_INLINE __m256 gathered(const double* entries, __m128i i) {
        const __m256d all = _mm256_castsi256_pd(_mm256_set1_epi32(-1));
        return _mm256_castpd_ps(_mm256_mask_i32gather_pd(_mm256_setzero_pd(), entries, i, all, 8));
    }
    // A table of 16 bits an entry is read two bytes past its last.
    template <bool stream, bool gather>
    static GATEWISE_INLINE void look_up(const uint16_t* entries, const uint16_t* x, uint16_t* y) {
        if constexpr (gather) {
            const int* const from = reinterpret_cast<const int*>(entries);
            const __m256i zero = _mm256_setzero_si256(), all = _mm256_set1_epi32(-1);
            const __m256i a = _mm256_mask_i32gather_epi32(zero, from, even(x), all, 2);
            const __m256i b = _mm256_mask_i32gather_epi32(zero, from, odd(x), all, 2);
            const __m256i both = _mm256_blend_epi16(a, _mm256_slli_epi32(b, 16), 0xaa);
            __m256i* const to = reinterpret_cast<__m256i*>(y);
            stream ? _mm256_stream_si256(to, both) : _mm256_storeu_si256(to, both);
        } else {
            GATEWISE_UNROLL for (int i = 0; i < width; i += 8) look_up_eight<stream>(entries, x + i, y + i);
        }
    }
    // What a table says of 16 numbers.
    template <bool gather>
    static GATEWISE_INLINE Twice<Float> looked_up(const float* entries, const uint16_t* x) {
        if constexpr (gather)
            return {gathered(entries, even(x)), gathered(entries, odd(x))};
        const Halves a(entries, x), b(entries, x + 8);
        return {_mm256_insertf128_ps(_mm256_castps128_ps256(a.even), b.even, 1),
                _mm256_insertf128_ps(_mm256_castps128_ps256(a.odd), b.odd, 1)};
    }
    // Entries of two floats, of eight indices, value and slope apart.
    static GATEWISE_INLINE Result<Float> gathered(const Result<float>* entries, __m256i i) {
        const double* const from = reinterpret_cast<const double*>(entries);
        // So that the shuffles, which stay within 128 bits, leave the order.
        const __m256i turned = _mm256_permutevar8x32_epi32(i, _mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7));
        const __m256 low = gathered(from, _mm256_castsi256_si128(turned));
        const __m256 high = gathered(from, _mm256_extracti128_si256(turned, 1));
        return {_mm256_shuffle_ps(low, high, 0x88), _mm256_shuffle_ps(low, high, 0xdd)};
    }
    template <bool gather>
    static GATEWISE_INLINE Result<Twice<Float>> looked_up(const Result<float>* entries, const uint16_t* x) {
        if constexpr (gather) {
            const Result<Float> a = gathered(entries, even(x)), b = gathered(entries, odd(x));
            return {{a.value, b.value}, {a.slope, b.slope}};
        }
        const Quarters a(entries, x), b(entries, x + 8);
        const auto whole = [&a, &b](__m128 Quarters::*part) {
            return _mm256_insertf128_ps(_mm256_castps128_ps256(a.*part), b.*part, 1);
        };
        const __m256 even[2] = {whole(&Quarters::even_low), whole(&Quarters::even_high)};
        const __m256 odd[2] = {whole(&Quarters::odd_low), whole(&Quarters::odd_high)};
        return {{_mm256_shuffle_ps(even[0], even[1], 0x88), _mm256_shuffle_ps(odd[0], odd[1], 0x88)},
                {_mm256_shuffle_ps(even[0], even[1], 0xdd), _mm256_shuffle_ps(odd[0], odd[1], 0xdd)}};
    }
};

GATEWISE_INLINE void fence() { _mm_sfence(); }

}  // namespace
}  // namespace gatewise
