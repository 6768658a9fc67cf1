// Numbers of float32 in parts, for products with AMX, whose tiles take bfloat16: each number is the sum of three bfloat16
// numbers, which hold its 24 bits, and of the nine products of two numbers' parts the six largest are added up, in float32.
// What is left out is at most 2^-23 of a product, of normally distributed numbers less than 2^-25 in 99.8 % and 2^-24 in all
// of a million, and sums of pairs take half the roundings of sums of numbers: of many products such a sum is nearer to the
// exact one than one of multiply-adds in float32; of few, six are rounded in place of one (Henry, Tang and Heinecke, "Leveraging
// the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations", 2019). Tiles multiply bfloat16 sixteen times
// as fast as multiply-adds do float32.
//
// Tiles and panels are those of amx_panels.h with the three parts of each step one after the other. The processor takes
// subnormal parts for zeros, and the parts of an infinite number are not numbers: `most` tells the caller of numbers for which
// this will not do.
#pragma once
#include "amx_panels.h"

namespace gatewise {
namespace {

constexpr int64_t PARTS = 3, SPLIT = PARTS * STEP;  // numbers of a step's tiles
int64_t split_panel_size(int64_t cols) { return HEAD + steps_of(cols) * SPLIT; }

// The largest of some numbers' magnitudes, as bits.
struct Most {
    __m512i bits = _mm512_setzero_si512();
    GATEWISE_INLINE void see(Float x) {
        bits = _mm512_max_epu32(bits, _mm512_and_si512(_mm512_castps_si512(x.v), _mm512_set1_epi32(0x7fffffff)));
    }
    void tell(uint32_t* most) const {
        const uint32_t found = _mm512_reduce_max_epu32(bits);
        uint32_t known = __atomic_load_n(most, __ATOMIC_RELAXED);
        while (known < found && !__atomic_compare_exchange_n(most, &known, found, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
    }
};

GATEWISE_INLINE Float low_half(__m512i x) { return _mm512_castsi512_ps(_mm512_slli_epi32(x, 16)); }
GATEWISE_INLINE __m512i spread(__m256i x) { return _mm512_cvtepu16_epi32(x); }

// The next part of sixteen numbers, which are left with the rest.
GATEWISE_INLINE __m256i next_part(Float& x) {
    const __m256i part = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x.v));
    x = x - low_half(spread(part));
    return part;
}
// That of thirty-two, one after the other.
GATEWISE_INLINE __m512i next_part(Float& a, Float& b) {
    const __m512i part = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b.v, a.v));
    a = a - low_half(spread(_mm512_castsi512_si256(part)));
    b = b - low_half(spread(_mm512_extracti64x4_epi64(part, 1)));
    return part;
}
// The same in turn: a number of a, one of b.
GATEWISE_INLINE __m512i next_pairs(Float& a, Float& b) {
    const __m512i low = spread(next_part(a)), high = spread(next_part(b));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
}

#define GATEWISE_ALL _Pragma("GCC unroll 16")

// Sixteen rows of sixteen 32-bit elements become their columns.
GATEWISE_INLINE void turn(uint16_t* to) {
    __m512i in[16], a[16], b[16];
    GATEWISE_ALL for (int i = 0; i < 16; ++i) in[i] = _mm512_loadu_si512(to + 32 * i);
    GATEWISE_ALL for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_epi32(in[i], in[i + 1]), a[i + 1] = _mm512_unpackhi_epi32(in[i], in[i + 1]);
    }
    GATEWISE_ALL for (int i = 0; i < 16; i += 4) {
        b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]), b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
        b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]), b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
    }
    GATEWISE_ALL for (int i = 0; i < 4; ++i) {  // b[4 * j + i]: columns i, 4 + i, 8 + i and 12 + i of rows 4 * j to 4 * j + 3
        const __m512i even[2] = {_mm512_shuffle_i32x4(b[i], b[4 + i], 0x88), _mm512_shuffle_i32x4(b[8 + i], b[12 + i], 0x88)};
        const __m512i odd[2] = {_mm512_shuffle_i32x4(b[i], b[4 + i], 0xdd), _mm512_shuffle_i32x4(b[8 + i], b[12 + i], 0xdd)};
        _mm512_storeu_si512(to + 32 * i, _mm512_shuffle_i32x4(even[0], even[1], 0x88));
        _mm512_storeu_si512(to + 32 * (8 + i), _mm512_shuffle_i32x4(even[0], even[1], 0xdd));
        _mm512_storeu_si512(to + 32 * (4 + i), _mm512_shuffle_i32x4(odd[0], odd[1], 0x88));
        _mm512_storeu_si512(to + 32 * (12 + i), _mm512_shuffle_i32x4(odd[0], odd[1], 0xdd));
    }
}

// A matrix of `rows` by `cols` numbers, of which `cols` are summed over; `turned`, it lies column by column.
struct Side {
    const float* x;
    int64_t stride, rows, cols;
    bool turned;
};

