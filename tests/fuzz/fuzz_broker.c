/* fuzz_broker.c - what clients and workers may say, in any order and with any figures, to a translation queue.
 *
 * An input is a script of moves, one byte each and what the move takes from the bytes after it: a peer says a message
 * that fits what it received, sends it with fields changed, sends frames as they stand in the input, works as a worker
 * should, hears and is silent, loses its connection; the clock goes on. Nothing of it may end the queue. A request that
 * is sound is answered at most once, and by its deadline unless its client left or broke the protocol. When the script
 * is over, a good worker and a good client come, and all is answered; then nothing is left. */
#include "coordinator/serve/broker_inside.h"
#include "proto/base/log.h"
#include "tests/fuzz/script.h"
#include "tests/fuzz/stopped_clock.h"
#include "tests/fuzz/wire.h"

#include <stdio.h>

enum { PEERS = 4, MOVES_MOST = 96, LINE = 24, REQUESTS = 64, TEXTS = 6, DEADLINE_MS = 3000, PATIENCE = 200 };

enum asked { ASKED_NOT, ASKED_WAITS, ASKED_ANSWERED, ASKED_VOID };

/* A peer, and what it knows of where it stands. */
struct peer_role {
    struct wire_socket socket; /* its connection's; id[0] = 0: not connected */
    struct wire_line line;     /* to it */
    uint64_t client, worker, version, batch, time;
    uint32_t texts, lengths[TEXTS_MOST];
    struct buffer bytes; /* of the last BATCH */
    enum asked asked[REQUESTS];
    uint32_t request; /* the last number */
};

static struct peer_role fuzz_peers[PEERS];
static struct wire_line fuzz_heard;
static struct wire_socket fuzz_router = {.in = &fuzz_heard};
static struct config fuzz_config;
static struct loop *fuzz_loop;
static struct broker *fuzz_broker;
static int64_t fuzz_now_ms;
static uint32_t fuzz_connections;

/* ---- connections ---- */

static void fuzz_broker_void(struct peer_role *peer)
{
    for (int i = 0; i < REQUESTS; i++)
        peer->asked[i] = peer->asked[i] == ASKED_WAITS ? ASKED_VOID : peer->asked[i];
}

static void fuzz_broker_disconnect(struct peer_role *peer)
{
    fuzz_router.peers[peer - fuzz_peers] = NULL;
    fuzz_broker_void(peer);
}

static void fuzz_broker_connect(struct peer_role *peer)
{
    static const uint8_t mark = 1;
    uint32_t number = ++fuzz_connections;
    wire_clear(&peer->line);
    peer->line.most = LINE;
    peer->socket = (struct wire_socket){.in = &peer->line, .out = &fuzz_heard, .id = {mark}};
    memcpy(peer->socket.id + 1, &number, sizeof number);
    fuzz_router.peers[peer - fuzz_peers] = &peer->socket;
}

/* The clock goes on, and the queue does what falls due. */
static void fuzz_broker_round(int64_t ms)
{
    bool over;
    struct err err = {0};
    must(clock_round(fuzz_loop, ms, loop_run, &over, &err) && !over);
}

static void fuzz_broker_say(struct peer_role *peer, const struct message *message)
{
    struct err err;
    if (message->type == MESSAGE_JOIN && peer->worker == 0)
        peer->worker = 1; /* it is no client any more */
    if (fuzz_router.peers[peer - fuzz_peers] != NULL)
        message_send(&peer->socket, NULL, message, &err);
    fuzz_broker_round(0);
}

/* ---- what peers say ---- */

static const char fuzz_texts[] = "one two three four five";
static const uint32_t fuzz_lengths[TEXTS] = {3, 0, 5, 3, 6, 6};

static struct translate fuzz_broker_translate(struct peer_role *peer, uint32_t request)
{
    uint32_t count = 1 + script_byte() % TEXTS;
    size_t size = 0;
    for (uint32_t i = 0; i < count; i++)
        size += fuzz_lengths[i];
    return (struct translate){.client = peer->client,
                              .request = request,
                              .source = {"", 0},
                              .target = {"", 0},
                              .deadline_ms = DEADLINE_MS,
                              .texts = {count, fuzz_lengths, fuzz_texts, size}};
}

