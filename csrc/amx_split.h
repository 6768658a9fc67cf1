// Products of float32 in three parts (amx_parts.h) by panels of such, with AMX.
#pragma once
#include "amx_parts.h"

namespace gatewise {
namespace {

// Steps of so many tiles of rows stay in the second cache while panels go by: .8 MB.
constexpr int64_t MOST_STEPS = 130;
constexpr int64_t INPUTS = 28;  // steps that are summed at a time, at most, where sums may be added up in y

// They bring two tile registers of x, or of w, and multiply by what the others hold.
#define GATEWISE_NEXT_X(part)                                                                  \
    _tile_loadd(4, x + (part) * STEP, 64);                                                     \
    _tile_dpbf16ps(0, 4, 6);                                                                   \
    _tile_dpbf16ps(1, 4, 7);                                                                   \
    _tile_loadd(5, x + (part) * STEP + STEP / 2, 64);                                          \
    _tile_dpbf16ps(2, 5, 6);                                                                   \
    _tile_dpbf16ps(3, 5, 7)
#define GATEWISE_NEXT_W(part)                                                                  \
    _tile_loadd(6, w + (part) * STEP, 64);                                                     \
    _tile_dpbf16ps(0, 4, 6);                                                                   \
    _tile_dpbf16ps(2, 5, 6);                                                                   \
    _tile_loadd(7, w + (part) * STEP + STEP / 2, 64);                                          \
    _tile_dpbf16ps(1, 4, 7);                                                                   \
    _tile_dpbf16ps(3, 5, 7)

// Rows of a tile that will be written, some of them read, when its sums are there: they are brought near meanwhile, for the
// stores would have the loads of the next tile wait.
struct Ahead {
    const float* at[3];
    int num = 0, which = 0;
    int64_t stride, rows, row = 0;
    bool both;  // two lines of each row

    Ahead(int64_t stride_, int64_t rows_, bool both_) : stride(stride_), rows(rows_), both(both_) {}
    GATEWISE_INLINE void add(const float* p) {
        if (p) at[num++] = p;
    }
    GATEWISE_INLINE int64_t each(int64_t steps) const { return steps > 0 ? (num * rows + steps - 1) / steps : 0; }
    GATEWISE_INLINE void fetch(int64_t n) {
        for (; n > 0 && which < num; --n) {
            const float* const p = at[which] + row * stride;
            __builtin_prefetch(p, 1, 2);
            if (both) __builtin_prefetch(p + SIDE, 1, 2);
            if (++row == rows) row = 0, ++which;
        }
    }
};
// Those of y, and those beside it, of so many columns from `column` on.
GATEWISE_INLINE int64_t rows_of(const PanelProduct& p, int64_t tile) {
    const int64_t left = p.rows - tile * PAIR;
    return left < PAIR ? left : PAIR;
}
GATEWISE_INLINE Ahead ahead_of_y(const PanelProduct& p, int64_t panel, int64_t tile) {
    Ahead found(p.y_stride, rows_of(p, tile), true);
    found.add(static_cast<const float*>(p.y) + tile * PAIR * p.y_stride + panel * PAIR);
    return found;
}
GATEWISE_INLINE Ahead ahead_beside(const PanelProduct& p, int64_t tile, int64_t column, int64_t count) {
    Ahead found(p.beside_stride, rows_of(p, tile), count > SIDE);
    for (float* each : p.beside)
        if (each) found.add(each + tile * PAIR * p.beside_stride + column);
    return found;
}

// sums[row half][output half][16][16] = x w. Between its groups of four products, POINTS a step, other() may use the vector
// units, which a few instructions at a time does for nothing; `fetch` lines at `next` are fetched, and what is `ahead`.
constexpr int64_t POINTS = 6;
template <class Other>
GATEWISE_INLINE void sum_split(const uint16_t* x, const uint16_t* w, int64_t steps, const uint16_t* next, int64_t fetch,
                               Ahead ahead, float* sums, Other other) {
    const int64_t each = ahead.each(steps * POINTS);
    const auto point = [&] {
        for (int64_t line = 0; line < fetch; ++line) __builtin_prefetch(next + line * 32, 0, 2);
        next += fetch * 32;
        ahead.fetch(each);
        other();
    };
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t step = 0; step < steps; ++step, x += SPLIT, w += SPLIT) {
        _tile_loadd(6, w + 2 * STEP, 64);
        _tile_loadd(4, x, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, w + 2 * STEP + STEP / 2, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, x + STEP / 2, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        point();
        GATEWISE_NEXT_W(1);
        point();
        GATEWISE_NEXT_X(1);
        point();
        GATEWISE_NEXT_W(0);
        point();
        GATEWISE_NEXT_X(2);
        point();
        GATEWISE_NEXT_X(0);
        point();
    }
    _tile_stored(0, sums, 64);
    _tile_stored(1, sums + SIDE * SIDE, 64);
    _tile_stored(2, sums + 2 * SIDE * SIDE, 64);
    _tile_stored(3, sums + 3 * SIDE * SIDE, 64);
}
#undef GATEWISE_NEXT_X
#undef GATEWISE_NEXT_W

// Some things to do, spread evenly over so many points.
class Spread {
    int64_t things = 0, points = 1, sum = 0;

