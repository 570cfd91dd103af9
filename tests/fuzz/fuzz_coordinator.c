/* fuzz_coordinator.c - what peers may say, in any order and with any figures, to a coordinator in the middle of a run.
 *
 * An input is a script of moves, one byte each and what the move takes from the bytes after it: a peer says a message
 * that fits what it received, sends it with one field changed, sends frames as they stand in the input, answers a while
 * as a worker should, hears and is silent, loses its connection; the clock goes on; the coordinator is interrupted, or
 * killed and started again. Nothing of it may end the coordinator, but for the few things stage_must names. And when
 * the script is over, all its peers fall silent, and a worker comes who does its work: the run must come to its end. */
#include "coordinator/run/tally.h"
#include "tests/fuzz/script.h"
#include "tests/fuzz/stage.h"
#include "tests/support/dummy_worker.h"

enum { PEERS = 3, MOVES_MOST = 96, PATIENCE = 400, GRANT = 3 };

/* A peer, and what it knows of where it stands. */
struct peer {
    struct wire_socket socket; /* its connection's; id[0] = 0: not connected */
    struct wire_line line;     /* to it */
    uint64_t run, worker, generation, step, span, request, time;
    uint32_t span_steps, rows, what, tokens;
    uint16_t row_length;
    bool restored; /* STATE, both files, came to the end */
};

static struct peer fuzz_coordinator_peers[PEERS];
static uint32_t fuzz_coordinator_connections;

/* ---- a peer's connection ---- */

/* A new one has a new id, as a ROUTER gives it, and nothing of the old one's is in it. */
static void fuzz_coordinator_connect(struct peer *peer)
{
    static const uint8_t mark = 1;
    uint32_t number = ++fuzz_coordinator_connections;
    wire_clear(&peer->line);
    peer->line.most = STAGE_QUEUE;
    peer->socket = (struct wire_socket){.in = &peer->line, .out = &stage.heard, .id = {mark}};
    memcpy(peer->socket.id + 1, &number, sizeof number);
    stage.router.peers[peer - fuzz_coordinator_peers] = &peer->socket;
}

/* What it sent before may still be received. */
static void fuzz_coordinator_disconnect(struct peer *peer)
{
    stage.router.peers[peer - fuzz_coordinator_peers] = NULL;
}

static bool fuzz_coordinator_is_connected(const struct peer *peer)
{
    return stage.router.peers[peer - fuzz_coordinator_peers] != NULL;
}

static void fuzz_coordinator_say(struct peer *peer, const struct message *message)
{
    struct err err;
    if (fuzz_coordinator_is_connected(peer))
        message_send(&peer->socket, NULL, message, &err);
    stage_take();
}

/* ---- what a peer would say ---- */

static const struct step_result *fuzz_coordinator_results(const struct peer *peer)
{
    static struct step_result results[SPAN_STEPS];
    for (size_t i = 0; i < 4; i++)
        results[i] =
            (struct step_result){.loss_sum = 3, .grad_norm = 1, .tokens = peer->tokens, .correct = peer->tokens > 0};
    return results;
}

static struct state fuzz_coordinator_state(const struct peer *peer, uint32_t file)
{
    static struct buffer bytes;
    must(bytes.size > 0 || dummy_state(&bytes, 1, NULL));
    return (struct state){
        .step = peer->step, .file = file, .total = bytes.size, .bytes = bytes.data, .size = bytes.size};
}

static struct scored fuzz_coordinator_scored(const struct peer *peer)
{
    static const uint16_t lengths[256], ids[1024];
    uint32_t rows = (peer->what & VALIDATE_TRANSLATE) != 0 && peer->rows <= 256 ? peer->rows : 0;
    return (struct scored){.request = peer->request,
                           .tokens = 2,
                           .forced_loss_sum = 1,
                           .free_loss_sum = 1,
                           .lengths = lengths,
                           .ids = ids,
                           .rows = rows};
}

static struct hello fuzz_coordinator_hello(const struct peer *peer)
{
    struct hello hello = dummy_hello();
    hello.run = peer->run;
    hello.worker = peer->worker;
    hello.step = peer->step;
    hello.branch = peer->generation;
    hello.results = fuzz_coordinator_results(peer);
    return hello;
}