/* Each text is its own translation. */
static void fuzz_broker_result(const struct peer_role *peer, struct batch_result *result)
{
    static struct answer answers[TEXTS_MOST];
    static struct hypothesis hypotheses[TEXTS_MOST];
    for (uint32_t i = 0; i < peer->texts; i++) {
        answers[i] = (struct answer){.hypotheses = 1, .src_tokens = 1, .tgt_tokens = 1};
        hypotheses[i] = (struct hypothesis){.size = peer->lengths[i]};
    }
    *result = (struct batch_result){.batch = peer->batch,
                                    .answers = {.count = peer->texts,
                                                .of = answers,
                                                .hypothesis_count = peer->texts,
                                                .hypotheses = hypotheses,
                                                .size = peer->bytes.size,
                                                .bytes = peer->bytes.size > 0 ? peer->bytes.data : "",
                                                .notes = ""}};
}

static struct message fuzz_broker_message(struct peer_role *peer, enum message_type type)
{
    static const struct text name = {"fuzz", 4};
    struct message message = {.type = type};
    if (type == MESSAGE_TRANSLATE)
        message.translate = fuzz_broker_translate(peer, peer->request);
    else if (type == MESSAGE_CANCEL)
        message.cancel = (struct cancel){peer->client, peer->request};
    else if (type == MESSAGE_JOIN)
        message.join = (struct join){.build = name, .backend = name, .isa = name, .host = name, .threads = 1};
    else if (type == MESSAGE_LOADED)
        message.loaded = (struct loaded){.version = peer->version, .ok = 1, .text = {"", 0}};
    else if (type == MESSAGE_CREDIT)
        message.credit.units = 1;
    else if (type == MESSAGE_RESULT)
        fuzz_broker_result(peer, &message.result);
    else if (type == MESSAGE_FETCH)
        message.fetch = (struct fetch){peer->time, 0};
    else if (type == MESSAGE_PONG)
        message.pong.time = peer->time;
    else if (type == MESSAGE_GOODBYE)
        message.goodbye.worker = peer->worker;
    else if (type == MESSAGE_ERROR)
        message.error = (struct failure){ERR_FAILED, {"it broke", 8}};
    return message;
}

static void fuzz_broker_say_plain(struct peer_role *peer, enum message_type type)
{
    const struct message message = fuzz_broker_message(peer, type);
    fuzz_broker_say(peer, &message);
}

/* Whether all answers to a peer find space until it hears again: the queue forgets one that is full for long. */
static bool fuzz_broker_has_space(const struct peer_role *peer)
{
    unsigned coming = peer->line.messages;
    for (int i = 0; i < REQUESTS; i++)
        coming += peer->asked[i] == ASKED_WAITS;
    return coming + 4 < LINE;
}

/* A sound request, to be answered. */
static void fuzz_broker_ask(struct peer_role *peer)
{
    if (!fuzz_broker_has_space(peer) || peer->request + 1 >= REQUESTS || fuzz_router.peers[peer - fuzz_peers] == NULL ||
        peer->worker != 0)
        return;
    peer->request++;
    const struct message message = {.type = MESSAGE_TRANSLATE, .translate = fuzz_broker_translate(peer, peer->request)};
    peer->asked[peer->request] = ASKED_WAITS;
    fuzz_broker_say(peer, &message);
}

/* ---- hearing ---- */

static void fuzz_broker_note_answer(struct peer_role *peer, uint64_t request)
{
    if (request >= REQUESTS)
        return;
    must(peer->asked[request] != ASKED_ANSWERED);
    if (peer->asked[request] == ASKED_WAITS)
        peer->asked[request] = ASKED_ANSWERED;
}

static void fuzz_broker_note_batch(struct peer_role *peer, const struct batch_order *batch)
{
    peer->batch = batch->batch;
    peer->texts = batch->texts.count;
    memcpy(peer->lengths, batch->texts.lengths, peer->texts * sizeof *peer->lengths);
    buffer_clear(&peer->bytes);
    buffer_append(&peer->bytes, batch->texts.bytes, batch->texts.size);
}

static void fuzz_broker_note(struct peer_role *peer, const struct message *message)
{
    if (message->type == MESSAGE_TRANSLATED)
        fuzz_broker_note_answer(peer, message->translated.request);
    else if (message->type == MESSAGE_REJECTED)
        fuzz_broker_note_answer(peer, message->rejected.request);
    else if (message->type == MESSAGE_JOINED)
        peer->worker = message->joined.worker;
    else if (message->type == MESSAGE_MODEL)
        peer->version = message->model.version;
    else if (message->type == MESSAGE_BATCH)
        fuzz_broker_note_batch(peer, &message->batch);
    else if (message->type == MESSAGE_PING)
        peer->time = message->ping.time;
    else if (message->type == MESSAGE_ERROR)
        fuzz_broker_void(peer);
}

