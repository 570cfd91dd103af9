/* test_message_hostile.c - frames that no honest peer sends: refused by name, without a crash, a large allocation or
 * a read beyond the frame. Every frame lies in a block of its exact size, so that a sanitizer sees one byte too far. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/buffer.h"
#include "proto/wire/message_pack.h"
#include "proto/wire/message_table.h"
#include "tests/support/message_samples.h"

static const char message_hostile_header_credit[] = "\x82\xa1v\x92\x01\x00\xa1t\x06";

/* The frames of a sample, each in memory of its own. */
struct copies {
    struct frame list[MESSAGE_FRAMES + 1];
    uint8_t *bytes[MESSAGE_FRAMES];
    size_t count;
};

static uint8_t *message_hostile_block(const void *data, size_t size)
{
    uint8_t *block = malloc(size);
    if (size > 0)
        memcpy(block, data, size);
    return block;
}

static struct copies message_hostile_copies(const struct message *message)
{
    struct err err = {0};
    struct copies copies = {0};
    struct message_frames *frames = message_encode(message, &err);
    assert_non_null(frames);
    copies.count = message_frames_list(frames, copies.list);
    for (size_t i = 0; i < copies.count; i++)
        copies.list[i].data = copies.bytes[i] = message_hostile_block(copies.list[i].data, copies.list[i].size);
    message_frames_destroy(&frames);
    return copies;
}

static void message_hostile_free(struct copies *copies)
{
    for (size_t i = 0; i < copies->count; i++)
        free(copies->bytes[i]);
}

static void message_hostile_refused(const struct frame *list, size_t count, const char *text)
{
    struct err err = {0};
    struct message message;
    assert_false(message_decode(list, count, &message, &err));
    assert_int_equal(err.code, ERR_PROTOCOL);
    assert_null(message.frames);
    if (text != NULL)
        assert_string_equal(err.text, text);
}

/* Decode what may be good or bad; what is taken for good must be in range and encode again. */
static bool message_hostile_harmless(const struct frame *list, size_t count)
{
    struct err err = {0};
    struct message message;
    if (!message_decode(list, count, &message, &err)) {
        assert_int_equal(err.code, ERR_PROTOCOL);
        assert_true(err.text[0] != '\0');
        return false;
    }
    struct message_frames *again = message_encode(&message, &err);
    assert_non_null(again);
    message_frames_destroy(&again);
    message_close(&message);
    return true;
}

static void every_truncation_of_every_frame_is_refused(void **state)
{
    (void)state;
    for (int type = MESSAGE_HELLO; type < MESSAGE_TYPES; type++) {
        struct message message = sample_message((enum message_type)type);
        struct copies copies = message_hostile_copies(&message);
        for (size_t i = 0; i < copies.count; i++) {
            struct frame whole = copies.list[i];
            for (size_t size = 0; size < whole.size; size++) {
                uint8_t *cut = message_hostile_block(whole.data, size);
                copies.list[i] = (struct frame){cut, size};
                message_hostile_refused(copies.list, copies.count, NULL);
                free(cut);
            }
            copies.list[i] = whole;
        }
        message_hostile_free(&copies);
    }
}

static void every_changed_byte_is_refused_or_in_range(void **state)
{
    (void)state;
    unsigned refused = 0, taken = 0;
    for (int type = MESSAGE_HELLO; type < MESSAGE_TYPES; type++) {
        struct message message = sample_message((enum message_type)type);
        struct copies copies = message_hostile_copies(&message);
        for (size_t i = 0; i < copies.count; i++) {
            for (size_t at = 0; at < copies.list[i].size; at++) {
                uint8_t *byte = copies.bytes[i] + at, good = *byte;
                for (unsigned change = 1; change < 256; change++) {
                    *byte = (uint8_t)(good ^ change);
                    if (message_hostile_harmless(copies.list, copies.count))
                        taken++;
                    else
                        refused++;
                }
                *byte = good;
            }
        }
        assert_true(message_hostile_harmless(copies.list, copies.count));
        message_hostile_free(&copies);
    }
    assert_true(refused > taken && taken > 0);
}

