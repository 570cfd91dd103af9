/* test_queue_worker.c - a translation worker's three threads, with a queue that the test leads: batches go on while
 * checkpoints come and go, and connections too. */
#include "proto/base/log.h"
#include "proto/wire/endpoint.h"
#include "proto/wire/message.h"
#include "tests/support/drawn_translator.h"
#include "tests/support/fixture.h"
#include "worker/serve/queue_worker.h"

#include <pthread.h>
#include <signal.h>
#include <xxhash.h>
#include <zmq.h>

enum { VERSIONS = 12, CHECKPOINTS = 2, PORT_TRIES = 1000 };

struct scene {
    void *context, *worker_context, *socket;
    char endpoint[ENDPOINT_SIZE];
    struct config config;
    struct keyring keyring;
    struct route route;
    pthread_t thread;
    bool left;
    struct err err;
};

static char scene_folders[CHECKPOINTS][FILE_PATH];
static uint64_t scene_manifests[CHECKPOINTS];

static void *scene_run(void *context)
{
    struct scene *scene = context;
    const struct queue_worker_options options = {.zmq_context = scene->worker_context,
                                                 .endpoint = scene->endpoint,
                                                 .config = &scene->config,
                                                 .keyring = &scene->keyring};
    scene->left = queue_worker_run(&options, &scene->err);
    return NULL;
}

/* The queue's socket; the second time at the same address, which may be in use a little longer. */
static void scene_bind(struct scene *scene, const char *endpoint)
{
    size_t size = sizeof scene->endpoint;
    scene->socket = zmq_socket(scene->context, ZMQ_ROUTER);
    assert_non_null(scene->socket);
    int tries = 0;
    while (zmq_bind(scene->socket, endpoint) != 0 && tries++ < PORT_TRIES)
        zmq_poll(NULL, 0, 10);
    assert_true(tries < PORT_TRIES);
    assert_int_equal(zmq_getsockopt(scene->socket, ZMQ_LAST_ENDPOINT, scene->endpoint, &size), 0);
}

static void scene_begin(struct scene *scene)
{
    *scene = (struct scene){.context = zmq_ctx_new(), .worker_context = zmq_ctx_new()};
    config_defaults(&scene->config);
    scene->config.train_threads = 2;
    snprintf(scene->config.serve_cache, sizeof scene->config.serve_cache, "%s", scratch_path("cache"));
    scene_bind(scene, "tcp://127.0.0.1:*");
    assert_int_equal(pthread_create(&scene->thread, NULL, scene_run, scene), 0);
}

static void scene_say(struct scene *scene, const struct message *message)
{
    struct err err;
    assert_ok(message_send_wait(scene->socket, &scene->route, message, &err), err);
}

/* The next message of that type; CREDIT is not waited for. The caller closes it. */
static void scene_take(struct scene *scene, enum message_type type, struct message *message)
{
    struct err err;
    bool got;
    for (;;) {
        assert_ok(message_receive(scene->socket, &scene->route, true, message, &got, &err), err);
        if (message->type == type)
            return;
        if (message->type != MESSAGE_CREDIT)
            fail_msg("%s came, not %s", message_name(message->type), message_name(type));
        message_close(message);
    }
}

static void scene_join(struct scene *scene)
{
    struct message message;
    scene_take(scene, MESSAGE_JOIN, &message);
    message_close(&message);
    message = (struct message){
        .type = MESSAGE_JOINED,
        .joined = {.worker = 3, .heartbeat_ms = 1000, .timeout_ms = 10000000, .lease_ms = 1000, .batch = 8}};
    scene_say(scene, &message);
}

static void scene_offer(struct scene *scene, uint64_t version)
{
    const char *folder = scene_folders[version % CHECKPOINTS];
    const struct message message = {.type = MESSAGE_MODEL,
                                    .model = {.version = version,
                                              .manifest = scene_manifests[version % CHECKPOINTS],
                                              .path = {folder, strlen(folder)}}};
    scene_say(scene, &message);
}

static void scene_order(struct scene *scene, uint64_t batch, uint64_t version)
{
    static const char text[] = "Aa ba. Ca da!";
    static const uint32_t lengths[] = {sizeof text - 1};
    const struct message message = {
        .type = MESSAGE_BATCH,
        .batch = {.batch = batch,
                  .version = version,
                  .texts = {.count = 1, .lengths = lengths, .bytes = text, .size = sizeof text - 1}}};
    scene_say(scene, &message);
}

static void scene_answer(const struct message *message, char text[256])
{
    const struct answers *answers = &message->result.answers;
    assert_int_equal(answers->count, 1);
    assert_true(answers->size < 256);
    snprintf(text, 256, "%.*s", (int)answers->size, answers->bytes);
}

