/* test_protocol_page.c - PROTOCOL.md against the code, both ways: each message, number, field, type, range, frame,
 * limit and byte that the page names is the code's, and the code has none that the page does not name. Of the ring it
 * is the line before each piece of data, the sizes, and how shared memory lies; what is done with it is
 * test_ring_page.c's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/base/config.h"
#include "proto/wire/message_pack.h"
#include "proto/wire/message_table.h"
#include "worker/collective/element.h"
#include "worker/collective/ring_parts.h"

enum { PAGE_MOST = 1 << 20 };

static char protocol_page_page[PAGE_MOST];

static int protocol_page_read_page(void **state)
{
    static const char path[] = LSTMQ_SOURCE "/proto/wire/PROTOCOL.md";
    (void)state;
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        perror(path);
        return -1;
    }
    size_t size = fread(protocol_page_page, 1, sizeof protocol_page_page - 1, file);
    fclose(file);
    protocol_page_page[size] = '\0';
    return size > 0 ? 0 : -1;
}

/* The section under a heading of three or two #, up to the next heading. The caller frees it. */
static char *protocol_page_section(const char *heading)
{
    char line[128];
    snprintf(line, sizeof line, "\n%s\n", heading);
    const char *start = strstr(protocol_page_page, line);
    if (start == NULL)
        fail_msg("the page has no heading \"%s\"", heading);
    start += strlen(line);
    const char *end = strstr(start, "\n##");
    return end == NULL ? strdup(start) : strndup(start, (size_t)(end - start));
}

/* How often `text` occurs. */
static size_t protocol_page_occurrences(const char *page, const char *text)
{
    size_t count = 0;
    for (const char *at = strstr(page, text); at != NULL; at = strstr(at + 1, text))
        count++;
    return count;
}

static void protocol_page_holds_once(const char *section, const char *text)
{
    if (protocol_page_occurrences(section, text) != 1)
        fail_msg("\"%s\" stands %zu times in:\n%s", text, protocol_page_occurrences(section, text), section);
}

/* A limit as the page writes it. */
static const char *protocol_page_number(uint64_t value, char text[32])
{
    if (value == (uint64_t)INT64_MAX)
        return "2^63-1";
    if (value == UINT64_MAX)
        return "2^64-1";
    for (unsigned power = 24; power < 63; power++) {
        snprintf(text, 32, "2^%u", power);
        if (value == (uint64_t)1 << power)
            return text;
    }
    snprintf(text, 32, "%" PRIu64, value);
    return text;
}

/* The first three cells of a field's row. */
static void protocol_page_field_row(const struct field *field, char *row, size_t size)
{
    static const char *const types[] = {"uint", "uint", "uint", "real", "line", "text"};
    char least[32], most[32];
    bool text = field->kind == FIELD_LINE || field->kind == FIELD_TEXT;
    if (field->kind == FIELD_REAL)
        snprintf(row, size, "| `%s` | real | finite |", field->name);
    else
        snprintf(row, size, "| `%s` | %s | %s..%s%s |", field->name, types[field->kind],
                 protocol_page_number(field->least, least), protocol_page_number(field->most, most),
                 text ? " bytes" : "");
}

static void the_page_lists_each_message_as_the_code_has_it(void **state)
{
    (void)state;
    for (uint64_t type = 1; type < MESSAGE_TYPES; type++) {
        const struct message_row *row = message_row(type);
        assert_non_null(row);
        char heading[64], expected[256];
        snprintf(heading, sizeof heading, "### %d %s", (int)type, row->name);
        char *section = protocol_page_section(heading);
        for (size_t i = 0; i < row->field_count; i++) {
            protocol_page_field_row(&row->fields[i], expected, sizeof expected);
            protocol_page_holds_once(section, expected);
        }
        const char *last = section;
        for (size_t i = 0; i < row->bulk_count; i++) {
            const struct bulk *bulk = &row->bulk[i];
            snprintf(expected, sizeof expected, "\n| `%s` | `%s` | `%s` |", bulk->name, bulk->item, bulk->count);
            protocol_page_holds_once(section, expected);
            assert_true(strstr(section, expected) > last); /* frames are listed in their order */
            last = strstr(section, expected);
        }
        assert_int_equal(protocol_page_occurrences(section, "\n| `"), row->field_count + row->bulk_count);
        free(section);
    }
}

