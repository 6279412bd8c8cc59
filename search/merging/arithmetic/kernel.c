/* One tensor of a candidate in one pass: sources are read once, the live tensor is written once.
 *
 * Compiled when it is first needed (compiled.py), where there is a C compiler. It computes, bit for
 * bit, what plain.py computes with torch: the same float32 operations in the same order. Compile
 * without contraction of products and sums: fmaf stands where torch.add(..., alpha=c) has it.
 */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "lanes.h"

#define BLOCK 512 /* elements held in the first-level cache between the steps */
#define MOST 16    /* sources */

enum { FLOAT32, BFLOAT16, FLOAT16 };
enum Mode { SUM, TRIM, DROP, TRIM_ELECT, DROP_ELECT, RANK_ELECT, OTHER };

/* As compiled.py declares it. */
typedef struct {
    const void *data;     /* the checkpoint's elements, or its delta's */
    const uint8_t *ranks; /* of the delta's elements in their row, in 255ths; or NULL */
    int32_t dtype;
    int32_t is_delta;
    float coefficient;
    float low, high;   /* smallest and largest magnitude that is kept */
    float keep, slope; /* chance to be kept: keep + slope * rank; 1 and 0 where nothing is drawn */
    uint32_t key[2];   /* of the draws: the tensor's, the checkpoint's */
} Source;

static inline float bits_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

static inline uint32_t float_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

