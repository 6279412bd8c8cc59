/* The same where everything is bfloat16 and sources are few, as they mostly are: all steps of a merge in
 * registers, several times as fast as kernel.c's steps, bit for bit the same. Included by kernel.c.
 */

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define FUSED 4 /* sources that these loops take */

/* Copy a block past the caches: nobody reads it before the whole candidate has been written. */
static void copy_past(void *restrict to, const void *restrict from, size_t bytes) {
#ifdef __SSE2__
    if (((uintptr_t)to | bytes) % 64 == 0) {
        for (size_t at = 0; at < bytes; at += 16)
            _mm_stream_si128((__m128i *)((char *)to + at),
                             _mm_load_si128((const __m128i *)((const char *)from + at)));
        return;
    }
#endif
    memcpy(to, from, bytes);
}

/* A block of the same in registers, where everything is bfloat16: `n`, `mode` and `is_wide` are
 * constants. Several times as fast as the steps above, which take any dtypes and number of sources.
 * `count` is a multiple of STRIDE. The largest magnitude of what is written, as bits. */
static inline __attribute__((always_inline)) uint32_t fused(const Source *s, const int n,
                                                            const enum Mode mode,
                                                            const int is_wide,
                                                            const uint16_t *restrict base,
                                                            void *restrict to, uint32_t first,
                                                            uint32_t upper, int64_t at,
                                                            const int count) {
    const int is_election = mode >= TRIM_ELECT;
    const int draws = mode == DROP || mode == DROP_ELECT || mode == RANK_ELECT;
    const uint16_t *restrict x[FUSED];
    const uint8_t *restrict ranks[FUSED];
    float c[FUSED], size[FUSED], low[FUSED], high[FUSED], keep[FUSED], slope[FUSED];
    uint32_t key1[FUSED], limit[FUSED];
    const uint32_t key0 = s[0].key[0];
    float all = 0.0f, least = INFINITY;
    for (int i = 0; i < n; i++) {
        x[i] = (const uint16_t *)s[i].data + at, ranks[i] = s[i].ranks + at;
        c[i] = weight_of(s + i), size[i] = fabsf(s[i].coefficient);
        low[i] = s[i].low, high[i] = s[i].high, limit[i] = limit_of(s + i);
        keep[i] = s[i].keep * SCALE, slope[i] = s[i].slope * SCALE;
        key1[i] = s[i].key[1] ^ upper;
        all += size[i], least = size[i] < least ? size[i] : least;
    }
    /* Of two, the quotients are three. */
    const float one = all / size[0], other = all / size[n > 1], both = all / (size[0] + size[n > 1]);
    uint16_t *restrict narrow = to;
    uint32_t *restrict wide = to;
    Words most = words(0);
    for (int j = 0; j < count; j += STRIDE) {
        Floats origin[GROUP], total[GROUP], ballot[GROUP], parts[GROUP][FUSED];
        Words chance[GROUP];
        fetch(base + j, 2 * STRIDE, 2 * AHEAD);
        for (int g = 0; g < GROUP; g++) {
            const int k = j + g * LANES;
            total[g] = origin[g] = as_floats(left(get_halves(base + k), 16));
            ballot[g] = floats(0.0f);
            chance[g] = exclusive(counted(first + (uint32_t)k), words(key0));
            chance[g] = exclusive(chance[g], right(chance[g], 16));
            chance[g] = multiply_words(chance[g], words(0x7feb352d));
        }
        for (int i = 0; i < n; i++) {
            fetch(x[i] + j, 2 * STRIDE, 2 * AHEAD);
            if (mode == RANK_ELECT) fetch(ranks[i] + j, STRIDE, AHEAD);
            for (int g = 0; g < GROUP; g++) {
                const int k = j + g * LANES;
                Floats delta = minus(as_floats(left(get_halves(x[i] + k), 16)), origin[g]);
                if (mode == TRIM || mode == TRIM_ELECT) {
                    const Floats magnitude = as_floats(common(as_words(delta), words(0x7fffffff)));
                    delta = only(between(magnitude, floats(low[i]), floats(high[i])), delta);
                }
                if (draws) {
                    Words drawn = add_words(chance[g], words(key1[i]));
                    drawn = exclusive(drawn, right(drawn, 15));
                    drawn = multiply_words(drawn, words(0x846ca68b));
                    Words below = words(limit[i]);
                    if (mode == RANK_ELECT) {
                        const Floats rank = converted(get_bytes(ranks[i] + k));
                        const Floats by = multiply_add(floats(slope[i]), rank, floats(keep[i]));
                        below = truncated(by);
                        delta = divide(delta, by);
                    }
                    delta = only(less(drawn, below), delta);
                }
                if (is_election) {
                    parts[g][i] = multiply(floats(c[i]), delta);
                    ballot[g] = add(ballot[g], parts[g][i]);
                } else {
                    total[g] = multiply_add(floats(c[i]), delta, total[g]);
                }
            }
        }
        for (int g = 0; g < GROUP; g++) {
            if (is_election) {
                Floats sum = floats(0.0f), weight = floats(0.0f), quotient;
                Which agrees[FUSED];
                const Words sign = common(as_words(ballot[g]), words(0x80000000u));
                for (int i = 0; i < n; i++) { /* as is_elected */
                    agrees[i] = positive(as_floats(exclusive(as_words(parts[g][i]), sign)));
                    sum = add_only(agrees[i], sum, parts[g][i]);
                    if (n > 2) weight = add_only(agrees[i], weight, floats(size[i]));
                }
                if (n == 2)
                    quotient = either(agrees[0], either(agrees[1], floats(both), floats(one)),
                                      floats(other));
                else
                    quotient = divide(floats(all), larger(weight, floats(least)));
                total[g] = add(total[g], multiply(sum, quotient));
            }
            const Words bits = as_words(total[g]), odd = common(right(bits, 16), words(1));
            const Words rounded = right(add_words(add_words(bits, words(0x7fff)), odd), 16);
            most = larger_words(most, common(bits, words(0x7fffffff)));
            if (is_wide) put_words(wide + j + g * LANES, left(rounded, 16));
            else put_halves(narrow + j + g * LANES, rounded);
        }
    }
    return largest(most);
}

