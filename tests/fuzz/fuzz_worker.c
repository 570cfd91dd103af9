/* fuzz_worker.c - what a coordinator may send to a worker, in any order and with any figures: worker.c, session*.c,
 * link.c and parcel.c as they are, on a simulated host (host.h), with a network of a few dozen parameters.
 *
 * An input is a script of moves, one byte each and what the move takes from the bytes after it. The coordinator sends
 * what fits next, sends any message, sends it with fields changed, sends frames as they stand in the input, or
 * receives; the connection is established, breaks, is refused; the clock advances; other ranks fail. When the script is
 * over the worker is dismissed. By then or before it must have ended, with LEAVE or with an error that can be printed,
 * and that it has sent to a coordinator that was still connected. */
#include "tests/fuzz/host.h"
#include "worker/train/state.h"

enum { MOVES_MOST = 96, END_ROUNDS = 4000, KINDS = 4, SRC_WORDS = 5, TGT_WORDS = 7, ROWS = 4, LENGTH = 3, FILES = 2 };
enum { VOCAB_MOST = 300, UNITS_MOST = 16 }; /* of a network whose WELCOME was changed */

/* What a coordinator knows of where its worker stands. */
struct desk {
    uint64_t run, generation, step, span, request;
    uint32_t size, rank;
    bool welcomed, in_generation, peers_due, state_due, ready;
    bool left, failed;        /* it said LEAVE, ERROR, since it said HELLO last */
    bool told;                /* it was said ERROR, to which there is no answer */
    unsigned greeted, broken; /* the connection, by its number, on which it said HELLO last; that broke last */
    uint32_t file;            /* of the STATE that is due */
    uint64_t offset;
    unsigned kind; /* of configuration */
};

static struct desk fuzz_worker_desk;
static struct buffer fuzz_worker_configs[KINDS];
static struct buffer fuzz_worker_files[FILES]; /* a state as a worker of the first kind sent it */
static bool fuzz_worker_learning;
static int fuzz_worker_moves, fuzz_worker_rounds;
static struct config fuzz_worker_own;

/* ---- what would be said ---- */

static struct message fuzz_worker_welcome(void)
{
    const struct buffer *config = &fuzz_worker_configs[fuzz_worker_desk.kind];
    return (struct message){.type = MESSAGE_WELCOME,
                            .welcome = {.run = fuzz_worker_desk.run,
                                        .worker = 1,
                                        .config = {config->data, config->size},
                                        .src_vocab = SRC_WORDS,
                                        .tgt_vocab = TGT_WORDS}};
}

/* The next one. A byte says who is in it, and where its state comes from. */
static struct message fuzz_worker_generation(void)
{
    uint8_t shape = script_byte();
    uint32_t size = 1 + shape % 4 % 3, rank = shape / 4 % size;
    enum generation_source source = shape / 16 % 4;
    return (struct message){.type = MESSAGE_GENERATION,
                            .generation = {.generation = fuzz_worker_desk.generation + 1,
                                           .rank = rank,
                                           .size = size,
                                           .step = fuzz_worker_desk.step,
                                           .source = size == 1 && source == SOURCE_PEER ? SOURCE_SEED : source,
                                           .broadcast = size > 1 && (source == SOURCE_PEER || shape >= 128),
                                           .root = source == SOURCE_PEER ? (rank + 1) % size : 0}};
}

static struct message fuzz_worker_peers(void)
{
    static const char lines[] = "tcp://x:1\ntcp://x:2\ntcp://x:3\n";
    return (struct message){
        .type = MESSAGE_PEERS,
        .peers = {.generation = fuzz_worker_desk.generation, .lines = lines, .size = 10 * fuzz_worker_desk.size}};
}

static struct message fuzz_worker_state(void)
{
    const struct buffer *file = &fuzz_worker_files[fuzz_worker_desk.file];
    size_t left = file->size - (size_t)fuzz_worker_desk.offset, size = left > 200 && script_byte() % 2 ? 200 : left;
    return (struct message){.type = MESSAGE_STATE,
                            .state = {.step = fuzz_worker_desk.step,
                                      .file = fuzz_worker_desk.file,
                                      .offset = fuzz_worker_desk.offset,
                                      .total = file->size,
                                      .bytes = file->data + fuzz_worker_desk.offset,
                                      .size = size}};
}