static void the_page_names_no_other_message(void **state)
{
    (void)state;
    assert_int_equal(protocol_page_occurrences(protocol_page_page, "\n### "), MESSAGE_TYPES - 1);
    assert_null(message_row(0));
    assert_null(message_row(MESSAGE_TYPES));
}

static void each_count_of_a_bulk_frame_is_a_field(void **state)
{
    (void)state;
    for (uint64_t type = 1; type < MESSAGE_TYPES; type++) {
        const struct message_row *row = message_row(type);
        assert_true(2 + row->bulk_count <= MESSAGE_FRAMES);
        for (size_t b = 0; b < row->bulk_count; b++) {
            size_t found = 0;
            for (size_t i = 0; i < row->field_count; i++)
                found += strcmp(row->fields[i].name, row->bulk[b].count) == 0 && row->fields[i].kind <= FIELD_SIZE;
            assert_int_equal(found, 1);
        }
    }
}

static void protocol_page_limit(const char *what, long long limit, const char *unit)
{
    char row[256];
    snprintf(row, sizeof row, "\n| %s | %lld%s |", what, limit, unit);
    protocol_page_holds_once(protocol_page_page, row);
}

static void limits_and_version_are_those_of_the_code(void **state)
{
    (void)state;
    protocol_page_limit("header or body frame", MESSAGE_MAP, " bytes");
    protocol_page_limit("whole message", MESSAGE_BYTES, " bytes");
    protocol_page_limit("frames of a message", MESSAGE_FRAMES, "");
    protocol_page_limit("containers inside each other, the outermost counted", PACK_DEPTH, "");
    protocol_page_limit("fields of a map", PACK_FIELDS, "");
    char text[128];
    snprintf(text, sizeof text, "# The protocol, version %d.%d\n", PROTOCOL_MAJOR, PROTOCOL_MINOR);
    assert_memory_equal(protocol_page_page, text, strlen(text));
    snprintf(text, sizeof text, " 1..%d", ROW_LENGTH);
    assert_true(protocol_page_occurrences(protocol_page_page, text) >= 2);
    snprintf(text, sizeof text, "0..%d;", SHARDS_MOST - 1);
    protocol_page_holds_once(protocol_page_page, text);
}

static void protocol_page_layout(const char *type, const char *name, size_t offset)
{
    char row[128];
    snprintf(row, sizeof row, "\n| %zu | %s | `%s` |", offset, type, name);
    protocol_page_holds_once(protocol_page_page, row);
}

static void layouts_are_those_of_the_structs(void **state)
{
    (void)state;
    protocol_page_layout("u32", "step", offsetof(struct span_shard, step));
    protocol_page_layout("u32", "shard", offsetof(struct span_shard, shard));
    protocol_page_layout("u32", "rows", offsetof(struct span_shard, rows));
    protocol_page_layout("f64", "loss_sum", offsetof(struct step_result, loss_sum));
    protocol_page_layout("f64", "grad_norm", offsetof(struct step_result, grad_norm));
    protocol_page_layout("u32", "tokens", offsetof(struct step_result, tokens));
    protocol_page_layout("u32", "correct", offsetof(struct step_result, correct));
    char text[64];
    snprintf(text, sizeof text, "\n`span_shard`, %zu bytes:\n", sizeof(struct span_shard));
    protocol_page_holds_once(protocol_page_page, text);
    snprintf(text, sizeof text, "\n`step_result`, %zu bytes:\n", sizeof(struct step_result));
    protocol_page_holds_once(protocol_page_page, text);
}

static void error_codes_are_numbered_as_in_the_code(void **state)
{
    (void)state;
    static const struct {
        enum err_code code;
        const char *means;
    } codes[] = {
        {ERR_FAILED, "failed: something outside the program failed"},
        {ERR_IO, "a file or socket operation failed"},
        {ERR_MEMORY, "out of memory"},
        {ERR_FULL, "a bounded queue or table is full"},
        {ERR_PROTOCOL, "the other side broke this protocol, or speaks another version of it"},
        {ERR_USAGE, "invalid configuration"},
        {ERR_DATA, "bad data"},
        {ERR_INTERRUPTED, "interrupted"},
        {ERR_DIVERGED, "training diverged: its numbers are not finite, on any worker; the run ends"},
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        char row[128];
        snprintf(row, sizeof row, "\n| %d | %s |", (int)codes[i].code, codes[i].means);
        protocol_page_holds_once(protocol_page_page, row);
    }
}

