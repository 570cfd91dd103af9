/* fleet_scene.h - a fleet on a journal, and three sockets that are its workers, for tests: they send what the test
 * says.
 *
 * scene_turn is a turn of the loop, in which the scene is the fleet's trainer: it begins what the fleet forms, and
 * notes it. Fails the test where the fleet does not do what it should, or reaches states that its tables do not list.
 * One thread. */
#ifndef LSTMQ_TESTS_SUPPORT_FLEET_SCENE_H
#define LSTMQ_TESTS_SUPPORT_FLEET_SCENE_H

#include "coordinator/cluster/fleet.h"
#include "coordinator/run/journal.h"
#include "proto/base/log.h"
#include "proto/store/file.h"
#include "tests/support/dummy_worker.h"
#include "tests/support/legal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include <cmocka.h>

static const char scene_endpoint[] = "inproc://test-fleet";

/* Steps: the ledger's first, the last at which a generation can begin, those that were handed out. The ledger has the
 * results of KNOWN steps. */
enum { WORKERS = 3, FIRST = 10, KNOWN = 2, END = 15, HANDED = 20 };

struct scene {
    char folder[32];
    void *context, *router, *workers[WORKERS];
    struct config config;
    struct dataset dataset;
    struct ledger ledger;
    struct journal journal;
    struct loop *loop;
    struct fleet fleet;
    /* what the fleet did */
    unsigned begun; /* generations                                        */
    bool wound_up;  /* the last one was to end when its work was to begin */
    bool held;      /* it began with a state that a member held ...       */
    uint64_t step;  /* ... after so many steps                            */
    bool emptied;
    /* what the trainer knows */
    bool unsaved;
    uint64_t known_more; /* steps behind END at which a generation can begin */
};

/* ---- the scene ---- */

static const struct journal_origin scene_origin = {.options = 1, .pairs = 2};

/* The ledger has the results of so many steps, each of so many tokens. */
static inline void scene_know(struct scene *scene, uint32_t steps, uint32_t tokens)
{
    const struct step_result result = {.tokens = tokens};
    ledger_begin(&scene->ledger, FIRST);
    for (uint32_t i = 0; i < steps; i++)
        assert_true(ledger_put(&scene->ledger, FIRST + i, &result, 1, NULL));
}

static inline int scene_open(void **state)
{
    static struct scene scene;
    int one = 1, none = 0;
    struct err err;
    scene = (struct scene){.folder = "/tmp/lstmq-fleet-XXXXXX", .context = zmq_ctx_new()};
    log_open("test", LOG_OFF);
    assert_non_null(mkdtemp(scene.folder));
    config_defaults(&scene.config);
    scene.config.cluster_join_delay = 0;
    scene.config.train_min_workers = 1;
    scene.config.train_shards = WORKERS;
    scene.dataset.src = vocab_new(&err);
    scene.dataset.tgt = vocab_new(&err);
    assert_true(vocab_count(scene.dataset.src, "a", 1, &err) && vocab_count(scene.dataset.tgt, "a", 1, &err));
    assert_true(vocab_close(scene.dataset.src, UNKNOWN_OWN, 10, &err) &&
                vocab_close(scene.dataset.tgt, UNKNOWN_OWN, 10, &err));
    scene.config.cluster_heartbeat = 600000; /* no heartbeat comes between what the test expects */
    scene.config.cluster_heartbeat_timeout = 1200000;
    scene_know(&scene, KNOWN, 1);
    assert_true(journal_open(&scene.journal, scene.folder, false, &scene_origin, &scene.ledger, &err));
    scene.journal.workers = 5; /* of lives before */
    scene.loop = loop_new(&err);
    scene.router = zmq_socket(scene.context, ZMQ_ROUTER);
    zmq_setsockopt(scene.router, ZMQ_ROUTER_MANDATORY, &one, sizeof one);
    zmq_setsockopt(scene.router, ZMQ_LINGER, &none, sizeof none);
    assert_int_equal(zmq_bind(scene.router, scene_endpoint), 0);
    for (int i = 0; i < WORKERS; i++) {
        scene.workers[i] = zmq_socket(scene.context, ZMQ_DEALER);
        zmq_setsockopt(scene.workers[i], ZMQ_LINGER, &none, sizeof none);
        assert_int_equal(zmq_connect(scene.workers[i], scene_endpoint), 0);
    }
    scene.fleet = (struct fleet){.config = &scene.config,
                                 .dataset = &scene.dataset,
                                 .loop = scene.loop,
                                 .socket = scene.router,
                                 .journal = &scene.journal,
                                 .ledger = &scene.ledger,
                                 .handed = HANDED};
    assert_true(fleet_open(&scene.fleet, &err));
    *state = &scene;
    return 0;
}

