/* Attention of packed tokens: every row of a pass to its own keys and to the shared nodes before them, in one call.
 *
 * What a token has seen so far is kept as running maximum, sum and weighted values, so that parts join
 * without a pass of their own (Source: Milakov and Gimelshein, arXiv:1805.02867, algorithm 3). Scores are in
 * bits, not nats: the caller folds log2(e) into the scaling, and powers are of two.
 *
 * Two ways. Where a key is met by many queries these stand side by side in a vector, and neither keys
 * nor values need turning. Where few meet it, head sizes stand side by side.
 */

#include <math.h>
#include <stdint.h>
#include <string.h>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

/* Numbers in a vector, and vectors in flight: as many as the processor's registers hold. */
#ifndef WIDTH
#ifdef __AVX512F__
#define WIDTH 16
#else
#define WIDTH 8
#endif
#endif
#define TILE 64         /* keys at a time: their scores stay in the first cache */
#define FEW (WIDTH / 3) /* queries for which turning scores costs less than idle lanes (measured) */
#define PHASES 4        /* sums in flight, so that none waits for the last */
#define LARGEST 256

#define INLINE static inline __attribute__((always_inline))

typedef float Floats __attribute__((vector_size(4 * WIDTH)));
typedef int32_t Ints __attribute__((vector_size(4 * WIDTH)));
typedef float Loose __attribute__((vector_size(4 * WIDTH), aligned(4)));

/* Keys and values of one layer, [key heads][tokens][size]; `head` floats from one head to the next. */
typedef struct {
    const float *keys, *values;
    int64_t head;
} Source;

/* Tokens [first, last) of the pass see keys [place, place + keys) of a source; the first of these stands
 * at position `start` of the sequence. */
typedef struct {
    int32_t source, first, last, place, keys, start;
} Part;

typedef struct {
    const float *query; /* [heads][tokens][size] in any order of the first two */
    int64_t query_head, query_token;
    float *out;         /* [tokens][heads][size] */
    float *top, *total; /* [tokens][heads]: room for the running maximum and sum */
    const int64_t *at;  /* position of every token */
    const Source *sources;
    const Part *parts;
    int64_t count, tokens;
    int32_t heads, key_heads, size;
    int32_t window; /* tokens that a token sees, itself included */
    float scaling;
} Call;

INLINE Floats all(float x) { return x - (Floats){0}; }
INLINE Floats get(const float *x) { return *(const Loose *)x; }
INLINE void put(float *to, Floats x) { *(Loose *)to = x; }
INLINE Floats either(Ints which, Floats yes, Floats no) {
    return (Floats)((which & (Ints)yes) | (~which & (Ints)no));
}
/* y where one of them is NaN. */
INLINE Floats larger(Floats x, Floats y) {
#if WIDTH == 16 && defined(__AVX512F__)
    return (Floats)_mm512_max_ps((__m512)x, (__m512)y);
#else
    return either(x > y, x, y);
#endif
}

/* Two to the power of x <= 0; what is below 2^-126 counts as that, and NaN stays NaN. Source: Cephes, exp2f. */
INLINE Floats power(Floats x) {
    x = larger(all(-126.0f), x);
    const Floats shifted = x + 12582912.0f; /* the nearest integer is in its last bits */
    const Floats rest = x - (shifted - 12582912.0f);
    Floats sum = rest * 1.535336188319500e-4f + 1.339887440266574e-3f;
    sum = sum * rest + 9.618437357674640e-3f;
    sum = sum * rest + 5.550332471162809e-2f;
    sum = sum * rest + 2.402264791363012e-1f;
    sum = sum * rest + 6.931472028550421e-1f;
    sum = sum * rest + 1.0f;
    return (Floats)((Ints)sum + ((Ints)shifted << 23));
}

INLINE float largest(Floats x) {
    float top = x[0];
    for (int i = 1; i < WIDTH; i++) top = x[i] > top ? x[i] : top;
    return top;
}

INLINE float sum_of(Floats x) {
    float sum = 0.0f;
    for (int i = 0; i < WIDTH; i++) sum += x[i];
    return sum;
}

