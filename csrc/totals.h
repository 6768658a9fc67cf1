// The totals of many vectors at once: their parts are brought together and added, a third of the work of one vector after
// the other. Each is added up in the order of `total`, so that both give the same bits.
#pragma once

namespace gatewise {
namespace {

#if defined(__AVX512F__) || defined(__AVX2__)
// Rows of four vectors whose totals are taken at once.
constexpr int ROWS_AT_ONCE = Float::width / 4;

#if defined(__AVX512F__)
GATEWISE_INLINE Float halves(Float a, Float b) {
    return Float(_mm512_shuffle_f32x4(a.v, b.v, 0x44)) + Float(_mm512_shuffle_f32x4(a.v, b.v, 0xee));
}
// Of each row four sums, row by row.
GATEWISE_INLINE Float parts(const Float (&of)[ROWS_AT_ONCE]) {
    const Float a = halves(of[0], of[1]), b = halves(of[2], of[3]);
    return Float(_mm512_shuffle_f32x4(a.v, b.v, 0x88)) + Float(_mm512_shuffle_f32x4(a.v, b.v, 0xdd));
}
template <int how>
GATEWISE_INLINE Float shuffled(Float a, Float b) {
    return _mm512_shuffle_ps(a.v, b.v, how);
}
#else
GATEWISE_INLINE Float parts(const Float (&of)[ROWS_AT_ONCE]) {
    const __m256 a = of[0].v, b = of[1].v;
    return Float(_mm256_permute2f128_ps(a, b, 0x20)) + Float(_mm256_permute2f128_ps(a, b, 0x31));
}
template <int how>
GATEWISE_INLINE Float shuffled(Float a, Float b) {
    return _mm256_shuffle_ps(a.v, b.v, how);
}
#endif

// y[i][j] = the total of s[i][j].
template <int rows>
GATEWISE_INLINE void totals(const Float (&s)[rows][4], float (&y)[rows][4]) {
    Float of[4][ROWS_AT_ONCE];
    GATEWISE_UNROLL for (int j = 0; j < 4; ++j)
        GATEWISE_UNROLL for (int i = 0; i < ROWS_AT_ONCE; ++i) of[j][i] = s[i < rows ? i : 0][j];
    const Float p[4] = {parts(of[0]), parts(of[1]), parts(of[2]), parts(of[3])};
    const Float a = shuffled<0x44>(p[0], p[1]) + shuffled<0xee>(p[0], p[1]);
    const Float b = shuffled<0x44>(p[2], p[3]) + shuffled<0xee>(p[2], p[3]);
    const Float all = shuffled<0x88>(a, b) + shuffled<0xdd>(a, b);
    rows == ROWS_AT_ONCE ? all.store(y[0]) : all.store(y[0], 4 * rows);
}
#endif

template <int rows, int columns>
GATEWISE_INLINE void totals(const Float (&s)[rows][columns], float (&y)[rows][columns]) {
    GATEWISE_UNROLL for (int i = 0; i < rows; ++i)
        GATEWISE_UNROLL for (int j = 0; j < columns; ++j) y[i][j] = total(s[i][j]);
}

}  // namespace
}  // namespace gatewise
