/* client.c - the client library: what arrives is recorded, and client_advance decides.
 *
 * A queue holds only little for a peer that it does not trust yet, and disconnects one that sends more. It trusts a
 * peer after its first message. So on a new connection the client sends little until the queue has answered something.
 * If its first request is larger than that, it first sends an empty text (request 0). Later, the bytes in flight are
 * limited too. */
#include "proto/base/clock.h"
#include "proto/base/random.h"
#include "proto/client/call.h"
#include "proto/client/result.h"
#include "proto/client/uplink.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
    FRESH_BYTES = 32 << 10, /* in flight, until the queue has answered   */
    WINDOW_BYTES = 8 << 20, /* in flight, after that                     */
    GRACE_MS = 50,          /* for the queue's own word on a deadline    */
    SILENT_MS = 1000,       /* a queue that is silent beyond a deadline is not there */
    BREAK_MS = 200,
};

struct lstmq_client {
    struct uplink uplink;
    struct calls calls;
    int64_t connect_ms;
    uint64_t identity; /* drawn at random: client in TRANSLATE */
    uint64_t requests; /* submitted so far                     */
    uint64_t draws;    /* of random numbers                    */
    int64_t due_ms;    /* when a call must be looked at; UPLINK_NEVER_MS = none */
    bool greeted;      /* request 0 was sent on this connection          */
};

/* ---- a call's end ---- */

static void client_finish(struct lstmq_client *client, struct call *call)
{
    calls_move(&client->calls, call, CALL_OVER);
}

static void client_fail(struct lstmq_client *client, struct call *call, const struct lstmq_error *error)
{
    call->error = *error;
    client_finish(client, call);
}

static void client_fail_all(struct lstmq_client *client, const struct lstmq_error *error)
{
    for (int state = CALL_WAITS; state < CALL_OVER; state++)
        while (client->calls.lists[state].first != NULL)
            client_fail(client, client->calls.lists[state].first, error);
}

/* When the call must be looked at again, if nothing arrives. */
static int64_t client_due(const struct lstmq_client *client, const struct call *call)
{
    int64_t connect_ms = call->begun_ms + client->connect_ms;
    switch (call->state) {
    case CALL_WAITS:
        return client->uplink.stood || connect_ms > call->deadline_ms ? call->deadline_ms : connect_ms;
    case CALL_SENT:
        return call->deadline_ms + GRACE_MS;
    default:
        return call->again_ms;
    }
}

static void client_note_due(struct lstmq_client *client, const struct call *call)
{
    int64_t due_ms = client_due(client, call);
    if (due_ms < client->due_ms)
        client->due_ms = due_ms;
}

/* ---- what arrives ---- */

static void client_on_translated(struct lstmq_client *client, struct call *call, const struct translated *translated)
{
    if (translated->answers.count != call->message.translate.texts.count) {
        error_set(&call->error, LSTMQ_CONNECTION, "%s sent %u translations of %u texts", client->uplink.endpoint,
                  translated->answers.count, call->message.translate.texts.count);
    } else {
        call->result = result_new(translated);
        error_set(&call->error, call->result != NULL ? LSTMQ_OK : LSTMQ_MEMORY, "%s",
                  call->result != NULL ? "" : "out of memory for a result");
    }
    client_finish(client, call);
}

/* Rest until the queue's time has passed, and up to half of it more, so that refused clients do not return together. */
static void client_on_rejected(struct lstmq_client *client, struct call *call, const struct rejected *rejected)
{
    uint32_t more = rejected->retry_ms / 2 + 1;
    int64_t again_ms = clock_ms() + rejected->retry_ms + (int64_t)(splitmix(client->identity + client->draws++) % more);
    error_set(&call->error, (enum lstmq_status)rejected->reason, "%.*s", (int)rejected->text.size, rejected->text.data);
    call->error.retry_ms = rejected->retry_ms;
    if (rejected->retry_ms == 0 || call->once || again_ms >= call->deadline_ms) {
        client_finish(client, call);
        return;
    }
    call->again_ms = again_ms;
    calls_move(&client->calls, call, CALL_RESTS);
    client_note_due(client, call);
}

