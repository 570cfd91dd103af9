/* The promises of collective.h, tested on local and on the ring over inproc, ipc and tcp. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/ranks.h"

#include <math.h>

static uint64_t collective_mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

/* Values whose float sums depend on the order, so that a rank that adds differently is found. */
static float collective_float(uint32_t rank, size_t i)
{
    return (float)(int32_t)collective_mix(i * 64 + rank + 1) * 0x1p-20f;
}

static int64_t collective_integer(uint32_t rank, size_t i)
{
    return (int64_t)collective_mix(i * 64 + rank + 77) >> 6;
}

static const size_t collective_counts[] = {0, 1, 2, 63, 64, 65, 129, 1000, 262144, 262145, 700001};
enum { COUNTS = sizeof collective_counts / sizeof *collective_counts, COUNT_MOST = 700001 };

/* Sanitizers make all of this slow. */
static bool collective_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#else
    return false;
#endif
}

static size_t collective_counts_used(void)
{
    return collective_sanitized() ? COUNTS - 3 : COUNTS;
}

/* Every rank's result, for comparison. */
struct outcome {
    void *data[RANKS_MOST];
};

/* Sums that differ from those in double by at most `most` of what was added. */
static bool collective_sum_floats(struct rank *rank, enum collective_element element, double most, struct err *err)
{
    struct outcome *outcome = rank->all->context;
    float *data = outcome->data[rank->number];
    for (size_t c = 0; c < collective_counts_used(); c++) {
        size_t count = collective_counts[c];
        for (size_t i = 0; i <= count; i++)
            data[i] = i < count ? collective_float(rank->number, i) : 42;
        if (!collective_sum(rank->collective, element, data, count, err))
            return err_context(err, "%zu elements", count);
        RANK_CHECK(data[count] == 42);
        for (size_t i = 0; i < count; i++) {
            double sum = 0, size = 0;
            for (uint32_t r = 0; r < rank->all->size; r++) {
                sum += (double)collective_float(r, i);
                size += fabs((double)collective_float(r, i));
            }
            RANK_CHECK(fabs(sum - (double)data[i]) <= size * most);
        }
    }
    return true;
}

static bool collective_sum_f32(struct rank *rank, struct err *err)
{
    return collective_sum_floats(rank, ELEMENT_F32, 1e-6, err);
}

static bool collective_sum_bf16(struct rank *rank, struct err *err)
{
    return collective_sum_floats(rank, ELEMENT_F32_BF16, rank->all->size / 256.0, err);
}

static bool collective_sum_i64(struct rank *rank, struct err *err)
{
    struct outcome *outcome = rank->all->context;
    int64_t *data = outcome->data[rank->number];
    for (size_t c = 0; c < collective_counts_used(); c++) {
        size_t count = collective_counts[c];
        for (size_t i = 0; i <= count; i++)
            data[i] = i < count ? collective_integer(rank->number, i) : 42;
        if (!collective_sum(rank->collective, ELEMENT_I64, data, count, err))
            return err_context(err, "%zu elements", count);
        RANK_CHECK(data[count] == 42);
        for (size_t i = 0; i < count; i++) {
            int64_t sum = 0;
            for (uint32_t r = 0; r < rank->all->size; r++)
                sum += collective_integer(r, i);
            RANK_CHECK(sum == data[i]);
        }
    }
    return true;
}

/* The integers are undefined afterwards; the floats are rounded once. */
static bool collective_fold(struct rank *rank, struct err *err)
{
    struct outcome *outcome = rank->all->context;
    float *result = outcome->data[rank->number];
    int64_t *data = malloc((COUNT_MOST + 1) * sizeof *data);
    bool ok = data != NULL;
    for (size_t c = 0; ok && c < collective_counts_used(); c++) {
        size_t count = collective_counts[c];
        uint64_t handle;
        for (size_t i = 0; i <= count; i++)
            data[i] = i < count ? collective_integer(rank->number, i) / 8 : 42;
        result[count] = 42;
        ok = rank->collective->op->all_reduce_scaled(rank->collective, data, count, 0x1p-40f, result, &handle, err) &&
             rank->collective->op->wait(rank->collective, handle, err);
        for (size_t i = 0; ok && i < count; i++) {
            int64_t sum = 0;
            for (uint32_t r = 0; r < rank->all->size; r++)
                sum += collective_integer(r, i) / 8;
            ok = (float)sum * 0x1p-40f == result[i] || err_set(err, ERR_DATA, "element %zu of %zu", i, count);
        }
        ok = ok && ((result[count] == 42 && data[count] == 42) || err_set(err, ERR_DATA, "beyond %zu", count));
    }
    free(data);
    return ok;
}

