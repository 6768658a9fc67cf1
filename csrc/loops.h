// From a formula on vectors to a kernel on rows. Included once for each instruction set, after its vector type.
#pragma once
#include "brain_table.h"
#include "core.h"
#include "gaussian.h"
#include "logistic.h"

namespace gatewise {
namespace {

struct Open {
    template <class F>
    static GATEWISE_INLINE F gate(F x) {
        return x;
    }
    template <class F>
    static GATEWISE_INLINE F up(F x) {
        return x;
    }
    template <class F>
    static GATEWISE_INLINE F by_gate(F, F gradient) {
        return gradient;
    }
    template <class F>
    static GATEWISE_INLINE F by_up(F, F gradient) {
        return gradient;
    }
};

struct Clamped {  // f(min(gate, 7)) (clip(up, -7, 7) + 1)
    static constexpr float limit = 7.0f;
    template <class F>
    static GATEWISE_INLINE F gate(F x) {
        return min(F(limit), x);
    }
    template <class F>
    static GATEWISE_INLINE F up(F x) {
        return max(F(-limit), min(F(limit), x)) + F(1.0f);
    }
    template <class F>
    static GATEWISE_INLINE F by_gate(F x, F gradient) {
        return select(less(F(limit), x), F(0.0f), gradient);
    }
    template <class F>
    static GATEWISE_INLINE F by_up(F x, F gradient) {
        return select(less(F(limit), abs(x)), F(0.0f), gradient);
    }
};

// x y. Where an x is subnormal a multiplication costs Intel's processors more than a hundred cycles: x is then taken as a whole
// number of 2^-149, and so is the product, if it is that small. To be `careful` pays where such x are to be expected.
template <bool careful, class F>
GATEWISE_INLINE F times(F x, F y) {
    if constexpr (careful) {
        const auto small = subnormal(x);
        if (__builtin_expect(any(small), 0)) {
            const F by = select(negative(x), F(-1.0f), F(1.0f)) * y, number = whole(abs(x));
            const F product = by * number, size = abs(product);  // infinite where y is huge
            const auto tiny = less(size, F(0x1p24f));
            const F magic(0x1p23f), wholes = fma(abs(by), number, magic) - magic;  // rounded once
            const F rounded = select(less(size, magic), wholes, size);
            const F low = add_bits(select(negative(product), F(-0.0f), F(0.0f)), nearest(rounded));
            const F high = select(tiny, F(1.0f), by * F(0x1p-75f) * number) * F(0x1p-74f);
            return select(small, select(tiny, low, high), select(small, F(1.0f), x) * y);
        }
    }
    return x * y;
}

// A kernel: a formula at the first operand, and what is made of its value and slope.
template <class Formula_, class Clamp_, Level level_>
struct Operation {
    using Formula = Formula_;
    using Clamp = Clamp_;
    static constexpr Level level = level_;
};
template <class Formula, Level level>
struct ScalarForward : Operation<Formula, Open, level> {
    static constexpr int num_in = 1, num_out = 1;
    static constexpr bool want_value = true, want_slope = false;
    template <bool careful, class F>
    static GATEWISE_INLINE void finish(const Result<F>& f, const F*, F* out) {
        out[0] = f.value;
    }
};
template <class Formula, Level level>
struct ScalarBackward : Operation<Formula, Open, level> {
    static constexpr int num_in = 2, num_out = 1;
    static constexpr bool want_value = false, want_slope = true;
    template <bool careful, class F>
    static GATEWISE_INLINE void finish(const Result<F>& f, const F* in, F* out) {
        out[0] = in[1] * f.slope;
    }
};
template <class Formula, class Clamp, Level level>
struct GateForward : Operation<Formula, Clamp, level> {
    static constexpr int num_in = 2, num_out = 1;
    static constexpr bool want_value = true, want_slope = false;
    template <bool careful, class F>
    static GATEWISE_INLINE void finish(const Result<F>& f, const F* in, F* out) {
        out[0] = times<careful>(f.value, Clamp::up(in[1]));
    }
};
template <class Formula, class Clamp, Level level>
struct GateBackward : Operation<Formula, Clamp, level> {
    static constexpr int num_in = 3, num_out = 2;
    static constexpr bool want_value = true, want_slope = true;
    template <bool careful, class F>
    static GATEWISE_INLINE void finish(const Result<F>& f, const F* in, F* out) {
        out[0] = Clamp::by_gate(in[0], in[2] * Clamp::up(in[1]) * f.slope);
        out[1] = Clamp::by_up(in[1], times<careful>(f.value, in[2]));
    }
};

// bfloat16 always takes the value: a formula may choose its way by what is wanted, and every number must be the table's.
template <class Op>
constexpr bool want_value = Op::want_value || Op::level == Level::coarse;
template <class Op>
constexpr bool limited = Op::Formula::template limited<Op::level, want_value<Op>>();
// Where subnormal activations are to be expected; with AVX2 looking for them in bfloat16 costs a fifth, and is left out.
template <class Op, bool everywhere>
constexpr bool careful = Op::level == Level::coarse ? Float::rows == 16
                                                    : Float::rows > 0 && Op::level == Level::high && everywhere && limited<Op>;

template <class Op, class F>
GATEWISE_INLINE auto outside(const F* in) {
    return Op::Formula::template outside<Op::level>(Op::Clamp::gate(in[0]));
}
template <class Op, bool everywhere, class F>
GATEWISE_INLINE void apply(const F* in, F* out) {
    using Formula = typename Op::Formula;
    const F x = Op::Clamp::gate(in[0]);
    Result<F> f = Formula::template evaluate<Op::level, want_value<Op>, Op::want_slope, everywhere>(x);
    if constexpr (want_value<Op>) f.value = settled(f.value);
    if constexpr (Op::want_slope) f.slope = settled(f.slope);
    if constexpr (Op::want_slope && Op::level == Level::coarse && Float::rows > 0) f.slope = normal(f.slope);
    Op::template finish<careful<Op, everywhere>>(f, in, out);
}

// How numbers lie in memory, and as how many vectors they are loaded.
struct Single {
    static constexpr bool has_tables = false;
    using Number = float;
    using Block = Floats;
    template <class Op>
    static GATEWISE_INLINE bool outside(const Block* in) {
        return any(gatewise::outside<Op>(in));
    }
    template <class Op, bool everywhere>
    static GATEWISE_INLINE void apply(const Block* in, Block* out) {
        gatewise::apply<Op, everywhere>(in, out);
    }
};
struct Brain {
    static constexpr bool has_tables = Float::width > 1;
    using Number = uint16_t;
    using Block = Pair;
    template <class Op>
    static GATEWISE_INLINE bool outside(const Block* in) {
        Twice<Float> x[Op::num_in];
        GATEWISE_UNROLL for (int i = 0; i < Op::num_in; ++i) x[i] = in[i].v;
        return any(gatewise::outside<Op>(x));
    }
    template <class Op, bool everywhere>
    static GATEWISE_INLINE void apply(const Block* in, Block* out) {
        Twice<Float> x[Op::num_in], y[Op::num_out];
        GATEWISE_UNROLL for (int i = 0; i < Op::num_in; ++i) x[i] = in[i].v;
        gatewise::apply<Op, everywhere>(x, y);
        GATEWISE_UNROLL for (int i = 0; i < Op::num_out; ++i) out[i].v = y[i];
    }
};

template <class Memory, class Op>
struct Span {
    using Number = typename Memory::Number;
    using Block = typename Memory::Block;
    static constexpr int width = Block::width;
    using Entries = Table<typename Op::Formula, typename Op::Clamp>;
    const Number* in[Op::num_in];
    Number* out[Op::num_out];