/* After ERROR the queue answers nothing more on this connection. */
static void client_on_error(struct lstmq_client *client, const char *text, size_t size)
{
    struct lstmq_error error;
    error_set(&error, LSTMQ_CONNECTION, "%s: %.*s", client->uplink.endpoint, (int)size, text);
    client_fail_all(client, &error);
    uplink_break(&client->uplink, BREAK_MS);
}

static void client_on_message(struct lstmq_client *client, const struct message *message)
{
    struct uplink *uplink = &client->uplink;
    uplink->heard_ms = clock_ms();
    uplink->state = UPLINK_TRUSTED;
    if (message->type == MESSAGE_ERROR) {
        client_on_error(client, message->error.text.data, message->error.text.size);
        return;
    }
    bool translated = message->type == MESSAGE_TRANSLATED;
    if (!translated && message->type != MESSAGE_REJECTED)
        return;
    struct call *call =
        calls_find(&client->calls, translated ? message->translated.request : message->rejected.request);
    if (call == NULL || call->state == CALL_OVER)
        return;
    if (translated)
        client_on_translated(client, call, &message->translated);
    else if (call->state == CALL_SENT)
        client_on_rejected(client, call, &message->rejected);
}

static void client_receive(struct lstmq_client *client)
{
    bool got = true;
    while (got && client->uplink.socket != NULL) {
        struct message message;
        struct err err;
        if (!message_receive(client->uplink.socket, NULL, false, &message, &got, &err)) {
            client_on_error(client, err.text, strlen(err.text));
        } else if (got) {
            client_on_message(client, &message);
            message_close(&message);
        }
    }
}

/* A call that is to be tried once ends with the connection that it was sent on. */
static void client_on_broken(struct lstmq_client *client)
{
    struct lstmq_error error;
    uplink_explain(&client->uplink, &error);
    for (struct call *call = client->calls.lists[CALL_SENT].first, *next; call != NULL; call = next) {
        next = call->next;
        if (call->once)
            client_fail(client, call, &error);
    }
    calls_unsend(&client->calls);
    client->greeted = false;
    client->due_ms = 0;
}

static void client_take_news(struct lstmq_client *client)
{
    struct err err;
    struct lstmq_error error;
    bool broke;
    if (!uplink_take_news(&client->uplink, &broke, &err)) {
        error_take(&error, &err);
        client_fail_all(client, &error);
        uplink_break(&client->uplink, BREAK_MS);
    }
    if (broke)
        client_on_broken(client);
    /* Another process of this queue may accept the key, but it has never done so. */
    if (client->uplink.failure == MONITOR_REFUSED && !client->uplink.stood) {
        uplink_explain(&client->uplink, &error);
        client_fail_all(client, &error);
    }
}

/* ---- decide ---- */

/* The deadline passed: the error is the queue's last word, or why there was none. */
static void client_expire(struct lstmq_client *client, struct call *call, int64_t now)
{
    const struct uplink *uplink = &client->uplink;
    bool stood = uplink_stands(uplink), silent = call->state == CALL_SENT && uplink->heard_ms < now - SILENT_MS;
    if (!stood)
        uplink_explain(uplink, &call->error);
    else if (call->error.status == LSTMQ_OK)
        error_set(&call->error, LSTMQ_EXPIRED, "no answer from %s within %lld ms", uplink->endpoint,
                  (long long)(call->deadline_ms - call->begun_ms));
    client_finish(client, call);
    if (silent && stood && uplink->stands_ms < now - SILENT_MS) {
        uplink_break(&client->uplink, 0);
        calls_unsend(&client->calls);
    }
}

/* Look at all calls: end those that are late, wake those that have rested, and note when to look again. */
static void client_look(struct lstmq_client *client, int64_t now)
{
    client->due_ms = UPLINK_NEVER_MS;
    for (int state = CALL_WAITS; state < CALL_OVER; state++) {
        for (struct call *call = client->calls.lists[state].first, *next; call != NULL; call = next) {
            next = call->next;
            if (client_due(client, call) > now)
                ;
            else if (call->state == CALL_RESTS)
                calls_move(&client->calls, call, CALL_WAITS);
            else
                client_expire(client, call, now);
            if (call->state != CALL_OVER)
                client_note_due(client, call);
        }
    }
}