/* All kinds, for each number of ranks. `bytes` of the last count's sums must agree to the bit. */
static void collective_everywhere(rank_work *work, size_t element)
{
    static const uint32_t sizes[] = {1, 2, 3, 4, 7};
    struct outcome outcome;
    for (int i = 0; i < RANKS_MOST; i++)
        outcome.data[i] = malloc((COUNT_MOST + 1) * element);
    size_t most = collective_sanitized() ? 3 : sizeof sizes / sizeof *sizes;
    for (int kind = 0; kind < RANKS_KINDS; kind += 1 + !ranks_kind_tested(kind + 1))
        for (size_t s = 0; s < most; s++) {
            struct ranks ranks;
            ranks_open(&ranks, (enum ranks_kind)kind, sizes[s]);
            ranks.context = &outcome;
            ranks_run(&ranks, 1, work);
            for (uint32_t i = 1; i < sizes[s]; i++)
                assert_memory_equal(outcome.data[0], outcome.data[i],
                                    collective_counts[collective_counts_used() - 1] * element);
            ranks_close(&ranks);
        }
    for (int i = 0; i < RANKS_MOST; i++)
        free(outcome.data[i]);
}

static void sums_of_floats_are_right_and_the_same_bits_on_every_rank(void **state)
{
    (void)state;
    collective_everywhere(collective_sum_f32, sizeof(float));
}

static void bf16_sums_are_close_and_have_equal_bits_on_all_ranks(void **state)
{
    (void)state;
    collective_everywhere(collective_sum_bf16, sizeof(float));
}

static void sums_of_integers_are_exact(void **state)
{
    (void)state;
    collective_everywhere(collective_sum_i64, sizeof(int64_t));
}

static void folded_integers_round_once_to_equal_bits_on_all_ranks(void **state)
{
    (void)state;
    collective_everywhere(collective_fold, sizeof(float));
}

/* ---- 18 MB, many at once ---- */

enum { LARGE = 4718592 };

static bool collective_sum_large(struct rank *rank, struct err *err)
{
    float *data = malloc(LARGE * sizeof *data);
    for (size_t i = 0; i < LARGE; i++)
        data[i] = (float)(i % 1024) + (float)rank->number;
    bool ok = collective_sum(rank->collective, ELEMENT_F32, data, LARGE, err);
    uint32_t size = rank->all->size;
    for (size_t i = 0; ok && i < LARGE; i++)
        if (data[i] != (float)(i % 1024) * (float)size + (float)(size * (size - 1) / 2))
            ok = err_set(err, ERR_DATA, "element %zu is %g", i, (double)data[i]);
    free(data);
    return ok;
}

static void gradients_of_18_megabytes_are_summed(void **state)
{
    (void)state;
    for (int kind = 0; kind < RANKS_KINDS; kind += 1 + !ranks_kind_tested(kind + 1))
        for (uint32_t size = 2; size <= (collective_sanitized() ? 2 : 3); size++) {
            struct ranks ranks;
            ranks_open(&ranks, (enum ranks_kind)kind, size);
            ranks_run(&ranks, 1, collective_sum_large);
            ranks_close(&ranks);
        }
}

enum { BUCKETS = COLLECTIVE_OPERATIONS, BUCKET = 5000 };

