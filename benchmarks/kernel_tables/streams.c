// What memory gives at most: loads and stores with no arithmetic worth the name, one function a pattern of traffic. And what
// the cores compute at most: multiply-adds without loads and stores, and products of tiles (AMX).
// Built by limits.py at run time with the machine's own compiler. `how` is 0 for stores through the caches, 1 for stores past
// them, and more for stores past them with loads asked for so many bytes ahead.
#include <stddef.h>
#include <stdint.h>
#if defined(__AVX512F__)
#include <immintrin.h>
typedef __m512i V;
#define LOAD(p) _mm512_loadu_si512((const void*)(p))
#define STORE(p, v) _mm512_storeu_si512((void*)(p), v)
#define STREAM(p, v) _mm512_stream_si512((void*)(p), v)
#define XOR _mm512_xor_si512
#define FENCE() _mm_sfence()
#elif defined(__AVX2__)
#include <immintrin.h>
typedef __m256i V;
#define LOAD(p) _mm256_loadu_si256((const __m256i*)(p))
#define STORE(p, v) _mm256_storeu_si256((__m256i*)(p), v)
#define STREAM(p, v) _mm256_stream_si256((__m256i*)(p), v)
#define XOR _mm256_xor_si256
#define FENCE() _mm_sfence()
#else
typedef uint64_t V;
#define LOAD(p) (*(const V*)(p))
#define STORE(p, v) (*(V*)(p) = (v))
#define STREAM STORE
#define XOR(a, b) ((a) ^ (b))
#define FENCE()
#endif
#if defined(__AVX512F__)
#define SUMS 24  // with two operands they fit into the registers, and are enough to wait for none
#else
#define SUMS 12
#endif
#if defined(__AMX_BF16__) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#define TILES 1
#else
#define TILES 0
#endif
typedef float Floats __attribute__((vector_size(sizeof(V))));
#define N ((ptrdiff_t)(bytes / sizeof(V)))
#define EACH _Pragma("omp parallel for schedule(static) num_threads(threads)") for (ptrdiff_t i = 0; i < N; ++i)
#define AT(p) ((p) + i * sizeof(V))
#define AHEAD(p) __builtin_prefetch(AT(p) + how, 0, 3)

// in one, out one
void copy(const char* a, const char* b, const char* c, char* y, char* z, size_t bytes, int how, int threads) {
  if (how > 1) {
    EACH {
      AHEAD(a);
      STREAM(AT(y), LOAD(AT(a)));
    }
    FENCE();
  } else if (how) {
    EACH STREAM(AT(y), LOAD(AT(a)));
    FENCE();
  } else {
    EACH STORE(AT(y), LOAD(AT(a)));
  }
}

// in two, out one
void triad(const char* a, const char* b, const char* c, char* y, char* z, size_t bytes, int how, int threads) {
  if (how > 1) {
    EACH {
      AHEAD(a);
      AHEAD(b);
      STREAM(AT(y), XOR(LOAD(AT(a)), LOAD(AT(b))));
    }
    FENCE();
  } else if (how) {
    EACH STREAM(AT(y), XOR(LOAD(AT(a)), LOAD(AT(b))));
    FENCE();
  } else {
    EACH STORE(AT(y), XOR(LOAD(AT(a)), LOAD(AT(b))));
  }
}

// in three, out two
void gate(const char* a, const char* b, const char* c, char* y, char* z, size_t bytes, int how, int threads) {
  if (how) {
    EACH {
      if (how > 1) {
        AHEAD(a);
        AHEAD(b);
        AHEAD(c);
      }
      V middle = LOAD(AT(b));
      STREAM(AT(y), XOR(LOAD(AT(a)), middle));
      STREAM(AT(z), XOR(middle, LOAD(AT(c))));
    }
    FENCE();
  } else {
    EACH {
      V middle = LOAD(AT(b));
      STORE(AT(y), XOR(LOAD(AT(a)), middle));
      STORE(AT(z), XOR(middle, LOAD(AT(c))));
    }
  }
}

// in one, out nothing: a fold into eight accumulators a thread, whose sum is stored so that nothing is left out
void read_all(const char* a, const char* b, const char* c, char* y, char* z, size_t bytes, int how, int threads) {
  ptrdiff_t blocks = bytes / (8 * sizeof(V));
#pragma omp parallel num_threads(threads)
  {
    V s[8];
    for (int k = 0; k < 8; ++k) s[k] = LOAD(a + k * sizeof(V));
#pragma omp for schedule(static)
    for (ptrdiff_t i = 0; i < blocks; ++i)
      for (int k = 0; k < 8; ++k) {
        if (how > 1) __builtin_prefetch(a + (8 * i + k) * sizeof(V) + how, 0, 3);
        s[k] = XOR(s[k], LOAD(a + (8 * i + k) * sizeof(V)));
      }
    for (int k = 1; k < 8; ++k) s[0] = XOR(s[0], s[k]);
#pragma omp critical
    STORE(y, XOR(s[0], LOAD(y)));
  }
}