static inline uint32_t to_bfloat16(float value) { /* to nearest, ties to even; of NaN, anything */
    uint32_t bits = float_bits(value);
    return (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
}

#define INFINITE 0x7f800000u  /* magnitudes, as bits, from which a float32 is not finite ... */
#define TOO_LARGE 0x7f7f8000u /* ... and from which the bfloat16 that it is rounded to is not */

static void load(float *restrict to, const void *from, int dtype, int64_t at, int count) {
    if (dtype == FLOAT32) {
        memcpy(to, (const float *)from + at, 4 * (size_t)count);
    } else if (dtype == BFLOAT16) {
        const uint16_t *restrict x = (const uint16_t *)from + at;
        for (int j = 0; j < count; j++) to[j] = bits_float((uint32_t)x[j] << 16);
    } else {
#ifdef __FLT16_MAX__
        const _Float16 *restrict x = (const _Float16 *)from + at;
        for (int j = 0; j < count; j++) to[j] = (float)x[j];
#endif
    }
}

/* Round to `dtype`, then cast to `live_dtype`; whether anything written is not finite. */
static int store(void *to, int live_dtype, int dtype, int64_t at, float *restrict x, int count) {
    uint32_t most = 0, limit = dtype == BFLOAT16 || live_dtype == BFLOAT16 ? TOO_LARGE : INFINITE;
    for (int j = 0; j < count; j++) {
        uint32_t size = float_bits(x[j]) & 0x7fffffff;
        most = size > most ? size : most;
    }
    if (dtype == BFLOAT16)
        for (int j = 0; j < count; j++) x[j] = bits_float(to_bfloat16(x[j]) << 16);
#ifdef __FLT16_MAX__
    if (dtype == FLOAT16)
        for (int j = 0; j < count; j++) x[j] = (float)(_Float16)x[j];
    if (dtype == FLOAT16 || live_dtype == FLOAT16)
        for (int j = 0; j < count; j++) most |= (fabsf(x[j]) >= 65520.0f) * INFINITE;
    if (live_dtype == FLOAT16) {
        _Float16 *restrict out = (_Float16 *)to + at;
        for (int j = 0; j < count; j++) out[j] = (_Float16)x[j];
        return most >= limit;
    }
#endif
    if (live_dtype == BFLOAT16) {
        uint16_t *restrict out = (uint16_t *)to + at;
        for (int j = 0; j < count; j++) out[j] = (uint16_t)to_bfloat16(x[j]);
    } else {
        memcpy((float *)to + at, x, 4 * (size_t)count);
    }
    return most >= limit;
}

static inline float only_if(int condition, float value) { /* no branch: loops stay vectors */
    return bits_float(float_bits(value) & -(uint32_t)condition);
}

static inline float trimmed(float delta, float low, float high) {
    float size = fabsf(delta);
    return only_if((size >= low) & (size <= high), delta);
}

static void subtract(float *restrict delta, const float *restrict origin, int count) {
    for (int j = 0; j < count; j++) delta[j] = delta[j] - origin[j];
}

static void trim(float *restrict delta, float low, float high, int count) {
    for (int j = 0; j < count; j++) delta[j] = trimmed(delta[j], low, high);
}

static inline int is_elected(float part, float ballot) { /* has the ballot's sign, is not zero */
    return bits_float(float_bits(part) ^ (float_bits(ballot) & 0x80000000u)) > 0;
}

static inline uint32_t mixed(uint32_t x, uint32_t key) { /* draws.py: of the tensor */
    x ^= key;
    return (x ^ (x >> 16)) * 0x7feb352d;
}

static inline uint32_t draw(uint32_t x, uint32_t key) { /* and of the checkpoint */
    x += key;
    return (x ^ (x >> 15)) * 0x846ca68b;
}

/* Draws below this are kept. */
static uint32_t limit_of(const Source *s) {
    return (uint32_t)((double)s->keep * 4294967295.0);
}

#define SCALE 4294966272.0f /* draws.py: chances by rank are in draws */

/* What a checkpoint's kept elements are multiplied by; what is drawn by rank has been divided. */
static float weight_of(const Source *s) {
    if (s->ranks != NULL) return s->coefficient * SCALE;
    return s->keep < 1 ? s->coefficient * (1.0f / s->keep) : s->coefficient;
}

static void drop(float *restrict delta, uint32_t limit, uint32_t first, uint32_t key0,
                 uint32_t key1, int count) {
    for (int j = 0; j < count; j++)
        delta[j] = only_if(draw(mixed(first + (uint32_t)j, key0), key1) < limit, delta[j]);
}

static void drop_by_rank(float *restrict delta, const uint8_t *restrict ranks, const Source *s,
                         uint32_t first, uint32_t key1, int count) {
    const uint32_t key0 = s->key[0];
    const float keep = s->keep * SCALE, slope = s->slope * SCALE;
    for (int j = 0; j < count; j++) {
        float chance = fmaf(slope, (float)ranks[j], keep);
        int kept = draw(mixed(first + (uint32_t)j, key0), key1) < (uint32_t)chance;
        delta[j] = only_if(kept, delta[j] / chance);
    }
}

/* What a block of a delta leaves, in place. */
static void mask(float *delta, const Source *s, uint64_t index, int64_t at, int count) {
    if (s->low > 0 || s->high < INFINITY) trim(delta, s->low, s->high, count);
    const uint32_t first = (uint32_t)index, upper = (uint32_t)(index >> 32) * 0x9e3779b9u;
    if (s->ranks != NULL)
        drop_by_rank(delta, s->ranks + at, s, first, s->key[1] ^ upper, count);
    else if (s->keep < 1)
        drop(delta, limit_of(s), first, s->key[0], s->key[1] ^ upper, count);
}

static void accumulate(float *restrict total, const float *restrict delta, float c, int count) {
    for (int j = 0; j < count; j++) total[j] = fmaf(c, delta[j], total[j]);
}

/* Disjoint merge, first step: a delta becomes its contribution and is counted in the ballot. */
static void vote(float *restrict delta, float *restrict ballot, float c, int count) {
    for (int j = 0; j < count; j++) {
        delta[j] = c * delta[j];
        ballot[j] += delta[j];
    }
}

/* Second step: contributions of the elected sign are added up, and their sizes. */
static void gather(float *restrict sum, float *restrict size, const float *restrict part,
                   const float *restrict ballot, float c, int count) {
    for (int j = 0; j < count; j++) {
        int agrees = is_elected(part[j], ballot[j]);
        sum[j] += only_if(agrees, part[j]);
        size[j] += only_if(agrees, c);
    }
}

/* Third step: the mean of those that agree, times the sum of all sizes. Where nobody agrees the sum
 * is zero; the smallest of the sizes keeps the quotient finite there, and changes none elsewhere. */
static void settle(float *restrict total, const float *restrict sum, const float *restrict size,
                   float all, float least, int count) {
    for (int j = 0; j < count; j++)
        total[j] += sum[j] * (all / (size[j] > least ? size[j] : least));
}

static void elect(float *restrict total, float deltas[][BLOCK], const Source *s, int n, int count) {
    float ballot[BLOCK] = {0}, sum[BLOCK] = {0}, size[BLOCK] = {0}, all = 0.0f, least = INFINITY;
    for (int i = 0; i < n; i++) {
        float c = fabsf(s[i].coefficient);
        all += c, least = c < least ? c : least;
    }
    for (int i = 0; i < n; i++) vote(deltas[i], ballot, weight_of(s + i), count);
    for (int i = 0; i < n; i++)
        gather(sum, size, deltas[i], ballot, fabsf(s[i].coefficient), count);
    settle(total, sum, size, all, least, count);
}

#include "fused.h"

/* Whether float16 is known to this compiler. */
int exme_has_float16(void) {
#ifdef __FLT16_MAX__
    return 1;
#else
    return 0;
#endif
}

/* Which of the fused loops computes a merge; OTHER where none does. */
static enum Mode mode_of(const Source *s, int n, int is_election) {
    int trims = 0, drops = 0, ranks = 0;
    for (int i = 0; i < n; i++) {
        if (s[i].dtype != BFLOAT16 || s[i].is_delta) return OTHER;
        trims += s[i].low > 0 || s[i].high < INFINITY;
        drops += s[i].ranks == NULL && s[i].keep < 1;
        ranks += s[i].ranks != NULL;
        if (s[i].key[0] != s[0].key[0]) return OTHER;
    }
    if ((trims != 0) + (drops != 0) + (ranks != 0) > 1) return OTHER;
    if (ranks) return ranks == n && is_election ? RANK_ELECT : OTHER;
    if (drops) return is_election ? DROP_ELECT : DROP;
    return is_election ? TRIM_ELECT : trims ? TRIM : SUM;
}

/* Write elements [start, stop) of a tensor; 1 where one of them is not finite, else 0.
 *
 * `index` is the number of the tensor's element that stands first in the arrays: draws count from
 * the tensor's beginning.
 */
int exme_merge(const Source *sources, int n, const void *base, int base_dtype, void *live,
               int live_dtype, int dtype, int is_election, uint64_t index, int64_t start,
               int64_t stop) {
    float origin[BLOCK], total[BLOCK], deltas[MOST][BLOCK];
    int bad = 0;
    const int is_wide = live_dtype == FLOAT32;
    enum Mode mode = mode_of(sources, n, is_election);
    if (base_dtype != BFLOAT16 || dtype != BFLOAT16 || live_dtype == FLOAT16) mode = OTHER;
    if (((index + (uint64_t)start) >> 32) != ((index + (uint64_t)stop) >> 32)) mode = OTHER;
    if (n < 1 || n > FUSED) mode = OTHER;
    if (mode != OTHER) {
        int64_t whole = start + (stop - start) / STRIDE * STRIDE;
        bad = run_fused(FUSED_LOOPS[n - 1][mode][is_wide], sources, base, live, is_wide, index,
                        start, whole);
        start = whole;
    }
    for (int64_t at = start; at < stop;) {
        uint64_t here = index + (uint64_t)at;
        int64_t room = (int64_t)((uint64_t)1 << 32) - (int64_t)(here & 0xffffffff);
        int64_t left = stop - at < room ? stop - at : room;
        int count = left < BLOCK ? (int)left : BLOCK;
        load(origin, base, base_dtype, at, count);
        memcpy(total, origin, 4 * (size_t)count);
        for (int i = 0; i < n; i++) {
            const Source *s = sources + i;
            float *restrict delta = deltas[is_election ? i : 0];
            load(delta, s->data, s->dtype, at, count);
            if (!s->is_delta) subtract(delta, origin, count);
            mask(delta, s, here, at, count);
            if (!is_election) accumulate(total, delta, weight_of(s), count);
        }
        if (is_election) elect(total, deltas, sources, n, count);
        bad |= store(live, live_dtype, dtype, at, total, count);
        at += count;
    }
    return bad;
}