/* As many as a byte says, of lengths and ids that bytes say; now and then an id that there is no word of. */
static struct rows fuzz_worker_rows(void)
{
    static uint16_t src[ROWS], tgt[ROWS], ids[2 * ROWS * LENGTH];
    uint8_t shape = script_byte();
    struct rows rows = {.count = 1 + shape % ROWS, .src_lengths = src, .tgt_lengths = tgt, .ids = ids};
    for (uint32_t r = 0; r < rows.count; r++) {
        src[r] = (uint16_t)(1 + (shape / 4 + r) % LENGTH);
        tgt[r] = (uint16_t)(1 + (shape / 16 + r) % LENGTH);
        for (int i = 0; i < src[r]; i++)
            ids[rows.id_count++] = (uint16_t)(script_byte() % (SRC_WORDS + (shape == 255)));
        for (int i = 0; i < tgt[r]; i++)
            ids[rows.id_count++] = (uint16_t)(script_byte() % (TGT_WORDS + (shape == 254)));
    }
    return rows;
}

/* One step or two, of one shard each; with all ids announced, or nearly all. */
static struct message fuzz_worker_span(void)
{
    static struct span_step of[2];
    static struct span_shard shards[2];
    static uint16_t distinct[2 * (SRC_WORDS + TGT_WORDS)];
    struct rows rows = fuzz_worker_rows();
    uint8_t shape = script_byte();
    uint32_t steps = 1 + shape % 2, src = SRC_WORDS - (shape == 255);
    uint32_t tgt = TGT_WORDS - (shape == 254);
    size_t count = 0;
    for (uint32_t step = 0; step < steps; step++) {
        uint32_t before = step * rows.count / steps, after = (step + 1) * rows.count / steps;
        of[step] = (struct span_step){.tokens = 1 + shape / 2 % 8, .src_distinct = src, .tgt_distinct = tgt};
        shards[step] = (struct span_shard){.step = step, .shard = fuzz_worker_desk.rank, .rows = after - before};
        for (uint16_t id = 0; id < src; id++)
            distinct[count++] = id;
        for (uint16_t id = 0; id < tgt; id++)
            distinct[count++] = id;
    }
    return (struct message){.type = MESSAGE_SPAN,
                            .span = {.generation = fuzz_worker_desk.generation,
                                     .span = fuzz_worker_desk.span,
                                     .first_step = fuzz_worker_desk.step,
                                     .steps = steps,
                                     .of = of,
                                     .shards = shards,
                                     .shard_count = steps,
                                     .distinct = distinct,
                                     .distinct_count = count,
                                     .rows = rows}};
}

static struct message fuzz_worker_message(enum message_type type)
{
    struct message message = {.type = type};
    switch (type) {
    case MESSAGE_WELCOME:
        return fuzz_worker_welcome();
    case MESSAGE_GENERATION:
        return fuzz_worker_generation();
    case MESSAGE_PEERS:
        return fuzz_worker_peers();
    case MESSAGE_STATE:
        return fuzz_worker_state();
    case MESSAGE_SPAN:
        return fuzz_worker_span();
    case MESSAGE_VALIDATE:
        message.validate = (struct validate){.generation = fuzz_worker_desk.generation,
                                             .request = fuzz_worker_desk.request,
                                             .what = script_byte() % 8,
                                             .rows = fuzz_worker_rows()};
        return message;
    case MESSAGE_SAVE:
        message.save = (struct save){.generation = fuzz_worker_desk.generation, .step = fuzz_worker_desk.step};
        return message;
    case MESSAGE_STOP:
        message.stop.generation = fuzz_worker_desk.generation;
        return message;
    case MESSAGE_DISMISS:
        message.dismiss.reason = (struct text){"the end", 7};
        return message;
    case MESSAGE_PING:
        message.ping.time = (uint64_t)host.now_ms;
        return message;
    case MESSAGE_ERROR:
        message.error = (struct failure){.code = script_byte() % 2 ? ERR_PROTOCOL : ERR_FAILED, .text = {"no", 2}};
        return message;
    default: /* what is not for a worker */
        return message;
    }
}