/* Of each pair of neighbouring stretches of lanes one of x, one of y, added to the other one of it. */
#ifdef __clang__
#define MIX(x, y, ...) __builtin_shufflevector(x, y, __VA_ARGS__)
#else
#define MIX(x, y, ...) __builtin_shuffle(x, y, (Ints){__VA_ARGS__})
#endif
#if WIDTH == 16
#define LANES 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
#define BY_8(x, y) \
    (MIX(x, y, 0, 1, 2, 3, 4, 5, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31) + \
     MIX(x, y, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23))
#define BY_4(x, y) \
    (MIX(x, y, 0, 1, 2, 3, 20, 21, 22, 23, 8, 9, 10, 11, 28, 29, 30, 31) + \
     MIX(x, y, 4, 5, 6, 7, 16, 17, 18, 19, 12, 13, 14, 15, 24, 25, 26, 27))
#define BY_2(x, y) \
    (MIX(x, y, 0, 1, 18, 19, 4, 5, 22, 23, 8, 9, 26, 27, 12, 13, 30, 31) + \
     MIX(x, y, 2, 3, 16, 17, 6, 7, 20, 21, 10, 11, 24, 25, 14, 15, 28, 29))
#define BY_1(x, y) \
    (MIX(x, y, 0, 17, 2, 19, 4, 21, 6, 23, 8, 25, 10, 27, 12, 29, 14, 31) + \
     MIX(x, y, 1, 16, 3, 18, 5, 20, 7, 22, 9, 24, 11, 26, 13, 28, 15, 30))
#else
#define LANES 0, 1, 2, 3, 4, 5, 6, 7
#define BY_4(x, y) (MIX(x, y, 0, 1, 2, 3, 12, 13, 14, 15) + MIX(x, y, 4, 5, 6, 7, 8, 9, 10, 11))
#define BY_2(x, y) (MIX(x, y, 0, 1, 10, 11, 4, 5, 14, 15) + MIX(x, y, 2, 3, 8, 9, 6, 7, 12, 13))
#define BY_1(x, y) (MIX(x, y, 0, 9, 2, 11, 4, 13, 6, 15) + MIX(x, y, 1, 8, 3, 10, 5, 12, 7, 14))
#endif

/* Lane i: the sum of all lanes of x[i]. */
INLINE Floats turned_sum(Floats x[WIDTH]) {
#if WIDTH == 16
    for (int i = 0; i < 8; i++) x[i] = BY_8(x[i], x[i + 8]);
#endif
    for (int i = 0; i < 4; i++) x[i] = BY_4(x[i], x[i + 4]);
    for (int i = 0; i < 2; i++) x[i] = BY_2(x[i], x[i + 2]);
    return BY_1(x[0], x[1]);
}

/* WIDTH rows from `keys` on; where there are fewer, a copy with zeros behind them. */
INLINE const float *rows_of(const float *keys, int left, int size, float *room) {
    if (left >= WIDTH) return keys;
    memcpy(room, keys, sizeof(float) * (size_t)(left * size));
    memset(room + left * size, 0, sizeof(float) * (size_t)((WIDTH - left) * size));
    return room;
}