static void protocol_page_hex(const struct frame *frame, int number)
{
    char text[256];
    int used = snprintf(text, sizeof text, "    frame %d  ", number);
    for (size_t i = 0; i < frame->size; i++)
        used += snprintf(text + used, sizeof text - (size_t)used, " %02x", ((const uint8_t *)frame->data)[i]);
    protocol_page_holds_once(protocol_page_page, text);
}

/* Built-in values that the page states. */
static void options_have_the_values_of_the_page(void **state)
{
    (void)state;
    struct config config;
    char text[128];
    config_defaults(&config);
    snprintf(text, sizeof text, "every `cluster.heartbeat` (%" PRId64 " ms)", config.cluster_heartbeat);
    protocol_page_holds_once(protocol_page_page, text);
    snprintf(text, sizeof text, "for `cluster.heartbeat_timeout` (%g s)",
             (double)config.cluster_heartbeat_timeout / 1000);
    protocol_page_holds_once(protocol_page_page, text);
    snprintf(text, sizeof text, "| `cluster.heartbeat_timeout`, %g s;",
             (double)config.cluster_heartbeat_timeout / 1000);
    protocol_page_holds_once(protocol_page_page, text);
    snprintf(text, sizeof text, "for `worker.heartbeat_timeout` (an option of the worker's, %g s)",
             (double)config.worker_heartbeat_timeout / 1000);
    protocol_page_holds_once(protocol_page_page, text);
    snprintf(text, sizeof text, "`worker.reconnect_timeout` (%" PRId64 " s)", config.worker_reconnect_timeout);
    protocol_page_holds_once(protocol_page_page, text);
}

static void the_example_is_what_is_sent(void **state)
{
    (void)state;
    struct err err = {0};
    struct message message = {.type = MESSAGE_CREDIT, .credit = {2}};
    struct message_frames *frames = message_encode(&message, &err);
    assert_non_null(frames);
    struct frame list[MESSAGE_FRAMES];
    assert_int_equal(message_frames_list(frames, list), 2);
    protocol_page_hex(&list[0], 1);
    protocol_page_hex(&list[1], 2);
    message_frames_destroy(&frames);
}

/* Where the line of a frame that is zero but for one field is not zero. */
static void protocol_page_ring_field(const char *type, const char *name, struct ring_frame frame)
{
    uint8_t none[RING_FRAME], line[RING_FRAME];
    size_t first = 0, end = RING_FRAME;
    ring_frame_write(&(struct ring_frame){.kind = 0}, none);
    ring_frame_write(&frame, line);
    while (first < RING_FRAME && line[first] == none[first])
        first++;
    while (end > first && line[end - 1] == none[end - 1])
        end--;
    assert_int_equal(8 * (end - first), atoi(type + 1));
    protocol_page_layout(type, name, first);
}

static void the_line_of_a_ring_is_that_of_the_code(void **state)
{
    (void)state;
    protocol_page_ring_field("u8", "kind", (struct ring_frame){.kind = UINT8_MAX});
    protocol_page_ring_field("u16", "step", (struct ring_frame){.step = UINT16_MAX});
    protocol_page_ring_field("u16", "rank", (struct ring_frame){.rank = UINT16_MAX});
    protocol_page_ring_field("u64", "generation", (struct ring_frame){.generation = UINT64_MAX});
    protocol_page_ring_field("u64", "count", (struct ring_frame){.count = UINT64_MAX});
    protocol_page_ring_field("u32", "operation", (struct ring_frame){.operation = UINT32_MAX});
    protocol_page_ring_field("u32", "chunk", (struct ring_frame){.chunk = UINT32_MAX});
    uint8_t line[RING_FRAME];
    const uint8_t one[sizeof(int64_t)] = {1};
    ring_frame_write(&(struct ring_frame){.kind = ELEMENT_I64, .generation = 5, .count = 1, .operation = 1}, line);
    protocol_page_hex(&(struct frame){line, sizeof line}, 1);
    protocol_page_hex(&(struct frame){one, sizeof one}, 2);
    protocol_page_holds_once(protocol_page_page, "a line of 32 bytes");
    assert_int_equal(RING_FRAME, 32);
}