    GATEWISE_INLINE void advance(int64_t n) {
        GATEWISE_UNROLL for (auto& p : in) p += n;
        GATEWISE_UNROLL for (auto& p : out) p += n;
    }
    GATEWISE_INLINE void load(Block* x, int64_t at) const {
        GATEWISE_UNROLL for (int i = 0; i < Op::num_in; ++i) x[i] = Block::load(in[i] + at);
    }
    // Fewer than `width` numbers.
    GATEWISE_INLINE void part(int64_t n) {
        Block x[Op::num_in], y[Op::num_out];
        GATEWISE_UNROLL for (int i = 0; i < Op::num_in; ++i) x[i] = Block::load(in[i], n);
        Memory::template apply<Op, true>(x, y);
        GATEWISE_UNROLL for (int i = 0; i < Op::num_out; ++i) y[i].store(out[i], n);
        advance(n);
    }
    // From a block with a number that the fast way is not right for to the last of sixteen without one: going back and
    // forth costs more than they do. Out of line, so that the loop below keeps its constants in registers.
    template <bool stream, int64_t step>
    [[gnu::noinline]] static int64_t rare(Span here, int64_t at, int64_t end) {
        for (int more = 16; more > 0 && at != end; --more, at += step) {
            Block x[Op::num_in], y[Op::num_out];
            here.load(x, at);
            if (Memory::template outside<Op>(x)) more = 16;
            Memory::template apply<Op, true>(x, y);
            GATEWISE_UNROLL for (int i = 0; i < Op::num_out; ++i)
                stream ? y[i].stream(here.out[i] + at) : y[i].store(here.out[i] + at);
        }
        return at;
    }
    // A load behind a store whose address has the same low twelve bits waits for it, and arrays of one size that torch
    // allocates one after the other begin 64 bytes further each: a store is then just ahead of the loads of another
    // array. The other way round, loads run away from the stores.
    GATEWISE_INLINE bool downwards() const {
        int ahead = 0;
        GATEWISE_UNROLL for (auto* p : in) {
            GATEWISE_UNROLL for (auto* q : out) {
                const auto gap = (reinterpret_cast<uintptr_t>(q) - reinterpret_cast<uintptr_t>(p)) % 4096;
                ahead += (gap > 0 && gap < 512) - (gap > 4096 - 512);
            }
        }
        return ahead > 0;
    }
    // Where memory is the limit, ask for what comes in time: the hardware does not look beyond a page, and the core not beyond
    // the few numbers that its instructions in flight are about. Within the caches it costs more than it brings.
    template <bool stream, int bytes>
    GATEWISE_INLINE void ahead(int64_t at) const {
        constexpr int64_t line = static_cast<int64_t>(64 / sizeof(Number)), by = static_cast<int64_t>(bytes / sizeof(Number));
        if constexpr (stream)
            for (int64_t part = 0; part < width; part += line)
                GATEWISE_UNROLL for (int i = 0; i < Op::num_in; ++i) __builtin_prefetch(in[i] + at + by + part, 0, 2);
    }
    // How far: on an Intel Xeon with AVX-512 and 14 to 25 GB/s a core these were the best of 512 bytes to 8 KiB.
    static constexpr int far_enough = Op::num_in == 3 ? 1024 : 2048, far_enough_looking_up = 8192;

