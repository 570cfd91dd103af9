/* fuzz_coordinator.c - what peers may say, in any order and with any figures, to a coordinator in the middle of a run.
 *
 * An input is a script of moves, one byte each and what the move takes from the bytes after it: a peer says a message
 * that fits what it was told, says it with one field changed, sends frames as they stand in the input, answers a while as a
 * worker should, hears and is silent, loses its connection; the clock goes on; the coordinator is interrupted, or
 * killed and started again. Nothing of it may end the coordinator, but for the few things stage_must names. And when
 * the script is over, all its peers fall silent, and a worker comes who does its work: the run must come to its end. */
#include "coordinator/tally.h"
#include "proto/store/safetensors.h"
#include "proto/wire/message_table.h"
#include "tests/fuzz/stage.h"

enum { PEERS = 3, MOVES_MOST = 96, PATIENCE = 400, GRANT = 3 };

/* A peer, and what it knows of where it stands. */
struct peer {
    void *socket;
    uint64_t run, worker, generation, step, span, request, time;
    uint32_t span_steps, rows, what, tokens;
    uint16_t row_length;
    bool restored; /* STATE, both files, came to the end */
};

static struct peer s_peers[PEERS];
static const uint8_t *s_script;
static size_t s_left;

static uint8_t s_byte(void)
{
    return (uint8_t)fuzz_choice(&s_script, &s_left);
}

/* ---- a peer's connection ---- */

static void s_connect(struct peer *peer)
{
    must(zmq_connect(peer->socket, stage_endpoint) == 0);
}

static void s_disconnect(struct peer *peer)
{
    zmq_disconnect(peer->socket, stage_endpoint);
}

static void s_make_peers(void)
{
    int linger = 0, queue = STAGE_QUEUE;
    for (int i = 0; i < PEERS; i++) {
        s_peers[i].socket = zmq_socket(stage.context, ZMQ_DEALER);
        must(zmq_setsockopt(s_peers[i].socket, ZMQ_LINGER, &linger, sizeof linger) == 0);
        must(zmq_setsockopt(s_peers[i].socket, ZMQ_RCVHWM, &queue, sizeof queue) == 0);
    }
}

static void s_say(struct peer *peer, const struct message *message)
{
    struct err err;
    message_send(peer->socket, NULL, message, &err);
    stage_take();
}

/* ---- what a peer would say ---- */

static const struct step_result *s_results(const struct peer *peer)
{
    static struct step_result results[SPAN_STEPS];
    for (size_t i = 0; i < 4; i++)
        results[i] =
            (struct step_result){.loss_sum = 3, .grad_norm = 1, .tokens = peer->tokens, .correct = peer->tokens > 0};
    return results;
}

static struct state s_state(const struct peer *peer, uint32_t file)
{
    static struct buffer bytes;
    struct tensor_entry entry = {.name = "all", .dtype = "F32", .dims = 1, .shape = {1}};
    buffer_clear(&bytes);
    safetensors_header(&entry, 1, &bytes, NULL);
    buffer_append(&bytes, "\0\0\200?", 4);
    return (struct state){
        .step = peer->step, .file = file, .total = bytes.size, .bytes = bytes.data, .size = bytes.size};
}

static struct scored s_scored(const struct peer *peer)
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

static struct hello s_hello(const struct peer *peer)
{
    static const struct text one = {"1", 1};
    return (struct hello){.build = one,
                          .backend = one,
                          .backend_version = one,
                          .isa = one,
                          .precision = {"fp32", 4},
                          .threads = 1,
                          .host = one,
                          .run = peer->run,
                          .worker = peer->worker,
                          .step = peer->step,
                          .results = s_results(peer)};
}

static struct message s_message(const struct peer *peer, enum message_type type)
{
    static const struct text address = {"tcp://127.0.0.1:1", 17};
    struct message message = {.type = type};
    if (type == MESSAGE_HELLO)
        message.hello = s_hello(peer);
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
                                         .results = s_results(peer),
                                         .steps = peer->span_steps};
    else if (type == MESSAGE_SCORED)
        message.scored = s_scored(peer);
    else if (type == MESSAGE_STATE)
        message.state = s_state(peer, MESSAGE_STATE_MODEL);
    else if (type == MESSAGE_STOPPED)
        message.stopped =
            (struct stopped){.generation = peer->generation, .held = 1, .step = peer->step, .results = s_results(peer)};
    else if (type == MESSAGE_PONG)
        message.pong.time = peer->time;
    else if (type == MESSAGE_ERROR)
        message.error = (struct failure){ERR_FAILED, {"it broke", 8}};
    return message;
}