// Floating-point operations of a turn of a thread.
size_t turn(void) { return 2 * SUMS * (sizeof(Floats) / sizeof(float)); }

void multiply(size_t turns, int threads, char* y) {
#pragma omp parallel num_threads(threads)
  {
    Floats s[SUMS], by = {0}, plus = {0};
    for (size_t k = 0; k < sizeof(Floats) / sizeof(float); ++k) by[k] = 0.875f, plus[k] = 0.125f;  // towards 1
    for (int k = 0; k < SUMS; ++k) s[k] = plus * (float)k;
    for (size_t i = 0; i < turns; ++i) {
#pragma GCC unroll 24
      for (int k = 0; k < SUMS; ++k) s[k] = s[k] * by + plus;
      __asm__ volatile("");  // each turn is computed
    }
    for (int k = 1; k < SUMS; ++k) s[0] += s[k];
#pragma omp critical
    for (size_t k = 0; k < sizeof(Floats) / sizeof(float); ++k) ((float*)y)[k] += s[0][k];
  }
}

// Floating-point operations of a turn of a thread that multiplies tiles: those of float32 products, of which each is six of
// bfloat16 parts. 0 where there are no tiles.
size_t tile_turn(void) {
#if TILES
  if (syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* XTILEDATA */)) return 0;
  return 24 * 2 * 16 * 16 * 32 / 6;
#else
  return 0;
#endif
}

#if TILES
// Brings two tiles of x, or of w, near and multiplies by what the registers of the other hold.
#define NEXT_X(part)                             \
  _tile_loadd(4, numbers[2 * (part)], 64);       \
  _tile_dpbf16ps(0, 4, 6);                       \
  _tile_dpbf16ps(1, 4, 7);                       \
  _tile_loadd(5, numbers[2 * (part) + 1], 64);   \
  _tile_dpbf16ps(2, 5, 6);                       \
  _tile_dpbf16ps(3, 5, 7)
#define NEXT_W(part)                             \
  _tile_loadd(6, numbers[6 + 2 * (part)], 64);   \
  _tile_dpbf16ps(0, 4, 6);                       \
  _tile_dpbf16ps(2, 5, 6);                       \
  _tile_loadd(7, numbers[7 + 2 * (part)], 64);   \
  _tile_dpbf16ps(1, 4, 7);                       \
  _tile_dpbf16ps(3, 5, 7)
#endif

// With the loads that such a product needs, from the first cache: eight registers are four of sums and two of each factor, and
// a step of 32 inputs brings at least twelve tiles of parts, here fourteen. They take no time of their own, but power: where
// that is short, the clock goes down, and this loop to four fifths of one in registers alone.
void multiply_tiles(size_t turns, int threads, char* y) {
#if TILES
#pragma omp parallel num_threads(threads)
  {
    struct __attribute__((aligned(64))) {
      uint8_t palette, start, reserved[14];
      uint16_t bytes[16];
      uint8_t rows[16];
    } shape = {1, 0, {0}, {0}, {0}}, before;  // as libraries left it, which may count on that
    _tile_storeconfig(&before);
    for (int k = 0; k < 8; ++k) shape.bytes[k] = 64, shape.rows[k] = 16;
    uint16_t numbers[12][512] __attribute__((aligned(64)));
    uint32_t last = 1;  // random ones of either sign, from .5 to 2: zeros, and a series, would be quicker
    for (int k = 0; k < 12 * 512; ++k) {
      last = last * 1664525u + 1013904223u;
      numbers[k / 512][k % 512] = 0x3f00 | (last >> 16 & 0x80ff);
    }
    float sums[256] = {0};
    _tile_loadconfig(&shape);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (size_t i = 0; i < turns; ++i) {
      _tile_loadd(6, numbers[10], 64);
      _tile_loadd(7, numbers[11], 64);
      NEXT_X(0);
      NEXT_W(1);
      NEXT_X(1);
      NEXT_W(0);
      NEXT_X(2);
      NEXT_X(0);
    }
    _tile_stored(0, sums, 64);
    if (before.palette) _tile_loadconfig(&before);
    else _tile_release();
#pragma omp critical
    for (int k = 0; k < 16; ++k) ((float*)y)[k] += sums[k];
  }
#endif
}