static void every_wrong_number_of_frames_is_refused(void **state)
{
    (void)state;
    for (int type = MESSAGE_HELLO; type < MESSAGE_TYPES; type++) {
        struct message message = sample_message((enum message_type)type);
        struct copies copies = message_hostile_copies(&message);
        size_t right = copies.count;
        for (size_t count = right; count <= MESSAGE_FRAMES; count++)
            copies.list[count] = (struct frame){"", 0};
        for (size_t count = 0; count <= MESSAGE_FRAMES + 1; count++)
            if (count != right)
                message_hostile_refused(copies.list, count, NULL);
        message_hostile_free(&copies);
    }
}

/* Decode a CREDIT whose body is the given bytes. */
static void message_hostile_credit(const void *body, size_t size, const char *text)
{
    uint8_t *header = message_hostile_block(message_hostile_header_credit, sizeof message_hostile_header_credit - 1),
            *block = message_hostile_block(body, size);
    struct frame list[] = {{header, sizeof message_hostile_header_credit - 1}, {block, size}};
    if (text != NULL)
        message_hostile_refused(list, 2, text);
    else
        assert_true(message_hostile_harmless(list, 2));
    free(header);
    free(block);
}

#define CREDIT_BODY(literal, text) message_hostile_credit(literal, sizeof(literal) - 1, text)

static void fields_missing_mistyped_or_repeated_are_named(void **state)
{
    (void)state;
    CREDIT_BODY("\x81\xa5units\x02", NULL);
    CREDIT_BODY("\x81\xa5units\xcf\0\0\0\0\0\0\0\x02", NULL);
    CREDIT_BODY("\x80", "CREDIT: field units: missing");
    CREDIT_BODY("\x81\xa5unitz\x02", "CREDIT: field units: missing");
    CREDIT_BODY("\x81\xa5units\xff", "CREDIT: field units: not an unsigned integer");
    CREDIT_BODY("\x81\xa5units\xa1"
                "2",
                "CREDIT: field units: not an unsigned integer");
    CREDIT_BODY("\x81\xa5units\xcb\x40\0\0\0\0\0\0\0", "CREDIT: field units: not an unsigned integer");
    CREDIT_BODY("\x81\xa5units\xcd\x04\x01", "CREDIT: field units: 1025 is above 1024");
    CREDIT_BODY("\x81\xa5units\xcf\0\0\0\x01\0\0\0\x02", "CREDIT: field units: 4294967298 is above 1024");
    CREDIT_BODY("\x82\xa5units\x02\xa5units\x03", "CREDIT: field units is repeated");
    CREDIT_BODY("\x82\xa5units\x02\x01\x03", "CREDIT: the key of field 2 is not text");
    CREDIT_BODY("\x91\x02", "CREDIT: not a map");
    CREDIT_BODY("\x81\xa5units\x02\xc0", "CREDIT: 1 bytes follow the object");
    CREDIT_BODY("\x81\xa5units\xc1", "CREDIT: the byte 0xc1 starts no object");
}

static void unknown_fields_of_every_kind_are_ignored(void **state)
{
    (void)state;
    CREDIT_BODY("\x83\xa1x\xc0\xa5units\x02\xa1y\xc3", NULL);
    CREDIT_BODY("\x82\xa5units\x02\xa1x\x93\x80\x90\x81\xa1k\xc4\x02\xff\xff", NULL);
    CREDIT_BODY("\x82\xa5units\x02\xa1x\xc7\x03\x05"
                "abc",
                NULL);
    CREDIT_BODY("\x82\xa5units\x02\xa1x\xd8\x05"
                "0123456789abcdef",
                NULL);
    CREDIT_BODY("\x82\xa5units\x02\xa1x\xd3\xff\xff\xff\xff\xff\xff\xff\xff", NULL);
    CREDIT_BODY("\x82\xa5units\x02\xa1x\xdc\0\x02\xca\0\0\0\0\xd9\x01z", NULL);
    CREDIT_BODY("\x82\xa5units\x02\xa1x\x82\xa1k\x01\xa1k\x02", "CREDIT: field k is repeated");
    CREDIT_BODY("\x82\xa5units\x02\xa1x\x91\x81\x05\x01", "CREDIT: the key of field 1 is not text");
    CREDIT_BODY("\x82\xa5units\x02\xa1x\xa1\xff", "CREDIT: text is not UTF-8");
}

