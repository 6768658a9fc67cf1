// y = x W^T for few rows of x. W is read once and where it lies, by its rows: no packed copy. A few rows of W stay in the
// first cache while all rows of x go over them, and the next are fetched meanwhile.
#pragma once
#include <string.h>

#include "core.h"
#include "totals.h"

// Every turn written out, so that the sums stay in registers.
#define GATEWISE_EACH _Pragma("GCC unroll 16")

namespace gatewise {
namespace {

struct SingleOperand {
    using Number = float;
    using Vector = Float;
    static constexpr int width = Float::width, parts = 1;
    static GATEWISE_INLINE Vector load(const Number* p) { return Float::load(p); }
    static GATEWISE_INLINE Vector load(const Number* p, int64_t n) { return Float::load(p, n); }
    static GATEWISE_INLINE Float whole(Vector sum) { return sum; }
    template <int n>
    static GATEWISE_INLINE void keep(const float (&y)[n], Number* p) {
        memcpy(p, y, sizeof y);
    }
};
struct BrainOperand {
    using Number = uint16_t;
    using Vector = Twice<Float>;
    static constexpr int width = Pair::width, parts = 2;
    static GATEWISE_INLINE Vector load(const Number* p) { return Pair::load(p).v; }
    static GATEWISE_INLINE Vector load(const Number* p, int64_t n) { return Pair::load(p, n).v; }
    static GATEWISE_INLINE Float whole(Vector sum) { return sum.a + sum.b; }
    template <int n>
    static GATEWISE_INLINE void keep(const float (&y)[n], Number* p) {  // to nearest, ties to even
        GATEWISE_EACH for (int j = 0; j < n; ++j) {
            uint32_t bits;
            memcpy(&bits, &y[j], sizeof bits);
            p[j] = y[j] != y[j] ? 0x7fc0 : static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
        }
    }
};

// Sums that fit beside the operands in the registers of an instruction set; rows of W, and of x, that share them.
constexpr int SUMS = Float::width == 16 ? 16 : 8, OUTPUTS = 4;
template <class Operand>
constexpr int ROWS = SUMS / (OUTPUTS * Operand::parts);

// Some rows of x by some of W; meanwhile the first `fetch` rows at `next` are fetched into the second cache. Each sum is
// taken in the same order, whatever stands beside it: a row's result does not depend on how many there are.
template <class Operand, int rows, int outputs, int fetch>
struct Tile {
    using Number = typename Operand::Number;
    using Vector = typename Operand::Vector;
    Vector sum[rows][outputs];

    template <class... Rest>
    GATEWISE_INLINE void add(const Product& p, const Number* x, const Number* w, Rest... rest) {
        Vector a[rows];
        GATEWISE_EACH for (int i = 0; i < rows; ++i) a[i] = Operand::load(x + i * p.x_stride, rest...);
        GATEWISE_EACH for (int j = 0; j < outputs; ++j) {
            const Vector b = Operand::load(w + j * p.w_stride, rest...);
            GATEWISE_EACH for (int i = 0; i < rows; ++i) sum[i][j] = fma(a[i], b, sum[i][j]);
        }
    }
    GATEWISE_INLINE void product(const Product& p, const Number* x, const Number* w, const Number* next, Number* y) {
        GATEWISE_EACH for (int i = 0; i < rows; ++i)
            GATEWISE_EACH for (int j = 0; j < outputs; ++j) sum[i][j] = Vector(0.0f);
        int64_t k = 0;
        for (; k + Operand::width <= p.cols; k += Operand::width) {
            GATEWISE_EACH for (int j = 0; j < fetch; ++j) __builtin_prefetch(next + j * p.w_stride + k, 0, 2);
            add(p, x + k, w + k);
        }
        if (__builtin_expect(k < p.cols, 0)) add(p, x + k, w + k, p.cols - k);
        Float whole[rows][outputs];
        GATEWISE_EACH for (int i = 0; i < rows; ++i)
            GATEWISE_EACH for (int j = 0; j < outputs; ++j) whole[i][j] = Operand::whole(sum[i][j]);
        float result[rows][outputs];
        totals(whole, result);
        GATEWISE_EACH for (int i = 0; i < rows; ++i) Operand::keep(result[i], y + i * p.y_stride);
    }
};

// `rows` rows of x, or as many as are left.
template <class Operand, int rows, int outputs, int fetch>
GATEWISE_INLINE void tile(const Product& p, int64_t row, int64_t j, int64_t next) {
    using Number = typename Operand::Number;
    if constexpr (rows > 1) {
        if (p.rows - row < rows) return tile<Operand, rows - 1, outputs, fetch>(p, row, j, next);
    }
    const Number *x = static_cast<const Number*>(p.x), *w = static_cast<const Number*>(p.w);
    Number* y = static_cast<Number*>(p.y);
    Tile<Operand, rows, outputs, fetch>().product(p, x + row * p.x_stride, w + j * p.w_stride, w + next * p.w_stride,
                                                  y + row * p.y_stride + j);
}

// Each tile over the same rows of W fetches `share` of the next.
template <class Operand, int share>
void columns(const Product& p, int64_t begin, int64_t end) {
    constexpr int most = ROWS<Operand>, fetch = Operand::width * sizeof(typename Operand::Number) < 32 ? 0 : share;
    int64_t j = begin;
    for (; j + OUTPUTS <= end; j += OUTPUTS) {
        const int64_t next = j + 2 * OUTPUTS <= end ? j + OUTPUTS : j;
        for (int64_t row = 0; row < p.rows; row += most)
            tile<Operand, most, OUTPUTS, fetch>(p, row, j, next + row / most * share % OUTPUTS);
    }
    for (; j < end; ++j)
        for (int64_t row = 0; row < p.rows; row += most) tile<Operand, most, 1, 0>(p, row, j, j);
}

// Columns begin to end of y.
template <class Operand>
void few_rows(const Product& p, int64_t begin, int64_t end) {
    const int64_t tiles = (p.rows + ROWS<Operand> - 1) / ROWS<Operand>;
    if (tiles >= 4) columns<Operand, 1>(p, begin, end);
    else if (tiles >= 2) columns<Operand, 2>(p, begin, end);
    else columns<Operand, 4>(p, begin, end);
}

}  // namespace

}  // namespace gatewise