/* Start all, wait for some out of order. One more than fits is refused, if none could be done yet. */
static bool collective_sum_buckets(struct rank *rank, struct err *err)
{
    static const int order[] = {3, 1, BUCKETS - 1, 0};
    int64_t *data = malloc((size_t)BUCKETS * BUCKET * sizeof *data);
    uint64_t handle[BUCKETS];
    bool ok = true;
    for (size_t i = 0; i < (size_t)BUCKETS * BUCKET; i++)
        data[i] = collective_integer(rank->number, i);
    for (int b = 0; ok && b < BUCKETS; b++)
        ok = rank->collective->op->all_reduce(rank->collective, ELEMENT_I64, data + (size_t)b * BUCKET,
                                              (size_t)(BUCKET - b), &handle[b], err);
    for (size_t i = 0; ok && i < sizeof order / sizeof *order; i++)
        ok = rank->collective->op->wait(rank->collective, handle[order[i]], err);
    for (size_t i = 0; ok && i < (size_t)BUCKETS * BUCKET; i++) {
        int64_t sum = 0;
        bool summed = i % BUCKET < BUCKET - i / BUCKET;
        for (uint32_t r = 0; r < rank->all->size; r++)
            sum += summed || r == rank->number ? collective_integer(r, i) : 0;
        if (data[i] != sum)
            ok = err_set(err, ERR_DATA, "bucket %zu, element %zu", i / BUCKET, i % BUCKET);
    }
    free(data);
    return ok;
}

static void many_operations_can_be_awaited_in_any_order(void **state)
{
    (void)state;
    for (int kind = 0; kind < RANKS_KINDS; kind += 1 + !ranks_kind_tested(kind + 1))
        for (uint32_t size = 1; size <= 4; size++) {
            struct ranks ranks;
            ranks_open(&ranks, (enum ranks_kind)kind, size);
            ranks_run(&ranks, 7, collective_sum_buckets);
            ranks_close(&ranks);
        }
}

/* ---- broadcast ---- */

static bool collective_copy_from_each(struct rank *rank, struct err *err)
{
    static const size_t sizes[] = {0, 1, 999, (1 << 20) + 1, 3 << 20};
    uint8_t *data = malloc((3 << 20) + 1);
    bool ok = true;
    for (uint32_t root = 0; ok && root < rank->all->size; root++)
        for (size_t s = 0; ok && s < sizeof sizes / sizeof *sizes; s++) {
            uint64_t handle;
            for (size_t i = 0; i <= sizes[s]; i++)
                data[i] = (uint8_t)(rank->number == root && i < sizes[s] ? collective_mix(i + root) : 42);
            ok = rank->collective->op->broadcast(rank->collective, data, sizes[s], root, &handle, err) &&
                 rank->collective->op->wait(rank->collective, handle, err);
            for (size_t i = 0; ok && i <= sizes[s]; i++)
                if (data[i] != (uint8_t)(i < sizes[s] ? collective_mix(i + root) : 42))
                    ok = err_set(err, ERR_DATA, "byte %zu of %zu from rank %u", i, sizes[s], root);
        }
    free(data);
    return ok;
}

static void each_rank_can_broadcast(void **state)
{
    (void)state;
    static const uint32_t ranks_of[] = {1, 2, 3, 7};
    for (int kind = 0; kind < RANKS_KINDS; kind += 1 + !ranks_kind_tested(kind + 1))
        for (size_t s = 0; s < 4; s++) {
            struct ranks ranks;
            ranks_open(&ranks, (enum ranks_kind)kind, ranks_of[s]);
            ranks_run(&ranks, 1, collective_copy_from_each);
            ranks_close(&ranks);
        }
}

/* ---- generations ---- */

static bool collective_sum_ranks(struct rank *rank, struct err *err)
{
    int64_t sum = rank->number + 1;
    if (!collective_sum(rank->collective, ELEMENT_I64, &sum, 1, err))
        return false;
    RANK_CHECK(sum == rank->all->size * (rank->all->size + 1) / 2);
    return true;
}

static void one_generation_follows_another_in_other_sizes(void **state)
{
    (void)state;
    for (int kind = 0; kind < RANKS_KINDS; kind += 1 + !ranks_kind_tested(kind + 1)) {
        struct ranks ranks;
        ranks_open(&ranks, (enum ranks_kind)kind, 4);
        for (uint32_t generation = 0; generation < 12; generation++) {
            ranks.size = 1 + generation % 4;
            ranks_run(&ranks, generation * 3, collective_sum_ranks);
        }
        ranks.size = 4;
        ranks_close(&ranks);
    }
}

/* ---- abort ---- */