/* False: the socket is full, or broken. */
static bool client_send_message(struct lstmq_client *client, const struct message *message, struct err *err)
{
    err->code = ERR_NONE;
    return message_send(client->uplink.socket, NULL, message, err);
}

static bool client_greet(struct lstmq_client *client, const struct call *call)
{
    static const uint32_t no_length;
    struct message greeting = call->message;
    struct err err;
    greeting.translate.request = 0;
    greeting.translate.texts = (struct texts){1, &no_length, "", 0};
    greeting.translate.deadline_ms = SILENT_MS;
    client->greeted = client->greeted || client_send_message(client, &greeting, &err);
    return client->greeted;
}

/* Whether the connection has space for the call's bytes now. */
static bool client_may_send(struct lstmq_client *client, const struct call *call)
{
    bool fresh = client->uplink.state == UPLINK_FRESH;
    uint64_t bytes = call->message.translate.texts.size, sent = client->calls.bytes_sent;
    if (fresh && bytes > FRESH_BYTES && client->calls.lists[CALL_SENT].first == NULL)
        client_greet(client, call);
    return sent + bytes <= (fresh ? FRESH_BYTES : WINDOW_BYTES);
}

static void client_send(struct lstmq_client *client, int64_t now)
{
    struct call *call;
    while (uplink_stands(&client->uplink) && (call = client->calls.lists[CALL_WAITS].first) != NULL &&
           client_may_send(client, call)) {
        struct translate *translate = &call->message.translate;
        struct err err;
        int64_t left_ms = call->deadline_ms - now;
        translate->deadline_ms = left_ms > 1 ? (uint32_t)left_ms : 1;
        if (client_send_message(client, &call->message, &err)) {
            calls_move(&client->calls, call, CALL_SENT);
            client_note_due(client, call);
        } else if (err.code == ERR_FULL) {
            return;
        } else {
            error_take(&call->error, &err);
            client_finish(client, call);
        }
    }
}

static int64_t client_wake_ms(const struct lstmq_client *client)
{
    bool stuck = client->uplink.state == UPLINK_STUCK;
    return stuck && client->uplink.reopen_ms < client->due_ms ? client->uplink.reopen_ms : client->due_ms;
}

/* One turn: record the news of the connection and the messages, then decide. Sending may take in what its descriptor
 * showed, so the turn goes on until nothing is left to read. */
static void client_advance(struct lstmq_client *client)
{
    do {
        client_take_news(client);
        client_receive(client);
        int64_t now = clock_ms();
        if (now >= client->due_ms)
            client_look(client, now);
        client_send(client, now);
    } while (uplink_has_more(&client->uplink));
    uplink_set_timer(&client->uplink, client_wake_ms(client));
}

/* ---- the library's functions ---- */

struct lstmq_client *lstmq_open(const char *endpoint, const struct lstmq_settings *settings, struct lstmq_error *error)
{
    static const struct lstmq_settings defaults;
    settings = settings != NULL ? settings : &defaults;
    struct lstmq_client *client = calloc(1, sizeof *client);
    if (client == NULL) {
        error_set(error, LSTMQ_MEMORY, "out of memory for a client");
        return NULL;
    }
    if (!uplink_open(&client->uplink, endpoint != NULL ? endpoint : "", settings, error)) {
        free(client);
        return NULL;
    }
    uint64_t drawn = 0;
    if (getrandom(&drawn, sizeof drawn, 0) != sizeof drawn)
        drawn = splitmix((uint64_t)clock_ns());
    client->identity = drawn >> 1 != 0 ? drawn >> 1 : 1;
    client->connect_ms = settings->connect_ms > 0 ? settings->connect_ms : LSTMQ_CONNECT_MS;
    client->due_ms = UPLINK_NEVER_MS;
    return client;
}

void lstmq_close(struct lstmq_client *client)
{
    if (client == NULL)
        return;
    uplink_close(&client->uplink);
    calls_free(&client->calls);
    free(client);
}

