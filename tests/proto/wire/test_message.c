/* test_message.c - messages through encode and decode: what is sent arrives, and a sender's own mistakes are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/message_samples.h"

/* Encoding both must give the same bytes in all frames. */
static void message_same(const struct message *a, const struct message *b)
{
    struct err err = {0};
    struct message_frames *first = message_encode(a, &err), *second = message_encode(b, &err);
    assert_non_null(first);
    assert_non_null(second);
    struct frame list[MESSAGE_FRAMES], other[MESSAGE_FRAMES];
    size_t count = message_frames_list(first, list);
    assert_int_equal(count, message_frames_list(second, other));
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(list[i].size, other[i].size);
        if (list[i].size > 0)
            assert_memory_equal(list[i].data, other[i].data, list[i].size);
    }
    message_frames_destroy(&first);
    message_frames_destroy(&second);
}

static void every_message_survives_the_round_trip(void **state)
{
    (void)state;
    for (int type = MESSAGE_HELLO; type < MESSAGE_TYPES; type++) {
        struct err err = {0};
        struct message sent = sample_message((enum message_type)type), got;
        struct message_frames *frames = message_encode(&sent, &err);
        if (frames == NULL)
            fail_msg("%s", err.text);
        struct frame list[MESSAGE_FRAMES];
        size_t count = message_frames_list(frames, list);
        if (!message_decode(list, count, &got, &err))
            fail_msg("%s", err.text);
        assert_int_equal(got.type, type);
        message_same(&sent, &got);
        message_close(&got);
        assert_null(got.frames);
        message_frames_destroy(&frames);
        assert_null(frames);
    }
}

static void every_field_of_a_span_is_what_was_sent(void **state)
{
    (void)state;
    struct err err = {0};
    struct message sent = sample_message(MESSAGE_SPAN), got;
    struct message_frames *frames = message_encode(&sent, &err);
    struct frame list[MESSAGE_FRAMES];
    assert_true(message_decode(list, message_frames_list(frames, list), &got, &err));
    const struct span *span = &got.span;
    assert_int_equal(span->generation, 1);
    assert_true(span->span == SAMPLE_MOST);
    assert_int_equal(span->first_step, 1200);
    assert_int_equal(span->steps, 3);
    assert_int_equal(span->of[2].tokens, UINT32_MAX);
    assert_int_equal(span->of[0].src_distinct, 2);
    assert_int_equal(span->distinct_count, 6);
    assert_int_equal(span->distinct[5], 256);
    assert_int_equal(span->shard_count, 4);
    assert_int_equal(span->shards[1].shard, 4095);
    assert_int_equal(span->shards[2].rows, 2);
    assert_int_equal(span->rows.count, 3);
    assert_int_equal(span->rows.src_lengths[1], 3);
    assert_int_equal(span->rows.tgt_lengths[0], 2);
    assert_int_equal(span->rows.ids[2], 65535);
    assert_int_equal(span->rows.id_count, 10);
    message_close(&got);
    message_frames_destroy(&frames);
}

static void a_message_without_rows_is_whole(void **state)
{
    (void)state;
    struct err err = {0};
    struct span_step of = {.tokens = 1};
    struct message sent = {.type = MESSAGE_SPAN, .span = {.steps = 1, .of = &of}}, got;
    struct message_frames *frames = message_encode(&sent, &err);
    assert_non_null(frames);
    struct frame list[MESSAGE_FRAMES];
    assert_int_equal(message_frames_list(frames, list), 8);
    assert_int_equal(list[7].size, 0);
    assert_true(message_decode(list, 8, &got, &err));
    assert_int_equal(got.span.rows.count, 0);
    message_close(&got);
    message_frames_destroy(&frames);
}

/* Bulk frames at odd addresses: the sanitizer would report an access through a misaligned pointer. */
static void bulk_frames_may_lie_anywhere(void **state)
{
    (void)state;
    static const enum message_type types[] = {MESSAGE_SPAN, MESSAGE_REPORT, MESSAGE_VALIDATE, MESSAGE_SCORED};
    for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
        struct err err = {0};
        struct message sent = sample_message(types[t]), got;
        struct message_frames *frames = message_encode(&sent, &err);
        struct frame list[MESSAGE_FRAMES];
        size_t count = message_frames_list(frames, list);
        void *blocks[MESSAGE_FRAMES];
        for (size_t i = 0; i < count; i++) {
            char *odd = blocks[i] = malloc(list[i].size + 1);
            list[i].data = memcpy(odd + 1, list[i].data, list[i].size);
        }
        assert_true(message_decode(list, count, &got, &err));
        message_same(&sent, &got);
        message_close(&got);
        for (size_t i = 0; i < count; i++)
            free(blocks[i]);
        message_frames_destroy(&frames);
    }
}

