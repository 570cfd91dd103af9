/* fuzz_translate_worker.c - what a queue may say to the loader and compute threads of a translation worker, in any
 * order and with any figures.
 *
 * An input is a script of moves, one byte each and what the move takes from the bytes after it: offer a checkpoint in a
 * folder, one to be fetched, or an echo; retire; send a piece that was requested, as it is or changed; order a batch;
 * begin a new connection. Loader and batches run as they are, in one thread, behind real pairs of sockets. What is out
 * of turn is refused as PROTOCOL.md says; a batch of a loaded version has its answers; no offer has two. After all that
 * a checkpoint still loads. */
#include "tests/fuzz/fuzz.h"

#include "proto/base/log.h"
#include "tests/fuzz/script.h"
#include "tests/support/drawn_translator.h"
#include "worker/serve/batches.h"
#include "worker/serve/cache.h"
#include "worker/serve/loader.h"

#include <stdio.h>
#include <unistd.h>
#include <xxhash.h>
#include <zmq.h>

enum { MOVES_MOST = 64, FILES = 5, VERSIONS = 6, PIECE_BYTES = 3000, ASKED_MOST = 64 };

/* A file of the queue's checkpoint. */
struct held {
    struct buffer bytes;
    uint64_t hash;
};

struct fuzzed {
    void *context;
    char root[64], folder[FILE_PATH];
    struct held files[FILES]; /* the first is the manifest */
    struct config config;
    struct models models;
    struct lane loader_lane, batches_lane;
    struct loader loader;
    struct batches batches;
    struct fetch asked[ASKED_MOST]; /* FETCH without PIECE */
    unsigned asked_count;
    unsigned offers, answers; /* of this connection */
};

static struct fuzzed fuzzed;

static void fuzz_lane(struct lane *lane, const char *endpoint)
{
    lane->socket = zmq_socket(fuzzed.context, ZMQ_PAIR);
    lane->thread_socket = zmq_socket(fuzzed.context, ZMQ_PAIR);
    must(zmq_bind(lane->socket, endpoint) == 0 && zmq_connect(lane->thread_socket, endpoint) == 0);
}

static void fuzz_hold(struct held *held, const char *name)
{
    char path[FILE_PATH];
    struct err err;
    must(path_join(path, fuzzed.folder, name, &err) && file_read(path, 1 << 20, &held->bytes, &err));
    held->hash = XXH3_64bits(held->bytes.data, held->bytes.size);
}

static void fuzz_remove_root(void)
{
    folder_remove(fuzzed.root, NULL);
}

static void fuzz_open(void)
{
    static const char *const names[FILES] = {MANIFEST_FILE, "model.safetensors", "state.json", "src.vocab",
                                             "tgt.vocab"};
    struct checkpoint_state state = {.version = "0", .created = "2026-01-01T00:00:00Z", .dataset = "0123456789abcdef"};
    struct err err = {0};
    char run[80];
    log_open("fuzz", LOG_OFF);
    snprintf(fuzzed.root, sizeof fuzzed.root, "/dev/shm/lstmq-fuzz-%ld", (long)getpid());
    snprintf(run, sizeof run, "%s/run", fuzzed.root);
    must(folder_make(fuzzed.root, &err) && atexit(fuzz_remove_root) == 0);
    must(drawn_write(run, 1, 5, &state, &err));
    snprintf(fuzzed.folder, sizeof fuzzed.folder, "%s/step-00000001", run);
    for (int i = 0; i < FILES; i++)
        fuzz_hold(&fuzzed.files[i], names[i]);
    config_defaults(&fuzzed.config);
    fuzzed.config.train_threads = 1;
    snprintf(fuzzed.config.serve_cache, sizeof fuzzed.config.serve_cache, "%s/cache", fuzzed.root);
    fuzzed.context = zmq_ctx_new();
    fuzz_lane(&fuzzed.loader_lane, "inproc://loader");
    fuzz_lane(&fuzzed.batches_lane, "inproc://batches");
}

/* ---- to the threads, and back ---- */

/* A message that is not legal is refused before it comes to a lane. */
static bool fuzz_is_legal(const struct message *message)
{
    struct message_frames *frames = message_encode(message, NULL);
    bool legal = frames != NULL;
    if (legal)
        message_frames_destroy(&frames);
    return legal;
}

static bool fuzz_hear(struct lane *lane, struct message *message)
{
    struct err err;
    bool got;
    must(message_receive(lane->socket, NULL, false, message, &got, &err));
    return got;
}

static void fuzz_batches(const struct message *message)
{
    struct err err = {0};
    struct message heard;
    if (!batches_handle(&fuzzed.batches, message, &err)) {
        must_refuse(&err, ERR_PROTOCOL);
        must(message->type == MESSAGE_BATCH && !fuzz_hear(&fuzzed.batches_lane, &heard));
        return;
    }
    if (message == NULL || message->type != MESSAGE_BATCH)
        return;
    must(fuzz_hear(&fuzzed.batches_lane, &heard) && heard.type == MESSAGE_RESULT);
    must(heard.result.batch == message->batch.batch && heard.result.answers.count == message->batch.texts.count);
    message_close(&heard);
}

/* What the loader says; RETIRE goes on to the compute thread, as the loop thread sends it. */
static void fuzz_drain(void)
{
    struct message heard;
    while (fuzz_hear(&fuzzed.loader_lane, &heard)) {
        if (heard.type == MESSAGE_FETCH) {
            if (fuzzed.asked_count < ASKED_MOST)
                fuzzed.asked[fuzzed.asked_count++] = heard.fetch;
        } else if (heard.type == MESSAGE_RETIRE) {
            fuzz_batches(&heard);
        } else {
            must(heard.type == MESSAGE_LOADED && ++fuzzed.answers <= fuzzed.offers);
            must(heard.loaded.ok == 1 || heard.loaded.text.size > 0);
        }
        message_close(&heard);
    }
}