/* All but rank 0 start a sum that cannot be done, and say when it ended. */
struct ended {
    int64_t ns[RANKS_MOST];
    pthread_barrier_t waiting;
    float *data[RANKS_MOST];
};

static bool collective_wait_for_rank_0(struct rank *rank, struct err *err)
{
    struct ended *ended = rank->all->context;
    uint64_t handle = 0;
    bool ok = rank->number == 0 || rank->collective->op->all_reduce(rank->collective, ELEMENT_F32,
                                                                    ended->data[rank->number], LARGE, &handle, err);
    pthread_barrier_wait(&ended->waiting);
    if (rank->number > 0)
        ok = ok && rank->collective->op->wait(rank->collective, handle, err);
    ended->ns[rank->number] = clock_ns();
    return ok;
}

static int collective_by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Begin `generation`, and end all up to `last` while it waits. */
static void collective_abort_once(struct ranks *ranks, uint64_t generation, uint64_t last, int64_t *longest_ns)
{
    struct ended *ended = ranks->context;
    ranks_listen(ranks, generation);
    ranks_start(ranks, collective_wait_for_rank_0);
    pthread_barrier_wait(&ended->waiting);
    /* So that they sleep; the assertions do not need it. */
    struct timespec moment = {.tv_nsec = 2000000};
    nanosleep(&moment, NULL);
    int64_t begin = clock_ns();
    for (uint32_t i = 0; i < ranks->size; i++)
        ranks->rank[i].collective->op->abort(ranks->rank[i].collective, last);
    ranks_join(ranks);
    *longest_ns = 0;
    for (uint32_t i = 1; i < ranks->size; i++) {
        assert_false(ranks->rank[i].ok);
        assert_int_equal(ranks->rank[i].err.code, ERR_ABORTED);
        if (ended->ns[i] - begin > *longest_ns)
            *longest_ns = ended->ns[i] - begin;
    }
}

/* Within 10 ms, which $LSTMQ_FULL judges. */
static void an_abort_from_another_thread_ends_a_wait(void **state)
{
    (void)state;
    enum { TIMES = 15 };
    for (int kind = 0; kind < RANKS_KINDS; kind += 1 + !ranks_kind_tested(kind + 1)) {
        struct ranks ranks;
        struct ended ended;
        int64_t ns[TIMES];
        ranks_open(&ranks, (enum ranks_kind)kind, 3);
        ranks.context = &ended;
        pthread_barrier_init(&ended.waiting, NULL, 4);
        for (uint32_t i = 0; i < 3; i++)
            ended.data[i] = calloc(LARGE, sizeof(float));
        for (int i = 0; i < TIMES; i++)
            collective_abort_once(&ranks, (uint64_t)(2 * i), (uint64_t)(2 * i), &ns[i]);
        /* The end of a generation does not touch the next one. */
        ranks_run(&ranks, 2 * TIMES, collective_sum_ranks);
        ranks_close(&ranks);
        pthread_barrier_destroy(&ended.waiting);
        for (uint32_t i = 0; i < 3; i++)
            free(ended.data[i]);
        qsort(ns, TIMES, sizeof *ns, collective_by_size);
        print_message("%s: aborted in %.2f ms (median), %.2f ms (longest of %d)\n", ranks_name[kind],
                      (double)ns[TIMES / 2] / 1e6, (double)ns[TIMES - 1] / 1e6, TIMES);
        if (getenv("LSTMQ_FULL") != NULL)
            assert_true(ns[TIMES / 2] < (collective_sanitized() ? 200 : 10) * INT64_C(1000000));
    }
}

/* As a worker that ends does, in any generation. */
static void an_abort_of_all_ends_waiting_and_later_generations(void **state)
{
    (void)state;
    for (int kind = 0; kind < RANKS_KINDS; kind += 1 + !ranks_kind_tested(kind + 1)) {
        struct ranks ranks;
        struct ended ended;
        int64_t ns;
        ranks_open(&ranks, (enum ranks_kind)kind, 2);
        ranks.context = &ended;
        ranks.timeout_ms = 5000; /* ends a wait that would hang */
        pthread_barrier_init(&ended.waiting, NULL, 3);
        for (uint32_t i = 0; i < 2; i++)
            ended.data[i] = calloc(LARGE, sizeof(float));
        collective_abort_once(&ranks, 1, UINT64_MAX, &ns);
        ranks_listen(&ranks, 2);
        ranks_start(&ranks, collective_sum_ranks);
        ranks_join(&ranks);
        for (uint32_t i = 0; i < 2; i++)
            assert_int_equal(ranks.rank[i].err.code, ERR_ABORTED);
        ranks_close(&ranks);
        pthread_barrier_destroy(&ended.waiting);
        for (uint32_t i = 0; i < 2; i++)
            free(ended.data[i]);
    }
}