    template <bool stream, bool down>
    GATEWISE_INLINE void blocks(int64_t count) {
        constexpr int64_t step = down ? -width : width;
        const int64_t last = (count - 1) * width, end = down ? -width : last + width;
        const Span here = *this;  // so that the pointers stay in registers
        for (int64_t at = down ? last : 0; at != end;) {
            for (; at != end; at += step) {
                Block x[Op::num_in], y[Op::num_out];
                here.template ahead<stream, far_enough>(at);
                here.load(x, at);
                if constexpr (limited<Op>) {
                    if (__builtin_expect(Memory::template outside<Op>(x), 0)) break;
                }
                Memory::template apply<Op, !limited<Op>>(x, y);
                GATEWISE_UNROLL for (int i = 0; i < Op::num_out; ++i)
                    stream ? y[i].stream(here.out[i] + at) : y[i].store(here.out[i] + at);
            }
            if (at == end) break;
            if constexpr (limited<Op>) at = rare<stream, step>(here, at, end);
        }
    }
    template <bool gather>
    static GATEWISE_INLINE Result<Twice<Float>> found(const Entries& table, const Number* x) {
        if constexpr (!Op::want_slope) return {Block::template looked_up<gather>(table.value, x), {}};
        else if constexpr (!Op::want_value) return {{}, Block::template looked_up<gather>(table.slope, x)};
        else return Block::template looked_up<gather>(table.both, x);
    }
    template <bool stream, bool down, bool gather>
    GATEWISE_INLINE void looked_up(int64_t count, const Entries& table) {
        constexpr int64_t step = down ? -width : width;
        const int64_t last = (count - 1) * width, end = down ? -width : last + width;
        for (int64_t at = down ? last : 0; at != end; at += step) {
            ahead<stream, far_enough_looking_up>(at);
            if constexpr (Op::num_in == 1) {
                Block::template look_up<stream, gather>(table.rounded, in[0] + at, out[0] + at);
            } else {
                Block x[Op::num_in], y[Op::num_out];
                Twice<Float> from[Op::num_in], to[Op::num_out];
                load(x, at);
                GATEWISE_UNROLL for (int i = 0; i < Op::num_in; ++i) from[i] = x[i].v;
                Op::template finish<careful<Op, true>>(found<gather>(table, in[0] + at), from, to);
                GATEWISE_UNROLL for (int i = 0; i < Op::num_out; ++i) y[i].v = to[i];
                GATEWISE_UNROLL for (int i = 0; i < Op::num_out; ++i)
                    stream ? y[i].stream(out[i] + at) : y[i].store(out[i] + at);
            }
        }
    }
    template <bool stream, bool down>
    GATEWISE_INLINE void most(int64_t count, [[maybe_unused]] const Entries* table) {
        if constexpr (Memory::has_tables) {
            if (table && gathers<Block>()) return looked_up<stream, down, true>(count, *table);
            if (table) return looked_up<stream, down, false>(count, *table);
        }
        blocks<stream, down>(count);
    }
    GATEWISE_INLINE void all(int64_t n, bool stream, const Entries* table) {
        // A store that crosses a cache line costs two; a streaming store must not.
        constexpr int64_t line = static_cast<int64_t>(width * sizeof(Number));
        const int64_t over = static_cast<int64_t>(reinterpret_cast<uintptr_t>(out[0]) % line);
        if (over != 0 && n >= 8 * width && over % static_cast<int64_t>(sizeof(Number)) == 0) {
            const int64_t head = (line - over) / static_cast<int64_t>(sizeof(Number));
            part(head);
            n -= head;
        }
        for (auto* p : out) stream = stream && reinterpret_cast<uintptr_t>(p) % line == 0;
        const int64_t count = n / width;
        if (stream) {
            most<true, false>(count, table);
        } else if (downwards()) {
            most<false, true>(count, table);
        } else {
            most<false, false>(count, table);
        }
        advance(count * width);
        if (n % width) part(n % width);
    }
};

// An operation on two vectors in registers; anywhere its shorter form would not do, by the longer one.
using Two = Twice<Float>;
template <class Op>
GATEWISE_INLINE void finish(const Two* in, Two* out) {
    if constexpr (limited<Op>) {
        if (!any(outside<Op>(in))) return apply<Op, false>(in, out);
    }
    apply<Op, true>(in, out);
}
template <class Op>
GATEWISE_INLINE Two finished(const Two* in) {
    Two out[1];
    finish<Op>(in, out);
    return out[0];
}

// From this many numbers on a table is worth fetching into the caches.
constexpr int64_t worth_a_table = 32768;

template <class Memory, class Op>
void run(const Call& call, int64_t begin, int64_t end) {
    using Number = typename Memory::Number;
    const typename Span<Memory, Op>::Entries* table = nullptr;
    if constexpr (Memory::has_tables) {
        if (end - begin >= worth_a_table) {
            table = &Span<Memory, Op>::Entries::get();
            if constexpr (Op::num_in == 1) table->fetch(table->rounded);
            else if constexpr (!Op::want_slope) table->fetch(table->value);
            else if constexpr (!Op::want_value) table->fetch(table->slope);
            else table->fetch(table->both);
        }
    }
    while (begin < end) {
        const int64_t row = begin / call.cols, col = begin % call.cols;
        const int64_t rest = call.cols - col, n = rest < end - begin ? rest : end - begin;
        Span<Memory, Op> span;
        GATEWISE_UNROLL for (int i = 0; i < Op::num_in; ++i)
            span.in[i] = static_cast<const Number*>(call.in[i]) + row * call.in_stride[i] + col;
        GATEWISE_UNROLL for (int i = 0; i < Op::num_out; ++i)
            span.out[i] = static_cast<Number*>(call.out[i]) + row * call.out_stride[i] + col;
        span.all(n, call.stream, table);
        begin += n;
    }
    if (call.stream) fence();
}

}  // namespace

}  // namespace gatewise
