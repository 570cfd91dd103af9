/* call.c - copies of requests, their lists and their table; see call.h. */
#include "proto/client/call.h"

#include "proto/base/clock.h"
#include "proto/base/utf8.h"
#include "proto/client/result.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- one call ---- */

static size_t call_text_size(const char *const *texts, const struct lstmq_options *options, size_t i)
{
    return options->sizes != NULL ? options->sizes[i] : strlen(texts[i]);
}

static bool call_is_utf8(const char *text, size_t size)
{
    uint32_t code;
    for (size_t at = 0, length; at < size; at += length)
        if ((length = utf8_next(text + at, size - at, &code)) == 0)
            return false;
    return true;
}

static bool call_check_language(const char *code, struct lstmq_error *error)
{
    size_t size = strlen(code);
    bool good = size <= MESSAGE_LANGUAGE;
    for (size_t i = 0; i < size && good; i++)
        good = code[i] > ' ' && code[i] < 0x7f;
    return good || error_set(error, LSTMQ_USAGE, "a language is a code such as \"en\", of at most %d letters",
                             MESSAGE_LANGUAGE);
}

/* Check all but the texts' encoding; *bytes, 0 at first: their size together. */
static bool call_check(const char *const *texts, size_t count, const struct lstmq_options *options, size_t *bytes,
                       struct lstmq_error *error)
{
    if (count < 1 || count > LSTMQ_TEXTS_MOST)
        return error_set(error, LSTMQ_USAGE, "a request has 1 to %d texts, not %zu", LSTMQ_TEXTS_MOST, count);
    if (options->deadline_ms < 0 || options->deadline_ms > LSTMQ_DEADLINE_MOST)
        return error_set(error, LSTMQ_USAGE, "a deadline is 0 to %d ms, not %" PRId64, LSTMQ_DEADLINE_MOST,
                         options->deadline_ms);
    if (options->alternatives > LSTMQ_ALTERNATIVES_MOST)
        return error_set(error, LSTMQ_USAGE, "%u alternatives are above %d", options->alternatives,
                         LSTMQ_ALTERNATIVES_MOST);
    for (size_t i = 0; i < count; i++) {
        size_t size = call_text_size(texts, options, i);
        if (size > LSTMQ_BYTES_MOST || (*bytes += size) > LSTMQ_BYTES_MOST)
            return error_set(error, LSTMQ_USAGE, "the texts of a request have more than %d bytes", LSTMQ_BYTES_MOST);
    }
    return true;
}

/* Copy the texts' lengths and bytes behind the call. */
static bool call_fill(struct call *call, const char *const *texts, size_t count, const struct lstmq_options *options,
                      struct lstmq_error *error)
{
    uint32_t *lengths = (uint32_t *)(call + 1);
    char *start = (char *)(lengths + count), *bytes = start;
    for (size_t i = 0; i < count; i++) {
        lengths[i] = (uint32_t)call_text_size(texts, options, i);
        if (!call_is_utf8(texts[i], lengths[i]))
            return error_set(error, LSTMQ_USAGE, "text %zu is not valid UTF-8", i + 1);
        memcpy(bytes, texts[i], lengths[i]);
        bytes += lengths[i];
    }
    call->message.translate.texts = (struct texts){(uint32_t)count, lengths, start, (size_t)(bytes - start)};
    return true;
}

struct call *call_new(const char *source, const char *target, const char *const *texts, size_t count,
                      const struct lstmq_options *options, struct lstmq_error *error)
{
    static const struct lstmq_options defaults;
    size_t bytes = 0;
    source = source != NULL ? source : "";
    target = target != NULL ? target : "";
    options = options != NULL ? options : &defaults;
    if (!call_check(texts, count, options, &bytes, error) || !call_check_language(source, error) ||
        !call_check_language(target, error))
        return NULL;
    size_t codes = strlen(source) + strlen(target);
    struct call *call = calloc(1, sizeof *call + count * sizeof(uint32_t) + bytes + codes);
    if (call == NULL) {
        error_set(error, LSTMQ_MEMORY, "out of memory for a request");
        return NULL;
    }
    if (!call_fill(call, texts, count, options, error)) {
        free(call);
        return NULL;
    }
    char *code = (char *)call->message.translate.texts.bytes + bytes;
    memcpy(code, source, strlen(source));
    memcpy(code + strlen(source), target, strlen(target));
    call->message.type = MESSAGE_TRANSLATE;
    call->message.translate.source = (struct text){code, strlen(source)};
    call->message.translate.target = (struct text){code + strlen(source), strlen(target)};
    call->message.translate.alternatives = options->alternatives;
    call->message.translate.details = options->details;
    call->once = options->once;
    call->begun_ms = clock_ms();
    call->deadline_ms = call->begun_ms + (options->deadline_ms > 0 ? options->deadline_ms : LSTMQ_DEADLINE_MS);
    return call;
}

