// x sigmoid(z(x)) for an odd, rising z: silu, quick_gelu, gelu_tanh.
#pragma once
#include "exponential.h"

namespace gatewise {
namespace {

// A logit is given by e^|z| LOWER, where a = |x| up to `limit`, and by y z'(a). At `limit` x e^-|z| is 0 in float32.
struct Linear {  // z = x
    static constexpr float limit = 110.0f;
    template <Level level, class F>
    static GATEWISE_INLINE F growth(F a) {
        if constexpr (level == Level::high) return power<level, -64>(a, F(LOG2E), a, F(LOG2E_LOW));
        return power<level, -64>(a, F(LOG2E));
    }
    template <class F>
    static GATEWISE_INLINE F times_slope(F y, F) {
        return y;
    }
};

struct Quick {  // z = 1.702 x
    static constexpr float limit = 65.0f;
    template <Level level, class F>
    static GATEWISE_INLINE F growth(F a) {
        if constexpr (level != Level::coarse) return power<level, -64>(a, F(QUICK_LOG2E), a, F(QUICK_LOG2E_LOW));
        return power<level, -64>(a, F(QUICK_LOG2E));
    }
    template <class F>
    static GATEWISE_INLINE F times_slope(F y, F) {
        return y * F(1.702f);
    }
};

struct Tanh {  // z = 2 sqrt(2 / pi) (x + 0.044715 x^3), as in 0.5 (1 + tanh u) = sigmoid(2 u)
    static constexpr float limit = 11.5f;
    template <Level level, class F>
    static GATEWISE_INLINE F growth(F a) {
        const F c1(TANH_C1), c3(TANH_C3), h = a * a;
        if constexpr (level == Level::coarse) return power<level, -64>(a, fma(h, c3, c1));
        if constexpr (level == Level::standard) {
            const F w = fma(h, c3, c1);
            const F low = fma(h, c3, c1 - w) + F(TANH_C1_LOW);
            return power<level, -64>(a, w, a, low);
        }
        // w + low = c1 + c3 a^2 to twice the precision
        const F cubic = h * c3, w = c1 + cubic, part = w - c1;
        const F lost = (c1 - (w - part)) + (cubic - part);
        F low = fms(h, c3, cubic) + (lost + F(TANH_C1_LOW));
        low = fma(fms(a, a, h), c3, fma(h, F(TANH_C3_LOW), low));
        return power<level, -64>(a, w, a, low);
    }
    template <class F>
    static GATEWISE_INLINE F times_slope(F y, F a) {
        return y * fma(a * a, F(TANH_SLOPE3), F(TANH_SLOPE1));
    }
};

template <class Logit>
struct Sigmoidal {
    // Division, not an estimate with Newton steps: it runs beside the other pipes, and is exact; on Zen 4 and on an Intel
    // Xeon with AMX the estimate takes a tenth longer.
    // With d = 1 + e^|z|: sigmoid(-|z|) = 1 / d = q. As for gelu: max(x, 0) less what the left side is, a q; and the
    // derivative is q - a q z' (1 - q) on the left. They are divided by LOWER up to the end.
    template <Level, bool>
    static constexpr bool limited() {
        return false;
    }
    template <Level level, bool want_value, bool want_slope, bool everywhere, class F>
    static GATEWISE_INLINE Result<F> evaluate(F x) {
        const F a = min(F(Logit::limit), abs(x)), lower(LOWER);
        const F d = Logit::template growth<level>(a) + (level == Level::coarse ? F(LOWER * (1.0f + 4 * NEXT)) : lower);
        Result<F> result;
        [[maybe_unused]] F left, q;
        if constexpr (want_value && want_slope) q = divide(F(1.0f), d);
        if constexpr (want_value) {
            // A second division would be exact; bfloat16 takes it, for its tables hold the value alone as well.
            left = want_slope && level != Level::coarse ? a * q : divide(a, d);
            result.value = fnma(left, lower, right_part(x));
        }
        if constexpr (want_slope && want_value) {
            const F rest = fnma(q, lower, F(1.0f));
            result.slope = turned(x, fnma(Logit::times_slope(left, a), rest, q) * lower);
        } else if constexpr (want_slope) {  // one step less, and not exact where the slope is a subnormal number
            q = divide(lower, d);
            result.slope = turned(x, fnma(Logit::times_slope(a * q, a), F(1.0f) - q, q));
        }
        return result;
    }
};

}  // namespace
}  // namespace gatewise
