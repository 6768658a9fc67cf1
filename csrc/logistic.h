// x sigmoid(z(x)) for an odd, rising z: silu, quick_gelu, gelu_tanh.
#pragma once
#include "exponential.h"

namespace gatewise {
namespace {

// A logit is given by e^-|z|, where a = |x| up to `limit`, and by its derivative. At `limit` e^-|z| is 0 in float32.
struct Linear {  // z = x
    static constexpr float limit = 150.0f;
    template <Level level, class F>
    static GATEWISE_INLINE Power<F> decay(F a) {
        if constexpr (level == Level::high) return power<level>(a, F(-LOG2E), a * F(-LOG2E_LOW));
        return power<level>(a, F(-LOG2E));
    }
    template <class F>
    static GATEWISE_INLINE F times_slope(F x, F) {
        return x;
    }
};

struct Quick {  // z = 1.702 x
    static constexpr float limit = 88.0f;
    template <Level level, class F>
    static GATEWISE_INLINE Power<F> decay(F a) {
        if constexpr (level == Level::high) return power<level>(a, F(-QUICK_LOG2E), a * F(-QUICK_LOG2E_LOW));
        return power<level>(a, F(-QUICK_LOG2E));
    }
    template <class F>
    static GATEWISE_INLINE F times_slope(F x, F) {
        return x * F(1.702f);
    }
};

struct Tanh {  // z = 2 sqrt(2 / pi) (x + 0.044715 x^3), as in 0.5 (1 + tanh u) = sigmoid(2 u)
    static constexpr float limit = 11.5f;
    template <Level level, class F>
    static GATEWISE_INLINE Power<F> decay(F a) {
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
    static GATEWISE_INLINE F times_slope(F x, F a) {
        return x * fma(a * a, F(TANH_SLOPE3), F(TANH_SLOPE1));
    }
};

template <class Logit>
struct Sigmoidal {
    // With e = e^-|z| <= 1: sigmoid(z) = 1 / (1 + e) on the right and e / (1 + e) on the left, and
    // (x sigmoid(z))' = sigmoid + x z' e / (1 + e)^2.
    template <Level, bool>
    static constexpr bool limited() {
        return false;
    }
    template <Level level, bool want_value, bool want_slope, bool everywhere, class F>
    static GATEWISE_INLINE Both<F> evaluate(F x) {
        const F a = min(F(Logit::limit), abs(x));
        const Power<F> decay = Logit::template decay<level>(a);
        const F e = decay.value(), r = reciprocal(e + F(1.0f));
        const F er = e * r;
        Both<F> result;
        // As for gelu: max(x, 0) less what the left side is. Far left e is subnormal, with few bits, where a e is not.
        if constexpr (want_value) {
            if constexpr (level == Level::high) {
                result.value = fnma(decay.times(a), r, right_part(x));
            } else {
                result.value = fnma(a, er, right_part(x));
            }
        }
        if constexpr (want_slope) {
            const F bounded = max(F(-Logit::limit), min(F(Logit::limit), x));
            result.slope = fma(Logit::times_slope(bounded, a) * er, r, select(negative(x), er, r));
        }
        return result;
    }
};

}  // namespace
}  // namespace gatewise