static void message_not_encoded(const struct message *message, const char *text)
{
    struct err err = {0};
    struct message_frames *frames = message_encode(message, &err);
    assert_null(frames);
    assert_int_equal(err.code, ERR_PROTOCOL);
    assert_string_equal(err.text, text);
}

static void a_value_out_of_range_names_message_and_field(void **state)
{
    (void)state;
    struct message m = sample_message(MESSAGE_SPAN);
    m.span.steps = 2000;
    message_not_encoded(&m, "SPAN: field steps: 2000 is above 1024");
    m = sample_message(MESSAGE_CREDIT);
    m.credit.units = 0;
    message_not_encoded(&m, "CREDIT: field units: 0 is below 1");
    m = sample_message(MESSAGE_GENERATION);
    m.generation.rank = 8;
    m.generation.size = 8;
    message_not_encoded(&m, "GENERATION: field rank: 8 is not below size, 8");
    m = sample_message(MESSAGE_STATE);
    m.state.total--;
    message_not_encoded(&m, "STATE: field size: 5 bytes at 4294967291 end after 4294967295");
    m.state.offset = (uint64_t)1 << 40;
    message_not_encoded(&m, "STATE: field size: 5 bytes at 1099511627776 end after 4294967295");
    m = sample_message(MESSAGE_READY);
    m.ready.step = SAMPLE_MOST + 1;
    message_not_encoded(&m, "READY: field step: 9223372036854775808 is above 9223372036854775807");
    m = sample_message(MESSAGE_VALIDATE);
    m.validate.what = 8;
    message_not_encoded(&m, "VALIDATE: field what: 8 is above 7");
    m = sample_message(MESSAGE_SCORED);
    m.scored.forced_loss_sum = (double)NAN;
    message_not_encoded(&m, "SCORED: field forced_loss_sum: not a finite number");
    m = sample_message(MESSAGE_SCORED);
    m.scored.free_correct = 101;
    message_not_encoded(&m, "SCORED: field free_correct: 101 is above tokens");
    m = (struct message){.type = (enum message_type)77};
    message_not_encoded(&m, "message type 77 is unknown");
}

static void a_bad_shard_is_named(void **state)
{
    (void)state;
    struct span_shard shards[2] = {{0, 1, 1}, {0, 1, 2}};
    struct message m = sample_message(MESSAGE_SPAN);
    m.span.shards = shards;
    m.span.shard_count = 2;
    message_not_encoded(&m, "SPAN: frame shards: entry 1: not after the one before it");
    shards[1] = (struct span_shard){3, 0, 2};
    message_not_encoded(&m, "SPAN: frame shards: entry 1: step 3 is not below 3");
    shards[1] = (struct span_shard){2, 4096, 2};
    message_not_encoded(&m, "SPAN: frame shards: entry 1: shard 4096 is not below 4096");
    shards[1] = (struct span_shard){2, 0, UINT32_MAX};
    message_not_encoded(&m, "SPAN: field row_count: 3 is not the sum of the shards' rows, 4294967296");
    shards[1] = (struct span_shard){2, 0, 2};
    struct span_step of[3] = {{1, 2, 0}, {0, 0, 0}, {1, 1, 3}};
    m.span.of = of;
    message_not_encoded(&m, "SPAN: frame of: step 1: a batch has at least one token");
    of[1].tokens = 1;
    of[1].src_distinct = UINT32_MAX;
    message_not_encoded(&m, "SPAN: field distinct_count: 6 is not the sum of the steps', 4294967301");
    of[1].src_distinct = 0;
    uint16_t distinct[6] = {3, 3, 9, 0, 1, 256};
    m.span.distinct = distinct;
    message_not_encoded(&m, "SPAN: frame distinct: step 0: 3 does not rise above 3");
}

static void a_bad_row_is_named(void **state)
{
    (void)state;
    uint16_t lengths[3] = {2, 0, 1};
    struct message m = sample_message(MESSAGE_VALIDATE);
    m.validate.rows.tgt_lengths = lengths;
    message_not_encoded(&m, "VALIDATE: frame tgt_lengths: row 1: 0 is not 1..1002");
    lengths[1] = 1003;
    message_not_encoded(&m, "VALIDATE: frame tgt_lengths: row 1: 1003 is not 1..1002");
    lengths[1] = 2;
    message_not_encoded(&m, "VALIDATE: field id_count: 10 is not the sum of the lengths, 11");
    m = sample_message(MESSAGE_SCORED);
    m.scored.id_count = 9;
    message_not_encoded(&m, "SCORED: field id_count: 9 is not the sum of the lengths, 10");
}

