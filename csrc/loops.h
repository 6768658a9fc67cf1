// From a formula on vectors to a kernel on rows. Included once for each instruction set, after its vector type.
#pragma once
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

template <class Formula, Level level>
struct ScalarForward {
    static constexpr int num_in = 1, num_out = 1;
    static constexpr bool limited = Formula::template limited<level, true>();
    template <class F>
    static GATEWISE_INLINE Mask outside(const F* in) {
        return Formula::template outside<level, false>(in[0]);
    }
    template <bool everywhere, class F>
    static GATEWISE_INLINE void apply(const F* in, F* out) {
        out[0] = Formula::template evaluate<level, true, false, everywhere>(in[0]).value;
    }
};
template <class Formula, Level level>
struct ScalarBackward {
    static constexpr int num_in = 2, num_out = 1;
    static constexpr bool limited = Formula::template limited<level, false>();
    template <class F>
    static GATEWISE_INLINE Mask outside(const F* in) {
        return Formula::template outside<level, true>(in[0]);
    }
    template <bool everywhere, class F>
    static GATEWISE_INLINE void apply(const F* in, F* out) {
        out[0] = in[1] * Formula::template evaluate<level, false, true, everywhere>(in[0]).slope;
    }
};
template <class Formula, class Clamp, Level level>
struct GateForward {
    static constexpr int num_in = 2, num_out = 1;
    static constexpr bool limited = Formula::template limited<level, true>();
    template <class F>
    static GATEWISE_INLINE Mask outside(const F* in) {
        return Formula::template outside<level, false>(Clamp::gate(in[0]));
    }
    template <bool everywhere, class F>
    static GATEWISE_INLINE void apply(const F* in, F* out) {
        out[0] = Formula::template evaluate<level, true, false, everywhere>(Clamp::gate(in[0])).value * Clamp::up(in[1]);
    }
};
template <class Formula, class Clamp, Level level>
struct GateBackward {
    static constexpr int num_in = 3, num_out = 2;
    static constexpr bool limited = Formula::template limited<level, true>();
    template <class F>
    static GATEWISE_INLINE Mask outside(const F* in) {
        return Formula::template outside<level, true>(Clamp::gate(in[0]));
    }
    template <bool everywhere, class F>
    static GATEWISE_INLINE void apply(const F* in, F* out) {
        const auto both = Formula::template evaluate<level, true, true, everywhere>(Clamp::gate(in[0]));
        out[0] = Clamp::by_gate(in[0], in[2] * Clamp::up(in[1]) * both.slope);
        out[1] = Clamp::by_up(in[1], in[2] * both.value);
    }
};

// How numbers lie in memory, and as how many vectors they are loaded.
struct Single {
    using Number = float;
    using Block = Float;
    template <class Op>
    static GATEWISE_INLINE bool outside(const Block* in) {
        return any(Op::outside(in));
    }
    template <class Op, bool everywhere>
    static GATEWISE_INLINE void apply(const Block* in, Block* out) {
        Op::template apply<everywhere>(in, out);
    }
};
struct Brain {
    using Number = uint16_t;
    using Block = Pair;
    template <class Op>
    static GATEWISE_INLINE bool outside(const Block* in) {
        Float a[Op::num_in], b[Op::num_in];
        for (int i = 0; i < Op::num_in; ++i) a[i] = in[i].a, b[i] = in[i].b;
        return any(Op::outside(a) | Op::outside(b));
    }
    template <class Op, bool everywhere>
    static GATEWISE_INLINE void apply(const Block* in, Block* out) {
        Float x[Op::num_in], y[Op::num_out];
        for (int i = 0; i < Op::num_in; ++i) x[i] = in[i].a;
        Op::template apply<everywhere>(x, y);
        for (int i = 0; i < Op::num_out; ++i) out[i].a = y[i];
        for (int i = 0; i < Op::num_in; ++i) x[i] = in[i].b;
        Op::template apply<everywhere>(x, y);
        for (int i = 0; i < Op::num_out; ++i) out[i].b = y[i];
    }
};

template <class Memory, class Op>
struct Span {
    using Number = typename Memory::Number;
    using Block = typename Memory::Block;
    static constexpr int width = Block::width;
    const Number* in[Op::num_in];
    Number* out[Op::num_out];