static void fuzz_forget(void)
{
    struct err err = {0};
    must(loader_handle(&fuzzed.loader, NULL, &err) && batches_handle(&fuzzed.batches, NULL, &err));
    fuzz_drain();
    fuzzed.asked_count = fuzzed.offers = fuzzed.answers = 0;
}

/* After a refusal the worker ends: here everything begins again. */
static void fuzz_loader(const struct message *message)
{
    struct err err = {0};
    if (!fuzz_is_legal(message))
        return;
    bool ok = loader_handle(&fuzzed.loader, message, &err);
    fuzz_drain();
    if (ok)
        return;
    must_refuse(&err, ERR_PROTOCOL);
    fuzz_forget();
}

/* ---- moves ---- */

static void fuzz_offer(void)
{
    uint8_t how = script_byte();
    const char *path = how % 4 == 0 ? fuzzed.folder : "/nowhere";
    struct message message = {.type = MESSAGE_MODEL,
                              .model = {.version = 1 + script_byte() % VERSIONS,
                                        .manifest = how >= 240 ? how : fuzzed.files[0].hash,
                                        .echo = how % 4 == 1,
                                        .source = {"", 0},
                                        .target = {"", 0},
                                        .path = {path, strlen(path)}}};
    fuzzed.offers++;
    fuzz_loader(&message);
}

static void fuzz_retire(void)
{
    struct message message = {.type = MESSAGE_RETIRE, .retire = {.version = 1 + script_byte() % VERSIONS}};
    fuzz_loader(&message);
}

/* The piece for a FETCH, as it should be or changed in one figure or byte. */
static void fuzz_piece(void)
{
    uint8_t how = script_byte();
    if (fuzzed.asked_count == 0 && how < 250)
        return;
    unsigned which = fuzzed.asked_count > 0 ? how % fuzzed.asked_count : 0;
    struct fetch asked = fuzzed.asked_count > 0 ? fuzzed.asked[which] : (struct fetch){how, 0};
    const struct held *file = NULL;
    char bytes[PIECE_BYTES] = "";
    for (int i = 0; i < FILES; i++)
        file = fuzzed.files[i].hash == asked.hash ? &fuzzed.files[i] : file;
    struct message message = {.type = MESSAGE_PIECE, .piece = {.hash = asked.hash, .bytes = bytes}};
    struct file_piece *piece = &message.piece;
    if (file != NULL && asked.offset <= file->bytes.size) {
        size_t left = file->bytes.size - (size_t)asked.offset;
        piece->size = left < PIECE_BYTES ? left : PIECE_BYTES;
        piece->offset = asked.offset;
        piece->total = file->bytes.size;
        memcpy(bytes, file->bytes.data + asked.offset, piece->size);
    }
    if (fuzzed.asked_count > 0)
        fuzzed.asked[which] = fuzzed.asked[--fuzzed.asked_count];
    uint8_t change = script_byte();
    if (change == 1)
        piece->offset += script_byte();
    else if (change == 2)
        piece->total += script_byte();
    else if (change == 3)
        piece->size = script_byte();
    else if (change == 4)
        bytes[script_byte()] ^= 1;
    else if (change == 5)
        piece->hash++;
    fuzz_loader(&message);
}

static void fuzz_order(void)
{
    static const char text[] = "Aa ba. Ca\nda!";
    static const uint32_t lengths[] = {7, 6};
    const struct message message = {.type = MESSAGE_BATCH,
                                    .batch = {.batch = script_byte(),
                                              .version = 1 + script_byte() % VERSIONS,
                                              .details = 1,
                                              .texts = {.count = 2, .lengths = lengths, .bytes = text, .size = 13}}};
    fuzz_batches(&message);
}

static void fuzz_move(void)
{
    uint8_t move = script_byte();
    if (move < 60)
        fuzz_offer();
    else if (move < 80)
        fuzz_retire();
    else if (move < 200)
        fuzz_piece();
    else if (move < 240)
        fuzz_order();
    else if (move < 250)
        fuzz_forget();
}

/* ---- inputs ---- */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (fuzzed.context == NULL)
        fuzz_open();
    models_open(&fuzzed.models);
    fuzzed.batches = (struct batches){.models = &fuzzed.models, .lane = &fuzzed.batches_lane};
    fuzzed.loader = (struct loader){.models = &fuzzed.models, .lane = &fuzzed.loader_lane, .config = &fuzzed.config};
    fuzzed.asked_count = fuzzed.offers = fuzzed.answers = 0;
    script = data;
    script_left = size;
    for (int i = 0; i < MOVES_MOST && script_left > 0; i++)
        fuzz_move();
    fuzz_forget();
    fuzzed.offers = 1;
    const struct message last = {.type = MESSAGE_MODEL,
                                 .model = {.version = 99,
                                           .manifest = fuzzed.files[0].hash,
                                           .source = {"", 0},
                                           .target = {"", 0},
                                           .path = {fuzzed.folder, strlen(fuzzed.folder)}}};
    fuzz_loader(&last);
    must(fuzzed.answers == 1);
    loader_close(&fuzzed.loader);
    batches_close(&fuzzed.batches);
    models_close(&fuzzed.models);
    folder_remove(fuzzed.config.serve_cache, NULL);
    return 0;
}
