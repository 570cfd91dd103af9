/* script.h - an input as a script: bytes that are taken one after the other, 0 when there are none left, and messages
 * with a field changed by them. For the targets that play one side of a conversation. */
#ifndef LSTMQ_TESTS_FUZZ_SCRIPT_H
#define LSTMQ_TESTS_FUZZ_SCRIPT_H

#include "proto/wire/message_table.h"
#include "tests/fuzz/fuzz.h"

static const uint8_t *script;
static size_t script_left;

static uint8_t script_byte(void)
{
    return (uint8_t)fuzz_choice(&script, &script_left);
}

static uint64_t script_figure(void)
{
    static const uint64_t edges[] = {
        0, 1, 2, 3, 7, 255, 1024, 65536, UINT32_MAX, (uint64_t)1 << 40, INT64_MAX - 1, INT64_MAX};
    uint8_t choice = script_byte();
    return choice < 128 ? edges[choice % (sizeof edges / sizeof *edges)] : (uint64_t)choice - 128;
}

/* Another value in one field. Numbers of items do not grow, since the arrays are no longer than they were, but where
 * `room` items are known to be there. */
static void script_change(struct message *message, uint64_t room)
{
    const struct message_row *row = message_row((uint64_t)message->type);
    if (row->field_count == 0)
        return;
    const struct field *field = &row->fields[script_byte() % row->field_count];
    uint64_t figure = script_figure();
    for (size_t i = 0; i < row->bulk_count; i++)
        if (strcmp(row->bulk[i].count, field->name) == 0)
            figure %= (room > 0 ? room : message_field_get(message, field)) + 1;
    void *place = (char *)message + field->offset;
    if (field->kind == FIELD_U32)
        *(uint32_t *)place = (uint32_t)figure;
    else if (field->kind == FIELD_U64 || field->kind == FIELD_SIZE)
        *(uint64_t *)place = figure;
    else if (field->kind == FIELD_REAL)
        *(double *)place = (double)figure * (script_byte() % 2 ? 1e300 : -1);
    else
        *(struct text *)place = (struct text){"\303\251 ~", (size_t)(figure % 5)};
}

#endif
