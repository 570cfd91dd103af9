/* The journal: what was written is read again by the next coordinator, and nothing else is believed. */
#include "coordinator/run/journal.h"

#include "proto/base/log.h"
#include "proto/store/file.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <cmocka.h>

enum { RECORD = 48, FIRST = 100, HEAD = 2 };

/* A coordinator's life, as far as its journal sees it. */
struct life {
    struct journal journal;
    struct ledger ledger;
};

static const struct journal_origin test_journal_origin = {.options = 0x0123456789abcdef, .pairs = 0xfedcba9876543210};

static int test_journal_remove(void **state)
{
    (void)state;
    unlink(scratch_path("journal"));
    return 0;
}

static void journal_begin(struct life *life, bool resume, uint64_t first)
{
    *life = (struct life){.journal = {.file = -1}};
    ledger_begin(&life->ledger, first);
    assert_true(journal_open(&life->journal, scratch_folder, resume, &test_journal_origin, &life->ledger, NULL));
}

static void journal_end(struct life *life)
{
    journal_close(&life->journal);
    ledger_free(&life->ledger);
}

static struct step_result journal_result(uint64_t step)
{
    return (struct step_result){.loss_sum = (double)step, .grad_norm = 0.5, .tokens = 7, .correct = 3};
}

/* Steps first..first+count-1 are known from now on. */
static void test_journal_results(struct life *life, uint64_t first, uint32_t count)
{
    struct step_result results[16];
    for (uint32_t i = 0; i < count; i++)
        results[i] = journal_result(first + i);
    assert_true(ledger_put(&life->ledger, first, results, count, NULL));
    journal_results(&life->journal, first, results, count);
}

static void test_journal_numbers(struct life *life, uint64_t generation, uint64_t workers, uint32_t ranks)
{
    life->journal.generation = generation;
    life->journal.workers = workers;
    life->journal.ranks = ranks;
    journal_numbers(&life->journal);
}

static void journal_holds(const struct life *life, uint64_t first, uint64_t end)
{
    assert_int_equal(life->ledger.first, first);
    assert_int_equal(ledger_end(&life->ledger), end);
    for (uint64_t step = first; step < end; step++) {
        struct step_result right = journal_result(step);
        assert_memory_equal(&life->ledger.results[step - first], &right, sizeof right);
    }
}

static off_t journal_size(void)
{
    struct stat found;
    assert_int_equal(stat(scratch_path("journal"), &found), 0);
    return found.st_size;
}

/* A life with generation 2 of 3 ranks, 5 workers named, and the results of 4 steps. Returns its run's identity. */
static uint64_t journal_live(void)
{
    struct life life;
    journal_begin(&life, false, FIRST);
    test_journal_numbers(&life, 1, 3, 3);
    test_journal_results(&life, FIRST, 2);
    test_journal_numbers(&life, 2, 5, 3);
    test_journal_results(&life, FIRST + 2, 2);
    uint64_t run = life.journal.run;
    journal_end(&life);
    assert_int_equal(journal_size(), (HEAD + 6) * RECORD);
    return run;
}