static struct message fuzz_coordinator_message(const struct peer *peer, enum message_type type)
{
    static const struct text address = {"tcp://127.0.0.1:1", 17};
    struct message message = {.type = type};
    if (type == MESSAGE_HELLO)
        message.hello = fuzz_coordinator_hello(peer);
    else if (type == MESSAGE_ENDPOINT)
        message.endpoint = (struct endpoint){peer->generation, address};
    else if (type == MESSAGE_READY)
        message.ready = (struct ready){peer->generation, peer->step};
    else if (type == MESSAGE_CREDIT)
        message.credit.units = GRANT;
    else if (type == MESSAGE_REPORT)
        message.report = (struct report){.generation = peer->generation,
                                         .span = peer->span,
                                         .hash = peer->step + 1,
                                         .results = fuzz_coordinator_results(peer),
                                         .steps = peer->span_steps};
    else if (type == MESSAGE_SCORED)
        message.scored = fuzz_coordinator_scored(peer);
    else if (type == MESSAGE_STATE)
        message.state = fuzz_coordinator_state(peer, MESSAGE_STATE_MODEL);
    else if (type == MESSAGE_STOPPED)
        message.stopped = (struct stopped){.generation = peer->generation,
                                           .held = 1,
                                           .step = peer->step,
                                           .branch = peer->generation,
                                           .results = fuzz_coordinator_results(peer)};
    else if (type == MESSAGE_PONG)
        message.pong.time = peer->time;
    else if (type == MESSAGE_ERROR)
        message.error = (struct failure){ERR_FAILED, {"it broke", 8}};
    return message;
}

static void fuzz_coordinator_say_plain(struct peer *peer, enum message_type type)
{
    struct message message = fuzz_coordinator_message(peer, type);
    fuzz_coordinator_say(peer, &message);
}

/* ---- hearing, and answering as a worker should ---- */

static void fuzz_coordinator_note_span(struct peer *peer, const struct span *span)
{
    peer->span = span->span;
    peer->span_steps = span->steps;
    peer->tokens = span->of[0].tokens;
    peer->step = span->first_step + span->steps;
}

static void fuzz_coordinator_note(struct peer *peer, const struct message *message)
{
    if (message->type == MESSAGE_WELCOME)
        peer->run = message->welcome.run, peer->worker = message->welcome.worker;
    else if (message->type == MESSAGE_GENERATION)
        peer->generation = message->generation.generation, peer->step = message->generation.step;
    else if (message->type == MESSAGE_SPAN)
        fuzz_coordinator_note_span(peer, &message->span);
    else if (message->type == MESSAGE_VALIDATE)
        peer->request = message->validate.request, peer->rows = message->validate.rows.count,
        peer->what = message->validate.what;
    else if (message->type == MESSAGE_SAVE)
        peer->step = message->save.step;
    else if (message->type == MESSAGE_PING)
        peer->time = message->ping.time;
    else if (message->type == MESSAGE_STATE)
        peer->restored = message->state.file == MESSAGE_STATE_OPTIMIZER &&
                         message->state.offset + message->state.size == message->state.total;
}

/* False when nothing waits. */
static bool fuzz_coordinator_hear(struct peer *peer, struct message *message)
{
    struct err err;
    bool got;
    must(message_receive(&peer->socket, NULL, false, message, &got, &err));
    if (got)
        fuzz_coordinator_note(peer, message);
    return got;
}

static void fuzz_coordinator_begin_work(struct peer *peer)
{
    fuzz_coordinator_say_plain(peer, MESSAGE_READY);
    fuzz_coordinator_say_plain(peer, MESSAGE_CREDIT);
}

static void fuzz_coordinator_answer_generation(struct peer *peer, const struct generation *generation)
{
    if (generation->size > 1)
        fuzz_coordinator_say_plain(peer, MESSAGE_ENDPOINT);
    if (generation->source != SOURCE_STATE)
        fuzz_coordinator_begin_work(peer);
}

static void fuzz_coordinator_answer_save(struct peer *peer)
{
    for (uint32_t file = 0; file <= MESSAGE_STATE_OPTIMIZER; file++) {
        struct message message = {.type = MESSAGE_STATE, .state = fuzz_coordinator_state(peer, file)};
        fuzz_coordinator_say(peer, &message);
    }
}

static void fuzz_coordinator_answer(struct peer *peer, const struct message *message)
{
    static const enum message_type plain[MESSAGE_TYPES] = {
        [MESSAGE_SPAN] = MESSAGE_REPORT,  [MESSAGE_VALIDATE] = MESSAGE_SCORED, [MESSAGE_PING] = MESSAGE_PONG,
        [MESSAGE_STOP] = MESSAGE_STOPPED, [MESSAGE_DISMISS] = MESSAGE_LEAVE,   [MESSAGE_ERROR] = MESSAGE_HELLO};
    if (message->type == MESSAGE_GENERATION)
        fuzz_coordinator_answer_generation(peer, &message->generation);
    else if (message->type == MESSAGE_STATE && peer->restored)
        fuzz_coordinator_begin_work(peer);
    else if (message->type == MESSAGE_SAVE)
        fuzz_coordinator_answer_save(peer);
    else if (plain[message->type] != 0)
        fuzz_coordinator_say_plain(peer, plain[message->type]);
    if (message->type == MESSAGE_SPAN || message->type == MESSAGE_VALIDATE)
        fuzz_coordinator_say_plain(peer, MESSAGE_CREDIT);
}

/* Hear up to `most` messages, and answer them. False when nothing waited. */
static bool fuzz_coordinator_work(struct peer *peer, int most, bool answer)
{
    struct message message;
    bool any = false;
    for (; most > 0 && fuzz_coordinator_hear(peer, &message); most--) {
        any = true;
        if (answer)
            fuzz_coordinator_answer(peer, &message);
        message_close(&message);
    }
    return any;
}

