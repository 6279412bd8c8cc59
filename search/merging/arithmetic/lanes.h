/* Elements side by side: sixteen in a register of AVX-512, one elsewhere, where the compiler makes
 * vectors of the loop by itself. The same operations in the same order, and so the same bits.
 *
 * Why by hand: bytes beside floats have the compiler take 64 elements at once, for which there are too
 * few registers, and it cannot fetch ahead within a loop.
 */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANE static inline __attribute__((always_inline))

#ifdef __AVX512F__
#include <immintrin.h>

#define LANES 16
#define GROUP 4    /* vectors in flight: while one waits, others are computed */
#define AHEAD 1024 /* elements: fetched while those before them are computed */

typedef __m512 Floats;
typedef __m512i Words;
typedef __mmask16 Which;

LANE Floats floats(float x) { return _mm512_set1_ps(x); }
LANE Words words(uint32_t x) { return _mm512_set1_epi32((int)x); }
LANE Words counted(uint32_t first) {
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_add_epi32(words(first), lane);
}
LANE Floats as_floats(Words x) { return _mm512_castsi512_ps(x); }
LANE Words as_words(Floats x) { return _mm512_castps_si512(x); }
LANE Words add_words(Words x, Words y) { return _mm512_add_epi32(x, y); }
LANE Words multiply_words(Words x, Words y) { return _mm512_mullo_epi32(x, y); }
LANE Words exclusive(Words x, Words y) { return _mm512_xor_si512(x, y); }
LANE Words common(Words x, Words y) { return _mm512_and_si512(x, y); }
LANE Words right(Words x, unsigned by) { return _mm512_srli_epi32(x, by); }
LANE Words left(Words x, unsigned by) { return _mm512_slli_epi32(x, by); }
LANE Words larger_words(Words x, Words y) { return _mm512_max_epu32(x, y); }
LANE Floats add(Floats x, Floats y) { return _mm512_add_ps(x, y); }
LANE Floats minus(Floats x, Floats y) { return _mm512_sub_ps(x, y); }
LANE Floats multiply(Floats x, Floats y) { return _mm512_mul_ps(x, y); }
LANE Floats divide(Floats x, Floats y) { return _mm512_div_ps(x, y); }
LANE Floats multiply_add(Floats x, Floats y, Floats z) { return _mm512_fmadd_ps(x, y, z); }
LANE Floats larger(Floats x, Floats y) { return _mm512_max_ps(x, y); }
LANE Floats converted(Words x) { return _mm512_cvtepi32_ps(x); }
LANE Words truncated(Floats x) { return _mm512_cvttps_epu32(x); }
LANE Which less(Words x, Words y) { return _mm512_cmplt_epu32_mask(x, y); }
LANE Which between(Floats x, Floats low, Floats high) {
    return _mm512_cmp_ps_mask(x, low, _CMP_GE_OQ) & _mm512_cmp_ps_mask(x, high, _CMP_LE_OQ);
}
LANE Which positive(Floats x) { return _mm512_cmp_ps_mask(x, floats(0.0f), _CMP_GT_OQ); }
LANE Floats only(Which which, Floats x) { return _mm512_maskz_mov_ps(which, x); }
LANE Floats add_only(Which which, Floats to, Floats x) {
    return _mm512_mask_add_ps(to, which, to, x);
}
LANE Floats either(Which which, Floats yes, Floats no) {
    return _mm512_mask_blend_ps(which, no, yes);
}
LANE Words get_halves(const uint16_t *x) {
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)x));
}
LANE Words get_bytes(const uint8_t *x) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)x));
}
LANE void put_halves(uint16_t *to, Words x) {
    _mm256_storeu_si256((__m256i *)to, _mm512_cvtepi32_epi16(x));
}
LANE void put_words(uint32_t *to, Words x) { _mm512_storeu_si512(to, x); }
LANE uint32_t largest(Words x) { return _mm512_reduce_max_epu32(x); }
/* It may lie behind the end, where nothing is fetched. */
LANE void fetch(const void *x, size_t bytes, size_t ahead) {
    for (size_t at = 0; at < bytes; at += 64)
        _mm_prefetch((const char *)((uintptr_t)x + ahead + at), _MM_HINT_T0);
}

#else

#define LANES 1
#define GROUP 1
#define AHEAD 0

typedef float Floats;
typedef uint32_t Words;
typedef int Which;

LANE Floats floats(float x) { return x; }
LANE Words words(uint32_t x) { return x; }
LANE Words counted(uint32_t first) { return first; }
LANE Floats as_floats(Words x) {
    Floats value;
    memcpy(&value, &x, 4);
    return value;
}
LANE Words as_words(Floats x) {
    Words bits;
    memcpy(&bits, &x, 4);
    return bits;
}
LANE Words add_words(Words x, Words y) { return x + y; }
LANE Words multiply_words(Words x, Words y) { return x * y; }
LANE Words exclusive(Words x, Words y) { return x ^ y; }
LANE Words common(Words x, Words y) { return x & y; }
LANE Words right(Words x, unsigned by) { return x >> by; }
LANE Words left(Words x, unsigned by) { return x << by; }
LANE Words larger_words(Words x, Words y) { return x > y ? x : y; }
LANE Floats add(Floats x, Floats y) { return x + y; }
LANE Floats minus(Floats x, Floats y) { return x - y; }
LANE Floats multiply(Floats x, Floats y) { return x * y; }
LANE Floats divide(Floats x, Floats y) { return x / y; }
LANE Floats multiply_add(Floats x, Floats y, Floats z) { return fmaf(x, y, z); }
LANE Floats larger(Floats x, Floats y) { return x > y ? x : y; }
LANE Floats converted(Words x) { return (float)(int32_t)x; }
LANE Words truncated(Floats x) { return (uint32_t)x; }
LANE Which less(Words x, Words y) { return x < y; }
LANE Which between(Floats x, Floats low, Floats high) { return (x >= low) & (x <= high); }
LANE Which positive(Floats x) { return x > 0; }
LANE Floats only(Which which, Floats x) { /* no branch: loops stay vectors */
    return as_floats(as_words(x) & -(uint32_t)which);
}
LANE Floats add_only(Which which, Floats to, Floats x) { return which ? to + x : to; }
LANE Floats either(Which which, Floats yes, Floats no) { return which ? yes : no; }
LANE Words get_halves(const uint16_t *x) { return *x; }
LANE Words get_bytes(const uint8_t *x) { return *x; }
LANE void put_halves(uint16_t *to, Words x) { *to = (uint16_t)x; }
LANE void put_words(uint32_t *to, Words x) { *to = x; }
LANE uint32_t largest(Words x) { return x; }
LANE void fetch(const void *x, size_t bytes, size_t ahead) { (void)x, (void)bytes, (void)ahead; }

#endif

#define STRIDE (LANES * GROUP) /* elements that a step of a loop takes */