   public:
    void begin(int64_t things_, int64_t points_) { things = things_, points = points_, sum = 0; }
    template <class Do>
    GATEWISE_INLINE void point(Do one) {
        for (sum += things; sum >= points; sum -= points) one();
    }
};

// The sums of one tile by one panel, finished two rows at a time while the next are made.
template <class Finish>
class Sums {
    alignas(64) float of[2][PAIR * PAIR];
    const Finish& finish;
    const int64_t points;
    Spread spread;
    int64_t panel = 0, tile = 0, row = PAIR;
    const float* biases = nullptr;
    bool now = false;
    [[gnu::noinline]] void one() {
        finish(panel, tile, biases, of[!now], row);
        row += 2;
    }

   public:
    Sums(const Finish& f, int64_t steps) : finish(f), points(steps * POINTS) {}
    GATEWISE_INLINE float* next() { return of[now]; }
    GATEWISE_INLINE void point() {
        spread.point([this] { one(); });
    }
    void rest() {
        while (row < PAIR) one();
    }
    GATEWISE_INLINE void made(int64_t panel_, int64_t tile_, const float* biases_) {
        rest();
        panel = panel_, tile = tile_, biases = biases_, now = !now, row = 0;
        spread.begin(SIDE, points);
    }
};

// Calls finish(panel, tile, biases, sums, row) for panels begin to end, every tile of 32 rows, and every other row of it;
// ahead(panel, tile) before that. Of `steps` steps from `from` on.
template <class Before, class Finish>
GATEWISE_INLINE void by_split_panels(const PanelProduct& p, int64_t begin, int64_t end, int64_t from, int64_t steps,
                                     Before ahead, Finish finish) {
    if (p.rows <= 0) return;
    const TileRegisters registers;
    const int64_t tiles = (p.rows + PAIR - 1) / PAIR, all_steps = steps_of(p.cols), size = split_panel_size(p.cols);
    const int64_t fit = MOST_STEPS / (steps > 0 ? steps : 1), most = fit < 1 ? 1 : fit;
    const int64_t blocks = (tiles + most - 1) / most;
    Sums<Finish> sums(finish, steps);
    for (int64_t block = 0; block < blocks; ++block) {
        const int64_t first = tiles * block / blocks, last = tiles * (block + 1) / blocks;
        const int64_t fetch = (SPLIT / 32 - 1) / ((last - first) * POINTS) + 1;
        for (int64_t panel = begin; panel < end; ++panel) {
            const uint16_t* const head = static_cast<const uint16_t*>(p.panels) + panel * size;
            const uint16_t* const w = head + HEAD + from * SPLIT;
            const uint16_t* const next = panel + 1 < end ? w + size : w;
            for (int64_t tile = first; tile < last; ++tile) {
                const uint16_t* x = static_cast<const uint16_t*>(p.x) + (tile * all_steps + from) * SPLIT;
                sum_split(x, w, steps, next + (tile - first) * steps * POINTS * fetch * 32, fetch, ahead(panel, tile),
                          sums.next(), [&] { sums.point(); });
                sums.made(panel, tile, reinterpret_cast<const float*>(head));
            }
        }
    }
    sums.rest();
}

// As by_split_panels, of tiles begin to end and all panels; the tiles are made of x's rows in `space`, `near` at a time. (While
// others are multiplied, that takes as long: docs/log.md.)
template <class Before, class Finish>
GATEWISE_INLINE void by_split_rows(const PanelProduct& p, const PanelRows& x, uint16_t* space, int64_t near, int64_t begin,
                                   int64_t end, int64_t panels, Before ahead, Finish finish) {
    if (begin >= end) return;
    const TileRegisters registers;
    const int64_t steps = steps_of(p.cols), size = split_panel_size(p.cols);
    const uint16_t* const all = static_cast<const uint16_t*>(p.panels);
    Sums<Finish> sums(finish, steps);
    for (int64_t first = begin, count = 0; first < end; first += count) {
        count = near < end - first ? near : end - first;
        split_tiles(rows_from(x, first * PAIR, space), 0, count);
        const int64_t fetch = (SPLIT / 32 - 1) / (count * POINTS) + 1;
        for (int64_t panel = 0; panel < panels; ++panel) {
            const uint16_t* const head = all + panel * size;
            const uint16_t* const next = panel + 1 < panels ? head + size : all;
            for (int64_t tile = 0; tile < count; ++tile) {
                sum_split(space + tile * steps * SPLIT, head + HEAD, steps, next + tile * steps * POINTS * fetch * 32, fetch,
                          ahead(panel, first + tile), sums.next(), [&] { sums.point(); });
                sums.made(panel, first + tile, reinterpret_cast<const float*>(head));
            }
        }
    }
    sums.rest();
}

// Two rows of a tile of y by a panel, or what is to be added to them.
template <bool add>
GATEWISE_INLINE void write_split(const PanelProduct& p, int64_t panel, int64_t tile, const float* biases, const float* sums,
                                 int64_t begin) {
    const int64_t rows = rows_of(p, tile), column = panel * PAIR, n = p.outputs - column;
    float* to = static_cast<float*>(p.y) + (tile * PAIR + begin) * p.y_stride + column;
    for (int64_t row = begin; row < begin + 2 && row < rows; ++row, to += p.y_stride) {
        const float* at = sums + row / SIDE * 512 + row % SIDE * SIDE;
        for (int64_t half = 0; half < 2; ++half) {
            const int64_t count = n - half * SIDE;
            if (count <= 0) break;
            float* const y = to + half * SIDE;
            const Float sum = Float::load(at + half * 256);
            const Float other = !add            ? Float::load(biases + half * SIDE)
                                : count >= SIDE ? Float::load(y)
                                                : Float::load(y, count);
            if (count >= SIDE) (other + sum).store(y);
            else (other + sum).store(y, count);
        }
    }
}

// How they are finished; what is added to has its bias.
struct Write {
    const PanelProduct& p;
    bool add;
    GATEWISE_INLINE void operator()(int64_t panel, int64_t tile, const float* biases, const float* sums, int64_t row) const {
        if (add) write_split<true>(p, panel, tile, biases, sums, row);
        else write_split<false>(p, panel, tile, biases, sums, row);
    }
};

// y's rows, of some of the inputs at a time: more rows' tiles of them stay in the second cache.
void split_rows(const PanelProduct& p, int64_t begin, int64_t end) {
    const int64_t steps = steps_of(p.cols), parts = steps > 0 ? (steps + INPUTS - 1) / INPUTS : 1;
    for (int64_t part = 0; part < parts; ++part) {
        const int64_t from = steps * part / parts, to = steps * (part + 1) / parts;
        by_split_panels(
            p, begin, end, from, to - from, [&p](int64_t panel, int64_t tile) { return ahead_of_y(p, panel, tile); },
            Write{p, part > 0});
    }
}

// The same, of x's rows as they are.
void split_rows_from(const PanelProduct& p, const PanelRows& x, uint16_t* space, int64_t near, int64_t begin, int64_t end) {
    by_split_rows(
        p, x, space, near, begin, end, (p.outputs + PAIR - 1) / PAIR,
        [&p](int64_t panel, int64_t tile) { return ahead_of_y(p, panel, tile); }, Write{p, p.add});
}

// Sixteen hidden numbers in parts, of which those from `n` on are 0.
GATEWISE_INLINE void store_parts(uint16_t* to, Float x, int64_t n, Most& most) {
    if (n < SIDE) x = _mm512_maskz_mov_ps(Float::first(n), x.v);
    most.see(x);
    GATEWISE_ALL for (int part = 0; part < PARTS; ++part) store(to + part * STEP, next_part(x));
}

// y's tiles, of f(x W^T + b) or of f of gate's outputs times up's, whose own rows are stored beside where that is asked for
template <class Op>
void split_hidden(const PanelProduct& p, int64_t begin, int64_t end) {
    constexpr bool gate = Op::num_in == 2;
    constexpr int64_t width = gate ? SIDE : PAIR;
    Most most;
    const auto store_beside = [&p](float* rows, const Two& x, int64_t row, int64_t column, int64_t count) {
        if (!rows || count <= 0) return;
        float* const to = rows + row * p.beside_stride + column;
        if (count >= SIDE) x.a.store(to);
        else x.a.store(to, count);
        if (row + 1 >= p.rows) return;
        if (count >= SIDE) x.b.store(to + p.beside_stride);
        else x.b.store(to + p.beside_stride, count);
    };
    by_split_panels(
        p, begin, end, 0, steps_of(p.cols),
        [&p](int64_t panel, int64_t tile) { return ahead_beside(p, tile, panel * width, width); },
        [&](int64_t panel, int64_t tile, const float* biases, const float* sums, int64_t i) {
            const int64_t column = panel * width, n = p.outputs - column;
            const bool other = !gate || (n <= SIDE && column % PAIR == 0);  // of a gate's last group, the other half
            const Float bias[2] = {Float::load(biases), Float::load(biases + SIDE)};
            uint16_t* const to = static_cast<uint16_t*>(p.y) + (tile * steps_of(p.outputs) + column / PAIR) * SPLIT +
                                 column % PAIR + i * PAIR;
            const float* const at = sums + i / SIDE * 512 + i % SIDE * SIDE;
            const Two in[2] = {{Float::load(at) + bias[0], Float::load(at + SIDE) + bias[0]},
                               {Float::load(at + 256) + bias[1], Float::load(at + 256 + SIDE) + bias[1]}};
            const int64_t row = tile * PAIR + i;
            if (row < p.rows) {
                store_beside(p.beside[0], in[0], row, column, n);
                store_beside(p.beside[gate], in[1], row, gate ? column : column + SIDE, gate ? n : n - SIDE);
            }
            Two out = finished<Op>(in);
            store_parts(to, out.a, n, most), store_parts(to + PAIR, out.b, n, most);
            if constexpr (!gate) out = finished<Op>(in + 1);
            if (!other) return;
            store_parts(to + SIDE, out.a, n - SIDE, most), store_parts(to + PAIR + SIDE, out.b, n - SIDE, most);
        });
    most.tell(p.most);
}

// The sums are gradients by hidden numbers. Beside them lie gate and up, or x, which become the gradients by them, and what the
// hidden numbers are written to.
template <class Forward, class Backward>
void split_slopes(const PanelProduct& p, const PanelRows& x, uint16_t* space, int64_t near, int64_t begin, int64_t end) {
    constexpr int num = Forward::num_in;
    by_split_rows(
        p, x, space, near, begin, end, (p.outputs + PAIR - 1) / PAIR,
        [&p](int64_t panel, int64_t tile) { return ahead_beside(p, tile, panel * PAIR, PAIR); },
        [&p](int64_t panel, int64_t tile, const float*, const float* sums, int64_t row) {
            const int64_t rows = rows_of(p, tile);
            if (row >= rows) return;
            for (int64_t half = 0; half < 2; ++half) {
                const int64_t column = panel * PAIR + half * SIDE, left = p.outputs - column, n = left < SIDE ? left : SIDE;
                if (n <= 0) break;
                const int64_t second = row + 1 < rows ? n : 0, at = (tile * PAIR + row) * p.beside_stride + column;
                const float* const sum = sums + (row / SIDE * 2 + half) * 256 + row % SIDE * SIDE;
                Two in[num + 1], out[num], hidden[1];
                GATEWISE_ALL for (int i = 0; i < num; ++i)
                    in[i] = {Float::load(p.beside[i] + at, n), Float::load(p.beside[i] + at + p.beside_stride, second)};
                in[num] = {Float::load(sum), Float::load(sum + SIDE)};
                finish<Forward>(in, hidden);
                finish<Backward>(in, out);
                hidden[0].a.store(p.beside[2] + at, n), hidden[0].b.store(p.beside[2] + at + p.beside_stride, second);
                GATEWISE_ALL for (int i = 0; i < num; ++i)
                    out[i].a.store(p.beside[i] + at, n), out[i].b.store(p.beside[i] + at + p.beside_stride, second);
            }
        });
}

}  // namespace
}  // namespace gatewise
