// x sigmoid(z(x)) for an odd, rising z: silu, quick_gelu, gelu_tanh.
#pragma once
#include "exponential.h"

namespace gatewise {
namespace {

// A logit is given by e^-|z| / LOWER, where a = |x| up to `limit`, and by a z'(a). At `limit` x e^-|z| is 0 in float32.
struct Linear {  // z = x
    static constexpr float limit = 110.0f;
    template <Level level, class F>
    static GATEWISE_INLINE F decay(F a) {
        if constexpr (level == Level::high) return power<level>(a, F(-LOG2E), a * F(-LOG2E_LOW));
        return power<level>(a, F(-LOG2E));
    }
    template <class F>
    static GATEWISE_INLINE F times_slope(F y, F) {
        return y;
    }
};

struct Quick {  // z = 1.702 x
    static constexpr float limit = 65.0f;
    template <Level level, class F>
    static GATEWISE_INLINE F decay(F a) {
        if constexpr (level == Level::high) return power<level>(a, F(-QUICK_LOG2E), a * F(-QUICK_LOG2E_LOW));
        return power<level>(a, F(-QUICK_LOG2E));
    }
    template <class F>
    static GATEWISE_INLINE F times_slope(F y, F) {
        return y * F(1.702f);
    }
};

struct Tanh {  // z = 2 sqrt(2 / pi) (x + 0.044715 x^3), as in 0.5 (1 + tanh u) = sigmoid(2 u)
    static constexpr float limit = 11.5f;
    template <Level level, class F>
    static GATEWISE_INLINE F decay(F a) {
        const F c1(-TANH_C1), c3(-TANH_C3), h = a * a;
        if constexpr (level == Level::coarse) return power<level>(a, fma(h, c3, c1));
        if constexpr (level == Level::standard) {
            const F w = fma(h, c3, c1);
            const F low = fma(h, c3, c1 - w) + F(-TANH_C1_LOW);
            return power<level>(a, w, a * low);
        }
        // w + low = c1 + c3 a^2 to twice the precision
        const F cubic = h * c3, w = c1 + cubic, part = w - c1;
        const F lost = (c1 - (w - part)) + (cubic - part);
        F low = fms(h, c3, cubic) + (lost + F(-TANH_C1_LOW));
        low = fma(fms(a, a, h), c3, fma(h, F(-TANH_C3_LOW), low));
        return power<level>(a, w, a * low);
    }
    template <class F>
    static GATEWISE_INLINE F times_slope(F y, F a) {
        return y * fma(a * a, F(TANH_SLOPE3), F(TANH_SLOPE1));
    }
};

template <class Logit>
struct Sigmoidal {
    static constexpr bool is_short = true;  // next to reading a table
    // Division, not an estimate with a Newton step: on Zen 4 it costs 6 cycles beside the other pipes, and is exact; where
    // a divider is slower, on Intel, look again.
    // With e = e^-|z| <= 1 and q = e / (1 + e): sigmoid(-|z|) = q. As for gelu: max(x, 0) less what the left side is; and
    // the derivative is q - a z' q (1 - q) on the left.
    template <Level, bool>
    static constexpr bool limited() {
        return false;
    }
    template <Level level, bool want_value, bool want_slope, bool everywhere, class F>
    static GATEWISE_INLINE Result<F> evaluate(F x) {
        const F a = min(F(Logit::limit), abs(x));
        const F e = Logit::template decay<level>(a), d = e + F(RAISE), q = divide(e, d);
        Result<F> result;
        F left = a * q;
        if constexpr (want_value) {
            left = divide(a * e, d);
            result.value = right_part(x) - left;
        }
        if constexpr (want_slope) {
            const F rest = F(1.0f) - q;
            result.slope = turned(x, fnma(Logit::times_slope(left, a), rest, q));
        }
        return result;
    }
};

}  // namespace
}  // namespace gatewise