static void a_bad_result_is_named(void **state)
{
    (void)state;
    struct step_result results[2] = {{1, 1, 2, 1}, {1, 1, 2, 3}};
    struct message m = sample_message(MESSAGE_REPORT);
    m.report.results = results;
    m.report.steps = 2;
    message_not_encoded(&m, "REPORT: frame results: step 1: 3 correct of 2 tokens");
    results[1] = (struct step_result){(double)INFINITY, 1, 2, 1};
    message_not_encoded(&m, "REPORT: frame results: step 1: loss_sum is not a finite number");
    results[1] = (struct step_result){1, -1, 2, 1};
    message_not_encoded(&m, "REPORT: frame results: step 1: grad_norm is not a finite number from 0 up");
}

static void a_bad_text_is_named(void **state)
{
    (void)state;
    char longer[MESSAGE_CONFIG + 1];
    memset(longer, 'x', sizeof longer);
    struct message m = sample_message(MESSAGE_HELLO);
    m.hello.isa = (struct text){longer, MESSAGE_NAME + 1};
    message_not_encoded(&m, "HELLO: field isa: 129 bytes are not 0..128");
    m.hello.isa = SAMPLE_TEXT("avx2\n");
    message_not_encoded(&m, "HELLO: field isa: holds the control character 0x0a");
    m.hello.isa = SAMPLE_TEXT("\xc0\xaf");
    message_not_encoded(&m, "HELLO: field isa: not UTF-8");
    m = sample_message(MESSAGE_WELCOME);
    m.welcome.config = (struct text){longer, sizeof longer};
    message_not_encoded(&m, "WELCOME: field config: 32769 bytes are not 0..32768");
    m.welcome.config = (struct text){"a: 1\n\0", 6};
    message_not_encoded(&m, "WELCOME: field config: holds the control character 0x00");
}

/* An err may be cut in the middle of a character, or quote a damaged file: it must reach the peer all the same. */
static void the_text_of_an_error_always_arrives(void **state)
{
    (void)state;
    struct err err = {0};
    char large[2000];
    memset(large, 'e', sizeof large);
    memcpy(large + MESSAGE_LINE - 1, "\xc3\xa9", 2);
    struct text texts[] = {SAMPLE_TEXT("line 1\nline \xff 2 \xc3"), {large, sizeof large}};
    for (size_t i = 0; i < 2; i++) {
        struct message sent = {.type = MESSAGE_ERROR, .error = {ERR_DATA, texts[i]}}, got;
        struct message_frames *frames = message_encode(&sent, &err);
        assert_non_null(frames);
        struct frame list[MESSAGE_FRAMES];
        assert_true(message_decode(list, message_frames_list(frames, list), &got, &err));
        if (i == 0) {
            assert_int_equal(got.error.text.size, 17);
            assert_memory_equal(got.error.text.data, "line 1?line ? 2 ?", 17);
        } else {
            assert_int_equal(got.error.text.size, MESSAGE_LINE - 1);
        }
        message_close(&got);
        message_frames_destroy(&frames);
    }
}

static void a_message_above_the_limit_is_not_sent(void **state)
{
    (void)state;
    enum { ROWS = 33000 };
    uint16_t *lengths = calloc(ROWS, sizeof *lengths);
    uint16_t *ids = calloc((size_t)ROWS * 2 * ROW_LENGTH, sizeof *ids);
    for (size_t i = 0; i < ROWS; i++)
        lengths[i] = ROW_LENGTH;
    struct message m = {.type = MESSAGE_VALIDATE, .validate = {.what = 1}};
    m.validate.rows = (struct rows){ROWS, lengths, lengths, ids, (size_t)ROWS * 2 * ROW_LENGTH};
    message_not_encoded(&m, "VALIDATE: field id_count: 66132000 is above 33554432");
    m.validate.rows.count = 16743;
    m.validate.rows.id_count = (size_t)16743 * 2 * ROW_LENGTH;
    struct err err = {0};
    assert_null(message_encode(&m, &err));
    assert_non_null(strstr(err.text, "bytes are above 67108864"));
    free(lengths);
    free(ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_survives_the_round_trip),
        cmocka_unit_test(every_field_of_a_span_is_what_was_sent),
        cmocka_unit_test(a_message_without_rows_is_whole),
        cmocka_unit_test(bulk_frames_may_lie_anywhere),
        cmocka_unit_test(a_value_out_of_range_names_message_and_field),
        cmocka_unit_test(a_bad_shard_is_named),
        cmocka_unit_test(a_bad_row_is_named),
        cmocka_unit_test(a_bad_result_is_named),
        cmocka_unit_test(a_bad_text_is_named),
        cmocka_unit_test(the_text_of_an_error_always_arrives),
        cmocka_unit_test(a_message_above_the_limit_is_not_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