static bool collective_sum_until_aborted(struct rank *rank, struct err *err)
{
    struct ended *ended = rank->all->context;
    for (;;)
        if (!collective_sum(rank->collective, ELEMENT_F32, ended->data[rank->number], LARGE / 4, err))
            return false;
}

/* Memory is the caller's after the failure: it is freed at once, and AddressSanitizer checks that. */
static void an_abort_in_the_middle_of_a_sum_gives_the_memory_back(void **state)
{
    (void)state;
    for (int kind = 0; kind < RANKS_KINDS; kind += 1 + !ranks_kind_tested(kind + 1)) {
        struct ranks ranks;
        struct ended ended;
        ranks_open(&ranks, (enum ranks_kind)kind, 3);
        ranks.context = &ended;
        for (uint64_t generation = 1; generation <= 10; generation++) {
            for (uint32_t i = 0; i < 3; i++)
                ended.data[i] = calloc(LARGE / 4, sizeof(float));
            ranks_listen(&ranks, generation);
            ranks_start(&ranks, collective_sum_until_aborted);
            struct timespec moment = {.tv_nsec = (long)(collective_mix(generation) % 10000000)};
            nanosleep(&moment, NULL);
            for (uint32_t i = 0; i < 3; i++)
                ranks.rank[i].collective->op->abort(ranks.rank[i].collective, generation);
            for (uint32_t i = 0; i < 3; i++) {
                pthread_join(ranks.rank[i].thread, NULL);
                free(ended.data[i]);
                assert_int_equal(ranks.rank[i].err.code, ERR_ABORTED);
            }
        }
        ranks_run(&ranks, 11, collective_sum_ranks);
        ranks_close(&ranks);
    }
}

static bool collective_two_sums(struct rank *rank, struct err *err)
{
    return collective_sum_ranks(rank, err) && collective_sum_ranks(rank, err);
}

static void an_abort_before_the_generation_begins_is_not_forgotten(void **state)
{
    (void)state;
    for (int kind = 0; kind < RANKS_KINDS; kind += 1 + !ranks_kind_tested(kind + 1)) {
        struct ranks ranks;
        ranks_open(&ranks, (enum ranks_kind)kind, 2);
        ranks_listen(&ranks, 5);
        for (uint32_t i = 0; i < 2; i++)
            ranks.rank[i].collective->op->abort(ranks.rank[i].collective, 5);
        ranks_start(&ranks, collective_two_sums);
        ranks_join(&ranks);
        for (uint32_t i = 0; i < 2; i++)
            assert_int_equal(ranks.rank[i].err.code, ERR_ABORTED);
        for (uint32_t i = 0; i < 2; i++) /* of the generation before: too late to touch this one */
            ranks.rank[i].collective->op->abort(ranks.rank[i].collective, 5);
        ranks_run(&ranks, 6, collective_two_sums);
        ranks_close(&ranks);
    }
}

/* ---- disagreement and patience ---- */

static bool collective_sum_differently(struct rank *rank, struct err *err)
{
    float data[64] = {0};
    return collective_sum(rank->collective, ELEMENT_F32, data, rank->number == 1 ? 63 : 64, err);
}

static bool collective_sum_and_copy(struct rank *rank, struct err *err)
{
    int64_t data[64] = {0};
    uint64_t handle;
    if (rank->number == 0)
        return collective_sum(rank->collective, ELEMENT_I64, data, 64, err);
    return rank->collective->op->broadcast(rank->collective, data, sizeof data, 1, &handle, err) &&
           rank->collective->op->wait(rank->collective, handle, err);
}