static void fuzz_broker_answer(struct peer_role *peer, enum message_type type)
{
    static const enum message_type plain[MESSAGE_TYPES] = {[MESSAGE_JOINED] = MESSAGE_CREDIT,
                                                           [MESSAGE_MODEL] = MESSAGE_LOADED,
                                                           [MESSAGE_BATCH] = MESSAGE_RESULT,
                                                           [MESSAGE_PING] = MESSAGE_PONG};
    if (plain[type] != 0)
        fuzz_broker_say_plain(peer, plain[type]);
    if (type == MESSAGE_BATCH)
        fuzz_broker_say_plain(peer, MESSAGE_CREDIT);
}

/* Hear up to `most` messages, and answer them as a worker should. False when nothing waited. */
static bool fuzz_broker_work(struct peer_role *peer, int most, bool answer)
{
    bool any = false;
    for (; most > 0; most--) {
        struct message message;
        struct err err;
        bool got;
        must(message_receive(&peer->socket, NULL, false, &message, &got, &err));
        if (!got)
            break;
        any = true;
        enum message_type type = message.type;
        fuzz_broker_note(peer, &message);
        message_close(&message);
        if (answer)
            fuzz_broker_answer(peer, type);
    }
    return any;
}

/* ---- moves ---- */

static void fuzz_broker_move_say(struct peer_role *peer, bool change)
{
    static const enum message_type types[] = {MESSAGE_JOIN,   MESSAGE_TRANSLATE, MESSAGE_CANCEL,  MESSAGE_LOADED,
                                              MESSAGE_CREDIT, MESSAGE_RESULT,    MESSAGE_FETCH,   MESSAGE_PONG,
                                              MESSAGE_ASK,    MESSAGE_ERROR,     MESSAGE_GOODBYE, MESSAGE_RETIRE};
    struct message message = fuzz_broker_message(peer, types[script_byte() % (sizeof types / sizeof *types)]);
    for (int changes = change ? 1 + script_byte() % 3 : 0; changes > 0; changes--)
        script_change(&message, 0);
    fuzz_broker_void(peer); /* it may cancel or repeat a request, or break the protocol */
    for (int i = 0; i < REQUESTS; i++)
        peer->asked[i] = peer->asked[i] == ASKED_ANSWERED ? ASKED_VOID : peer->asked[i];
    fuzz_broker_say(peer, &message);
}

/* Frames as they stand: each with its size before it, in a byte. */
static void fuzz_broker_move_raw(struct peer_role *peer)
{
    fuzz_broker_void(peer);
    for (int frames = 1 + script_byte() % 10; frames > 0; frames--) {
        size_t size = script_byte();
        if (size > script_left)
            size = script_left;
        if (zmq_send(&peer->socket, size > 0 ? (const void *)script : "", size,
                     ZMQ_DONTWAIT | (frames > 1 ? ZMQ_SNDMORE : 0)) < 0)
            break;
        script += size;
        script_left -= size;
    }
    fuzz_broker_round(0);
}

static void fuzz_broker_move(void)
{
    uint8_t code = script_byte();
    struct peer_role *peer = &fuzz_peers[code / 16 % PEERS];
    switch (code % 16) {
    case 0:
        fuzz_broker_disconnect(peer);
        fuzz_broker_connect(peer);
        peer->worker = 0;
        break;
    case 1:
        fuzz_broker_round(10 * script_byte());
        break;
    case 2:
        fuzz_broker_move_raw(peer);
        break;
    case 3:
        fuzz_broker_work(peer, 1 + script_byte() % 8, false);
        break;
    case 4:
    case 5:
    case 6:
        fuzz_broker_ask(peer);
        break;
    case 7:
        fuzz_broker_say_plain(peer, MESSAGE_JOIN);
        break;
    case 8:
        fuzz_broker_move_say(peer, false);
        break;
    case 9:
    case 10:
    case 11:
        fuzz_broker_move_say(peer, true);
        break;
    default:
        fuzz_broker_work(peer, 1 + script_byte() % 8, true);
    }
    fuzz_broker_round(0);
}

/* ---- the end ---- */