/* Each would cost msgpack-c tens of gigabytes before it had read an item. */
static void a_container_cannot_claim_more_than_is_there(void **state)
{
    (void)state;
    CREDIT_BODY("\x81\xa1x\xdd\xff\xff\xff\xff", "CREDIT: a container claims 4294967295 items, but 0 bytes remain");
    CREDIT_BODY("\x81\xa1x\xdf\xff\xff\xff\xff\xa1y",
                "CREDIT: a container claims 4294967295 items, but 2 bytes remain");
    CREDIT_BODY("\xdf\x80\0\0\0", "CREDIT: a container claims 2147483648 items, but 0 bytes remain");
    CREDIT_BODY("\xde\xff\xff\xc0", "CREDIT: a container claims 65535 items, but 1 bytes remain");
    CREDIT_BODY("\x81\xa1x\x92\xc0", "CREDIT: a container claims 2 items, but 1 bytes remain");
    CREDIT_BODY("\x82\xa1x\x92\xc0\xc0", "CREDIT: the frame ends before its object does");
    CREDIT_BODY("\x81\xa1x\xdb\xff\xff\xff\xff", "CREDIT: the frame ends inside an object");
    CREDIT_BODY("\x81\xa1x\xc6\xff\xff\xff\xff", "CREDIT: the frame ends inside an object");
    CREDIT_BODY("\x81\xa1x\xc9\xff\xff\xff\xff\x01", "CREDIT: the frame ends inside an object");
    CREDIT_BODY("\x81\xa1x\xdd\xff\xff", "CREDIT: the frame ends inside an object");
    CREDIT_BODY("", "CREDIT: the frame ends before its object does");
}

static void a_map_of_more_than_64_fields_is_refused(void **state)
{
    (void)state;
    for (int fields = PACK_FIELDS; fields <= PACK_FIELDS + 1; fields++) {
        struct buffer body = {0};
        buffer_append(&body, (char[]){(char)0xde, 0, (char)fields}, 3);
        buffer_append(&body, "\xa5units\x02", 7);
        for (int i = 1; i < fields; i++)
            buffer_append(&body, (char[]){(char)0xa2, (char)('a' + i % 16), (char)('a' + i / 16), 1}, 4);
        message_hostile_credit(body.data, body.size,
                               fields == PACK_FIELDS ? NULL : "CREDIT: a map of 65 fields is above 64");
        buffer_free(&body);
    }
}

/* `depth` containers inside each other, the body's map counted. The innermost is empty, or holds an item. */
static void message_hostile_nested(int depth, char lead, const char *inner, const char *text)
{
    struct buffer body = {0};
    buffer_text(&body, "\x82\xa5units\x02\xa1x");
    for (int level = 2; level < depth; level++) {
        buffer_append(&body, &lead, 1);
        if (lead == (char)0x81)
            buffer_text(&body, "\xa1k");
    }
    buffer_text(&body, inner);
    message_hostile_credit(body.data, body.size, text);
    buffer_free(&body);
}

static void containers_nest_32_deep_and_no_deeper(void **state)
{
    (void)state;
    static const char deeper[] = "CREDIT: containers are nested deeper than 32";
    for (int i = 0; i < 2; i++) {
        char lead = (char)(i == 0 ? 0x91 : 0x81);
        message_hostile_nested(32, lead, "\x91\x05", NULL);
        message_hostile_nested(32, lead, "\x81\xa1k\xc0", NULL);
        message_hostile_nested(32, lead, "\x90", NULL);
        message_hostile_nested(33, lead, "\x91\x05", deeper);
        message_hostile_nested(33, lead, "\x90", deeper);
        message_hostile_nested(33, lead, "\x80", deeper);
        message_hostile_nested(60000, (char)0x91, "\x05", deeper);
    }
}