/* The kinds of a ring's messages, and how they travel. */
static void kinds_and_chunks_of_a_ring_are_those_of_the_code(void **state)
{
    (void)state;
    static const char *const added[] = {"`f32`", "bf16, the upper half of an `f32`", "`i64`", "`i64`"};
    static const char *const complete[] = {"`f32`", "bf16", "`i64`", "`f32`"};
    static const size_t sizes[][2] = {{4, 4}, {2, 2}, {8, 8}, {8, 4}};
    char row[128];
    for (int kind = ELEMENT_F32; kind <= ELEMENT_I64_F32; kind++) {
        size_t size = element_size_sent((enum collective_element)kind, false);
        assert_int_equal(size, sizes[kind][0]);
        assert_int_equal(element_size_sent((enum collective_element)kind, true), sizes[kind][1]);
        snprintf(row, sizeof row, "\n| %d | sum | %s | %s | %zu |", kind, added[kind], complete[kind],
                 RING_CHUNK / size);
        protocol_page_holds_once(protocol_page_page, row);
    }
    snprintf(row, sizeof row, "\n| %d | broadcast | | `u8` | %d |", RING_KIND_BYTES, RING_CHUNK);
    protocol_page_holds_once(protocol_page_page, row);
}

/* What a predecessor finds that knows nothing but the page. */
static void memory_of_a_ring_lies_as_the_page_has_it(void **state)
{
    (void)state;
    enum { FILLED = 256, TRAYS = 4096, SIZE = 16781312 };
    char place[COLLECTIVE_ENDPOINT], path[64];
    const char elements[] = "elements";
    uint32_t tray, filled;
    struct stat about;
    snprintf(place, sizeof place, "ipc://@of-a-test-%ld-77", (long)getpid());
    struct ring_memory *memory = ring_memory_new(place, sizeof place);
    assert_non_null(memory);
    for (uint32_t i = 0; i <= 3; i++)
        assert_true(ring_memory_put(memory, elements, sizeof elements, &tray));
    snprintf(path, sizeof path, "/proc/%ld/fd/%s", (long)getpid(), strrchr(place, '-') + 1);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(file >= 0 && fstat(file, &about) == 0);
    assert_int_equal(about.st_size, SIZE);
    assert_int_equal(fcntl(file, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    const char *bytes = mmap(NULL, SIZE, PROT_READ, MAP_SHARED, file, 0);
    assert_ptr_not_equal(bytes, MAP_FAILED);
    assert_string_equal(bytes, place);
    assert_int_equal(tray, 3);
    for (size_t i = 0; i < 16; i++) {
        memcpy(&filled, bytes + FILLED + i * sizeof filled, sizeof filled);
        assert_int_equal(filled, i <= 3);
    }
    assert_string_equal(bytes + TRAYS + 3 * (1 << 20), elements);
    munmap((void *)(uintptr_t)bytes, SIZE);
    close(file);
    ring_memory_destroy(&memory);
    protocol_page_holds_once(
        protocol_page_page,
        "of 16781312 bytes, with the seals `F_SEAL_SHRINK`, `F_SEAL_GROW` and `F_SEAL_SEAL` and no other");
    protocol_page_holds_once(protocol_page_page, "\n| 256 | 16 `u32` | `filled` |");
    protocol_page_holds_once(protocol_page_page, "\n| 4096 | 16 x 1 MiB | `trays` |");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_lists_each_message_as_the_code_has_it),
        cmocka_unit_test(the_page_names_no_other_message),
        cmocka_unit_test(each_count_of_a_bulk_frame_is_a_field),
        cmocka_unit_test(limits_and_version_are_those_of_the_code),
        cmocka_unit_test(layouts_are_those_of_the_structs),
        cmocka_unit_test(error_codes_are_numbered_as_in_the_code),
        cmocka_unit_test(options_have_the_values_of_the_page),
        cmocka_unit_test(the_example_is_what_is_sent),
        cmocka_unit_test(the_line_of_a_ring_is_that_of_the_code),
        cmocka_unit_test(kinds_and_chunks_of_a_ring_are_those_of_the_code),
        cmocka_unit_test(memory_of_a_ring_lies_as_the_page_has_it),
    };
    return cmocka_run_group_tests(tests, protocol_page_read_page, NULL);
}
