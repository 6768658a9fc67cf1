// Two vectors as one, each operation on both: where a formula is one long chain, the second fills the first one's waits.
#pragma once
#include <stdint.h>

namespace gatewise {
namespace {

// A function and its derivative.
template <class F>
struct Result {
    F value, slope;
};

template <class T>
struct Both {
    T a, b;
};

template <class Float>
struct Twice {
    static constexpr int width = 2 * Float::width;
    static constexpr int rows = Float::rows;
    Float a, b;
    Twice() = default;
    GATEWISE_INLINE Twice(Float x, Float y) : a(x), b(y) {}
    GATEWISE_INLINE explicit Twice(float x) : a(x), b(x) {}

    static GATEWISE_INLINE Twice load(const float* p) { return {Float::load(p), Float::load(p + Float::width)}; }
    static GATEWISE_INLINE Twice load(const float* p, int64_t n) {
        return {Float::load(p, n), Float::load(p + Float::width, n - Float::width)};
    }
    GATEWISE_INLINE void store(float* p) const { a.store(p), b.store(p + Float::width); }
    GATEWISE_INLINE void store(float* p, int64_t n) const {
        a.store(p, n), b.store(p + Float::width, n - Float::width);
    }
    GATEWISE_INLINE void stream(float* p) const { a.stream(p), b.stream(p + Float::width); }
};

#define GATEWISE_ONE(name)                                \
    template <class F>                                    \
    GATEWISE_INLINE Twice<F> name(Twice<F> x) {           \
        return {name(x.a), name(x.b)};                    \
    }
#define GATEWISE_TWO(name)                                      \
    template <class F>                                          \
    GATEWISE_INLINE Twice<F> name(Twice<F> x, Twice<F> y) {     \
        return {name(x.a, y.a), name(x.b, y.b)};                \
    }
#define GATEWISE_THREE(name)                                              \
    template <class F>                                                    \
    GATEWISE_INLINE Twice<F> name(Twice<F> x, Twice<F> y, Twice<F> z) {   \
        return {name(x.a, y.a, z.a), name(x.b, y.b, z.b)};                \
    }
GATEWISE_TWO(operator+)
GATEWISE_TWO(operator-)
GATEWISE_TWO(operator*)
GATEWISE_THREE(fma)
GATEWISE_THREE(fms)
GATEWISE_THREE(fnma)
GATEWISE_TWO(divide)
GATEWISE_TWO(min)
GATEWISE_TWO(max)
GATEWISE_ONE(abs)
GATEWISE_ONE(round)
GATEWISE_ONE(settled)
GATEWISE_ONE(whole)
GATEWISE_TWO(scale)
#undef GATEWISE_ONE
#undef GATEWISE_TWO
#undef GATEWISE_THREE

template <class F>
GATEWISE_INLINE auto negative(Twice<F> x) {
    return Both<decltype(negative(x.a))>{negative(x.a), negative(x.b)};
}
template <class F>
GATEWISE_INLINE auto subnormal(Twice<F> x) {
    return Both<decltype(subnormal(x.a))>{subnormal(x.a), subnormal(x.b)};
}
template <class F>
GATEWISE_INLINE auto less(Twice<F> x, Twice<F> y) {
    return Both<decltype(less(x.a, y.a))>{less(x.a, y.a), less(x.b, y.b)};
}
template <class Mask>
GATEWISE_INLINE bool any(Both<Mask> m) {
    return any(m.a | m.b);
}
template <class Mask, class F>
GATEWISE_INLINE Twice<F> select(Both<Mask> m, Twice<F> yes, Twice<F> no) {
    return {select(m.a, yes.a, no.a), select(m.b, yes.b, no.b)};
}
template <class F>
GATEWISE_INLINE auto bits(Twice<F> x) {
    return Both<decltype(bits(x.a))>{bits(x.a), bits(x.b)};
}
template <class F>
GATEWISE_INLINE auto nearest(Twice<F> x) {
    return Both<decltype(nearest(x.a))>{nearest(x.a), nearest(x.b)};
}
template <int n, class Index>
GATEWISE_INLINE Both<Index> shift_left(Both<Index> i) {
    return {shift_left<n>(i.a), shift_left<n>(i.b)};
}
template <class F, class Index>
GATEWISE_INLINE Twice<F> add_bits(Twice<F> x, Both<Index> i) {
    return {add_bits(x.a, i.a), add_bits(x.b, i.b)};
}
template <class F>
GATEWISE_INLINE auto high_bits(Twice<F> x, unsigned shift) {
    return Both<decltype(high_bits(x.a, shift))>{high_bits(x.a, shift), high_bits(x.b, shift)};
}
template <class Index, int n>
GATEWISE_INLINE auto lookup(const float (&row)[n], Both<Index> i) {
    using F = decltype(lookup(row, i.a));
    return Twice<F>{lookup(row, i.a), lookup(row, i.b)};
}
template <class Index, int n>
GATEWISE_INLINE auto lookup(const float (&row)[n], const float (&more)[n], Both<Index> i) {
    using F = decltype(lookup(row, more, i.a));
    return Twice<F>{lookup(row, more, i.a), lookup(row, more, i.b)};
}

}  // namespace
}  // namespace gatewise
