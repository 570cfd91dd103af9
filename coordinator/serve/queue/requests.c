/* requests.c - a table of chains by client and number; see requests.h. */
#include "coordinator/serve/queue/requests.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { CHAINS = 16384, FREE_MOST = 4096, SMALL_BYTES = 16384, SMALL_PARTS = 64 };

bool requests_open(struct requests *requests, struct err *err)
{
    *requests = (struct requests){.size = CHAINS};
    requests->chains = calloc(requests->size, sizeof(struct request *));
    return requests->chains != NULL || err_set(err, ERR_MEMORY, "no memory for a queue");
}

static void request_destroy(struct request *request)
{
    buffer_free(&request->packed);
    free(request->parts);
    free(request);
}

void requests_close(struct requests *requests)
{
    while (requests->kept.first != NULL) {
        struct request *request = requests->kept.first;
        request_move(request, NULL);
        request_destroy(request);
    }
    while (requests->free.first != NULL) {
        struct request *request = requests->free.first;
        request_move(request, NULL);
        request_destroy(request);
    }
    free(requests->chains);
    *requests = (struct requests){0};
}

void request_move(struct request *request, struct request_list *list)
{
    struct request_list *old = request->list;
    if (old != NULL) {
        *(request->before != NULL ? &request->before->next : &old->first) = request->next;
        *(request->next != NULL ? &request->next->before : &old->last) = request->before;
        old->count--;
    }
    request->list = list;
    request->next = request->before = NULL;
    if (list == NULL)
        return;
    request->before = list->last;
    *(list->last != NULL ? &list->last->next : &list->first) = request;
    list->last = request;
    list->count++;
}

struct request *requests_new(struct requests *requests, uint32_t texts)
{
    struct request *request = requests->free.first;
    if (request == NULL)
        request = calloc(1, sizeof *request);
    else
        request_move(request, NULL);
    if (request == NULL)
        return NULL;
    if (request->part_capacity < texts) {
        struct part *parts = realloc(request->parts, texts * sizeof *parts);
        if (parts == NULL) {
            request_destroy(request);
            return NULL;
        }
        request->parts = parts;
        request->part_capacity = texts;
    }
    memset(request->parts, 0, texts * sizeof *request->parts);
    for (uint32_t i = 0; i < texts; i++)
        request->parts[i].request = request;
    request->part_count = texts;
    return request;
}

static size_t requests_chain(const struct requests *requests, uint64_t key, uint64_t client, uint64_t number)
{
    const uint64_t of[] = {key, client, number};
    return XXH3_64bits(of, sizeof of) & (requests->size - 1);
}

void requests_enter(struct requests *requests, struct request *request)
{
    if (request->client == 0)
        return;
    struct request **chain =
        &requests->chains[requests_chain(requests, request->key, request->client, request->number)];
    request->same = *chain;
    *chain = request;
}

struct request *requests_find(const struct requests *requests, uint64_t key, uint64_t client, uint64_t number)
{
    struct request *at = client == 0 ? NULL : requests->chains[requests_chain(requests, key, client, number)];
    while (at != NULL && (at->number != number || at->client != client || at->key != key))
        at = at->same;
    return at;
}

static void requests_leave(struct requests *requests, struct request *request)
{
    if (request->client == 0)
        return;
    struct request **at = &requests->chains[requests_chain(requests, request->key, request->client, request->number)];
    while (*at != NULL && *at != request)
        at = &(*at)->same;
    if (*at == NULL)
        return;
    *at = request->same;
}

static size_t request_bytes(const struct request *request)
{
    return sizeof *request + request->packed.capacity + request->part_capacity * sizeof *request->parts;
}

void requests_keep(struct requests *requests, struct request *request, int64_t now_us)
{
    request->until_us = request->deadline_us;
    request_move(request, &requests->kept);
    requests->kept_bytes += request_bytes(request);
    requests_sweep(requests, now_us);
}

void requests_unkeep(struct requests *requests, struct request *request)
{
    requests->kept_bytes -= request_bytes(request);
    request_move(request, NULL);
}

/* Deadlines differ, so a request may be kept a little too long behind one with a later deadline. */
void requests_sweep(struct requests *requests, int64_t now_us)
{
    struct request *oldest;
    while (
        (oldest = requests->kept.first) != NULL &&
        (requests->kept.count > REQUESTS_KEPT || requests->kept_bytes > REQUESTS_BYTES || oldest->until_us <= now_us)) {
        requests_unkeep(requests, oldest);
        requests_free(requests, oldest);
    }
}

void requests_free(struct requests *requests, struct request *request)
{
    requests_leave(requests, request);
    request_move(request, NULL);
    if (requests->free.count >= FREE_MOST || request->packed.capacity > SMALL_BYTES ||
        request->part_capacity > SMALL_PARTS) {
        request_destroy(request);
        return;
    }
    buffer_clear(&request->packed);
    memset(request, 0, offsetof(struct request, model));
    request_move(request, &requests->free);
}

/* ---- answers ---- */

struct result_sizes {
    size_t hypotheses, bytes, notes;
};

/* What a sentence's result holds, by size. */
static struct result_sizes request_sizes(const struct sentence *sentence)
{
    struct result_sizes sizes = {sentence->answer.hypotheses, 0, sentence->answer.notes};
    sizes.bytes = sentence->result.size - sizes.notes - sizes.hypotheses * sizeof(struct hypothesis);
    return sizes;
}

static void *request_put(char *to, const void *from, size_t size)
{
    if (size > 0)
        memcpy(to, from, size);
    return to + size;
}

bool request_pack(struct request *request)
{
    struct answers *answers = &request->answers;
    struct result_sizes all = {0, 0, 0};
    for (uint32_t i = 0; i < request->part_count; i++) {
        struct result_sizes sizes = request_sizes(request->parts[i].sentence);
        all.hypotheses += sizes.hypotheses;
        all.bytes += sizes.bytes;
        all.notes += sizes.notes;
    }
    size_t answers_size = request->part_count * sizeof(struct answer);
    size_t hypotheses_size = all.hypotheses * sizeof(struct hypothesis);
    size_t size = answers_size + hypotheses_size + all.bytes + all.notes;
    buffer_clear(&request->packed);
    char *to = buffer_reserve(&request->packed, size), *base = to;
    if (to == NULL)
        return false;
    request->packed.size = size;
    for (uint32_t i = 0; i < request->part_count; i++)
        to = request_put(to, &request->parts[i].sentence->answer, sizeof(struct answer));
    char *bytes = to + hypotheses_size, *notes = bytes + all.bytes;
    *answers = (struct answers){.count = request->part_count,
                                .of = (const struct answer *)(const void *)base,
                                .hypothesis_count = (uint32_t)all.hypotheses,
                                .hypotheses = (const struct hypothesis *)(const void *)to,
                                .size = all.bytes,
                                .bytes = bytes,
                                .notes_size = all.notes,
                                .notes = notes};
    for (uint32_t i = 0; i < request->part_count; i++) {
        const struct sentence *sentence = request->parts[i].sentence;
        struct result_sizes sizes = request_sizes(sentence);
        const char *from = sentence->result.size > 0 ? sentence->result.data : "";
        to = request_put(to, from, sizes.hypotheses * sizeof(struct hypothesis));
        from += sizes.hypotheses * sizeof(struct hypothesis);
        bytes = request_put(bytes, from, sizes.bytes);
        notes = request_put(notes, from + sizes.bytes, sizes.notes);
    }
    return true;
}