/* Up to WIDTH queries, of one key head's, side by side. */
INLINE void side_by_side(const Call *c, const Part *p, int64_t head, int first, int lanes,
                         const int size) {
    const int shared = c->heads / c->key_heads;
    const Source *s = c->sources + p->source;
    const float *keys = s->keys + head * s->head + (int64_t)p->place * size;
    const float *values = s->values + head * s->head + (int64_t)p->place * size;
    _Alignas(64) float q[LARGEST][WIDTH], o[LARGEST][WIDTH], room[WIDTH * LARGEST];
    Floats score[TILE], top, total;
    Ints at;
    int64_t state[WIDTH];
    int soonest = INT32_MAX, latest = 0;
    for (int i = 0; i < WIDTH; i++) { /* lanes without a query repeat the last one's */
        const int lane = first + (i < lanes ? i : lanes - 1);
        const int64_t token = p->first + lane / shared, h = head * shared + lane % shared;
        const float *from = c->query + h * c->query_head + token * c->query_token;
        state[i] = token * c->heads + h;
        at[i] = (int32_t)c->at[token];
        soonest = at[i] < soonest ? at[i] : soonest, latest = at[i] > latest ? at[i] : latest;
        top[i] = c->top[state[i]], total[i] = c->total[state[i]];
        const float *so_far = c->out + state[i] * size;
        for (int d = 0; d < size; d++) q[d][i] = from[d] * c->scaling, o[d][i] = so_far[d];
    }
    const int end = latest - p->start + 1 < p->keys ? latest - p->start + 1 : p->keys;
    const int before = soonest - p->start - c->window + 1; /* which none of them sees */
    for (int tile = before < 0 ? 0 : before; tile < end; tile += TILE) {
        const int count = end - tile < TILE ? end - tile : TILE;
        const int hides = p->start + tile + count - 1 > soonest || p->start + tile <= latest - c->window;
        Floats peak = top;
        for (int j = 0; j < count; j += WIDTH) {
            const float *k = rows_of(keys + (int64_t)(tile + j) * size, count - j, size, room);
            Floats sum[WIDTH];
#pragma GCC unroll 16
            for (int i = 0; i < WIDTH; i++) sum[i] = all(0.0f);
#pragma GCC unroll 1
            for (int d = 0; d < size; d++) {
                const Floats x = get(q[d]);
#pragma GCC unroll 16
                for (int i = 0; i < WIDTH; i++) sum[i] += x * k[i * size + d];
            }
#pragma GCC unroll 16
            for (int i = 0; i < WIDTH; i++) score[j + i] = sum[i];
        }
        if (hides)
            for (int j = 0; j < count; j++) {
                const int position = p->start + tile + j;
                const Ints seen = (at >= position) & (at - c->window < position);
                score[j] = either(seen, score[j], all(-INFINITY));
            }
        for (int j = 0; j < count; j++) peak = larger(peak, score[j]);
        /* Nothing seen yet: nothing to take the maximum from. */
        const Floats safe = either(peak == -INFINITY, all(0.0f), peak);
        const Floats shrink = either(top == -INFINITY, all(0.0f), power(top - safe));
        total *= shrink;
        for (int j = 0; j < count; j++) {
            const Floats weight = power(score[j] - safe);
            score[j] = hides ? either(score[j] == -INFINITY, all(0.0f), weight) : weight;
            total += score[j];
        }
        for (int d = 0; d < size; d += WIDTH) {
            Floats sum[WIDTH];
#pragma GCC unroll 16
            for (int i = 0; i < WIDTH; i++) sum[i] = get(o[d + i]) * shrink;
#pragma GCC unroll 1
            for (int j = 0; j < count; j++) {
                const float *v = values + (int64_t)(tile + j) * size + d;
#pragma GCC unroll 16
                for (int i = 0; i < WIDTH; i++) sum[i] += score[j] * v[i];
            }
#pragma GCC unroll 16
            for (int i = 0; i < WIDTH; i++) put(o[d + i], sum[i]);
        }
        top = peak;
    }
    for (int i = 0; i < lanes; i++) {
        c->top[state[i]] = top[i], c->total[state[i]] = total[i];
        float *to = c->out + state[i] * size;
        for (int d = 0; d < size; d++) to[d] = o[d][i];
    }
}

