// y = x W^T for few rows of x. Bound by reading W, which is read once and where it lies, by its rows: no packed copy.
#pragma once
#include <string.h>

#include "core.h"

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
    static GATEWISE_INLINE float total(Vector sum) { return gatewise::total(sum); }
    static GATEWISE_INLINE void keep(float y, Number* p) { *p = y; }
};
struct BrainOperand {
    using Number = uint16_t;
    using Vector = Twice<Float>;
    static constexpr int width = Pair::width, parts = 2;
    static GATEWISE_INLINE Vector load(const Number* p) { return Pair::load(p).v; }
    static GATEWISE_INLINE Vector load(const Number* p, int64_t n) { return Pair::load(p, n).v; }
    static GATEWISE_INLINE float total(Vector sum) { return gatewise::total(sum.a + sum.b); }
    static GATEWISE_INLINE void keep(float y, Number* p) {  // to nearest, ties to even
        uint32_t bits;
        memcpy(&bits, &y, sizeof bits);
        *p = y != y ? 0x7fc0 : static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    }
};

// Sums that fit beside the operands in the registers of an instruction set.
constexpr int SUMS = Float::width == 16 ? 16 : 8;

// Some rows of x by some of W. Each sum is taken in the same order, whatever stands beside it: a row's result does not
// depend on how many there are.
template <class Operand, int rows, int outputs>
struct Tile {
    using Number = typename Operand::Number;
    using Vector = typename Operand::Vector;
    Vector sum[rows][outputs];

    template <class... Rest>
    GATEWISE_INLINE void add(const Product& p, const Number* x, const Number* w, Rest... rest) {
        Vector b[outputs];
        GATEWISE_EACH for (int j = 0; j < outputs; ++j) b[j] = Operand::load(w + j * p.w_stride, rest...);
        GATEWISE_EACH for (int i = 0; i < rows; ++i) {
            const Vector a = Operand::load(x + i * p.x_stride, rest...);
            GATEWISE_EACH for (int j = 0; j < outputs; ++j) sum[i][j] = fma(a, b[j], sum[i][j]);
        }
    }
    GATEWISE_INLINE void product(const Product& p, const Number* x, const Number* w, Number* y) {
        GATEWISE_EACH for (int i = 0; i < rows; ++i)
            GATEWISE_EACH for (int j = 0; j < outputs; ++j) sum[i][j] = Vector(0.0f);
        int64_t k = 0;
        for (; k + Operand::width <= p.cols; k += Operand::width) add(p, x + k, w + k);
        if (k < p.cols) add(p, x + k, w + k, p.cols - k);
        GATEWISE_EACH for (int i = 0; i < rows; ++i)
            GATEWISE_EACH for (int j = 0; j < outputs; ++j)
                Operand::keep(Operand::total(sum[i][j]), y + i * p.y_stride + j);
    }
};

template <class Operand, int rows>
void outputs(const Product& p, int64_t row, int64_t begin, int64_t end) {
    using Number = typename Operand::Number;
    constexpr int fit = SUMS / (rows * Operand::parts), at_once = fit < 1 ? 1 : fit > 4 ? 4 : fit;
    const Number* x = static_cast<const Number*>(p.x) + row * p.x_stride;
    const Number* w = static_cast<const Number*>(p.w);
    Number* y = static_cast<Number*>(p.y) + row * p.y_stride;
    int64_t j = begin;
    for (; j + at_once <= end; j += at_once) Tile<Operand, rows, at_once>().product(p, x, w + j * p.w_stride, y + j);
    for (; j < end; ++j) Tile<Operand, rows, 1>().product(p, x, w + j * p.w_stride, y + j);
}

// Columns begin to end of y.
template <class Operand>
void few_rows(const Product& p, int64_t begin, int64_t end) {
    constexpr int most = SUMS / (2 * Operand::parts);
    int64_t row = 0;
    for (; row + most <= p.rows; row += most) outputs<Operand, most>(p, row, begin, end);
    if constexpr (most > 4)
        for (; row + 4 <= p.rows; row += 4) outputs<Operand, 4>(p, row, begin, end);
    if constexpr (most > 2)
        for (; row + 2 <= p.rows; row += 2) outputs<Operand, 2>(p, row, begin, end);
    for (; row < p.rows; ++row) outputs<Operand, 1>(p, row, begin, end);
}

}  // namespace

#define GATEWISE_FEW_ROWS {few_rows<BrainOperand>, few_rows<SingleOperand>}

}  // namespace gatewise