static inline int scene_close(void **state)
{
    struct scene *scene = *state;
    fleet_close(&scene->fleet);
    loop_destroy(&scene->loop);
    journal_close(&scene->journal);
    ledger_free(&scene->ledger);
    vocab_destroy(&scene->dataset.src);
    vocab_destroy(&scene->dataset.tgt);
    for (int i = 0; i < WORKERS; i++)
        zmq_close(scene->workers[i]);
    zmq_close(scene->router);
    zmq_ctx_term(scene->context);
    return folder_remove(scene->folder, NULL) ? 0 : -1;
}

static inline bool scene_step_turn(struct scene *scene, struct err *err)
{
    struct fleet *fleet = &scene->fleet;
    bool worked = fleet_works(fleet);
    if (!fleet_take(fleet, err))
        return false;
    fleet->known_first = FIRST;
    fleet->known_last = END + scene->known_more;
    fleet->unsaved = scene->unsaved;
    if (!fleet_advance(fleet, err))
        return false;
    if (fleet->state == FLEET_FORM) {
        scene->begun++;
        scene->held = fleet->start.held;
        scene->step = fleet->start.step;
        fleet->start.step = scene->held ? scene->step : FIRST;
        fleet_begin(fleet);
    }
    if (!worked && fleet_works(fleet))
        scene->wound_up = fleet->state == FLEET_WIND_UP;
    assert_true(fleet_say(fleet, NULL));
    scene->emptied = fleet_is_empty(fleet);
    legal_check(fleet);
    return true;
}

/* A turn of the loop, but for what is received in it. Returns whether the run can go on. */
static inline bool scene_try_turn(struct scene *scene, struct err *err)
{
    if (scene_step_turn(scene, err))
        return true;
    fleet_forget(&scene->fleet);
    return false;
}

static inline void scene_turn(struct scene *scene)
{
    assert_true(scene_try_turn(scene, NULL));
}

/* The fleet receives what a worker has sent, and has its turn. Returns whether the run can go on. */
static inline bool scene_receive(struct scene *scene, struct err *err)
{
    assert_true(fleet_receive(&scene->fleet, NULL));
    return scene_try_turn(scene, err);
}

/* Worker `who` says that it was number `was` of this run and holds the state of `step`, as of generation `branch`, with
 * `steps` results. Returns whether the run can go on. */
static inline bool scene_come(struct scene *scene, int who, uint64_t was, uint64_t step, uint64_t branch,
                              uint32_t steps)
{
    static const struct step_result results[4] = {{.tokens = 1}, {.tokens = 1}, {.tokens = 1}, {.tokens = 1}};
    struct message message = {.type = MESSAGE_HELLO, .hello = dummy_hello()};
    struct err err;
    message.hello.run = scene->fleet.run;
    message.hello.worker = was;
    message.hello.held = was > 0;
    message.hello.step = step;
    message.hello.branch = branch;
    message.hello.steps = steps;
    message.hello.results = results;
    assert_true(message_send(scene->workers[who], NULL, &message, NULL));
    return scene_receive(scene, &err);
}

static inline void scene_hello(struct scene *scene, int who, uint64_t was, uint64_t step, uint32_t steps)
{
    assert_true(scene_come(scene, who, was, step, 0, steps));
}

/* ---- messages ---- */

static const struct message scene_leave = {.type = MESSAGE_LEAVE};

static inline void scene_tell(struct scene *scene, int who, const struct message *message)
{
    assert_true(message_send(scene->workers[who], NULL, message, NULL));
    assert_true(scene_receive(scene, NULL));
}

/* The type of the next message to worker `who`; 0 = no message. */
static inline enum message_type scene_heard(struct scene *scene, int who)
{
    struct message message;
    bool got;
    assert_true(message_receive(scene->workers[who], NULL, false, &message, &got, NULL));
    enum message_type type = got ? message.type : 0;
    message_close(&message);
    return type;
}

/* Two are in a generation that begins, and a third waits for its turn. */
static inline void scene_begin_generation(struct scene *scene, bool meeting)
{
    const struct text address = {"tcp://127.0.0.1:1", 17};
    scene->fleet.least = 2;
    for (int who = 0; who < WORKERS; who++) {
        scene_hello(scene, who, 0, 0, 0);
        assert_int_equal(scene_heard(scene, who), MESSAGE_WELCOME);
    }
    for (int who = 0; who < 2; who++) {
        assert_int_equal(scene_heard(scene, who), MESSAGE_GENERATION);
        const struct message endpoint = {.type = MESSAGE_ENDPOINT,
                                         .endpoint = {.generation = scene->fleet.generation, .address = address}};
        if (meeting)
            scene_tell(scene, who, &endpoint);
    }
    for (int who = 0; meeting && who < 2; who++)
        assert_int_equal(scene_heard(scene, who), MESSAGE_PEERS);
}

#endif
