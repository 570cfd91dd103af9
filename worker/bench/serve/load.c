/* load.c - the clients of a load, on one thread; see load.h. */
#include "worker/bench/serve/load.h"

#include "proto/base/clock.h"
#include "proto/wire/message.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <zmq.h>

enum {
    LOAD_CONNECT_MS = 10000,
    LOAD_DRAIN_MS = 15000,
    LOAD_TURN = 256, /* messages of a connection that are taken before other connections have their turn */
    LOAD_STAMP = 64, /* bytes of a stamped text */
};

/* A request, by its number. */
struct load_sent {
    int64_t due_ns, deadline_ns;
    size_t text; /* the first of its texts */
    bool waits;
};

struct load_client {
    struct load_stream *stream;
    void *socket;
    uint64_t id, next;
    uint64_t flying;
    struct load_sent *sent; /* [capacity] */
    size_t capacity;
};

struct load_group {
    struct load *load;
    void *context;
    struct load_client *clients;
    zmq_pollitem_t *items; /* of each client, then the timer's */
    size_t count;
    int timer;
    size_t text;     /* number of the next text */
    uint64_t flying; /* of all clients */
    int64_t begin_ns, end_ns;
    uint64_t *due; /* [load->count] requests that an open stream has sent */
};

/* ---- sending ---- */

static struct load_sent *load_slot(struct load_client *client, struct err *err)
{
    if (client->next == client->capacity) {
        size_t more = client->capacity * 2 + 64;
        struct load_sent *grown = realloc(client->sent, more * sizeof *grown);
        if (grown == NULL) {
            err_set(err, ERR_MEMORY, "no memory for %zu requests", more);
            return NULL;
        }
        client->sent = grown;
        client->capacity = more;
    }
    return &client->sent[client->next];
}

/* True with *full: the queue does not read fast enough; nothing was sent. */
static bool load_send(struct load_group *group, struct load_client *client, int64_t due_ns, bool *full, struct err *err)
{
    struct load_stream *stream = client->stream;
    struct load_sent *slot = load_slot(client, err);
    char stamp[LOAD_STAMP];
    uint32_t length = 0;
    if (slot == NULL)
        return false;
    int64_t now = clock_ns();
    *slot = (struct load_sent){.due_ns = due_ns, .text = group->text, .waits = true};
    slot->deadline_ns = stream->deadline_ms > 0 ? now + (int64_t)stream->deadline_ms * 1000000 : INT64_MAX;
    struct message message = {
        .type = MESSAGE_TRANSLATE,
        .translate = {.client = client->id, .request = client->next, .deadline_ms = stream->deadline_ms}};
    struct texts *texts = &message.translate.texts;
    if (stream->stamped) {
        length = (uint32_t)snprintf(stamp, sizeof stamp, "%" PRId64 " %zu", slot->deadline_ns, group->text);
        *texts = (struct texts){.count = 1, .lengths = &length, .bytes = stamp, .size = length};
    } else {
        *texts = bench_texts_cut(group->load->texts, group->text, stream->texts);
    }
    struct err why;
    *full = !message_send(client->socket, NULL, &message, &why);
    if (*full)
        return why.code == ERR_FULL || (*err = why, false);
    group->text += texts->count;
    client->next++;
    client->flying++;
    group->flying++;
    stream->sent++;
    return true;
}

/* Send what closed streams may send. */
static bool load_fill(struct load_group *group, struct err *err)
{
    for (size_t i = 0; i < group->count; i++) {
        struct load_client *client = &group->clients[i];
        bool full = false;
        while (!full && client->flying < client->stream->window)
            if (!load_send(group, client, clock_ns(), &full, err))
                return false;
    }
    return true;
}

/* Send what open streams owe by now. *next_ns: when the next request is due. */
static bool load_pay(struct load_group *group, int64_t now_ns, int64_t *next_ns, struct err *err)
{
    size_t first = 0;
    for (size_t s = 0; s < group->load->count; s++) {
        struct load_stream *stream = &group->load->streams[s];
        for (bool full = false; stream->window == 0 && !full;) {
            int64_t due_ns = group->begin_ns + (int64_t)(1e9 * (double)(group->due[s] + 1) / stream->rate);
            if (due_ns > now_ns) {
                *next_ns = due_ns < *next_ns ? due_ns : *next_ns;
                break;
            }
            if (!load_send(group, &group->clients[first + group->due[s] % stream->clients], due_ns, &full, err))
                return false;
            group->due[s] += !full;
            if (full && *next_ns > now_ns + 1000000)
                *next_ns = now_ns + 1000000;
        }
        first += stream->clients;
    }
    return true;
}