static void a_map_frame_ends_at_64_kib(void **state)
{
    (void)state;
    for (size_t size = MESSAGE_MAP; size <= MESSAGE_MAP + 1; size++) {
        struct buffer body = {0};
        size_t text = size - 15;
        buffer_text(&body, "\x82\xa5units\x02\xa1x\xdb");
        char length[] = {(char)(text >> 24), (char)(text >> 16), (char)(text >> 8), (char)text};
        buffer_append(&body, length, 4);
        memset(buffer_reserve(&body, text), 'y', text);
        body.size += text;
        assert_int_equal(body.size, size);
        message_hostile_credit(body.data, body.size,
                               size == MESSAGE_MAP ? NULL : "CREDIT: body: 65537 bytes are above 65536");
        buffer_free(&body);
    }
}

/* Decode a good CREDIT body behind the given header. */
static void message_hostile_header(const void *header, size_t size, const char *text)
{
    uint8_t *block = message_hostile_block(header, size);
    struct frame list[] = {{block, size}, {"\x81\xa5units\x02", 8}};
    if (text != NULL)
        message_hostile_refused(list, 2, text);
    else
        assert_true(message_hostile_harmless(list, 2));
    free(block);
}

#define HEADER(literal, text) message_hostile_header(literal, sizeof(literal) - 1, text)

static void a_peer_of_another_major_version_gets_both_versions(void **state)
{
    (void)state;
    HEADER("\x82\xa1v\x92\x01\x00\xa1t\x06", NULL);
    HEADER("\x82\xa1v\x92\x01\x63\xa1t\x06", NULL);
    HEADER("\x82\xa1t\x06\xa1v\x01", NULL);
    HEADER("\x82\xa1v\x92\x02\x03\xa1t\x06", "the peer speaks protocol 2.3, this side 1.0");
    HEADER("\x81\xa1v\x00", "the peer speaks protocol 0.0, this side 1.0");
    HEADER("\x81\xa1t\x06", "header: field v: missing");
    HEADER("\x81\xa1v\x01", "header: field t: missing");
    HEADER("\x82\xa1v\x91\x01\xa1t\x06", "header: field v: not [major, minor]");
    HEADER("\x82\xa1v\x92\x01\xff\xa1t\x06", "header: field v: not [major, minor]");
    HEADER("\x82\xa1v\x90\xa1t\x06", "header: field v: not [major, minor]");
    HEADER("\x82\xa1v\xa1"
           "1\xa1t\x06",
           "header: field v: not [major, minor]");
    HEADER("\x82\xa1v\x01\xa1t\x00", "message type 0 is unknown");
    HEADER("\x82\xa1v\x01\xa1t\x26", "message type 38 is unknown");
    HEADER("\x82\xa1v\x01\xa1t\xcf\x01\0\0\0\0\0\0\x06", "message type 72057594037927942 is unknown");
    HEADER("\x82\xa1v\x01\xa1t\xa1t", "header: field t: not an unsigned integer");
}

/* Change one bulk frame of a sample in place. */
static void message_hostile_bulk_refused(enum message_type type, size_t frame, size_t at, const void *bytes,
                                         size_t size, const char *text)
{
    struct message message = sample_message(type);
    struct copies copies = message_hostile_copies(&message);
    assert_true(at + size <= copies.list[frame].size);
    memcpy(copies.bytes[frame] + at, bytes, size);
    message_hostile_refused(copies.list, copies.count, text);
    message_hostile_free(&copies);
}