static void ranks_that_disagree_about_an_operation_get_an_error(void **state)
{
    (void)state;
    static rank_work *const works[] = {collective_sum_differently, collective_sum_and_copy};
    for (int kind = 0; kind < RANKS_KINDS; kind += 1 + !ranks_kind_tested(kind + 1))
        for (int w = 0; w < 2; w++) {
            struct ranks ranks;
            ranks_open(&ranks, (enum ranks_kind)kind, 2);
            ranks.timeout_ms = 2000; /* for a rank whose neighbour stopped first */
            ranks_listen(&ranks, 1);
            ranks_start(&ranks, works[w]);
            ranks_join(&ranks);
            assert_true(ranks.rank[0].err.code == ERR_PROTOCOL || ranks.rank[1].err.code == ERR_PROTOCOL);
            ranks_close(&ranks);
        }
}

static bool collective_only_rank_1(struct rank *rank, struct err *err)
{
    return rank->number != 1 || collective_sum_ranks(rank, err);
}

static void a_rank_that_never_connects_fails_at_the_timeout(void **state)
{
    (void)state;
    for (int kind = 0; kind < RANKS_KINDS; kind += 1 + !ranks_kind_tested(kind + 1)) {
        struct ranks ranks;
        ranks_open(&ranks, (enum ranks_kind)kind, 2);
        ranks.timeout_ms = 50;
        ranks_listen(&ranks, 1);
        int64_t begin = clock_ms();
        ranks_start(&ranks, collective_only_rank_1);
        ranks_join(&ranks);
        assert_int_equal(ranks.rank[1].err.code, ERR_FAILED);
        assert_in_range(clock_ms() - begin, 49, 60000);
        ranks_close(&ranks);
    }
}

static bool collective_too_many(struct rank *rank, struct err *err)
{
    int64_t data[COLLECTIVE_OPERATIONS + 1] = {0};
    uint64_t handle;
    for (int i = 0; i < COLLECTIVE_OPERATIONS; i++)
        if (!rank->collective->op->all_reduce(rank->collective, ELEMENT_I64, &data[i], 1, &handle, err))
            return false;
    RANK_CHECK(!rank->collective->op->all_reduce(rank->collective, ELEMENT_I64, data, 1, &handle, err));
    RANK_CHECK(err->code == ERR_FULL);
    rank->collective->op->abort(rank->collective, rank->all->generation);
    RANK_CHECK(!rank->collective->op->wait(rank->collective, 1, err));
    RANK_CHECK(err->code == ERR_ABORTED);
    return true;
}

static bool collective_too_many_for_rank_0(struct rank *rank, struct err *err)
{
    return rank->number != 0 || collective_too_many(rank, err);
}

static void operations_beyond_the_capacity_are_refused(void **state)
{
    (void)state;
    for (int kind = 0; kind < RANKS_KINDS; kind += 1 + !ranks_kind_tested(kind + 1)) {
        struct ranks ranks;
        ranks_open(&ranks, (enum ranks_kind)kind, 2);
        ranks_run(&ranks, 1, collective_too_many_for_rank_0);
        ranks_close(&ranks);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_of_floats_are_right_and_the_same_bits_on_every_rank),
        cmocka_unit_test(bf16_sums_are_close_and_have_equal_bits_on_all_ranks),
        cmocka_unit_test(sums_of_integers_are_exact),
        cmocka_unit_test(folded_integers_round_once_to_equal_bits_on_all_ranks),
        cmocka_unit_test(gradients_of_18_megabytes_are_summed),
        cmocka_unit_test(many_operations_can_be_awaited_in_any_order),
        cmocka_unit_test(each_rank_can_broadcast),
        cmocka_unit_test(one_generation_follows_another_in_other_sizes),
        cmocka_unit_test(an_abort_from_another_thread_ends_a_wait),
        cmocka_unit_test(an_abort_of_all_ends_waiting_and_later_generations),
        cmocka_unit_test(an_abort_in_the_middle_of_a_sum_gives_the_memory_back),
        cmocka_unit_test(an_abort_before_the_generation_begins_is_not_forgotten),
        cmocka_unit_test(ranks_that_disagree_about_an_operation_get_an_error),
        cmocka_unit_test(a_rank_that_never_connects_fails_at_the_timeout),
        cmocka_unit_test(operations_beyond_the_capacity_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
