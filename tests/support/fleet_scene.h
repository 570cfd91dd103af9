/* fleet_scene.h - a fleet on a journal, with an owner that only notes what it is asked and told, and three sockets that are its
 * workers, for tests: they say what the test says. Fails the test where the fleet does not do what it should. One thread. */
#ifndef LSTMQ_TESTS_FLEET_SCENE_H
#define LSTMQ_TESTS_FLEET_SCENE_H

#include "coordinator/cluster/fleet.h"
#include "coordinator/cluster/generation.h"
#include "coordinator/run/journal.h"
#include "proto/base/log.h"
#include "proto/store/file.h"
#include "tests/support/dummy_worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include <cmocka.h>

static const char scene_endpoint[] = "inproc://test-fleet";

enum { WORKERS = 3, FIRST = 10, END = 15, HANDED = 20 }; /* the owner's ledger; steps that were handed out */

struct scene {
    char folder[32];
    void *context, *router, *workers[WORKERS];
    struct config config;
    struct dataset dataset;
    struct ledger ledger;
    struct journal journal;
    struct loop *loop;
    struct fleet fleet;
    /* what the owner was asked and told */
    unsigned begun;
    bool wound_up; /* when its work was to begin */
    bool held, emptied, unsaved;
    uint64_t step, results_end;
    bool contradicted;   /* whatever results come differ from those it knows */
    uint64_t known_more; /* steps behind END that it knows of too */
};

/* ---- the owner ---- */

static inline bool scene_on_begin(void *context, bool held, uint64_t step, struct fleet_start *start, struct err *err)
{
    struct scene *scene = context;
    (void)err;
    scene->begun++;
    scene->held = held;
    scene->step = step;
    *start = (struct fleet_start){.step = held ? step : FIRST, .held = held};
    return true;
}

static inline bool scene_on_wind_up(void *context, struct err *err)
{
    (void)context, (void)err;
    return true;
}

static inline bool scene_on_over(void *context, struct err *err)
{
    (void)context, (void)err;
    return true;
}

static inline bool scene_on_results(void *context, uint64_t first_step, const struct step_result *results,
                                    uint32_t steps, struct err *err)
{
    struct scene *scene = context;
    (void)results;
    if (scene->contradicted)
        return err_set(err, ERR_FAILED, "workers say different things");
    scene->results_end = first_step + steps;
    return true;
}

static inline bool scene_on_empty(void *context, struct err *err)
{
    (void)err;
    ((struct scene *)context)->emptied = true;
    return true;
}

static inline bool scene_on_work(void *context, struct err *err)
{
    struct scene *scene = context;
    (void)err;
    scene->wound_up = fleet_winds_up(&scene->fleet);
    return true;
}

static inline bool scene_unsaved(void *context)
{
    return ((const struct scene *)context)->unsaved;
}

static inline bool scene_knows(void *context, uint64_t step)
{
    return step >= FIRST && step <= END + ((const struct scene *)context)->known_more;
}

/* ---- the scene ---- */

static const struct journal_origin scene_origin = {.options = 1, .pairs = 2};

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
    ledger_begin(&scene.ledger, FIRST);
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
                                 .handed = HANDED,
                                 .owner = {.context = &scene,
                                           .begin = scene_on_begin,
                                           .work = scene_on_work,
                                           .wind_up = scene_on_wind_up,
                                           .over = scene_on_over,
                                           .results = scene_on_results,
                                           .empty = scene_on_empty,
                                           .knows = scene_knows,
                                           .unsaved = scene_unsaved}};
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

/* Worker `who` says that it was number `was` of this run and holds the state of `step`, as of generation `branch`, with
 * `steps` results. Returns whether the run can go on. */
static inline bool scene_come(struct scene *scene, int who, uint64_t was, uint64_t step, uint64_t branch,
                              uint32_t steps)
{
    static const struct step_result results[4] = {{.tokens = 1}, {.tokens = 1}, {.tokens = 1}, {.tokens = 1}};
    struct message message = {.type = MESSAGE_HELLO, .hello = dummy_hello()};
    struct err err;
    bool got = false;
    message.hello.run = scene->fleet.run;
    message.hello.worker = was;
    message.hello.held = was > 0;
    message.hello.step = step;
    message.hello.branch = branch;
    message.hello.steps = steps;
    message.hello.results = results;
    assert_true(message_send(scene->workers[who], NULL, &message, NULL));
    bool done = fleet_receive(&scene->fleet, &got, &err);
    assert_true(got);
    return done;
}

static inline void scene_hello(struct scene *scene, int who, uint64_t was, uint64_t step, uint32_t steps)
{
    assert_true(scene_come(scene, who, was, step, 0, steps));
}

/* ---- what is said ---- */

static const struct message scene_leave = {.type = MESSAGE_LEAVE};

static inline void scene_tell(struct scene *scene, int who, const struct message *message)
{
    bool got = false;
    assert_true(message_send(scene->workers[who], NULL, message, NULL));
    assert_true(fleet_receive(&scene->fleet, &got, NULL));
    assert_true(got);
}

/* The type of what worker `who` hears next; 0 = nothing. */
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