// Rows `row` to row + 15 and columns k to k + 31 in parts, a row after the other or, `paired`, a pair of columns: sixteen times
// what lies side by side and, where that is not the order wanted, three parts stored by their columns. `whole`: no row or
// column is beyond the last.
template <bool turned, bool whole>
GATEWISE_INLINE void split_row(const Side& m, int64_t row, int64_t k, int64_t i, uint16_t* to, Most& most) {
    const int64_t rows = m.rows - row, cols = m.cols - k;
    const auto load = [&most](const float* p, bool there, int64_t n) {
        if (!whole && !there) return Float(0.0f);
        const Float x = whole || n >= SIDE ? Float::load(p) : Float::load(p, n);
        most.see(x);
        return x;
    };
    Float a, b;
    if constexpr (turned) {
        const float* p = m.x + (k + 2 * i) * m.stride + row;
        __builtin_prefetch(p + PAIR * m.stride), __builtin_prefetch(p + (PAIR + 1) * m.stride);
        a = load(p, 2 * i < cols, rows), b = load(p + m.stride, 2 * i + 1 < cols, rows);
    } else {
        const float* p = m.x + (row + i) * m.stride + k;
        __builtin_prefetch(p + 2 * PAIR), __builtin_prefetch(p + 2 * PAIR + SIDE);
        a = load(p, i < rows, cols), b = load(p + SIDE, i < rows && cols > SIDE, cols - SIDE);
    }
    GATEWISE_ALL for (int part = 0; part < PARTS; ++part)
        _mm512_storeu_si512(to + part * STEP + i * PAIR, turned ? next_pairs(a, b) : next_part(a, b));
}
template <bool turned, bool paired, bool whole>
void split_half_of(const Side& m, int64_t row, int64_t k, uint16_t* to, Most& most) {
    GATEWISE_ALL for (int i = 0; i < SIDE; ++i) split_row<turned, whole>(m, row, k, i, to, most);
    if constexpr (turned != paired)
        for (int part = 0; part < PARTS; ++part) turn(to + part * STEP);
}
template <bool paired>
void split_half(const Side& m, int64_t row, int64_t k, uint16_t* to, Most& most) {
    const bool whole = row + SIDE <= m.rows && k + PAIR <= m.cols;
    if (m.turned) (whole ? split_half_of<true, paired, true> : split_half_of<true, paired, false>)(m, row, k, to, most);
    else (whole ? split_half_of<false, paired, true> : split_half_of<false, paired, false>)(m, row, k, to, most);
}

// Calls half(index, k, half, step) for all halves of the steps of some tiles or panels. A matrix that lies column by column is
// gone through so, a piece of each of 32 columns at a time.
template <class Half>
GATEWISE_INLINE void by_halves(int64_t begin, int64_t end, int64_t cols, bool turned, Half half) {
    const int64_t steps = steps_of(cols), count = end - begin;
    for (int64_t i = 0; i < count * steps; ++i) {
        const int64_t index = begin + (turned ? i % count : i / steps), step = turned ? i / count : i % steps;
        half(index, 0, step), half(index, 1, step);
    }
}

// Tiles begin to end of the rows of a matrix.
void split_tiles(const PanelRows& r, int64_t begin, int64_t end) {
    const Side side{static_cast<const float*>(r.x), r.stride, r.rows, r.cols, r.turned};
    const int64_t steps = steps_of(r.cols);
    Most most;
    by_halves(begin, end, r.cols, r.turned, [&](int64_t tile, int64_t half, int64_t step) {
        uint16_t* const to = static_cast<uint16_t*>(r.tiles) + (tile * steps + step) * SPLIT + half * (STEP / 2);
        split_half<false>(side, tile * PAIR + half * SIDE, step * PAIR, to, most);
    });
    most.tell(r.most);
}

// Those from a row on, for tiles elsewhere.
PanelRows rows_from(PanelRows r, int64_t row, uint16_t* tiles) {
    r.x = static_cast<const float*>(r.x) + row * (r.turned ? 1 : r.stride);
    r.rows -= row, r.tiles = tiles;
    return r;
}

// Panels begin to end of the weights, with zeros beyond the last output and input.
void split_weights(const PanelWeights& p, int64_t begin, int64_t end) {
    const int64_t columns = p.num == 2 ? SIDE : PAIR, size = split_panel_size(p.cols);  // columns of each weight
    const auto row_of = [columns](int64_t panel, int64_t half) { return panel * columns + half * SIDE % columns; };
    Side sides[2];
    for (int64_t half = 0; half < 2; ++half) {
        const int64_t which = half * SIDE / columns;
        sides[half] = {static_cast<const float*>(p.w[which]), p.stride[which], p.outputs, p.cols, p.turned};
        for (int64_t panel = begin; panel < end; ++panel) {
            const float* const bias = static_cast<const float*>(p.bias[which]);
            const int64_t row = row_of(panel, half), left = p.outputs - row, n = left < SIDE ? left : SIDE;
            float* const to = reinterpret_cast<float*>(static_cast<uint16_t*>(p.panels) + panel * size) + half * SIDE;
            (bias && n > 0 ? Float::load(bias + row, n) : Float(0.0f)).store(to);
        }
    }
    Most most;
    by_halves(begin, end, p.cols, p.turned, [&](int64_t panel, int64_t half, int64_t step) {
        uint16_t* const to = static_cast<uint16_t*>(p.panels) + panel * size + HEAD + step * SPLIT + half * (STEP / 2);
        split_half<true>(sides[half], row_of(panel, half), step * PAIR, to, most);
    });
    most.tell(p.most);
}

// Raises `most`.
void split_most(const PanelRows& r) {
    Most most;
    for (int64_t row = 0; row < r.rows; ++row) {
        const float* const x = static_cast<const float*>(r.x) + row * r.stride;
        for (int64_t k = 0; k < r.cols; k += SIDE) most.see(Float::load(x + k, r.cols - k < SIDE ? r.cols - k : SIDE));
    }
    most.tell(r.most);
}

}  // namespace
}  // namespace gatewise