typedef uint32_t Fused(const Source *, const uint16_t *, void *, uint32_t, uint32_t, int64_t, int);

#define NAME(n, mode, is_wide) fused_##n##_##mode##_##is_wide
#define LOOP(n, mode, is_wide) \
    static uint32_t NAME(n, mode, is_wide)(const Source *s, const uint16_t *base, void *to, \
                                           uint32_t first, uint32_t upper, int64_t at, \
                                           int count) { \
        if (count == BLOCK) \
            return fused(s, n, mode, is_wide, base, to, first, upper, at, BLOCK); \
        return fused(s, n, mode, is_wide, base, to, first, upper, at, count); \
    }
#define LOOPS(n, mode) LOOP(n, mode, 0) LOOP(n, mode, 1)
#define MODES(n) \
    LOOPS(n, SUM) LOOPS(n, TRIM) LOOPS(n, DROP) LOOPS(n, TRIM_ELECT) LOOPS(n, DROP_ELECT) \
    LOOPS(n, RANK_ELECT)
MODES(1)
MODES(2)
MODES(3)
MODES(4)
#define WIDTHS(n, mode) {NAME(n, mode, 0), NAME(n, mode, 1)}
#define ROW(n) \
    {WIDTHS(n, SUM), WIDTHS(n, TRIM), WIDTHS(n, DROP), WIDTHS(n, TRIM_ELECT), \
     WIDTHS(n, DROP_ELECT), WIDTHS(n, RANK_ELECT)}
static Fused *const FUSED_LOOPS[FUSED][OTHER][2] = {ROW(1), ROW(2), ROW(3), ROW(4)};

/* Elements [start, stop), a multiple of STRIDE, by one of the fused loops; whether one of them is not
 * finite. */
static int run_fused(Fused *loop, const Source *s, const uint16_t *base, void *live, int is_wide,
                     uint64_t index, int64_t start, int64_t stop) {
    _Alignas(64) char block[4 * BLOCK];
    const size_t itemsize = is_wide ? 4 : 2;
    uint32_t most = 0;
    for (int64_t at = start; at < stop; at += BLOCK) {
        const uint64_t here = index + (uint64_t)at;
        const int count = stop - at < BLOCK ? (int)(stop - at) : BLOCK;
        const uint32_t found = loop(s, base + at, block, (uint32_t)here,
                                    (uint32_t)(here >> 32) * 0x9e3779b9u, at, count);
        most = found > most ? found : most;
        copy_past((char *)live + (size_t)at * itemsize, block, (size_t)count * itemsize);
    }
#ifdef __SSE2__
    _mm_sfence();
#endif
    return most >= TOO_LARGE;
}
