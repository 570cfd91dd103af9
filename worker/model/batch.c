/* batch.c - rows become positions, in time order, and ids become places in a list of distinct ids; see batch.h. */
#include "worker/model/batch.h"

#include "proto/text/vocab.h"

#include <stdlib.h>
#include <string.h>

int batch_padding(const struct config *config)
{
    return config->model_encoder_padding ? (int)config->data_length : 0;
}

void batch_free(struct batch *batch)
{
    struct backend *backend = batch->backend;
    if (batch->device != NULL)
        backend->op->free(backend, batch->device);
    free(batch->host);
    free(batch->scratch);
    free(batch->place);
    free(batch->row_of);
    *batch = (struct batch){.backend = backend};
}

static bool batch_grow(int32_t **block, size_t *capacity, size_t needed, struct err *err)
{
    if (needed <= *capacity)
        return true;
    int32_t *larger = realloc(*block, needed * sizeof **block);
    if (larger == NULL)
        return err_set(err, ERR_MEMORY, "no memory for a batch of %zu ids", needed);
    memset(larger + *capacity, 0, (needed - *capacity) * sizeof **block);
    *block = larger;
    *capacity = needed;
    return true;
}

static bool batch_reserve(struct batch *batch, size_t ids, size_t scratch, int rows, size_t vocab, struct err *err)
{
    if (ids > batch->capacity) {
        size_t wanted = ids + ids / 4;
        struct backend *backend = batch->backend;
        if (batch->device != NULL)
            backend->op->free(backend, batch->device);
        batch->device = NULL;
        if (batch_grow(&batch->host, &batch->capacity, wanted, err))
            batch->device = backend->op->alloc(backend, wanted * sizeof(int32_t), err);
        if (batch->device == NULL) {
            batch->capacity = 0;
            return false;
        }
    }
    if (rows > batch->row_capacity) {
        int *row_of = realloc(batch->row_of, (size_t)rows * sizeof *row_of);
        if (row_of == NULL)
            return err_set(err, ERR_MEMORY, "no memory for a batch of %d rows", rows);
        batch->row_of = row_of;
        batch->row_capacity = rows;
    }
    return batch_grow(&batch->scratch, &batch->scratch_capacity, scratch, err) &&
           batch_grow(&batch->place, &batch->place_capacity, vocab, err);
}

/* order[i] = the i-th row by falling length; equal lengths keep their order. */
static void batch_sort(const uint16_t *lengths, int count, int longest, int32_t *order, int32_t *scratch)
{
    memset(scratch, 0, (size_t)(longest + 1) * sizeof *scratch);
    for (int r = 0; r < count; r++)
        scratch[lengths[r]]++;
    int32_t before = 0;
    for (int length = longest; length >= 0; length--) {
        int32_t here = scratch[length];
        scratch[length] = before;
        before += here;
    }
    for (int r = 0; r < count; r++)
        order[scratch[lengths[r]]++] = r;
}

/* Where the arrays of a side stand in the block that goes to the backend. */
struct side_layout {
    int32_t *rows, *offset, *slot, *distinct, *first, *index;
    const int32_t *place; /* [B] of each row on this side */
    int vocab;
};

struct layout {
    struct side_layout src, tgt;
    int32_t *target, *src_row, *tgt_row;
};

/* Fill rows[T] and offset[T] for rows of these lengths (each at least 1); pad_to as in batch_pack. */
static void batch_shape(struct sequence *seq, const struct side_layout *to, const uint16_t *lengths, int count, int T,
                        int pad_to)
{
    int32_t *rows = to->rows, *offset = to->offset;
    if (pad_to > 0) {
        for (int t = 0; t < T; t++)
            rows[t] = count;
    } else {
        memset(rows, 0, (size_t)T * sizeof *rows);
        for (int r = 0; r < count; r++)
            rows[lengths[r] - 1]++;
        for (int t = T - 2; t >= 0; t--)
            rows[t] += rows[t + 1];
    }
    int32_t N = 0;
    for (int t = 0; t < T; t++) {
        offset[t] = N;
        N += rows[t];
    }
    *seq = (struct sequence){.B = count, .T = T, .N = N, .rows = rows, .offset = offset};
}