static void s_say_plain(struct peer *peer, enum message_type type)
{
    struct message message = s_message(peer, type);
    s_say(peer, &message);
}

/* ---- hearing, and answering as a worker should ---- */

static void s_note_span(struct peer *peer, const struct span *span)
{
    peer->span = span->span;
    peer->span_steps = span->steps;
    peer->tokens = span->of[0].tokens;
    peer->step = span->first_step + span->steps;
}

static void s_note(struct peer *peer, const struct message *message)
{
    if (message->type == MESSAGE_WELCOME)
        peer->run = message->welcome.run, peer->worker = message->welcome.worker;
    else if (message->type == MESSAGE_GENERATION)
        peer->generation = message->generation.generation, peer->step = message->generation.step;
    else if (message->type == MESSAGE_SPAN)
        s_note_span(peer, &message->span);
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
static bool s_hear(struct peer *peer, struct message *message)
{
    struct err err;
    bool got;
    must(message_receive(peer->socket, NULL, false, message, &got, &err));
    if (got)
        s_note(peer, message);
    return got;
}

static void s_begin_work(struct peer *peer)
{
    s_say_plain(peer, MESSAGE_READY);
    s_say_plain(peer, MESSAGE_CREDIT);
}

static void s_answer_generation(struct peer *peer, const struct generation *generation)
{
    if (generation->size > 1)
        s_say_plain(peer, MESSAGE_ENDPOINT);
    if (generation->source != SOURCE_STATE)
        s_begin_work(peer);
}

static void s_answer_save(struct peer *peer)
{
    for (uint32_t file = 0; file <= MESSAGE_STATE_OPTIMIZER; file++) {
        struct message message = {.type = MESSAGE_STATE, .state = s_state(peer, file)};
        s_say(peer, &message);
    }
}

static void s_answer(struct peer *peer, const struct message *message)
{
    static const enum message_type plain[MESSAGE_TYPES] = {
        [MESSAGE_SPAN] = MESSAGE_REPORT,  [MESSAGE_VALIDATE] = MESSAGE_SCORED, [MESSAGE_PING] = MESSAGE_PONG,
        [MESSAGE_STOP] = MESSAGE_STOPPED, [MESSAGE_DISMISS] = MESSAGE_LEAVE,   [MESSAGE_ERROR] = MESSAGE_HELLO};
    if (message->type == MESSAGE_GENERATION)
        s_answer_generation(peer, &message->generation);
    else if (message->type == MESSAGE_STATE && peer->restored)
        s_begin_work(peer);
    else if (message->type == MESSAGE_SAVE)
        s_answer_save(peer);
    else if (plain[message->type] != 0)
        s_say_plain(peer, plain[message->type]);
    if (message->type == MESSAGE_SPAN || message->type == MESSAGE_VALIDATE)
        s_say_plain(peer, MESSAGE_CREDIT);
}

/* Hear up to `most` messages, and answer them. False when nothing waited. */
static bool s_work(struct peer *peer, int most, bool answer)
{
    struct message message;
    bool any = false;
    for (; most > 0 && s_hear(peer, &message); most--) {
        any = true;
        if (answer)
            s_answer(peer, &message);
        message_close(&message);
    }
    return any;
}

/* ---- moves ---- */

static uint64_t s_figure(void)
{
    static const uint64_t edges[] = {
        0, 1, 2, 3, 7, 255, 1024, 65536, UINT32_MAX, (uint64_t)1 << 40, INT64_MAX - 1, INT64_MAX};
    uint8_t choice = s_byte();
    return choice < 128 ? edges[choice % (sizeof edges / sizeof *edges)] : (uint64_t)choice - 128;
}

/* Another value in one field. Numbers of items stay within the arrays there are. */
static void s_change(struct message *message)
{
    const struct message_row *row = message_row((uint64_t)message->type);
    if (row->field_count == 0)
        return;
    const struct field *field = &row->fields[s_byte() % row->field_count];
    uint64_t figure = s_figure();
    for (size_t i = 0; i < row->bulk_count; i++)
        if (strcmp(row->bulk[i].count, field->name) == 0)
            figure %= message->type == MESSAGE_STATE ? message->state.size + 1 : 64;
    void *place = (char *)message + field->offset;
    if (field->kind == FIELD_U32)
        *(uint32_t *)place = (uint32_t)figure;
    else if (field->kind == FIELD_U64 || field->kind == FIELD_SIZE)
        *(uint64_t *)place = figure;
    else if (field->kind == FIELD_REAL)
        *(double *)place = (double)figure * (s_byte() % 2 ? 1e300 : -1);
    else
        *(struct text *)place = (struct text){"\303\251 ~", (size_t)(figure % 5)};
}

static void s_move_say(struct peer *peer, bool change)
{
    static const enum message_type types[] = {MESSAGE_HELLO,  MESSAGE_ENDPOINT, MESSAGE_READY,   MESSAGE_CREDIT,
                                              MESSAGE_REPORT, MESSAGE_SCORED,   MESSAGE_STATE,   MESSAGE_RESIGN,
                                              MESSAGE_LEAVE,  MESSAGE_ERROR,    MESSAGE_STOPPED, MESSAGE_ASK,
                                              MESSAGE_PONG,   MESSAGE_STATUS};
    if (change && s_byte() % 16 == 15)
        peer->tokens = s_byte() % 2; /* of the results it will say */
    struct message message = s_message(peer, types[s_byte() % (sizeof types / sizeof *types)]);
    for (int changes = change ? 1 + s_byte() % 3 : 0; changes > 0; changes--)
        s_change(&message);
    s_say(peer, &message);
}

/* Frames as they stand: each with its size before it, in a byte. */
static void s_move_raw(struct peer *peer)
{
    for (int frames = 1 + s_byte() % 10; frames > 0; frames--) {
        size_t size = s_byte();
        if (size > s_left)
            size = s_left;
        if (zmq_send(peer->socket, size > 0 ? (const void *)s_script : "", size,
                     ZMQ_DONTWAIT | (frames > 1 ? ZMQ_SNDMORE : 0)) < 0)
            break;
        s_script += size;
        s_left -= size;
    }
    stage_take();
}

static void s_move(void)
{
    uint8_t code = s_byte();
    struct peer *peer = &s_peers[code / 16 % PEERS];
    switch (code % 16) {
    case 0:
        s_disconnect(peer);
        s_connect(peer);
        break;
    case 1:
        stage_wait(20 * s_byte());
        break;
    case 2:
        s_move_raw(peer);
        break;
    case 3:
        s_work(peer, 1 + s_byte() % 8, false);
        break;
    case 4:
        stage_must(trainer_interrupt(stage.trainer, &stage.err));
        break;
    case 5:
        stage_restart();
        break;
    case 6:
    case 7:
    case 8:
        s_move_say(peer, false);
        break;
    case 9:
    case 10:
    case 11:
    case 12:
        s_move_say(peer, true);
        break;
    default:
        s_work(peer, 1 + s_byte() % 8, true);
    }
    stage_take();
}

/* Those of the script are gone, one comes who works. */
static void s_finish(void)
{
    struct peer *peer = &s_peers[0];
    for (int i = 0; i < PEERS; i++)
        s_disconnect(&s_peers[i]);
    for (int64_t past = 0; past < 2 * stage.config.cluster_timeout && !stage_is_over(); past += 250)
        stage_wait(250);
    if (stage_is_over())
        return;
    s_connect(peer);
    peer->run = peer->worker = 0;
    s_say_plain(peer, MESSAGE_HELLO);
    for (int rounds = 0; rounds < PATIENCE && !stage_is_over(); rounds++) {
        s_work(peer, 1, true);
        stage_wait(50);
    }
    must(stage_is_over() && !stage.ended);
    s_disconnect(peer);
}

/* What was said too late to be heard. */
static void s_drain(void)
{
    char byte;
    while (zmq_recv(stage.router, &byte, 1, ZMQ_DONTWAIT) >= 0)
        continue;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (stage.context == NULL) {
        stage_make();
        s_make_peers();
    }
    s_script = data;
    s_left = size;
    stage_clock_stands = true;
    stage_now_ms = 1000000;
    stage.ended = false;
    must(folder_make(stage.folder, NULL));
    stage_open(false);
    for (int i = 0; i < PEERS; i++) {
        s_peers[i] = (struct peer){.socket = s_peers[i].socket, .tokens = 1, .span_steps = 1};
        s_connect(&s_peers[i]);
    }
    for (int moves = 0; moves < MOVES_MOST && s_left > 0 && !stage_is_over(); moves++)
        s_move();
    if (stage_is_over()) {
        for (int i = 0; i < PEERS; i++)
            s_disconnect(&s_peers[i]);
    } else {
        s_finish();
    }
    stage_close();
    s_drain();
    stage_remove(); /* here, since libFuzzer ends without atexit's */
    stage_clock_stands = false;
    return 0;
}