/* One query. */
INLINE void one_by_one(const Call *c, const Part *p, int64_t head, int lane, const int size) {
    const int shared = c->heads / c->key_heads;
    const Source *s = c->sources + p->source;
    const float *keys = s->keys + head * s->head + (int64_t)p->place * size;
    const float *values = s->values + head * s->head + (int64_t)p->place * size;
    const int64_t token = p->first + lane / shared, h = head * shared + lane % shared;
    const float *from = c->query + h * c->query_head + token * c->query_token;
    const int64_t state = token * c->heads + h;
    float *o = c->out + state * size;
    _Alignas(64) float q[LARGEST], room[WIDTH * LARGEST], weights[TILE];
    for (int d = 0; d < size; d++) q[d] = from[d] * c->scaling;
    const int reach = (int)c->at[token] - p->start; /* the last key that it sees */
    const int end = reach + 1 < p->keys ? reach + 1 : p->keys;
    const int begin = reach - c->window + 1 < 0 ? 0 : reach - c->window + 1;
    float top = c->top[state];
    Floats total = all(0.0f);
    float before = c->total[state];
    for (int tile = begin; tile < end; tile += TILE) {
        const int count = end - tile < TILE ? end - tile : TILE;
        Floats score[TILE / WIDTH], peaks = all(top);
        for (int j = 0; j < count; j += WIDTH) {
            const float *k = rows_of(keys + (int64_t)(tile + j) * size, count - j, size, room);
            Floats sum[WIDTH];
#pragma GCC unroll 16
            for (int i = 0; i < WIDTH; i++) {
                sum[i] = get(q) * get(k + i * size);
                for (int d = WIDTH; d < size; d += WIDTH) sum[i] += get(q + d) * get(k + i * size + d);
            }
            score[j / WIDTH] = either((Ints){LANES} < count - j, turned_sum(sum), all(-INFINITY));
            peaks = larger(peaks, score[j / WIDTH]);
        }
        const float peak = largest(peaks); /* of at least one key */
        const float shrink = top == -INFINITY ? 0.0f : exp2f(top - peak);
        total *= shrink, before *= shrink;
        for (int j = 0; j < count; j += WIDTH) {
            const Floats weight = power(score[j / WIDTH] - peak);
            const Floats seen = either(score[j / WIDTH] == -INFINITY, all(0.0f), weight);
            put(weights + j, seen);
            total += seen;
        }
        for (int d = 0; d < size; d += WIDTH) {
            Floats sum[PHASES] = {get(o + d) * shrink};
            const float *v = values + (int64_t)tile * size + d;
            int j = 0;
            for (; j + PHASES <= count; j += PHASES)
#pragma GCC unroll 4
                for (int i = 0; i < PHASES; i++)
                    sum[i] += weights[j + i] * get(v + (int64_t)(j + i) * size);
            for (; j < count; j++) sum[0] += weights[j] * get(v + (int64_t)j * size);
            put(o + d, (sum[0] + sum[1]) + (sum[2] + sum[3]));
        }
        top = peak;
    }
    c->top[state] = top, c->total[state] = before + sum_of(total);
}

INLINE void run(const Call *c, int64_t head, const int size) {
    const int shared = c->heads / c->key_heads;
    for (int64_t token = 0; token < c->tokens; token++)
        for (int64_t h = head * shared; h < (head + 1) * shared; h++) {
            const int64_t state = token * c->heads + h;
            c->top[state] = -INFINITY, c->total[state] = 0.0f;
            memset(c->out + state * size, 0, sizeof(float) * (size_t)size);
        }
    for (const Part *p = c->parts; p < c->parts + c->count; p++) {
        const int lanes = (p->last - p->first) * shared;
        int first = 0;
        for (; lanes - first > FEW; first += WIDTH)
            side_by_side(c, p, head, first, lanes - first < WIDTH ? lanes - first : WIDTH, size);
        for (; first < lanes; first++) one_by_one(c, p, head, first, size);
    }
    for (int64_t token = 0; token < c->tokens; token++)
        for (int64_t h = head * shared; h < (head + 1) * shared; h++) {
            const int64_t state = token * c->heads + h;
            const float share = 1.0f / c->total[state]; /* every token sees itself */
            for (int d = 0; d < size; d++) c->out[state * size + d] *= share;
        }
}

/* Key heads [first, last) of a layer; the size of a head is a multiple of WIDTH, LARGEST at most. */
void exme_attention(const Call *c, int64_t first, int64_t last) {
    for (int64_t head = first; head < last; head++)
        switch (c->size) {
        case 32: run(c, head, 32); break;
        case 64: run(c, head, 64); break;
        case 128: run(c, head, 128); break;
        default: run(c, head, c->size);
        }
}
