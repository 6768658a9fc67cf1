// A formula at all bfloat16 numbers.
#pragma once
#include "exponential.h"

namespace gatewise {
namespace {

// 0 instead of a subnormal slope in bfloat16, for a product with it would take long. Of all numbers 10 to 15 have one, in reach
// of what is promised of rounding. An infinite gradient there gives NaN, as it does further left.
template <class F>
GATEWISE_INLINE F normal(F slope) {
    return select(subnormal(slope), F(0.0f), slope);
}

// A formula at every bfloat16 number, in the forms that the kernels read: value and slope side by side, each alone, and
// the value rounded. Ordinary numbers touch a thirtieth of it.
template <class Formula, class Clamp>
struct Table {
    static constexpr int size = 1 << 16;
    alignas(64) Result<float> both[size];
    alignas(64) float value[size], slope[size];
    alignas(64) uint16_t rounded[size];
    uint16_t behind[2];  // gather instructions read it

    // Asks for the part that ordinary numbers need, 2^-14 to 2^4 and their negatives: one wait instead of hundreds.
    template <class T>
    static GATEWISE_INLINE void fetch(const T* of) {
        constexpr int first = (127 - 14) << 7, last = (127 + 4) << 7, step = static_cast<int>(64 / sizeof(T));
        for (int sign = 0; sign < size; sign += size / 2)
            for (int i = first; i < last; i += step) __builtin_prefetch(of + sign + i, 0, 2);
    }

    static const Table& get() {
        static Table table;
        static const bool filled = table.fill();
        (void)filled;
        return table;
    }

  private:
    bool fill() {
        for (int begin = 0; begin < size; begin += Pair::width) {
            uint16_t x[Pair::width];
            for (int i = 0; i < Pair::width; ++i) x[i] = static_cast<uint16_t>(begin + i);
            const Pair pair = Pair::load(x);
            auto f = Formula::template evaluate<Level::coarse, true, true, true>(Clamp::gate(pair.v));
            Pair{f.value}.store(rounded + begin);
            f.slope = normal(f.slope);
            const auto spread = [](Twice<Float> v, float* to) {
                float even[Float::width], odd[Float::width];
                v.a.store(even), v.b.store(odd);
                for (int i = 0; i < Float::width; ++i) to[2 * i] = even[i], to[2 * i + 1] = odd[i];
            };
            spread(f.value, value + begin);
            spread(f.slope, slope + begin);
            for (int i = begin; i < begin + Pair::width; ++i) both[i] = {value[i], slope[i]};
        }
        return true;
    }
};

}  // namespace
}  // namespace gatewise