/* ---- moves ---- */

static void fuzz_coordinator_move_say(struct peer *peer, bool change)
{
    static const enum message_type types[] = {MESSAGE_HELLO,  MESSAGE_ENDPOINT, MESSAGE_READY,   MESSAGE_CREDIT,
                                              MESSAGE_REPORT, MESSAGE_SCORED,   MESSAGE_STATE,   MESSAGE_RESIGN,
                                              MESSAGE_LEAVE,  MESSAGE_ERROR,    MESSAGE_STOPPED, MESSAGE_ASK,
                                              MESSAGE_PONG,   MESSAGE_STATUS};
    if (change && script_byte() % 16 == 15)
        peer->tokens = script_byte() % 2; /* of the results it will say */
    struct message message = fuzz_coordinator_message(peer, types[script_byte() % (sizeof types / sizeof *types)]);
    for (int changes = change ? 1 + script_byte() % 3 : 0; changes > 0; changes--)
        script_change(&message, message.type == MESSAGE_STATE ? 0 : 63);
    fuzz_coordinator_say(peer, &message);
}

/* Frames as they stand: each with its size before it, in a byte. */
static void fuzz_coordinator_move_raw(struct peer *peer)
{
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
    stage_take();
}

static void fuzz_coordinator_move(void)
{
    uint8_t code = script_byte();
    struct peer *peer = &fuzz_coordinator_peers[code / 16 % PEERS];
    switch (code % 16) {
    case 0:
        fuzz_coordinator_disconnect(peer);
        fuzz_coordinator_connect(peer);
        break;
    case 1:
        stage_wait(20 * script_byte());
        break;
    case 2:
        fuzz_coordinator_move_raw(peer);
        break;
    case 3:
        fuzz_coordinator_work(peer, 1 + script_byte() % 8, false);
        break;
    case 4:
        trainer_interrupt(stage.scene.trainer);
        stage_must(trainer_advance(stage.scene.trainer, &stage.err));
        break;
    case 5:
        stage_restart();
        break;
    case 6:
    case 7:
    case 8:
        fuzz_coordinator_move_say(peer, false);
        break;
    case 9:
    case 10:
    case 11:
    case 12:
        fuzz_coordinator_move_say(peer, true);
        break;
    default:
        fuzz_coordinator_work(peer, 1 + script_byte() % 8, true);
    }
    stage_take();
}

/* Those of the script are gone, one comes who works. */
static void fuzz_coordinator_finish(void)
{
    struct peer *peer = &fuzz_coordinator_peers[0];
    for (int i = 0; i < PEERS; i++)
        fuzz_coordinator_disconnect(&fuzz_coordinator_peers[i]);
    for (int64_t past = 0; past < 2 * stage.scene.config.cluster_heartbeat_timeout && !stage_is_over(); past += 250)
        stage_wait(250);
    if (stage_is_over())
        return;
    fuzz_coordinator_connect(peer);
    peer->run = peer->worker = 0;
    fuzz_coordinator_say_plain(peer, MESSAGE_HELLO);
    for (int rounds = 0; rounds < PATIENCE && !stage_is_over(); rounds++) {
        fuzz_coordinator_work(peer, 1, true);
        stage_wait(50);
    }
    must(stage_is_over() && !stage.ended);
    fuzz_coordinator_disconnect(peer);
}

static void fuzz_coordinator_begin(void)
{
    stage.now_ms = CLOCK_BEGINS_MS;
    clock_hands = &stage.now_ms;
    stage.ended = false;
    fuzz_coordinator_connections = 0;
    stage_open(false);
    for (int i = 0; i < PEERS; i++) {
        memset(&fuzz_coordinator_peers[i].run, 0, sizeof fuzz_coordinator_peers[i] - offsetof(struct peer, run));
        fuzz_coordinator_peers[i].tokens = fuzz_coordinator_peers[i].span_steps = 1;
        fuzz_coordinator_connect(&fuzz_coordinator_peers[i]);
    }
}

/* Nothing is left for the next input, not even what was not read. */
static void fuzz_coordinator_end(void)
{
    for (int i = 0; i < PEERS; i++) {
        fuzz_coordinator_disconnect(&fuzz_coordinator_peers[i]);
        wire_clear(&fuzz_coordinator_peers[i].line);
    }
    stage_close();
    wire_clear(&stage.heard);
    shelf_empty(&shelf_kept);
    buffer_clear(&shelf_journal);
    clock_hands = NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!stage.made)
        stage_make();
    script = data;
    script_left = size;
    fuzz_coordinator_begin();
    for (int moves = 0; moves < MOVES_MOST && script_left > 0 && !stage_is_over(); moves++)
        fuzz_coordinator_move();
    if (!stage_is_over())
        fuzz_coordinator_finish();
    fuzz_coordinator_end();
    return 0;
}