/* Turn `slot`, which holds ids, into places in `distinct`; ids in the order of their first position, <pad> last. */
static void batch_distinct(struct batch_side *side, const struct side_layout *to, int32_t *place)
{
    int32_t *slot = to->slot, *distinct = to->distinct;
    int U = 0;
    bool padded = false;
    for (int n = 0; n < side->seq.N; n++) {
        int32_t id = slot[n];
        if (id == ID_PAD) {
            padded = true;
        } else if (place[id] == 0) {
            distinct[U++] = id;
            place[id] = U;
        }
    }
    side->real = U;
    if (padded) {
        distinct[U++] = ID_PAD;
        place[ID_PAD] = U;
    }
    side->U = U;
    for (int n = 0; n < side->seq.N; n++)
        slot[n] = place[slot[n]] - 1;
    for (int u = 0; u < U; u++)
        place[distinct[u]] = 0;
}

/* The positions of each slot. first[u] is at first the end of u's positions, and moves down to their beginning. */
static void batch_segments(const struct batch_side *side, const struct side_layout *to)
{
    int32_t *first = to->first;
    memset(first, 0, (size_t)(side->U + 1) * sizeof *first);
    for (int n = 0; n < side->seq.N; n++)
        first[to->slot[n]]++;
    for (int u = 0; u < side->U; u++)
        first[u + 1] += first[u];
    for (int n = side->seq.N - 1; n >= 0; n--)
        to->index[--first[to->slot[n]]] = n;
}

static bool batch_place_source(const struct sequence *seq, const struct layout *to, int r, const uint16_t *ids,
                               int length, int steps, struct err *err)
{
    for (int t = 0; t < steps; t++) {
        int32_t id = t < length ? ids[t] : ID_PAD;
        if (id >= to->src.vocab)
            return err_set(err, ERR_DATA, "source id %d is outside the vocabulary of %d", (int)id, to->src.vocab);
        to->src.slot[seq->offset[t] + to->src.place[r]] = id;
    }
    return true;
}

static bool batch_place_target(const struct sequence *seq, const struct layout *to, int r, const uint16_t *ids,
                               int length, struct err *err)
{
    for (int t = 0; t < length; t++) {
        int32_t id = ids[t];
        if (id >= to->tgt.vocab || id == ID_PAD)
            return err_set(err, ERR_DATA, "target id %d is <pad> or outside the vocabulary of %d", (int)id,
                           to->tgt.vocab);
        int32_t n = seq->offset[t] + to->tgt.place[r];
        to->target[n] = id;
        to->tgt.slot[n] = t == 0 ? ID_SOS : (int32_t)ids[t - 1];
    }
    return true;
}

static int batch_longest(const uint16_t *lengths, int count)
{
    int longest = 0;
    for (int r = 0; r < count; r++)
        if (lengths[r] > longest)
            longest = lengths[r];
    return longest;
}

/* The sizes of a batch. */
struct extent {
    int src_longest, tgt_longest;
    size_t src_T, tgt_T, src_N, tgt_N;
    size_t block; /* int32 that go to the backend */
};

static int32_t *batch_lay_side(struct side_layout *to, int32_t *at, size_t T, size_t N)
{
    to->rows = at;
    to->offset = to->rows + T;
    to->slot = to->offset + T;
    to->distinct = to->slot + N;
    to->first = to->distinct + N;
    to->index = to->first + N + 1;
    return to->index + N;
}

static struct layout batch_lay(int32_t *host, const struct extent *extent, int B)
{
    struct layout to;
    to.target = batch_lay_side(&to.tgt, batch_lay_side(&to.src, host, extent->src_T, extent->src_N), extent->tgt_T,
                               extent->tgt_N);
    to.src_row = to.target + extent->tgt_N;
    to.tgt_row = to.src_row + B;
    return to;
}

static struct extent batch_measure(const struct rows *rows, int pad_to)
{
    size_t B = rows->count, src_ids = 0;
    for (uint32_t r = 0; r < rows->count; r++)
        src_ids += rows->src_lengths[r];
    struct extent extent = {.src_longest = batch_longest(rows->src_lengths, (int)rows->count),
                            .tgt_longest = batch_longest(rows->tgt_lengths, (int)rows->count)};
    extent.src_T = (size_t)(pad_to > 0 ? pad_to : extent.src_longest);
    extent.tgt_T = (size_t)extent.tgt_longest;
    extent.src_N = pad_to > 0 ? B * (size_t)pad_to : src_ids;
    extent.tgt_N = rows_ids(rows, 0, rows->count) - src_ids;
    /* As batch_lay lays it out. */
    extent.block = 2 * (extent.src_T + extent.tgt_T) + 4 * extent.src_N + 5 * extent.tgt_N + 2 + 2 * B;
    return extent;
}