static void bulk_values_are_checked_on_arrival(void **state)
{
    (void)state;
    static const uint8_t zero[4] = {0}, most[4] = {255, 255, 255, 255};
    double nan_value = (double)NAN;
    message_hostile_bulk_refused(MESSAGE_SPAN, 2, 12, zero, 4,
                                 "SPAN: frame of: step 1: a batch has at least one token");
    message_hostile_bulk_refused(MESSAGE_SPAN, 2, 0, zero, 4, "SPAN: frame of: step 0: a batch has at least one token");
    message_hostile_bulk_refused(MESSAGE_SPAN, 7, 2, zero, 2, "SPAN: frame distinct: step 0: 0 does not rise above 3");
    message_hostile_bulk_refused(MESSAGE_SPAN, 3, 12, most, 4,
                                 "SPAN: frame shards: entry 1: step 4294967295 is not below 3");
    message_hostile_bulk_refused(MESSAGE_SPAN, 3, 4, most, 4,
                                 "SPAN: frame shards: entry 0: shard 4294967295 is not below 4096");
    message_hostile_bulk_refused(MESSAGE_SPAN, 4, 2, zero, 2, "SPAN: frame src_lengths: row 1: 0 is not 1..1002");
    message_hostile_bulk_refused(MESSAGE_SPAN, 5, 4, most, 2, "SPAN: frame tgt_lengths: row 2: 65535 is not 1..1002");
    message_hostile_bulk_refused(MESSAGE_REPORT, 2, 24, &nan_value, 8,
                                 "REPORT: frame results: step 1: loss_sum is not a finite number");
    message_hostile_bulk_refused(MESSAGE_SCORED, 2, 0, zero, 2,
                                 "SCORED: field id_count: 10 is not the sum of the lengths, 6");
    message_hostile_bulk_refused(MESSAGE_STATE, 1, 0, zero, 1, NULL);
}

static void characters_are_those_of_rfc_3629(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size, length;
    } cases[] = {
        {"a", 1, 1},
        {"\x7f", 1, 1},
        {"\x80", 1, 0},
        {"\xc1\xbf", 2, 0},
        {"\xc2\x80", 2, 2},
        {"\xc2", 1, 0},
        {"\xc2\xc0", 2, 0},
        {"\xe0\x9f\xbf", 3, 0},
        {"\xe0\xa0\x80", 3, 3},
        {"\xed\x9f\xbf", 3, 3},
        {"\xed\xa0\x80", 3, 0},
        {"\xef\xbf\xbf", 3, 3},
        {"\xef\xbf", 2, 0},
        {"\xf0\x8f\xbf\xbf", 4, 0},
        {"\xf0\x90\x80\x80", 4, 4},
        {"\xf4\x8f\xbf\xbf", 4, 4},
        {"\xf4\x90\x80\x80", 4, 0},
        {"\xf5\x80\x80\x80", 4, 0},
        {"\xff", 1, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t *block = message_hostile_block(cases[i].bytes, cases[i].size);
        assert_int_equal(pack_character(block, cases[i].size), cases[i].length);
        free(block);
    }
}

static void a_random_frame_never_crashes_the_reader(void **state)
{
    (void)state;
    uint64_t draw = 42;
    for (int round = 0; round < 200000; round++) {
        uint8_t bytes[24];
        for (size_t i = 0; i < sizeof bytes; i++) {
            draw = draw * 6364136223846793005U + 1442695040888963407U;
            bytes[i] = (uint8_t)(draw >> 56);
        }
        bytes[0] = (uint8_t)(0x80 | (bytes[0] & 3));
        size_t size = bytes[23] % 23U;
        uint8_t *block = message_hostile_block(bytes, size);
        struct frame list[] = {{message_hostile_header_credit, sizeof message_hostile_header_credit - 1},
                               {block, size}};
        message_hostile_harmless(list, 2);
        free(block);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_truncation_of_every_frame_is_refused),
        cmocka_unit_test(every_changed_byte_is_refused_or_in_range),
        cmocka_unit_test(every_wrong_number_of_frames_is_refused),
        cmocka_unit_test(fields_missing_mistyped_or_repeated_are_named),
        cmocka_unit_test(unknown_fields_of_every_kind_are_ignored),
        cmocka_unit_test(a_container_cannot_claim_more_than_is_there),
        cmocka_unit_test(a_map_of_more_than_64_fields_is_refused),
        cmocka_unit_test(containers_nest_32_deep_and_no_deeper),
        cmocka_unit_test(a_map_frame_ends_at_64_kib),
        cmocka_unit_test(a_peer_of_another_major_version_gets_both_versions),
        cmocka_unit_test(bulk_values_are_checked_on_arrival),
        cmocka_unit_test(characters_are_those_of_rfc_3629),
        cmocka_unit_test(a_random_frame_never_crashes_the_reader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