/* Load a version, with nothing else to do. */
static void scene_load(struct scene *scene, uint64_t version)
{
    struct message message;
    scene_offer(scene, version);
    scene_take(scene, MESSAGE_LOADED, &message);
    assert_int_equal(message.loaded.version, version);
    assert_int_equal(message.loaded.ok, 1);
    message_close(&message);
}

static void scene_translate(struct scene *scene, uint64_t version, char text[256])
{
    struct message message;
    scene_order(scene, version, version);
    scene_take(scene, MESSAGE_RESULT, &message);
    scene_answer(&message, text);
    message_close(&message);
}

/* A signal to the worker's loop thread: it leaves in order. */
static void scene_end(struct scene *scene)
{
    struct message message;
    pthread_kill(scene->thread, SIGTERM);
    scene_take(scene, MESSAGE_GOODBYE, &message);
    message_close(&message);
    pthread_join(scene->thread, NULL);
    assert_true(scene->left);
    zmq_close(scene->socket);
    zmq_ctx_term(scene->worker_context);
    zmq_ctx_term(scene->context);
}

/* One batch is always on its way while the versions change; each has its own answer, always the same. */
static void batches_go_on_while_checkpoints_change(void **state)
{
    struct scene scene;
    char wanted[CHECKPOINTS][256], text[256];
    uint64_t batch = 100, loaded = 2, on_its_way = 2, offered = 2;
    unsigned during = 0;
    (void)state;
    scene_begin(&scene);
    scene_join(&scene);
    for (uint64_t version = 1; version <= 2; version++) {
        scene_load(&scene, version);
        scene_translate(&scene, version, wanted[version % CHECKPOINTS]);
    }
    assert_string_not_equal(wanted[0], wanted[1]);
    scene_order(&scene, batch, on_its_way);
    while (loaded < VERSIONS) {
        struct message message;
        struct err err;
        bool got;
        if (offered == loaded)
            scene_offer(&scene, ++offered);
        assert_ok(message_receive(scene.socket, &scene.route, true, &message, &got, &err), err);
        if (message.type == MESSAGE_LOADED) {
            const struct message retire = {.type = MESSAGE_RETIRE, .retire = {.version = loaded - 1}};
            assert_int_equal(message.loaded.ok, 1);
            assert_int_equal(message.loaded.version, offered);
            loaded = offered;
            scene_say(&scene, &retire);
        } else if (message.type == MESSAGE_RESULT) {
            assert_int_equal(message.result.batch, batch);
            scene_answer(&message, text);
            assert_string_equal(text, wanted[on_its_way % CHECKPOINTS]);
            during += offered != loaded;
            on_its_way = loaded;
            scene_order(&scene, ++batch, on_its_way);
        } else {
            assert_int_equal(message.type, MESSAGE_CREDIT);
        }
        message_close(&message);
    }
    assert_true(during > 0);
    struct message last;
    scene_take(&scene, MESSAGE_RESULT, &last);
    message_close(&last);
    scene_end(&scene);
}

static void models_outlive_connections(void **state)
{
    struct scene scene;
    char before[256], after[256], endpoint[ENDPOINT_SIZE];
    (void)state;
    scene_begin(&scene);
    scene_join(&scene);
    scene_load(&scene, 1);
    scene_translate(&scene, 1, before);
    memcpy(endpoint, scene.endpoint, sizeof endpoint);
    for (int i = 0; i < 3; i++) {
        scene_order(&scene, 50, 1); /* its result comes too late */
        zmq_close(scene.socket);
        scene_bind(&scene, endpoint);
        scene_join(&scene);
        scene_load(&scene, 3);
        scene_load(&scene, 4);
        scene_translate(&scene, 3, after);
        assert_string_equal(after, before);
        scene_load(&scene, 1);
    }
    scene_end(&scene);
}

static int scene_setup(void **state)
{
    struct checkpoint_state like;
    struct err err;
    if (scratch_make(state) != 0)
        return -1;
    for (uint64_t i = 0; i < CHECKPOINTS; i++) {
        struct buffer manifest = {0};
        char path[FILE_PATH];
        fixture_state(&like, i + 1, 'a');
        assert_ok(drawn_write(scratch_path("run"), i + 1, 20 + i, &like, &err), err);
        assert_ok(step_path(scene_folders[i], scratch_path("run"), i + 1, STEP_COMMITTED, &err), err);
        assert_ok(path_join(path, scene_folders[i], MANIFEST_FILE, &err) && file_read(path, 65536, &manifest, &err),
                  err);
        scene_manifests[i] = XXH3_64bits(manifest.data, manifest.size);
        buffer_free(&manifest);
    }
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_go_on_while_checkpoints_change),
        cmocka_unit_test(models_outlive_connections),
    };
    log_open("test", LOG_OFF);
    return cmocka_run_group_tests_name("queue_worker", tests, scene_setup, scratch_remove);
}
