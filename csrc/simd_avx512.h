// Sixteen floats in a 512-bit register. Every vector type offers the same names; see simd_plain.h for what they mean.
#pragma once
#include <immintrin.h>
#include <stdint.h>

#define GATEWISE_INLINE inline __attribute__((always_inline))
#define GATEWISE_UNROLL _Pragma("GCC unroll 4")
#include "simd_lookup.h"
#include "simd_twice.h"

namespace gatewise {
namespace {

struct Float {
    static constexpr int width = 16;
    static constexpr int rows = 16;
    __m512 v;
    Float() = default;
    GATEWISE_INLINE Float(__m512 x) : v(x) {}
    GATEWISE_INLINE explicit Float(float x) : v(_mm512_set1_ps(x)) {}

    static GATEWISE_INLINE __mmask16 first(int64_t n) { return static_cast<__mmask16>(n > 0 ? (1u << n) - 1u : 0u); }
    static GATEWISE_INLINE Float load(const float* p) { return _mm512_loadu_ps(p); }
    static GATEWISE_INLINE Float load(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(first(n), p); }
    GATEWISE_INLINE void store(float* p) const { _mm512_storeu_ps(p, v); }
    GATEWISE_INLINE void store(float* p, int64_t n) const { _mm512_mask_storeu_ps(p, first(n), v); }
    GATEWISE_INLINE void stream(float* p) const { _mm512_stream_ps(p, v); }
};

struct Mask {
    __mmask16 v;
};
struct Index {
    __m512i v;
};

GATEWISE_INLINE Float operator+(Float a, Float b) { return _mm512_add_ps(a.v, b.v); }
GATEWISE_INLINE Float operator-(Float a, Float b) { return _mm512_sub_ps(a.v, b.v); }
GATEWISE_INLINE Float operator*(Float a, Float b) { return _mm512_mul_ps(a.v, b.v); }
GATEWISE_INLINE Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a.v, b.v, c.v); }
GATEWISE_INLINE Float fms(Float a, Float b, Float c) { return _mm512_fmsub_ps(a.v, b.v, c.v); }
GATEWISE_INLINE Float fnma(Float a, Float b, Float c) { return _mm512_fnmadd_ps(a.v, b.v, c.v); }
GATEWISE_INLINE Float divide(Float a, Float b) { return _mm512_div_ps(a.v, b.v); }
GATEWISE_INLINE Float min(Float a, Float b) { return _mm512_min_ps(a.v, b.v); }
GATEWISE_INLINE Float max(Float a, Float b) { return _mm512_max_ps(a.v, b.v); }
GATEWISE_INLINE Float abs(Float a) { return _mm512_abs_ps(a.v); }
GATEWISE_INLINE Float settled(Float a) { return a; }

GATEWISE_INLINE Mask negative(Float a) { return {_mm512_movepi32_mask(_mm512_castps_si512(a.v))}; }
GATEWISE_INLINE Mask subnormal(Float a) { return {_mm512_fpclass_ps_mask(a.v, 0x20)}; }
GATEWISE_INLINE Mask less(Float a, Float b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
GATEWISE_INLINE Mask operator|(Mask a, Mask b) { return {static_cast<__mmask16>(a.v | b.v)}; }
GATEWISE_INLINE bool any(Mask m) { return m.v != 0; }
GATEWISE_INLINE Float select(Mask m, Float yes, Float no) { return _mm512_mask_blend_ps(m.v, no.v, yes.v); }

GATEWISE_INLINE Index bits(Float a) { return {_mm512_castps_si512(a.v)}; }
GATEWISE_INLINE Float whole(Float a) { return _mm512_cvtepi32_ps(_mm512_castps_si512(a.v)); }  // its bits as a number
GATEWISE_INLINE Index nearest(Float a) { return {_mm512_cvtps_epi32(a.v)}; }
template <int n>
GATEWISE_INLINE Index shift_left(Index i) {
    return {_mm512_slli_epi32(i.v, n)};
}
GATEWISE_INLINE Float add_bits(Float a, Index i) {
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a.v), i.v));
}
GATEWISE_INLINE Index high_bits(Float a, unsigned shift) {
    return {_mm512_srli_epi32(_mm512_castps_si512(a.v), shift)};
}
// row[i mod 16]
GATEWISE_INLINE Float lookup(const float (&row)[16], Index i) {
    return _mm512_permutexvar_ps(i.v, _mm512_load_ps(row));
}

// row[i] or more[i - 16], of i mod 32
GATEWISE_INLINE Float lookup(const float (&row)[16], const float (&more)[16], Index i) {
    return _mm512_permutex2var_ps(_mm512_load_ps(row), i.v, _mm512_load_ps(more));
}

using Floats = Twice<Float>;

GATEWISE_INLINE float total(Float a) { return _mm512_reduce_add_ps(a.v); }  // of its numbers