/* ---- what was said ---- */

static void fuzz_worker_note_state(const struct message *message)
{
    if (fuzz_worker_desk.offset + message->state.size < message->state.total) {
        fuzz_worker_desk.offset += message->state.size;
        return;
    }
    fuzz_worker_desk.offset = 0;
    fuzz_worker_desk.state_due = fuzz_worker_desk.file == MESSAGE_STATE_MODEL;
    fuzz_worker_desk.file =
        fuzz_worker_desk.file == MESSAGE_STATE_MODEL ? MESSAGE_STATE_OPTIMIZER : MESSAGE_STATE_MODEL;
}

static void fuzz_worker_note_generation(const struct generation *generation)
{
    fuzz_worker_desk.generation = generation->generation;
    fuzz_worker_desk.size = generation->size <= 3 ? generation->size : 3;
    fuzz_worker_desk.rank = generation->rank;
    fuzz_worker_desk.step = generation->step;
    fuzz_worker_desk.in_generation = true;
    fuzz_worker_desk.peers_due = generation->size > 1;
    fuzz_worker_desk.state_due = generation->source == SOURCE_STATE;
    fuzz_worker_desk.ready = false;
    fuzz_worker_desk.file = 0;
    fuzz_worker_desk.offset = fuzz_worker_desk.span = 0;
}

static void fuzz_worker_say(const struct message *message)
{
    struct err err;
    if (host.link == NULL || host.link->silent || !message_send(&host.coordinator, NULL, message, &err))
        return;
    fuzz_worker_desk.told = fuzz_worker_desk.told || message->type == MESSAGE_ERROR;
    if (message->type == MESSAGE_WELCOME)
        fuzz_worker_desk.welcomed = true;
    else if (message->type == MESSAGE_GENERATION)
        fuzz_worker_note_generation(&message->generation);
    else if (message->type == MESSAGE_PEERS)
        fuzz_worker_desk.peers_due = false;
    else if (message->type == MESSAGE_STATE && fuzz_worker_desk.state_due)
        fuzz_worker_note_state(message);
    else if (message->type == MESSAGE_SPAN)
        fuzz_worker_desk.step += message->span.steps, fuzz_worker_desk.span++;
    else if (message->type == MESSAGE_VALIDATE)
        fuzz_worker_desk.request++;
    else if (message->type == MESSAGE_STOP)
        fuzz_worker_desk.in_generation = fuzz_worker_desk.ready = false;
}

static void fuzz_worker_note_hello(const struct hello *hello)
{
    fuzz_worker_desk.welcomed = fuzz_worker_desk.in_generation = fuzz_worker_desk.ready = fuzz_worker_desk.left =
        fuzz_worker_desk.failed = false;
    fuzz_worker_desk.greeted = host.links;
    fuzz_worker_desk.step = hello->held ? hello->step : 0;
}

/* All that waits. A worker says nothing that could not be read. */
static void fuzz_worker_hear(void)
{
    struct message message;
    struct err err;
    for (bool got = true; got;) {
        must(message_receive(&host.coordinator, NULL, false, &message, &got, &err));
        if (!got)
            return;
        if (message.type == MESSAGE_HELLO)
            fuzz_worker_note_hello(&message.hello);
        else if (message.type == MESSAGE_READY)
            fuzz_worker_desk.ready = true;
        else if (message.type == MESSAGE_STOPPED)
            fuzz_worker_desk.step = message.stopped.step;
        else if (message.type == MESSAGE_LEAVE)
            fuzz_worker_desk.left = true;
        else if (message.type == MESSAGE_ERROR)
            fuzz_worker_desk.failed = true;
        else if (message.type == MESSAGE_STATE && fuzz_worker_learning)
            buffer_append(&fuzz_worker_files[message.state.file], message.state.bytes, message.state.size);
        message_close(&message);
    }
}

/* ---- moves ---- */

