/* fixture.h - small checkpoints whose every byte is known from one letter.
 *
 * Checkpoints of another letter differ in each of their files, so that a mixture of two would be seen. */
#ifndef LSTMQ_TESTS_SUPPORT_FIXTURE_H
#define LSTMQ_TESTS_SUPPORT_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/store/checkpoint.h"
#include "proto/store/file.h"
#include "proto/store/steps.h"
#include "tests/support/scratch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIXTURE_FILES = 5 };
extern const char *const fixture_files[FIXTURE_FILES];

void fixture_state(struct checkpoint_state *state, uint64_t step, char letter);

/* What FILE of the checkpoint holds, appended to `out`. */
void fixture_bytes(const char *file, uint64_t step, char letter, struct buffer *out);

/* Begin, fill and commit step `step` of `run`; every failure is returned as the trainer would get it. */
bool fixture_write(const char *run, uint64_t step, char letter, struct err *err);

/* The same with letter 'a' and one of the 8 elements of FILE changed. */
bool fixture_write_value(const char *run, uint64_t step, const char *file, int element, float value, struct err *err);

/* Whether each file of an open checkpoint is that of `step` and `letter`. */
bool fixture_is(const struct checkpoint *checkpoint, uint64_t step, char letter);

/* Whether the newest whole checkpoint of `run` is that one. */
bool fixture_latest_is(const char *run, uint64_t step, char letter);

/* `run` becomes what `cp -rL` makes of a run with the checkpoints 1 (letter a, best) and 2 (letter b, latest): folders
 * in the place of its links. */
void fixture_copy(const char *run);

/* Both are links, and lead to these. */
void fixture_links_are(const char *run, uint64_t latest, char latest_letter, uint64_t best, char best_letter);

#define assert_ok(call, err)                                                                                           \
    do {                                                                                                               \
        if (!(call))                                                                                                   \
            fail_msg("%s: %s", #call, (err).text);                                                                     \
    } while (0)

/* The call fails with that code and an error that has `part` in it. */
#define assert_err(call, err, wanted, part)                                                                            \
    do {                                                                                                               \
        (err) = (struct err){0};                                                                                       \
        assert_false(call);                                                                                            \
        if ((err).code != (wanted) || strstr((err).text, part) == NULL)                                                \
            fail_msg("%s: not \"%s\" with code %d, but \"%s\" with code %d", #call, part, (int)(wanted), (err).text,   \
                     (int)(err).code);                                                                                 \
    } while (0)

#endif