    GATEWISE_INLINE void advance(int64_t n) {
        for (auto& p : in) p += n;
        for (auto& p : out) p += n;
    }
    GATEWISE_INLINE void load(Block* x) const {
        for (int i = 0; i < Op::num_in; ++i) x[i] = Block::load(in[i]);
    }
    // Fewer than `width` numbers.
    GATEWISE_INLINE void part(int64_t n) {
        Block x[Op::num_in], y[Op::num_out];
        for (int i = 0; i < Op::num_in; ++i) x[i] = Block::load(in[i], n);
        Memory::template apply<Op, true>(x, y);
        for (int i = 0; i < Op::num_out; ++i) y[i].store(out[i], n);
        advance(n);
    }
    // A block with a number that the fast way is not right for. Out of line and through memory, so that the loop below
    // keeps its constants in registers.
    [[gnu::noinline, gnu::cold]] void rare() const {
        Block x[Op::num_in], y[Op::num_out];
        load(x);
        Memory::template apply<Op, true>(x, y);
        for (int i = 0; i < Op::num_out; ++i) y[i].store(out[i]);
    }
    template <bool stream>
    GATEWISE_INLINE void blocks(int64_t count) {
        while (count > 0) {
            for (; count > 0; --count) {
                Block x[Op::num_in], y[Op::num_out];
                load(x);
                if constexpr (Op::limited) {
                    if (__builtin_expect(Memory::template outside<Op>(x), 0)) break;
                }
                Memory::template apply<Op, !Op::limited>(x, y);
                for (int i = 0; i < Op::num_out; ++i) stream ? y[i].stream(out[i]) : y[i].store(out[i]);
                advance(width);
            }
            if constexpr (Op::limited) {
                if (count > 0) {
                    rare();
                    advance(width);
                    --count;
                }
            }
        }
    }
    GATEWISE_INLINE void all(int64_t n, bool stream) {
        // A store that crosses a cache line costs two; a streaming store must not.
        constexpr int64_t line = static_cast<int64_t>(width * sizeof(Number));
        const int64_t over = static_cast<int64_t>(reinterpret_cast<uintptr_t>(out[0]) % line);
        if (over != 0 && n >= 8 * width && over % static_cast<int64_t>(sizeof(Number)) == 0) {
            const int64_t head = (line - over) / static_cast<int64_t>(sizeof(Number));
            part(head);
            n -= head;
        }
        for (auto* p : out) stream = stream && reinterpret_cast<uintptr_t>(p) % line == 0;
        if (stream) {
            blocks<true>(n / width);
        } else {
            blocks<false>(n / width);
        }
        if (n % width) part(n % width);
    }
};

template <class Memory, class Op>
void run(const Call& call, int64_t begin, int64_t end) {
    using Number = typename Memory::Number;
    while (begin < end) {
        const int64_t row = begin / call.cols, col = begin % call.cols;
        const int64_t rest = call.cols - col, n = rest < end - begin ? rest : end - begin;
        Span<Memory, Op> span;
        for (int i = 0; i < Op::num_in; ++i)
            span.in[i] = static_cast<const Number*>(call.in[i]) + row * call.in_stride[i] + col;
        for (int i = 0; i < Op::num_out; ++i)
            span.out[i] = static_cast<Number*>(call.out[i]) + row * call.out_stride[i] + col;
        span.all(n, call.stream);
        begin += n;
    }
    if (call.stream) fence();
}

}  // namespace

// By function, direction and precision.
#define GATEWISE_THREE(op, ...)                                                                       \
    {                                                                                                 \
        run<Brain, op<__VA_ARGS__, Level::coarse>>, run<Single, op<__VA_ARGS__, Level::standard>>,    \
            run<Single, op<__VA_ARGS__, Level::high>>                                                 \
    }
#define SCALAR(name, formula) {GATEWISE_THREE(ScalarForward, formula), GATEWISE_THREE(ScalarBackward, formula)},
#define GATE(name, formula, clamp) \
    {GATEWISE_THREE(GateForward, formula, clamp), GATEWISE_THREE(GateBackward, formula, clamp)},

}  // namespace gatewise