/* ---- receiving ---- */

static bool load_same(const struct load_group *group, const struct load_client *client, const struct load_sent *sent,
                      const struct answers *answers)
{
    if (client->stream->stamped)
        return answers->count == 1 && answers->hypothesis_count == 1;
    const struct texts texts = bench_texts_cut(group->load->texts, sent->text, client->stream->texts);
    return answers->count == texts.count &&
           (!group->load->echo ||
            (answers->size == texts.size && memcmp(answers->bytes, texts.bytes, texts.size) == 0));
}

static void load_translated(struct load_group *group, struct load_client *client, const struct load_sent *sent,
                            const struct translated *translated, int64_t now_ns)
{
    struct load_stream *stream = client->stream;
    latency_add(&stream->answered, now_ns - sent->due_ns);
    stream->done += now_ns <= group->end_ns;
    stream->in_time += now_ns <= sent->deadline_ns;
    stream->wrong += !load_same(group, client, sent, &translated->answers);
}

static void load_receive(struct load_group *group, struct load_client *client, const struct message *message)
{
    struct load_stream *stream = client->stream;
    bool translated = message->type == MESSAGE_TRANSLATED, rejected = message->type == MESSAGE_REJECTED;
    uint64_t request = translated ? message->translated.request : message->rejected.request;
    int64_t now_ns = clock_ns();
    if ((!translated && !rejected) || request >= client->next) {
        stream->wrong++;
        return;
    }
    struct load_sent *sent = &client->sent[request];
    if (!sent->waits) {
        stream->doubled++;
        return;
    }
    sent->waits = false;
    client->flying--;
    group->flying--;
    if (now_ns > sent->deadline_ns)
        latency_add(&stream->late, now_ns - sent->deadline_ns);
    if (translated)
        load_translated(group, client, sent, &message->translated, now_ns);
    else
        stream->rejected[message->rejected.reason < LOAD_REASONS ? message->rejected.reason : 0]++;
    if (rejected && message->rejected.reason == REJECT_BUSY)
        latency_add(&stream->busy, now_ns - sent->due_ns);
}

static bool load_take(struct load_group *group, struct load_client *client, struct err *err)
{
    for (int i = 0; i < LOAD_TURN; i++) {
        struct message message;
        bool got;
        if (!message_receive(client->socket, NULL, false, &message, &got, err))
            return err_context(err, "an answer");
        if (!got)
            break;
        load_receive(group, client, &message);
        message_close(&message);
    }
    return true;
}

/* Wait for answers, at most until `next_ns`, and take them. */
static bool load_wait(struct load_group *group, int64_t next_ns, struct err *err)
{
    const struct itimerspec when = {.it_value = {.tv_sec = next_ns / 1000000000, .tv_nsec = next_ns % 1000000000}};
    timerfd_settime(group->timer, TFD_TIMER_ABSTIME, &when, NULL);
    if (zmq_poll(group->items, (int)group->count + 1, LOAD_DRAIN_MS) < 0 && zmq_errno() != EINTR)
        return socket_error(err, "cannot wait for answers");
    for (size_t i = 0; i < group->count; i++)
        if ((group->items[i].revents & ZMQ_POLLIN) != 0 && !load_take(group, &group->clients[i], err))
            return false;
    return true;
}

/* ---- a run ---- */

