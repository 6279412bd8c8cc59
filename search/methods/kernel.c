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

#define BLOCK 1024 /* elements held in the first-level cache between the steps */
#define MOST 16    /* sources */

#define FUSED 4    /* sources that the fused loops take */

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
    uint32_t key[2];   /* of the draws */
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

static inline uint32_t to_bfloat16(float value) { /* to nearest, ties to even */
    uint32_t bits = float_bits(value);
    uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    return (bits & 0x7fffffff) > 0x7f800000 ? 0x7fc0 : rounded;
}

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
    uint32_t bad = 0;
    if (dtype == BFLOAT16 && live_dtype == BFLOAT16) {
        uint16_t *restrict out = (uint16_t *)to + at;
        for (int j = 0; j < count; j++) {
            uint32_t rounded = to_bfloat16(x[j]);
            out[j] = (uint16_t)rounded;
            bad |= (rounded & 0x7f80) == 0x7f80;
        }
        return bad != 0;
    }
    if (dtype == BFLOAT16)
        for (int j = 0; j < count; j++) x[j] = bits_float(to_bfloat16(x[j]) << 16);
#ifdef __FLT16_MAX__
    if (dtype == FLOAT16)
        for (int j = 0; j < count; j++) x[j] = (float)(_Float16)x[j];
    if (live_dtype == FLOAT16) {
        _Float16 *restrict out = (_Float16 *)to + at;
        for (int j = 0; j < count; j++) {
            out[j] = (_Float16)x[j];
            bad |= (float_bits((float)out[j]) & 0x7f800000) == 0x7f800000;
        }
        return bad != 0;
    }
#endif
    if (live_dtype == BFLOAT16) {
        uint16_t *restrict out = (uint16_t *)to + at;
        for (int j = 0; j < count; j++) {
            out[j] = (uint16_t)to_bfloat16(x[j]);
            bad |= (out[j] & 0x7f80) == 0x7f80;
        }
        return bad != 0;
    }
    float *restrict out = (float *)to + at;
    for (int j = 0; j < count; j++) {
        out[j] = x[j];
        bad |= (float_bits(x[j]) & 0x7f800000) == 0x7f800000;
    }
    return bad != 0;
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

static inline float uniform(uint32_t x, uint32_t key0, uint32_t key1) { /* draws.py */
    x ^= key0;
    x = (x ^ (x >> 16)) * 0x7feb352d;
    x ^= key1;
    x = (x ^ (x >> 15)) * 0x846ca68b;
    return (float)(int32_t)((x ^ (x >> 16)) >> 8) * 0x1p-24f;
}

static void drop(float *restrict delta, float keep, uint32_t first, uint32_t key0, uint32_t key1,
                 int count) {
    const float scale = 1.0f / keep;
    for (int j = 0; j < count; j++)
        delta[j] = only_if(uniform(first + (uint32_t)j, key0, key1) < keep, delta[j] * scale);
}

static void drop_by_rank(float *restrict delta, const uint8_t *restrict ranks, float keep,
                         float slope, uint32_t first, uint32_t key0, uint32_t key1, int count) {
    for (int j = 0; j < count; j++) {
        float chance = keep + slope * (float)ranks[j];
        float scaled = delta[j] * (1.0f / chance);
        delta[j] = only_if(uniform(first + (uint32_t)j, key0, key1) < chance, scaled);
    }
}

