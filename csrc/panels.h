// Products by weights that were brought into panels: y = x W^T + b, and in the same pass f of it. A panel holds two vectors
// of outputs: their biases, then for each input its weights. That of a gate holds a vector of gate's outputs and one of up's,
// so that a hidden number is finished where its sums are.
//
// x lies in tiles of a few rows, nearly equal in number; within a tile in groups of a vector's width of inputs, row by row:
// a hidden vector is stored as the next product reads it. The sums of a tile by a panel need two vectors of the panel and one
// number of each row at a time.
//
// All tiles go over a panel a part at a time, which stays in the first cache meanwhile. What comes next is fetched as evenly
// as can be: the core waits where more lines are asked for at once than it keeps track of.
#pragma once
#include <string.h>

#include "core.h"
#include "loops.h"

namespace gatewise {
namespace {

constexpr int64_t LINE = 16;  // numbers in a line of the caches
// A panel's outputs; rows whose sums fit beside the operands in the registers; such tiles in a block of rows.
constexpr int PANEL = 2 * Float::width, TILE = Float::width == 16 ? 14 : 6, TILES = Float::width == 16 ? 5 : 12;

struct Tiles {
    int64_t count, least, more;
    explicit Tiles(int64_t rows) : count((rows + TILE - 1) / TILE), least(rows / count), more(rows % count) {}
    int64_t start(int64_t tile) const { return tile * least + (tile < more ? tile : more); }
    int64_t rows(int64_t tile) const { return least + (tile < more); }
};
int64_t groups(int64_t cols) { return (cols + Float::width - 1) / Float::width; }
int64_t panel_size(int64_t cols) { return (cols + 1) * PANEL; }
// Numbers in a row of tiles.
int64_t padded(int64_t cols) { return groups(cols) * Float::width; }

#define GATEWISE_ROWS _Pragma("GCC unroll 16") for (int i = 0; i < rows; ++i)

// Inputs of a part of a panel. Their products are added up before they join the sum, which keeps its rounding small.
constexpr int64_t PART = 128;
// Inputs ahead that a panel is brought into the first cache (2 to 3 % of a block), and from memory into the second where
// there is one tile alone; else it is the next part that is.
constexpr int64_t SOON = 8, AHEAD = 64;

// y[rows][PANEL] += x w, each in one order, whatever stands beside it. With each group of inputs `fetch` lines at `next` are
// fetched.
template <int rows>
[[gnu::noinline]] void add_part(const float* x, const float* w, int64_t cols, const float* next, int64_t fetch, float* y) {
    constexpr int width = Float::width;
    Float sum[rows][2];
    GATEWISE_ROWS sum[i][0] = sum[i][1] = Float(0.0f);
    for (; cols > 0; cols -= width, x += rows * width, next += fetch * LINE) {
        const int64_t count = cols < width ? cols : width;
        for (int64_t k = 0; k < count; ++k, w += PANEL) {
            if (k < fetch) __builtin_prefetch(next + k * LINE, 0, 2);
            if (k + width < fetch) __builtin_prefetch(next + (k + width) * LINE, 0, 2);
            __builtin_prefetch(w + SOON * PANEL, 0, 3), __builtin_prefetch(w + SOON * PANEL + width, 0, 3);
            const Float a = Float::load(w), b = Float::load(w + width);
            GATEWISE_ROWS {
                const Float one(x[i * width + k]);
                sum[i][0] = fma(one, a, sum[i][0]), sum[i][1] = fma(one, b, sum[i][1]);
            }
        }
    }
    GATEWISE_ROWS {
        float* const total = y + i * PANEL;
        (Float::load(total) + sum[i][0]).store(total), (Float::load(total + width) + sum[i][1]).store(total + width);
    }
}
#undef GATEWISE_ROWS

using AddPart = void (*)(const float*, const float*, int64_t, const float*, int64_t, float*);
template <int rows>
struct OfRows {
    static AddPart get(int64_t n) { return n == rows ? add_part<rows> : OfRows<rows - 1>::get(n); }
};
template <>
struct OfRows<0> {
    static AddPart get(int64_t) { return nullptr; }
};

// Calls finish(panel, tile, tiles, sums) for panels begin to end and every tile; a row of sums may be read behind the last.
template <class Finish>
GATEWISE_INLINE void by_panels(const PanelProduct& p, int64_t begin, int64_t end, Finish finish) {
    if (p.rows <= 0) return;
    alignas(64) float y[(TILE * TILES + 1) * PANEL] = {};
    const Tiles tiles(p.rows);
    const AddPart most = OfRows<TILE>::get(tiles.rows(0)), least = OfRows<TILE>::get(tiles.least);
    const int64_t together = tiles.count < TILES ? tiles.count : TILES, ahead = together == 1 ? AHEAD : PART;
    const int64_t lines = Float::width * PANEL / LINE, fetch = (lines + together - 1) / together;  // of a group of inputs
    for (int64_t first = 0; first < tiles.count; first += TILES) {
        const int64_t last = first + TILES < tiles.count ? first + TILES : tiles.count, start = tiles.start(first);
        for (int64_t panel = begin; panel < end; ++panel) {
            const float* w = static_cast<const float*>(p.panels) + panel * panel_size(p.cols);
            for (int64_t i = 0; i < tiles.start(last) - start; ++i) memcpy(y + i * PANEL, w, sizeof(float) * PANEL);
            w += PANEL;
            for (int64_t k = 0; k < p.cols; k += PART, w += PART * PANEL) {
                const int64_t count = p.cols - k < PART ? p.cols - k : PART, share = groups(count) * fetch * LINE;
                for (int64_t tile = first; tile < last; ++tile) {
                    const int64_t row = tiles.start(tile);
                    const float* x = static_cast<const float*>(p.x) + row * padded(p.cols) + k * tiles.rows(tile);
                    const float* next = w + ahead * PANEL + (tile - first) * share;
                    (tile < tiles.more ? most : least)(x, w, count, next, fetch, y + (row - start) * PANEL);
                }
            }
            for (int64_t tile = first; tile < last; ++tile) finish(panel, tile, tiles, y + (tiles.start(tile) - start) * PANEL);
        }
    }
}

// y's rows
void panel_rows(const PanelProduct& p, int64_t begin, int64_t end) {
    by_panels(p, begin, end, [&p](int64_t panel, int64_t tile, const Tiles& tiles, const float* sums) {
        const int64_t left = p.outputs - panel * PANEL;
        float* to = static_cast<float*>(p.y) + tiles.start(tile) * p.y_stride + panel * PANEL;
        for (int64_t i = 0; i < tiles.rows(tile); ++i, to += p.y_stride, sums += PANEL) {
            if (left >= PANEL) memcpy(to, sums, sizeof(float) * PANEL);
            else memcpy(to, sums, sizeof(float) * left);
        }
    });
}

// y's tiles, of f(x W^T + b) or of f of gate's outputs times up's
template <class Op>
void panel_hidden(const PanelProduct& p, int64_t begin, int64_t end) {
    by_panels(p, begin, end, [&p](int64_t panel, int64_t tile, const Tiles& tiles, const float* sums) {
        constexpr int width = Float::width;
        const int64_t rows = tiles.rows(tile), group = panel * (Op::num_in == 2 ? 1 : 2);
        float* to = static_cast<float*>(p.y) + tiles.start(tile) * padded(p.outputs) + group * rows * width;
        if constexpr (Op::num_in == 2) {  // two rows at a time, of which the last may be none
            for (int64_t i = 0; i < rows; i += 2, to += 2 * width, sums += 2 * PANEL) {
                const Two in[2] = {{Float::load(sums), Float::load(sums + PANEL)},
                                      {Float::load(sums + width), Float::load(sums + PANEL + width)}};
                const Two hidden = finished<Op>(in);
                hidden.a.store(to);
                if (i + 1 < rows) hidden.b.store(to + width);
            }
        } else {
            for (int64_t i = 0; i < rows; ++i, to += width, sums += PANEL) {
                const Two in[1] = {Two::load(sums)}, hidden = finished<Op>(in);
                hidden.a.store(to);
                if (group + 1 < groups(p.outputs)) hidden.b.store(to + rows * width);
            }
        }
    });
}

// Tiles begin to end of the rows of a matrix.
void panel_tiles(const PanelRows& r, int64_t begin, int64_t end) {
    constexpr int64_t width = Float::width;
    if (r.rows <= 0) return;
    const Tiles tiles(r.rows);
    for (int64_t tile = begin; tile < end; ++tile) {
        const int64_t start = tiles.start(tile), rows = tiles.rows(tile);
        for (int64_t i = 0; i < rows; ++i) {
            const float* x = static_cast<const float*>(r.x) + (start + i) * r.stride;
            float* to = static_cast<float*>(r.tiles) + start * padded(r.cols) + i * width;
            int64_t k = 0;
            for (; k + width <= r.cols; k += width, to += rows * width) Float::load(x + k).store(to);
            if (k < r.cols) Float::load(x + k, r.cols - k).store(to);
        }
    }
}

// Panels begin to end of the weights, with zeros beyond the last output.
void panel_weights(const PanelWeights& p, int64_t begin, int64_t end) {
    const int columns = p.num == 2 ? Float::width : PANEL;  // of each weight, in a panel
    for (int64_t panel = begin; panel < end; ++panel) {
        float* to = static_cast<float*>(p.panels) + panel * panel_size(p.cols);
        for (int j = 0; j < PANEL; ++j, ++to) {
            const int which = j / columns;
            const int64_t output = panel * columns + j % columns;
            const bool there = output < p.outputs;
            const float* w = static_cast<const float*>(p.w[which]) + (there ? output * p.stride[which] : 0);
            to[0] = there && p.bias[which] ? static_cast<const float*>(p.bias[which])[output] : 0.0f;
            for (int64_t k = 0; k < p.cols; ++k) to[(k + 1) * PANEL] = there ? w[k] : 0.0f;
        }
    }
}

}  // namespace

}  // namespace gatewise