static bool load_open_client(struct load_group *group, size_t at, struct load_stream *stream, struct err *err)
{
    int none = 0, now = 1;
    struct load_client *client = &group->clients[at];
    *client = (struct load_client){.stream = stream,
                                   .id = (uint64_t)getpid() << 32 | (uint64_t)(clock_ns() & 0xffff000) << 4 | (at + 1)};
    client->socket = zmq_socket(group->context, ZMQ_DEALER);
    if (client->socket == NULL || zmq_setsockopt(client->socket, ZMQ_LINGER, &none, sizeof none) != 0 ||
        zmq_setsockopt(client->socket, ZMQ_SNDHWM, &none, sizeof none) != 0 ||
        zmq_setsockopt(client->socket, ZMQ_RCVHWM, &none, sizeof none) != 0 ||
        zmq_setsockopt(client->socket, ZMQ_IMMEDIATE, &now, sizeof now) != 0 ||
        zmq_connect(client->socket, group->load->endpoint) != 0)
        return socket_error(err, "cannot open a client's socket");
    group->items[at] = (zmq_pollitem_t){.socket = client->socket, .events = ZMQ_POLLIN};
    zmq_pollitem_t ready = {.socket = client->socket, .events = ZMQ_POLLOUT};
    if (zmq_poll(&ready, 1, LOAD_CONNECT_MS) != 1)
        return err_set(err, ERR_FAILED, "no connection to %s within %d s", group->load->endpoint,
                       LOAD_CONNECT_MS / 1000);
    return true;
}

static bool load_open(struct load_group *group, struct err *err)
{
    struct load *load = group->load;
    for (size_t s = 0; s < load->count; s++)
        group->count += load->streams[s].clients;
    group->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    group->context = zmq_ctx_new();
    group->clients = calloc(group->count, sizeof *group->clients);
    group->items = calloc(group->count + 1, sizeof *group->items);
    group->due = calloc(load->count, sizeof *group->due);
    if (group->timer < 0 || group->context == NULL || group->clients == NULL || group->items == NULL ||
        group->due == NULL)
        return err_set(err, ERR_MEMORY, "cannot make %zu clients", group->count);
    group->items[group->count] = (zmq_pollitem_t){.fd = group->timer, .events = ZMQ_POLLIN};
    size_t at = 0;
    for (size_t s = 0; s < load->count; s++)
        for (unsigned i = 0; i < load->streams[s].clients; i++)
            if (!load_open_client(group, at++, &load->streams[s], err))
                return false;
    return true;
}

static void load_close(struct load_group *group)
{
    for (size_t i = 0; i < group->count && group->clients != NULL; i++) {
        struct load_client *client = &group->clients[i];
        for (uint64_t r = 0; r < client->next; r++)
            client->stream->lost += client->sent[r].waits;
        free(client->sent);
        if (client->socket != NULL)
            zmq_close(client->socket);
    }
    if (group->timer >= 0)
        close(group->timer);
    if (group->context != NULL)
        zmq_ctx_term(group->context);
    free(group->clients);
    free(group->items);
    free(group->due);
}

bool load_run(struct load *load, struct err *err)
{
    struct load_group group = {.load = load, .timer = -1};
    bool ok = load_open(&group, err);
    group.begin_ns = clock_ns();
    group.end_ns = group.begin_ns + (int64_t)(load->seconds * 1e9);
    for (int64_t now; ok && (now = clock_ns()) < group.end_ns;) {
        int64_t next_ns = group.end_ns;
        ok = load_fill(&group, err) && load_pay(&group, now, &next_ns, err) && load_wait(&group, next_ns, err);
    }
    int64_t last_ns = clock_ns() + (int64_t)(load->drain_ms > 0 ? load->drain_ms : LOAD_DRAIN_MS) * 1000000;
    while (ok && group.flying > 0 && clock_ns() < last_ns)
        ok = load_wait(&group, last_ns, err);
    load_close(&group);
    return ok;
}

bool load_check(const struct load *load, struct err *err)
{
    for (size_t s = 0; s < load->count; s++) {
        const struct load_stream *stream = &load->streams[s];
        if (stream->wrong + stream->doubled + stream->lost > 0)
            return err_set(err, ERR_FAILED,
                           "of %" PRIu64 " requests %" PRIu64 " have a wrong answer, %" PRIu64 " two answers, %" PRIu64
                           " none",
                           stream->sent, stream->wrong, stream->doubled, stream->lost);
        for (unsigned reason = 0; reason < LOAD_REASONS; reason++)
            if (stream->rejected[reason] > 0 && reason != REJECT_BUSY && reason != REJECT_EXPIRED)
                return err_set(err, ERR_FAILED, "%" PRIu64 " of %" PRIu64 " requests were rejected, reason %u",
                               stream->rejected[reason], stream->sent, reason);
    }
    return true;
}
