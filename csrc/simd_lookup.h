// Tables with an entry for each bfloat16 number, read eight numbers at a time (x86), or by gather instructions where those
// are quicker. Eight loads of one index each are slower, for the core takes them for reads of what was just stored.
#pragma once
#include <immintrin.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

namespace gatewise {
namespace {

struct Eight {
    uint64_t low, high;
    explicit GATEWISE_INLINE Eight(const uint16_t* x) {
        memcpy(&low, x, sizeof low);
        memcpy(&high, x + 4, sizeof high);
    }
    template <int i>
    GATEWISE_INLINE uint16_t at() const {
        return static_cast<uint16_t>((i < 4 ? low : high) >> (16 * (i % 4)));
    }
};

// y[i] = entries[x[i]] for eight numbers.
template <bool stream>
GATEWISE_INLINE void look_up_eight(const uint16_t* entries, const uint16_t* x, uint16_t* to) {
    const Eight i(x);
    __m128i y = _mm_cvtsi32_si128(entries[i.at<0>()]);
    y = _mm_insert_epi16(y, entries[i.at<1>()], 1);
    y = _mm_insert_epi16(y, entries[i.at<2>()], 2);
    y = _mm_insert_epi16(y, entries[i.at<3>()], 3);
    y = _mm_insert_epi16(y, entries[i.at<4>()], 4);
    y = _mm_insert_epi16(y, entries[i.at<5>()], 5);
    y = _mm_insert_epi16(y, entries[i.at<6>()], 6);
    y = _mm_insert_epi16(y, entries[i.at<7>()], 7);
    __m128i* const p = reinterpret_cast<__m128i*>(to);
    stream ? _mm_stream_si128(p, y) : _mm_storeu_si128(p, y);
}

// Entries of one float: those of the even and of the odd numbers of eight.
struct Halves {
    __m128 even, odd;
    GATEWISE_INLINE Halves(const float* entries, const uint16_t* x) {
        const Eight i(x);
        const auto four = [entries](uint16_t a, uint16_t b, uint16_t c, uint16_t d) {
            const auto at = [entries](uint16_t k) {  // as an integer: the one insertion that loads by itself
                int32_t v;
                memcpy(&v, entries + k, sizeof v);
                return v;
            };
            __m128i y = _mm_cvtsi32_si128(at(a));
            y = _mm_insert_epi32(y, at(b), 1);
            y = _mm_insert_epi32(y, at(c), 2);
            return _mm_castsi128_ps(_mm_insert_epi32(y, at(d), 3));
        };
        even = four(i.at<0>(), i.at<2>(), i.at<4>(), i.at<6>());
        odd = four(i.at<1>(), i.at<3>(), i.at<5>(), i.at<7>());
    }
};

// Entries of two floats: those of numbers 0 and 2, 4 and 6, 1 and 3, 5 and 7 of eight.
struct Quarters {
    __m128 even_low, even_high, odd_low, odd_high;
    template <class Entry>
    GATEWISE_INLINE Quarters(const Entry* entries, const uint16_t* x) {
        static_assert(sizeof(Entry) == 8, "two floats");
        const Eight i(x);
        const auto two = [entries](uint16_t a, uint16_t b) {
            const __m128d first = _mm_load_sd(reinterpret_cast<const double*>(entries + a));
            return _mm_castpd_ps(_mm_loadh_pd(first, reinterpret_cast<const double*>(entries + b)));
        };
        even_low = two(i.at<0>(), i.at<2>());
        even_high = two(i.at<4>(), i.at<6>());
        odd_low = two(i.at<1>(), i.at<3>());
        odd_high = two(i.at<5>(), i.at<7>());
    }
};

template <class Block, bool gather>
[[gnu::noinline]] uint64_t cycles_of(const float* entries, const uint16_t* x, int many, float* sums) {
    _mm_lfence();  // nothing of the other way's is left over
    const uint64_t start = __builtin_ia32_rdtsc();
    auto sum = Block::template looked_up<gather>(entries, x);
    for (int i = Block::width; i < many; i += Block::width)
        sum = sum + Block::template looked_up<gather>(entries, x + i);
    sum.store(sums);
    _mm_lfence();
    return __builtin_ia32_rdtsc() - start;
}

// Are gather instructions the quicker way to read a table? Not on AMD's Zen 4, nor where they were slowed down to be safe.
// Timed once a process and instruction set, or as GATEWISE_GATHER=on or off says. The numbers are the same either way.
template <class Block>
bool gathers() {
    static const bool found = [] {
        const char* const asked = getenv("GATEWISE_GATHER");
        if (asked && strcmp(asked, "on") == 0) return true;
        if (asked && strcmp(asked, "off") == 0) return false;
        constexpr int many = 2048;
        alignas(64) static float entries[many], sums[Block::width];
        alignas(64) static uint16_t x[many];
        for (int i = 0; i < many; ++i) x[i] = static_cast<uint16_t>(i * 1021 % many);
        uint64_t best[2] = {~uint64_t{0}, ~uint64_t{0}};
        for (int round = 0; round < 16; ++round) {
            const uint64_t cycles[2] = {cycles_of<Block, false>(entries, x, many, sums),
                                        cycles_of<Block, true>(entries, x, many, sums)};
            for (int i = 0; i < 2; ++i) best[i] = cycles[i] < best[i] ? cycles[i] : best[i];
        }
        return best[1] < best[0] - best[0] / 32;
    }();
    return found;
}

}  // namespace
}  // namespace gatewise