/* The masked and rescaled delta of a block, in place. */
static void mask(float *delta, const Source *s, uint64_t index, int64_t at, int count) {
    if (s->low > 0 || s->high < INFINITY) trim(delta, s->low, s->high, count);
    const uint32_t first = (uint32_t)index, upper = (uint32_t)(index >> 32) * 0x9e3779b9u;
    if (s->ranks != NULL)
        drop_by_rank(delta, s->ranks + at, s->keep, s->slope, first, s->key[0], s->key[1] ^ upper,
                     count);
    else if (s->keep < 1)
        drop(delta, s->keep, first, s->key[0], s->key[1] ^ upper, count);
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

/* Second step: contributions of the elected sign are added up, and their weights. */
static void gather(float *restrict sum, float *restrict weight, const float *restrict part,
                   const float *restrict ballot, float size, int count) {
    for (int j = 0; j < count; j++) {
        int agrees = is_elected(part[j], ballot[j]);
        sum[j] += only_if(agrees, part[j]);
        weight[j] += only_if(agrees, size);
    }
}

/* Third step: the mean of those that agree, times the sum of all weights. */
static void settle(float *restrict total, const float *restrict sum, const float *restrict weight,
                   float all, int count) {
    for (int j = 0; j < count; j++) {
        float divisor = weight[j] + only_if(weight[j] == 0, 1.0f);
        total[j] = total[j] + sum[j] / divisor * all;
    }
}

static void elect(float *restrict total, float deltas[][BLOCK], const Source *s, int n, int count) {
    float ballot[BLOCK] = {0}, sum[BLOCK] = {0}, weight[BLOCK] = {0}, all = 0.0f;
    for (int i = 0; i < n; i++) all += fabsf(s[i].coefficient);
    for (int i = 0; i < n; i++) vote(deltas[i], ballot, s[i].coefficient, count);
    for (int i = 0; i < n; i++)
        gather(sum, weight, deltas[i], ballot, fabsf(s[i].coefficient), count);
    settle(total, sum, weight, all, count);
}

/* The same in registers, where everything is bfloat16: `n`, `mode` and `is_wide` are constants.
 * A little over twice as fast as the steps above, which any dtypes and numbers of sources take. */
static inline __attribute__((always_inline)) int fused(const Source *s, const int n,
                                                       const enum Mode mode, const int is_wide,
                                                       const uint16_t *restrict base,
                                                       void *restrict live, uint32_t first,
                                                       uint32_t upper, int64_t start,
                                                       int64_t stop) {
    const int is_election = mode >= TRIM_ELECT;
    const uint16_t *restrict x[FUSED];
    const uint8_t *restrict ranks[FUSED];
    float c[FUSED], size[FUSED], low[FUSED], high[FUSED], keep[FUSED], slope[FUSED], scale[FUSED];
    uint32_t key0[FUSED], key1[FUSED], bad = 0;
    float all = 0.0f;
    for (int i = 0; i < n; i++) {
        x[i] = s[i].data, ranks[i] = s[i].ranks, c[i] = s[i].coefficient, size[i] = fabsf(c[i]);
        low[i] = s[i].low, high[i] = s[i].high, keep[i] = s[i].keep, slope[i] = s[i].slope;
        scale[i] = 1.0f / keep[i], key0[i] = s[i].key[0], key1[i] = s[i].key[1] ^ upper;
        all += size[i];
    }
    uint16_t *restrict narrow = live;
    uint32_t *restrict wide = live;
    for (int64_t j = start; j < stop; j++) {
        const float origin = bits_float((uint32_t)base[j] << 16);
        float total = origin, parts[FUSED], ballot = 0.0f;
        for (int i = 0; i < n; i++) {
            float delta = bits_float((uint32_t)x[i][j] << 16) - origin;
            if (mode == TRIM || mode == TRIM_ELECT)
                delta = trimmed(delta, low[i], high[i]);
            if (mode == DROP || mode == DROP_ELECT)
                delta = only_if(uniform(first + (uint32_t)j, key0[i], key1[i]) < keep[i],
                                delta * scale[i]);
            if (mode == RANK_ELECT) {
                float chance = keep[i] + slope[i] * (float)ranks[i][j];
                delta = only_if(uniform(first + (uint32_t)j, key0[i], key1[i]) < chance,
                                delta * (1.0f / chance));
            }
            if (is_election) {
                parts[i] = c[i] * delta;
                ballot += parts[i];
            } else {
                total = fmaf(c[i], delta, total);
            }
        }
        if (is_election) {
            float sum = 0.0f, weight = 0.0f;
            for (int i = 0; i < n; i++) {
                int agrees = is_elected(parts[i], ballot);
                sum += only_if(agrees, parts[i]);
                weight += only_if(agrees, size[i]);
            }
            total = total + sum / (weight + only_if(weight == 0, 1.0f)) * all;
        }
        const uint32_t rounded = to_bfloat16(total);
        bad |= (rounded & 0x7f80) == 0x7f80;
        if (is_wide) wide[j] = rounded << 16;
        else narrow[j] = (uint16_t)rounded;
    }
    return bad != 0;
}

#define ARGUMENTS base, live, first, upper, start, stop
#define WIDTHS(n, mode) \
    if (is_wide) return fused(s, n, mode, 1, ARGUMENTS); \
    return fused(s, n, mode, 0, ARGUMENTS);
#define SOURCES(mode) \
    case mode: \
        if (n == 2) { WIDTHS(2, mode) } \
        if (n == 3) { WIDTHS(3, mode) } \
        WIDTHS(4, mode)

/* The loops that `fused` has been made into; -1 where none fits. */
static int find_fused(const Source *s, int n, enum Mode mode, int is_wide, const void *base,
                      void *live, uint32_t first, uint32_t upper, int64_t start, int64_t stop) {
    if (n == 1 && mode == SUM) { WIDTHS(1, SUM) }
    if (n < 2 || n > FUSED) return -1;
    switch (mode) {
    SOURCES(SUM)
    SOURCES(TRIM)
    SOURCES(DROP)
    SOURCES(TRIM_ELECT)
    SOURCES(DROP_ELECT)
    SOURCES(RANK_ELECT)
    default: return -1;
    }
}

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
    if (mode != OTHER) {
        int found = find_fused(sources, n, mode, is_wide, base, live, (uint32_t)index,
                               (uint32_t)(index >> 32) * 0x9e3779b9u, start, stop);
        if (found >= 0) return found;
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
            if (!is_election) accumulate(total, delta, s->coefficient, count);
        }
        if (is_election) elect(total, deltas, sources, n, count);
        bad |= store(live, live_dtype, dtype, at, total, count);
        at += count;
    }
    return bad;
}