static void journal_write(const void *bytes, size_t size)
{
    FILE *file = fopen(scratch_path("journal"), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

static void journal_flip(long at)
{
    FILE *file = fopen(scratch_path("journal"), "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    assert_int_equal(fputc(byte ^ 1, file), byte ^ 1);
    assert_int_equal(fclose(file), 0);
}

/* What is there is not believed: another run begins. */
static void journal_begins_anew(uint64_t not_run)
{
    struct life life;
    journal_begin(&life, true, FIRST);
    assert_false(life.journal.resumed);
    assert_in_range(life.journal.run, 1, INT64_MAX);
    assert_int_not_equal(life.journal.run, not_run);
    journal_holds(&life, FIRST, FIRST);
    journal_end(&life);
    assert_int_equal(journal_size(), HEAD * RECORD);
}

static void what_was_written_is_read_again(void **state)
{
    struct life life;
    (void)state;
    uint64_t run = journal_live();
    for (int again = 0; again < 2; again++) {
        journal_begin(&life, true, FIRST);
        assert_true(life.journal.resumed);
        assert_int_equal(life.journal.run, run);
        assert_int_equal(life.journal.generation, 2);
        assert_int_equal(life.journal.workers, 5);
        assert_int_equal(life.journal.ranks, 3);
        journal_holds(&life, FIRST, FIRST + 4);
        journal_end(&life);
        assert_int_equal(journal_size(), (HEAD + 4) * RECORD);
    }
}

static void results_older_than_the_checkpoint_are_left_out(void **state)
{
    struct life life;
    (void)state;
    journal_live();
    journal_begin(&life, true, FIRST + 3);
    journal_holds(&life, FIRST + 3, FIRST + 4);
    journal_end(&life);
}

static void a_cut_takes_back_what_came_before_it(void **state)
{
    struct life life;
    struct step_result other = {.loss_sum = -1};
    (void)state;
    journal_begin(&life, false, FIRST);
    test_journal_results(&life, FIRST, 4);
    ledger_cut(&life.ledger, FIRST + 2);
    journal_cut(&life.journal, FIRST + 2);
    journal_results(&life.journal, FIRST + 2, &other, 1);
    journal_end(&life);
    journal_begin(&life, true, FIRST);
    assert_int_equal(ledger_end(&life.ledger), FIRST + 3);
    assert_memory_equal(&life.ledger.results[2], &other, sizeof other);
    journal_end(&life);
}

static void without_resume_another_run_begins(void **state)
{
    struct life life;
    (void)state;
    uint64_t run = journal_live();
    journal_begin(&life, false, 0);
    assert_false(life.journal.resumed);
    assert_int_not_equal(life.journal.run, run);
    assert_int_equal(life.journal.generation + life.journal.workers, 0);
    journal_holds(&life, 0, 0);
    journal_end(&life);
}

static void a_tail_that_is_not_whole_is_left_out(void **state)
{
    struct life life;
    (void)state;
    uint64_t run = journal_live();
    for (off_t cut = 1; cut < RECORD; cut += 23) {
        test_journal_remove(NULL);
        run = journal_live();
        assert_int_equal(truncate(scratch_path("journal"), journal_size() - cut), 0);
        journal_begin(&life, true, FIRST);
        assert_int_equal(life.journal.run, run);
        journal_holds(&life, FIRST, FIRST + 3);
        test_journal_results(&life, FIRST + 3, 1);
        journal_end(&life);
        journal_begin(&life, true, FIRST);
        journal_holds(&life, FIRST, FIRST + 4);
        journal_end(&life);
    }
}

static void a_flipped_bit_ends_what_is_believed(void **state)
{
    struct life life;
    (void)state;
    for (long byte = 0; byte < RECORD; byte++) {
        uint64_t run = journal_live();
        journal_flip((HEAD + 4) * RECORD + byte);
        journal_begin(&life, true, FIRST);
        assert_int_equal(life.journal.run, run);
        assert_int_equal(life.journal.workers, 5);
        journal_holds(&life, FIRST, FIRST + 2);
        journal_end(&life);
        test_journal_remove(NULL);
        run = journal_live();
        journal_flip(byte);
        journal_begins_anew(run);
        test_journal_remove(NULL);
    }
}

static void a_file_that_is_not_a_journal_is_replaced(void **state)
{
    static char junk[5 * RECORD];
    (void)state;
    memset(junk, 'x', sizeof junk);
    journal_write("", 0);
    journal_begins_anew(0);
    journal_write(junk, RECORD - 1);
    journal_begins_anew(0);
    journal_write(junk, sizeof junk);
    journal_begins_anew(0);
    memset(junk, 0, sizeof junk);
    journal_write(junk, sizeof junk);
    journal_begins_anew(0);
}

static void a_journal_of_another_format_is_replaced(void **state)
{
    char bytes[8 * RECORD];
    struct buffer read = {0};
    (void)state;
    uint64_t run = journal_live();
    assert_true(file_read(scratch_path("journal"), sizeof bytes, &read, NULL));
    assert_int_equal(read.data[16], 2);
    memcpy(bytes, read.data, sizeof bytes);
    buffer_free(&read);
    for (char other = 1; other <= 3; other += 2) {
        bytes[16] = other;
        uint32_t check = (uint32_t)XXH3_64bits_withSeed(bytes + 8, RECORD - 8, 1);
        memcpy(bytes + 4, &check, sizeof check);
        journal_write(bytes, sizeof bytes);
        journal_begins_anew(run);
    }
}

static void the_journal_holds_the_origin_of_its_run(void **state)
{
    struct journal_origin found = {0};
    (void)state;
    assert_false(journal_origin(scratch_folder, &found));
    journal_live();
    assert_true(journal_origin(scratch_folder, &found));
    assert_memory_equal(&found, &test_journal_origin, sizeof found);
    journal_flip(24);
    assert_false(journal_origin(scratch_folder, &found));
    journal_flip(24);
    assert_int_equal(truncate(scratch_path("journal"), HEAD * RECORD - 1), 0);
    assert_false(journal_origin(scratch_folder, &found));
}

/* Its workers hold another run's state, however it came that its journal lies here. */
static void a_journal_of_a_run_that_was_begun_otherwise_is_replaced(void **state)
{
    const struct journal_origin others[] = {{test_journal_origin.options ^ 1, test_journal_origin.pairs},
                                            {test_journal_origin.options, test_journal_origin.pairs ^ 1}};
    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct life life = {.journal = {.file = -1}};
        struct journal_origin found;
        uint64_t run = journal_live();
        ledger_begin(&life.ledger, FIRST);
        assert_true(journal_open(&life.journal, scratch_folder, true, &others[i], &life.ledger, NULL));
        assert_false(life.journal.resumed);
        assert_int_not_equal(life.journal.run, run);
        assert_int_equal(life.journal.generation + life.journal.workers, 0);
        journal_holds(&life, FIRST, FIRST);
        journal_end(&life);
        assert_true(journal_origin(scratch_folder, &found));
        assert_memory_equal(&found, &others[i], sizeof found);
    }
}

static void a_new_file_with_what_counts_takes_the_place_of_the_old(void **state)
{
    struct life life;
    (void)state;
    journal_begin(&life, false, FIRST);
    test_journal_numbers(&life, 4, 9, 2);
    test_journal_results(&life, FIRST, 10);
    ledger_begin(&life.ledger, FIRST + 10);
    journal_restart(&life.journal, &life.ledger);
    assert_int_equal(journal_size(), HEAD * RECORD);
    test_journal_results(&life, FIRST + 10, 1);
    uint64_t run = life.journal.run;
    journal_end(&life);
    journal_begin(&life, true, FIRST + 10);
    assert_int_equal(life.journal.run, run);
    assert_int_equal(life.journal.generation, 4);
    assert_int_equal(life.journal.workers, 9);
    journal_holds(&life, FIRST + 10, FIRST + 11);
    journal_end(&life);
}

/* Whatever else is written, and wherever the coordinator is killed. */
static void numbers_never_fall(void **state)
{
    struct life life;
    (void)state;
    journal_begin(&life, false, FIRST);
    for (uint64_t number = 1; number < 12; number++) {
        test_journal_numbers(&life, number, 2 * number, 1);
        if (number % 2 == 0)
            test_journal_results(&life, ledger_end(&life.ledger), 2);
        if (number % 3 == 0) {
            ledger_cut(&life.ledger, FIRST + 1);
            journal_cut(&life.journal, FIRST + 1);
        }
        if (number % 4 == 0)
            journal_restart(&life.journal, &life.ledger);
        journal_end(&life);
        journal_begin(&life, true, FIRST);
        assert_int_equal(life.journal.generation, number);
        assert_int_equal(life.journal.workers, 2 * number);
    }
    journal_end(&life);
}

/* As those of a peer that says HELLO again and again. */
static void changing_worker_numbers_take_no_more_space(void **state)
{
    struct life life;
    (void)state;
    journal_begin(&life, false, FIRST);
    for (uint64_t number = 1; number < 1000; number++) {
        test_journal_numbers(&life, 1, number, 1);
        if (number % 100 == 0)
            test_journal_results(&life, ledger_end(&life.ledger), 9); /* so that some records lie across two pages */
    }
    assert_in_range(journal_size(), 0, (HEAD + 9 * 9 + 2 * 10) * RECORD);
    journal_end(&life);
    journal_begin(&life, true, FIRST);
    assert_int_equal(life.journal.workers, 999);
    journal_holds(&life, FIRST, FIRST + 81);
    journal_end(&life);
}

static struct rlimit journal_limit(rlim_t most)
{
    struct rlimit before, limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = (struct rlimit){.rlim_cur = most, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    return before;
}

static void what_a_full_disk_cut_short_is_written_over(void **state)
{
    struct life life;
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    journal_begin(&life, false, FIRST);
    test_journal_numbers(&life, 1, 1, 1);
    struct rlimit before = journal_limit((HEAD + 2) * RECORD + 20);
    test_journal_results(&life, FIRST, 2);
    assert_true(life.journal.complained);
    assert_int_equal(journal_size(), (HEAD + 2) * RECORD + 20);
    journal_limit(before.rlim_cur);
    test_journal_numbers(&life, 2, 3, 1);
    assert_false(life.journal.complained);
    journal_end(&life);
    journal_begin(&life, true, FIRST);
    assert_int_equal(life.journal.workers, 3);
    journal_holds(&life, FIRST, FIRST);
    journal_end(&life);
}

static void a_file_that_cannot_be_replaced_goes_on(void **state)
{
    struct life life;
    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    journal_begin(&life, false, FIRST);
    test_journal_numbers(&life, 1, 1, 1);
    test_journal_results(&life, FIRST, 2);
    uint64_t run = life.journal.run;
    struct rlimit before = journal_limit(RECORD);
    journal_restart(&life.journal, &life.ledger);
    journal_limit(before.rlim_cur);
    test_journal_results(&life, FIRST + 2, 1);
    journal_end(&life);
    journal_begin(&life, true, FIRST);
    assert_int_equal(life.journal.run, run);
    journal_holds(&life, FIRST, FIRST + 3);
    journal_end(&life);
}

static void a_run_that_ended_leaves_no_journal(void **state)
{
    struct life life;
    (void)state;
    assert_false(journal_is_there(scratch_folder));
    journal_begin(&life, false, FIRST);
    assert_true(journal_is_there(scratch_folder));
    journal_remove(&life.journal);
    assert_false(journal_is_there(scratch_folder));
    journal_end(&life);
}

int main(void)
{
#define RUN(name) cmocka_unit_test_teardown(name, test_journal_remove)
    const struct CMUnitTest tests[] = {
        RUN(what_was_written_is_read_again),
        RUN(results_older_than_the_checkpoint_are_left_out),
        RUN(a_cut_takes_back_what_came_before_it),
        RUN(without_resume_another_run_begins),
        RUN(a_tail_that_is_not_whole_is_left_out),
        RUN(a_flipped_bit_ends_what_is_believed),
        RUN(a_file_that_is_not_a_journal_is_replaced),
        RUN(a_journal_of_another_format_is_replaced),
        RUN(the_journal_holds_the_origin_of_its_run),
        RUN(a_journal_of_a_run_that_was_begun_otherwise_is_replaced),
        RUN(a_new_file_with_what_counts_takes_the_place_of_the_old),
        RUN(numbers_never_fall),
        RUN(changing_worker_numbers_take_no_more_space),
        RUN(what_a_full_disk_cut_short_is_written_over),
        RUN(a_file_that_cannot_be_replaced_goes_on),
        RUN(a_run_that_ended_leaves_no_journal),
    };
    log_open("test", LOG_OFF);
    return cmocka_run_group_tests_name("journal", tests, scratch_make, scratch_remove);
}