// bfloat16, 32 at a time: the even elements in one vector and the odd ones in the other, which costs no shuffle.
struct Pair {
    static constexpr int width = 32;
    Twice<Float> v;
    static GATEWISE_INLINE __mmask32 first(int64_t n) { return static_cast<__mmask32>((1ull << n) - 1ull); }
    static GATEWISE_INLINE Pair split(__m512i x) {
        return {{_mm512_castsi512_ps(_mm512_slli_epi32(x, 16)),
                _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32(static_cast<int>(0xffff0000u))))}};
    }
    static GATEWISE_INLINE Pair load(const uint16_t* p) { return split(_mm512_loadu_si512(p)); }
    static GATEWISE_INLINE Pair load(const uint16_t* p, int64_t n) {
        return split(_mm512_maskz_loadu_epi16(first(n), p));
    }
    // Round to nearest, ties to even. vcvtneps2bf16 is faster and flushes subnormal numbers to zero, so it is not used.
    static GATEWISE_INLINE __m512i rounded(Float x) {
        const __m512i u = _mm512_castps_si512(x.v);
        const __mmask16 odd = _mm512_test_epi32_mask(u, _mm512_set1_epi32(0x10000));
        return _mm512_add_epi32(
            u, _mm512_mask_blend_epi32(odd, _mm512_set1_epi32(0x7fff), _mm512_set1_epi32(0x8000)));
    }
    GATEWISE_INLINE __m512i join() const {
        return _mm512_mask_mov_epi16(_mm512_srli_epi32(rounded(v.a), 16), 0xaaaaaaaau, rounded(v.b));
    }
    GATEWISE_INLINE void store(uint16_t* p) const { _mm512_storeu_si512(p, join()); }
    GATEWISE_INLINE void store(uint16_t* p, int64_t n) const { _mm512_mask_storeu_epi16(p, first(n), join()); }
    GATEWISE_INLINE void stream(uint16_t* p) const { _mm512_stream_si512(reinterpret_cast<__m512i*>(p), join()); }

    static GATEWISE_INLINE __m512i even(const uint16_t* x) {
        return _mm512_and_si512(_mm512_loadu_si512(x), _mm512_set1_epi32(0xffff));
    }
    static GATEWISE_INLINE __m512i odd(const uint16_t* x) { return _mm512_srli_epi32(_mm512_loadu_si512(x), 16); }
    // A table of 16 bits an entry is read two bytes past its last.
    template <bool stream, bool gather>
    static GATEWISE_INLINE void look_up(const uint16_t* entries, const uint16_t* x, uint16_t* y) {
        if constexpr (gather) {
            const __m512i a = _mm512_i32gather_epi32(even(x), entries, 2);
            const __m512i b = _mm512_i32gather_epi32(odd(x), entries, 2);
            const __m512i both = _mm512_mask_blend_epi16(0xaaaaaaaau, a, _mm512_slli_epi32(b, 16));
            stream ? _mm512_stream_si512(reinterpret_cast<__m512i*>(y), both) : _mm512_storeu_si512(y, both);
        } else {
            GATEWISE_UNROLL for (int i = 0; i < width; i += 8) look_up_eight<stream>(entries, x + i, y + i);
        }
    }
    static GATEWISE_INLINE __m512 joined(__m128 a, __m128 b, __m128 c, __m128 d) {
        const __m256 low = _mm256_insertf128_ps(_mm256_castps128_ps256(a), b, 1);
        const __m256 high = _mm256_insertf128_ps(_mm256_castps128_ps256(c), d, 1);
        return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
    }
    // What a table says of 32 numbers.
    template <bool gather>
    static GATEWISE_INLINE Twice<Float> looked_up(const float* entries, const uint16_t* x) {
        if constexpr (gather)
            return {_mm512_i32gather_ps(even(x), entries, 4), _mm512_i32gather_ps(odd(x), entries, 4)};
        const Halves h[4] = {{entries, x}, {entries, x + 8}, {entries, x + 16}, {entries, x + 24}};
        return {joined(h[0].even, h[1].even, h[2].even, h[3].even), joined(h[0].odd, h[1].odd, h[2].odd, h[3].odd)};
    }
    // Entries of two floats, of sixteen indices, value and slope apart.
    static GATEWISE_INLINE Result<Float> gathered(const Result<float>* entries, __m512i i) {
        // So that the shuffles, which stay within 128 bits, leave the order.
        const __m512i turned = _mm512_permutexvar_epi32(
            _mm512_setr_epi32(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15), i);
        const __m512 low = _mm512_castpd_ps(_mm512_i32gather_pd(_mm512_castsi512_si256(turned), entries, 8));
        const __m512 high = _mm512_castpd_ps(_mm512_i32gather_pd(_mm512_extracti64x4_epi64(turned, 1), entries, 8));
        return {_mm512_shuffle_ps(low, high, 0x88), _mm512_shuffle_ps(low, high, 0xdd)};
    }
    template <bool gather>
    static GATEWISE_INLINE Result<Twice<Float>> looked_up(const Result<float>* entries, const uint16_t* x) {
        if constexpr (gather) {
            const Result<Float> a = gathered(entries, even(x)), b = gathered(entries, odd(x));
            return {{a.value, b.value}, {a.slope, b.slope}};
        }
        const Quarters q[4] = {{entries, x}, {entries, x + 8}, {entries, x + 16}, {entries, x + 24}};
        const auto whole = [&q](__m128 Quarters::*part) {
            return joined(q[0].*part, q[1].*part, q[2].*part, q[3].*part);
        };
        const __m512 even[2] = {whole(&Quarters::even_low), whole(&Quarters::even_high)};
        const __m512 odd[2] = {whole(&Quarters::odd_low), whole(&Quarters::odd_high)};
        return {{_mm512_shuffle_ps(even[0], even[1], 0x88), _mm512_shuffle_ps(odd[0], odd[1], 0x88)},
                {_mm512_shuffle_ps(even[0], even[1], 0xdd), _mm512_shuffle_ps(odd[0], odd[1], 0xdd)}};
    }
};

GATEWISE_INLINE void fence() { _mm_sfence(); }

}  // namespace
}  // namespace gatewise
