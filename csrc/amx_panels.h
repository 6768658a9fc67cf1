// Products of bfloat16 by weights in panels (panels.h) with AMX, whose registers are tiles of 16 rows of 64 bytes.
//
// A panel holds 32 outputs: their biases as float32, then for each 32 inputs two tiles of 16 outputs, pairs of inputs side by
// side. That of a gate holds 16 of gate's outputs and 16 of up's. x lies in tiles of 32 rows, made up with zeros; within a
// tile in groups of 32 inputs, also made up with zeros, row by row. Sums are float32, and rounded once; the processor takes
// subnormal inputs for zeros, as in oneDNN's products.
#pragma once
#include <string.h>

#include "core.h"
#include "loops.h"

namespace gatewise {
namespace {

constexpr int64_t SIDE = 16, PAIR = 2 * SIDE, STEP = PAIR * PAIR;  // rows of a tile register; of two; numbers of a step's tiles
constexpr int64_t HEAD = 2 * PAIR;                                  // numbers that the biases of a panel take
constexpr int64_t TILES = 8;                                        // in a block of rows
// Steps of 32 inputs at a time, so that their tiles of the panel stay in the first cache while all rows go over them.
constexpr int64_t STEPS = 8;

int64_t steps_of(int64_t cols) { return (cols + PAIR - 1) / PAIR; }
int64_t amx_panel_size(int64_t cols) { return HEAD + steps_of(cols) * STEP; }

// The tile registers as we want them, and as they were when it is gone: oneDNN, which uses them too, may count on that.
struct TileRegisters {
    struct alignas(64) Shape {
        uint8_t palette, start, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } before;
    // In assembly: the intrinsics of older compilers (gcc 12) tell of 8 of the 64 bytes that are read, so that what is written
    // to the others may be left out.
    TileRegisters() {
        __asm__ volatile("sttilecfg %0" : "=m"(before));
        Shape all = {};
        all.palette = 1;
        for (int i = 0; i < 8; ++i) all.bytes[i] = 64, all.rows[i] = SIDE;
        __asm__ volatile("ldtilecfg %0" ::"m"(all));
    }
    TileRegisters(const TileRegisters&) = delete;
    TileRegisters& operator=(const TileRegisters&) = delete;
    ~TileRegisters() {
        if (before.palette) __asm__ volatile("ldtilecfg %0" ::"m"(before));
        else _tile_release();
    }
};

// sums[row half][output half][16][16] += x w, or = where they are the first; meanwhile of each `fetch` lines at `next`.
GATEWISE_INLINE void add_steps(const uint16_t* x, const uint16_t* w, int64_t steps, bool begins, const uint16_t* next,
                               int64_t fetch, float* sums) {
    constexpr int stride = 64;  // bytes
    constexpr int64_t tile = SIDE * SIDE, half = STEP / 2;
    if (begins) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    } else {
        _tile_loadd(0, sums, stride);
        _tile_loadd(1, sums + tile, stride);
        _tile_loadd(2, sums + 2 * tile, stride);
        _tile_loadd(3, sums + 3 * tile, stride);
    }
    for (; steps > 0; --steps, x += STEP, w += STEP, next += fetch * 32) {
        for (int64_t line = 0; line < fetch; ++line) __builtin_prefetch(next + line * 32, 0, 2);
        _tile_loadd(6, w, stride);
        _tile_loadd(4, x, stride);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, w + half, stride);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, x + half, stride);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums, stride);
    _tile_stored(1, sums + tile, stride);
    _tile_stored(2, sums + 2 * tile, stride);
    _tile_stored(3, sums + 3 * tile, stride);
}

// Calls finish(panel, tile, biases, sums) for panels begin to end and every tile of 32 rows.
template <class Finish>
GATEWISE_INLINE void by_panels(const PanelProduct& p, int64_t begin, int64_t end, Finish finish) {
    if (p.rows <= 0) return;
    alignas(64) float sums[TILES][PAIR * PAIR];
    const TileRegisters registers;
    const int64_t tiles = (p.rows + PAIR - 1) / PAIR, steps = steps_of(p.cols), size = amx_panel_size(p.cols);
    const int64_t together = tiles < TILES ? tiles : TILES, fetch = (STEP / 32 - 1) / together + 1;
    const int64_t parts = steps ? (steps + STEPS - 1) / STEPS : 1;
    for (int64_t first = 0; first < tiles; first += TILES) {
        const int64_t last = first + TILES < tiles ? first + TILES : tiles;
        for (int64_t panel = begin; panel < end; ++panel) {
            const uint16_t* const head = static_cast<const uint16_t*>(p.panels) + panel * size;
            const uint16_t* const next = panel + 1 < end ? head + size : head;
            for (int64_t part = 0; part < parts; ++part) {
                const int64_t from = steps * part / parts, to = steps * (part + 1) / parts;
                for (int64_t tile = first; tile < last; ++tile) {
                    const uint16_t* x = static_cast<const uint16_t*>(p.x) + (tile * steps + from) * STEP;
                    const uint16_t* ahead = next + ((tile - first) * steps + from) * fetch * 32;
                    add_steps(x, head + HEAD + from * STEP, to - from, part == 0, ahead, fetch, sums[tile - first]);
                    if (part + 1 == parts) finish(panel, tile, reinterpret_cast<const float*>(head), sums[tile - first]);
                }
            }
        }
    }
}