/* ---- lists ---- */

static uint64_t call_bytes(const struct call *call)
{
    return call->message.translate.texts.size;
}

static void call_unlink(struct calls *calls, struct call *call)
{
    struct call_list *list = &calls->lists[call->state];
    *(call->previous != NULL ? &call->previous->next : &list->first) = call->next;
    *(call->next != NULL ? &call->next->previous : &list->last) = call->previous;
    if (call->state == CALL_SENT)
        calls->bytes_sent -= call_bytes(call);
}

static void call_link(struct calls *calls, struct call *call, enum call_state state)
{
    struct call_list *list = &calls->lists[state];
    call->state = state;
    call->next = NULL;
    call->previous = list->last;
    *(list->last != NULL ? &list->last->next : &list->first) = call;
    list->last = call;
    if (state == CALL_SENT)
        calls->bytes_sent += call_bytes(call);
}

void calls_move(struct calls *calls, struct call *call, enum call_state state)
{
    call_unlink(calls, call);
    call_link(calls, call, state);
}

void calls_unsend(struct calls *calls)
{
    struct call_list *sent = &calls->lists[CALL_SENT], *waiting = &calls->lists[CALL_WAITS];
    for (struct call *call = sent->first; call != NULL; call = call->next)
        call->state = CALL_WAITS;
    if (sent->first != NULL) {
        sent->last->next = waiting->first;
        *(waiting->first != NULL ? &waiting->first->previous : &waiting->last) = sent->last;
        waiting->first = sent->first;
    }
    *sent = (struct call_list){NULL, NULL};
    calls->bytes_sent = 0;
}

/* ---- the table ---- */

static bool calls_grow(struct calls *calls)
{
    size_t places = calls->places == 0 ? 64 : 2 * calls->places;
    struct call **table = calloc(places, sizeof *table);
    if (table == NULL)
        return false;
    for (size_t i = 0; i < calls->places; i++)
        for (struct call *call = calls->table[i], *next; call != NULL; call = next) {
            struct call **place = &table[call->message.translate.request & (places - 1)];
            next = call->chain;
            call->chain = *place;
            *place = call;
        }
    free(calls->table);
    calls->table = table;
    calls->places = places;
    return true;
}

bool calls_add(struct calls *calls, struct call *call)
{
    if (calls->count >= calls->places && !calls_grow(calls))
        return false;
    struct call **place = &calls->table[call->message.translate.request & (calls->places - 1)];
    call->chain = *place;
    *place = call;
    calls->count++;
    call_link(calls, call, CALL_WAITS);
    return true;
}

struct call *calls_find(const struct calls *calls, uint64_t request)
{
    struct call *call = calls->places > 0 ? calls->table[request & (calls->places - 1)] : NULL;
    while (call != NULL && call->message.translate.request != request)
        call = call->chain;
    return call;
}

void calls_drop(struct calls *calls, struct call *call)
{
    struct call **place = &calls->table[call->message.translate.request & (calls->places - 1)];
    while (*place != call)
        place = &(*place)->chain;
    *place = call->chain;
    calls->count--;
    call_unlink(calls, call);
    lstmq_free(call->result);
    free(call);
}

void calls_free(struct calls *calls)
{
    for (int state = 0; state < CALL_STATES; state++)
        while (calls->lists[state].first != NULL)
            calls_drop(calls, calls->lists[state].first);
    free(calls->table);
    *calls = (struct calls){0};
}