static enum message_type fuzz_worker_next(void)
{
    static const enum message_type work[] = {MESSAGE_SPAN, MESSAGE_VALIDATE, MESSAGE_SPAN, MESSAGE_SAVE,
                                             MESSAGE_SPAN, MESSAGE_VALIDATE, MESSAGE_STOP, MESSAGE_PING};
    if (!fuzz_worker_desk.welcomed)
        return MESSAGE_WELCOME;
    if (!fuzz_worker_desk.in_generation)
        return MESSAGE_GENERATION;
    if (fuzz_worker_desk.peers_due)
        return MESSAGE_PEERS;
    if (fuzz_worker_desk.state_due)
        return MESSAGE_STATE;
    return fuzz_worker_desk.ready ? work[script_byte() % 8] : MESSAGE_PING;
}

static void fuzz_worker_move_next(int most)
{
    for (; most > 0 && !host.loop_over; most--) {
        struct message message = fuzz_worker_message(fuzz_worker_next());
        fuzz_worker_say(&message);
        fuzz_worker_hear();
    }
}

/* A network of thousands of words or of hundreds of units shows nothing that a small one does not, and would take most
 * of the time. */
static void fuzz_worker_shrink(struct welcome *welcome)
{
    const struct buffer *own = &fuzz_worker_configs[fuzz_worker_desk.kind];
    struct config config;
    struct err ignored;
    config_defaults(&config);
    if (config_parse(&config, welcome->config.data, welcome->config.size, "", NULL, &ignored) &&
        (config.model_embed > UNITS_MOST || config.model_hidden > UNITS_MOST))
        welcome->config = (struct text){own->data, own->size};
    welcome->src_vocab = welcome->src_vocab < VOCAB_MOST ? welcome->src_vocab : VOCAB_MOST;
    welcome->tgt_vocab = welcome->tgt_vocab < VOCAB_MOST ? welcome->tgt_vocab : VOCAB_MOST;
}

static void fuzz_worker_move_say(int changes)
{
    struct message message = fuzz_worker_message(1 + script_byte() % (MESSAGE_TYPES - 1));
    for (; changes > 0; changes--)
        script_change(&message, 0);
    if (message.type == MESSAGE_WELCOME)
        fuzz_worker_shrink(&message.welcome);
    fuzz_worker_say(&message);
}

/* Frames as they stand: each with its size before it, in a byte. WELCOME alone is left out, whose configuration could
 * ask for a network of gigabytes: a coordinator is believed in that. */
static void fuzz_worker_move_raw(void)
{
    struct wire_line *line = &host.lines[HOST_TO_WORKER];
    int frames = 1 + script_byte() % 10;
    size_t sizes[10];
    const uint8_t *parts[10];
    enum message_type type = 0;
    for (int i = 0; i < frames; i++) {
        sizes[i] = script_byte();
        sizes[i] = sizes[i] < script_left ? sizes[i] : script_left;
        parts[i] = script;
        script += sizes[i];
        script_left -= sizes[i];
    }
    if (host.link == NULL || host.link->silent || line->messages >= line->most ||
        (message_peek(&(struct frame){parts[0], sizes[0]}, &type, NULL) && type == MESSAGE_WELCOME))
        return;
    fuzz_worker_desk.told = fuzz_worker_desk.told || type == MESSAGE_ERROR;
    line->messages++;
    for (int i = 0; i < frames; i++)
        wire_put(line, parts[i], sizes[i], i + 1 < frames);
}

static void fuzz_worker_move_news(void)
{
    static const uint16_t events[] = {ZMQ_EVENT_HANDSHAKE_SUCCEEDED, ZMQ_EVENT_DISCONNECTED,
                                      ZMQ_EVENT_HANDSHAKE_FAILED_AUTH, ZMQ_EVENT_CONNECTED};
    uint16_t event = events[script_byte() % 4];
    if (event == ZMQ_EVENT_DISCONNECTED)
        fuzz_worker_desk.broken = host.links;
    host_news(event);
}

static void fuzz_worker_move(void)
{
    uint8_t code = script_byte();
    switch (code % 16) {
    case 0:
        fuzz_worker_move_news();
        break;
    case 1:
        host_round(20 * script_byte());
        break;
    case 2:
        fuzz_worker_move_raw();
        break;
    case 3:
        fuzz_worker_hear();
        break;
    case 4: /* another configuration, perhaps of another run */
        fuzz_worker_desk.kind = code / 16 % KINDS;
        fuzz_worker_desk.run = 1 + code / 64;
        break;
    case 5:
    case 6:
    case 7:
        fuzz_worker_move_say(0);
        break;
    case 8:
    case 9:
    case 10:
        fuzz_worker_move_say(1 + code / 16 % 3);
        break;
    default:
        fuzz_worker_move_next(1 + code / 16 % 4);
    }
}