/* The order of the rows of both sides, and the maps between them. `scratch` has space for 4 B numbers, `counts` for one
 * more than the longest row. */
static void batch_order(struct batch *batch, struct layout *to, const struct rows *rows, const struct extent *extent,
                        int32_t *counts, int32_t *scratch)
{
    int B = batch->B;
    int32_t *src_order = scratch, *tgt_order = src_order + B, *src_place = tgt_order + B, *tgt_place = src_place + B;
    batch_sort(rows->src_lengths, B, extent->src_longest, src_order, counts);
    batch_sort(rows->tgt_lengths, B, extent->tgt_longest, tgt_order, counts);
    for (int i = 0; i < B; i++) {
        src_place[src_order[i]] = i;
        tgt_place[tgt_order[i]] = i;
        batch->row_of[i] = tgt_order[i];
    }
    for (int r = 0; r < B; r++) {
        to->src_row[tgt_place[r]] = src_place[r];
        to->tgt_row[src_place[r]] = tgt_place[r];
    }
    to->src.place = src_place;
    to->tgt.place = tgt_place;
}

static void batch_point_side(struct batch_side *side, const struct side_layout *to, const int32_t *host,
                             int32_t *device)
{
    side->seq.device = device + (to->rows - host);
    side->slot = device + (to->slot - host);
    side->distinct = device + (to->distinct - host);
    side->host_distinct = to->distinct;
    side->positions = (struct segments){
        .N = side->seq.N, .U = side->U, .first = device + (to->first - host), .index = device + (to->index - host)};
}

static void batch_upload(struct batch *batch, const struct layout *to, size_t block)
{
    int32_t *device = batch->device;
    const int32_t *host = batch->host;
    batch->backend->op->upload(batch->backend, device, host, block * sizeof *host);
    batch_point_side(&batch->src, &to->src, host, device);
    batch_point_side(&batch->tgt, &to->tgt, host, device);
    batch->target = device + (to->target - host);
    batch->src_row = device + (to->src_row - host);
    batch->tgt_row = device + (to->tgt_row - host);
    batch->host_target = to->target;
}

bool batch_pack(struct batch *batch, const struct rows *rows, int pad_to, int src_vocab, int tgt_vocab, struct err *err)
{
    int B = (int)rows->count;
    const struct extent extent = batch_measure(rows, pad_to);
    if (pad_to > 0 && extent.src_longest > pad_to)
        return err_set(err, ERR_DATA, "a source of %d ids does not fit %d positions", extent.src_longest, pad_to);
    if (extent.block > INT32_MAX)
        return err_set(err, ERR_DATA, "a batch of %d rows has too many positions: make it smaller", B);
    size_t counts = (extent.src_T > extent.tgt_T ? extent.src_T : extent.tgt_T) + 1;
    size_t vocab = (size_t)(src_vocab > tgt_vocab ? src_vocab : tgt_vocab);
    if (!batch_reserve(batch, extent.block, counts + 4 * (size_t)B, B, vocab, err))
        return false;

    batch->B = B;
    struct layout to = batch_lay(batch->host, &extent, B);
    to.src.vocab = src_vocab;
    to.tgt.vocab = tgt_vocab;
    batch_shape(&batch->src.seq, &to.src, rows->src_lengths, B, (int)extent.src_T, pad_to);
    batch_shape(&batch->tgt.seq, &to.tgt, rows->tgt_lengths, B, (int)extent.tgt_T, 0);
    batch_order(batch, &to, rows, &extent, batch->scratch, batch->scratch + counts);
    const uint16_t *id = rows->ids;
    for (int r = 0; r < B; r++) {
        int src = rows->src_lengths[r], tgt = rows->tgt_lengths[r];
        if (!batch_place_source(&batch->src.seq, &to, r, id, src, pad_to > 0 ? pad_to : src, err) ||
            !batch_place_target(&batch->tgt.seq, &to, r, id + src, tgt, err))
            return false;
        id += src + tgt;
    }
    batch_distinct(&batch->src, &to.src, batch->place);
    batch_distinct(&batch->tgt, &to.tgt, batch->place);
    batch_segments(&batch->src, &to.src);
    batch_segments(&batch->tgt, &to.tgt);
    batch_upload(batch, &to, extent.block);
    return true;
}