static bool fuzz_broker_all_answered(const struct peer_role *peer)
{
    for (int i = 0; i < REQUESTS; i++)
        if (peer->asked[i] == ASKED_WAITS)
            return false;
    return true;
}

/* By their deadline all sound requests are answered. Then a worker and a client come that do what they should. */
static void fuzz_broker_finish(void)
{
    for (int64_t past = 0; past < 2 * DEADLINE_MS; past += 500) {
        fuzz_broker_round(500);
        for (int i = 0; i < PEERS; i++)
            fuzz_broker_work(&fuzz_peers[i], 2 * LINE, false);
    }
    for (int i = 0; i < PEERS; i++) {
        must(fuzz_router.peers[i] == NULL || fuzz_broker_all_answered(&fuzz_peers[i]));
        fuzz_broker_disconnect(&fuzz_peers[i]);
    }
    for (int64_t past = 0; past < 2 * fuzz_config.serve_heartbeat_timeout; past += 500)
        fuzz_broker_round(500);
    must(fuzz_broker->deadlines.count == 0 && fuzz_broker->sentences.count == 0 && fuzz_broker->pool.count == 0);
    struct peer_role *worker = &fuzz_peers[0], *client = &fuzz_peers[1];
    fuzz_broker_connect(worker);
    fuzz_broker_connect(client);
    client->worker = 0;
    client->client += PEERS;
    client->request = 0;
    memset(client->asked, 0, sizeof client->asked);
    fuzz_broker_say_plain(worker, MESSAGE_JOIN);
    for (int rounds = 0; rounds < 4; rounds++)
        fuzz_broker_work(worker, LINE, true);
    for (int i = 0; i < 3; i++)
        fuzz_broker_ask(client);
    for (int rounds = 0; rounds < PATIENCE && !fuzz_broker_all_answered(client); rounds++) {
        fuzz_broker_work(worker, LINE, true);
        fuzz_broker_work(client, LINE, false);
        fuzz_broker_round(1);
    }
    must(fuzz_broker_all_answered(client) && fuzz_broker->sentences.count == 0);
    must(fuzz_broker->counts.requests[REQUEST_ZMQ][REQUEST_DONE] >= 3);
}

static void fuzz_broker_make(void)
{
    log_open("fuzz", LOG_OFF);
    config_defaults(&fuzz_config);
    fuzz_config.serve_echo = true;
    fuzz_config.serve_queue = 40;
    fuzz_config.serve_max_batch = 4;
    fuzz_config.serve_lease = 0.4;
    fuzz_config.serve_deadline_most = DEADLINE_MS / 1000.0;
}

static void fuzz_broker_begin(void)
{
    struct err err;
    fuzz_now_ms = CLOCK_BEGINS_MS;
    clock_hands = &fuzz_now_ms;
    fuzz_connections = 0;
    fuzz_heard.most = WIRE_FRAMES;
    fuzz_loop = loop_new(&err);
    const struct broker_options options = {.config = &fuzz_config, .loop = fuzz_loop, .front = &fuzz_router};
    fuzz_broker = broker_open(&options, &err);
    must(fuzz_broker != NULL);
    for (int i = 0; i < PEERS; i++) {
        struct peer_role *peer = &fuzz_peers[i];
        struct buffer bytes = peer->bytes;
        memset(&peer->client, 0, sizeof *peer - offsetof(struct peer_role, client));
        peer->bytes = bytes;
        buffer_clear(&peer->bytes);
        peer->client = ((uint64_t)77 << 40) + (uint64_t)i; /* no change of a field hits it by chance */
        fuzz_broker_connect(peer);
    }
}

/* Nothing is left for the next input, not even what was not read. */
static void fuzz_broker_end(void)
{
    for (int i = 0; i < PEERS; i++) {
        fuzz_broker_disconnect(&fuzz_peers[i]);
        wire_clear(&fuzz_peers[i].line);
    }
    broker_close(&fuzz_broker);
    loop_destroy(&fuzz_loop);
    wire_clear(&fuzz_heard);
    clock_hands = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (fuzz_config.serve_queue == 0)
        fuzz_broker_make();
    script = data;
    script_left = size;
    fuzz_broker_begin();
    for (int moves = 0; moves < MOVES_MOST && script_left > 0; moves++)
        fuzz_broker_move();
    fuzz_broker_finish();
    fuzz_broker_end();
    return 0;
}