/* The script is over: the worker is dismissed on a connection that stands. */
static void fuzz_worker_dismiss(void)
{
    struct message dismiss = fuzz_worker_message(MESSAGE_DISMISS);
    fuzz_worker_hear();
    if (host.link != NULL && host.link->silent)
        host_news(ZMQ_EVENT_HANDSHAKE_SUCCEEDED);
    else if (fuzz_worker_rounds % 8 == 0)
        fuzz_worker_say(&dismiss);
}

static bool host_step(void)
{
    bool moves = script_left > 0 && fuzz_worker_moves < MOVES_MOST;
    if (moves) {
        fuzz_worker_moves++;
        fuzz_worker_move();
    } else {
        fuzz_worker_rounds++;
        fuzz_worker_dismiss();
    }
    host_round(1);
    return fuzz_worker_rounds < END_ROUNDS;
}

/* ---- life ---- */

/* Whether its last message was the reason for its end. It need not be if there was no connection, if HELLO had not been
 * answered, if the coordinator ended it, or if its loop failed. */
static bool fuzz_worker_took_its_leave(bool done)
{
    fuzz_worker_hear();
    bool could_speak = fuzz_worker_desk.greeted == host.links && fuzz_worker_desk.broken != host.links;
    return fuzz_worker_desk.left || !could_speak ||
           (!done && (fuzz_worker_desk.failed || fuzz_worker_desk.told || !host.loop_good));
}

static void fuzz_worker_run(const uint8_t *data, size_t size)
{
    const struct worker_options options = {
        .zmq_context = &host, .endpoint = "tcp://127.0.0.1:1", .config = &fuzz_worker_own};
    struct err err = {0};
    script = data;
    script_left = size;
    fuzz_worker_desk = (struct desk){.run = 1, .size = 1};
    fuzz_worker_moves = fuzz_worker_rounds = 0;
    host_begin();
    bool done = worker_run(&options, &err);
    must(done || (err.code != ERR_NONE && err.code != ERR_ABORTED));
    if (!done)
        must_refuse(&err, err.code);
    must(host.session_over && fuzz_worker_took_its_leave(done));
    host_end();
}

/* What differs from the defaults alone: all of it would take the reader of YAML a third of an input's time. */
static void fuzz_worker_make_config(unsigned kind)
{
    static const char *const reduces[KINDS] = {"exact", "fp32", "exact", "bf16"};
    buffer_format(&fuzz_worker_configs[kind],
                  "data:\n  length: 6\nmodel:\n  cell: %s\n  embed: 2\n  hidden: 3\n  encoder_padding: %s\n"
                  "train:\n  shards: 4\n  reduce: %s\n",
                  kind % 2 ? "rnn" : "lstm", kind == 2 ? "true" : "false", reduces[kind]);
}

static void fuzz_worker_make(void)
{
    /* The link stands, HELLO; WELCOME; GENERATION from the seed, READY and CREDIT; SAVE. */
    static const uint8_t save[] = {0, 0, 0, 0, 3, 3, 11, 11, 0, 0, 0, 3, 3, 11, 3};
    log_open("fuzz", LOG_OFF);
    for (unsigned kind = 0; kind < KINDS; kind++)
        fuzz_worker_make_config(kind);
    config_defaults(&fuzz_worker_own);
    fuzz_worker_own.train_threads = 1;
    snprintf(fuzz_worker_own.worker_bind, sizeof fuzz_worker_own.worker_bind, "127.0.0.1");
    fuzz_worker_learning = true;
    fuzz_worker_run(save, sizeof save);
    fuzz_worker_learning = false;
    must(fuzz_worker_files[0].size > 0 && fuzz_worker_files[1].size > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (fuzz_worker_configs[0].size == 0)
        fuzz_worker_make();
    fuzz_worker_run(data, size);
    return 0;
}