// Sixteen numbers as bfloat16, of which those from `n` on are 0.
GATEWISE_INLINE __m256i rounded(Float x, int64_t n) {
    const __m256i all = _mm512_cvtepi32_epi16(_mm512_srli_epi32(Pair::rounded(x), 16));
    return n >= SIDE ? all : _mm256_maskz_mov_epi16(Float::first(n), all);
}
GATEWISE_INLINE void store(uint16_t* p, __m256i x) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x); }

// y's rows
void amx_rows(const PanelProduct& p, int64_t begin, int64_t end) {
    by_panels(p, begin, end, [&p](int64_t panel, int64_t tile, const float* biases, const float* sums) {
        const int64_t left = p.rows - tile * PAIR, rows = left < PAIR ? left : PAIR;
        for (int64_t half = 0; half < 2; ++half) {
            const int64_t column = panel * PAIR + half * SIDE, n = p.outputs - column;
            if (n <= 0) break;
            const Float bias = Float::load(biases + half * SIDE);
            uint16_t* to = static_cast<uint16_t*>(p.y) + tile * PAIR * p.y_stride + column;
            for (int64_t row = 0; row < rows; ++row, to += p.y_stride) {
                const Float sum = Float::load(sums + (row / SIDE * 2 + half) * 256 + row % SIDE * SIDE) + bias;
                _mm256_mask_storeu_epi16(to, Float::first(n < SIDE ? n : SIDE), rounded(sum, SIDE));
            }
        }
    });
}

// y's tiles, of f(x W^T + b) or of f of gate's outputs times up's
template <class Op>
void amx_hidden(const PanelProduct& p, int64_t begin, int64_t end) {
    by_panels(p, begin, end, [&p](int64_t panel, int64_t tile, const float* biases, const float* sums) {
        constexpr bool gate = Op::num_in == 2;
        const int64_t column = panel * (gate ? SIDE : PAIR), n = p.outputs - column;
        const bool other = !gate || (n <= SIDE && column % PAIR == 0);  // of a gate's last group, the other half
        const Float bias[2] = {Float::load(biases), Float::load(biases + SIDE)};
        uint16_t* to = static_cast<uint16_t*>(p.y) + (tile * steps_of(p.outputs) + column / PAIR) * STEP + column % PAIR;
        for (int64_t row = 0; row < PAIR; row += 2, to += 2 * PAIR) {
            const float* at = sums + row / SIDE * 512 + row % SIDE * SIDE;
            const Twice<Float> in[2] = {{Float::load(at) + bias[0], Float::load(at + SIDE) + bias[0]},
                                        {Float::load(at + 256) + bias[1], Float::load(at + 256 + SIDE) + bias[1]}};
            Twice<Float> out[1];
            apply<Op, true>(in, out);
            store(to, rounded(out[0].a, n)), store(to + PAIR, rounded(out[0].b, n));
            if constexpr (!gate) apply<Op, true>(in + 1, out);
            if (other) store(to + SIDE, rounded(out[0].a, n - SIDE)), store(to + PAIR + SIDE, rounded(out[0].b, n - SIDE));
        }
    });
}

// Tiles begin to end of the rows of a matrix.
void amx_tiles(const PanelRows& r, int64_t begin, int64_t end) {
    const int64_t steps = steps_of(r.cols);
    for (int64_t tile = begin; tile < end; ++tile) {
        for (int64_t i = 0; i < PAIR; ++i) {
            const int64_t row = tile * PAIR + i;
            uint16_t* to = static_cast<uint16_t*>(r.tiles) + tile * steps * STEP + i * PAIR;
            const uint16_t* x = static_cast<const uint16_t*>(r.x) + (row < r.rows ? row : 0) * r.stride;
            for (int64_t k = 0; k < r.cols; k += PAIR, to += STEP) {
                const int64_t left = row < r.rows ? r.cols - k : 0;
                _mm512_storeu_si512(to, _mm512_maskz_loadu_epi16(Pair::first(left < PAIR ? left : PAIR), x + k));
            }
        }
    }
}

// Panels begin to end of the weights, with zeros beyond the last output and input.
void amx_weights(const PanelWeights& p, int64_t begin, int64_t end) {
    const int64_t columns = p.num == 2 ? SIDE : PAIR, size = amx_panel_size(p.cols);  // columns of each weight
    for (int64_t panel = begin; panel < end; ++panel) {
        uint16_t* const head = static_cast<uint16_t*>(p.panels) + panel * size;
        memset(head, 0, sizeof(uint16_t) * size);
        for (int64_t j = 0; j < PAIR; ++j) {
            const int64_t which = j / columns, output = panel * columns + j % columns;
            if (output >= p.outputs) continue;
            const uint16_t* w = static_cast<const uint16_t*>(p.w[which]) + output * p.stride[which];
            if (p.bias[which]) head[2 * j + 1] = static_cast<const uint16_t*>(p.bias[which])[output];
            uint16_t* to = head + HEAD + j / SIDE * (STEP / 2) + j % SIDE * 2;
            for (int64_t k = 0; k < p.cols; ++k) to[k / PAIR * STEP + k % PAIR / 2 * PAIR + k % 2] = w[k];
        }
    }
}

}  // namespace
}  // namespace gatewise