static struct call *client_submit(struct lstmq_client *client, const char *source, const char *target,
                                  const char *const *texts, size_t count, const struct lstmq_options *options,
                                  struct lstmq_error *error)
{
    struct call *call = call_new(source, target, texts, count, options, error);
    if (call == NULL)
        return NULL;
    call->message.translate.client = client->identity;
    call->message.translate.request = ++client->requests;
    if (!calls_add(&client->calls, call)) {
        error_set(error, LSTMQ_MEMORY, "out of memory for a request");
        free(call);
        return NULL;
    }
    if (client->uplink.failure == MONITOR_REFUSED && !client->uplink.stood)
        client->uplink.failure = MONITOR_SAME; /* the refusal was reported; the next attempt decides about this call */
    client_note_due(client, call);
    client_send(client, call->begun_ms);
    /* A message that arrived while this was sent no longer shows at the descriptor. */
    uplink_set_timer(&client->uplink, uplink_has_more(&client->uplink) ? 0 : client_wake_ms(client));
    return call;
}

uint64_t lstmq_submit(struct lstmq_client *client, const char *source, const char *target, const char *const *texts,
                      size_t count, const struct lstmq_options *options, struct lstmq_error *error)
{
    const struct call *call = client_submit(client, source, target, texts, count, options, error);
    return call != NULL ? call->message.translate.request : 0;
}

/* Hand a call that is over to the caller, and forget it. */
static void client_hand_over(struct lstmq_client *client, struct call *call, struct lstmq_done *done)
{
    *done = (struct lstmq_done){call->message.translate.request, call->result, call->error};
    call->result = NULL;
    calls_drop(&client->calls, call);
}

bool lstmq_take(struct lstmq_client *client, struct lstmq_done *done)
{
    if (client->calls.lists[CALL_OVER].first == NULL)
        client_advance(client);
    struct call *call = client->calls.lists[CALL_OVER].first;
    if (call == NULL)
        return false;
    client_hand_over(client, call, done);
    return true;
}

/* Wait for the descriptor until `until_ms`; UPLINK_NEVER_MS = without limit. */
static void client_sleep(const struct lstmq_client *client, int64_t until_ms)
{
    struct pollfd ready = {.fd = client->uplink.poll_fd, .events = POLLIN};
    int64_t left_ms = until_ms - clock_ms();
    int most_ms = until_ms == UPLINK_NEVER_MS ? -1 : left_ms <= 0 ? 0 : left_ms > 3600000 ? 3600000 : (int)left_ms;
    poll(&ready, 1, most_ms);
}

bool lstmq_wait(struct lstmq_client *client, int timeout_ms)
{
    int64_t until_ms = timeout_ms < 0 ? UPLINK_NEVER_MS : clock_ms() + timeout_ms;
    for (;;) {
        client_advance(client);
        if (client->calls.lists[CALL_OVER].first != NULL)
            return true;
        if (client->calls.count == 0 || clock_ms() >= until_ms)
            return false;
        client_sleep(client, until_ms);
    }
}

enum lstmq_status lstmq_translate(struct lstmq_client *client, const char *source, const char *target,
                                  const char *const *texts, size_t count, const struct lstmq_options *options,
                                  struct lstmq_result **result, struct lstmq_error *error)
{
    struct lstmq_error own;
    struct lstmq_done done;
    error = error != NULL ? error : &own;
    *result = NULL;
    struct call *call = client_submit(client, source, target, texts, count, options, error);
    if (call == NULL)
        return error->status;
    for (client_advance(client); call->state != CALL_OVER; client_advance(client))
        client_sleep(client, UPLINK_NEVER_MS);
    client_hand_over(client, call, &done);
    *result = done.result;
    *error = done.error;
    return done.error.status;
}

void lstmq_cancel(struct lstmq_client *client, uint64_t request)
{
    struct call *call = calls_find(&client->calls, request);
    struct message cancel = {.type = MESSAGE_CANCEL, .cancel = {client->identity, request}};
    struct err err;
    if (call == NULL)
        return;
    if (call->state == CALL_SENT && uplink_stands(&client->uplink))
        client_send_message(client, &cancel, &err); /* best effort: the deadline withdraws it too */
    calls_drop(&client->calls, call);
    uplink_set_timer(&client->uplink, 0);
}

int lstmq_fd(const struct lstmq_client *client)
{
    return client->uplink.poll_fd;
}

size_t lstmq_pending(const struct lstmq_client *client)
{
    return client->calls.count;
}
