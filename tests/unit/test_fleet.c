/* Who is believed to hold what: a fleet whose workers say HELLO with states that nobody gave them, or come twice; and what
 * those hear who are dismissed before they have begun. */
#include "coordinator/fleet.h"

#include "coordinator/generation.h"
#include "coordinator/journal.h"
#include "proto/base/log.h"
#include "proto/store/file.h"
#include "tests/unit/dummy_worker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include <cmocka.h>

static const char s_endpoint[] = "inproc://test-fleet";

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
    bool held, emptied;
    uint64_t step, results_end;
};

/* ---- the owner ---- */

static bool s_begin(void *context, bool held, uint64_t step, struct fleet_start *start, struct err *err)
{
    struct scene *scene = context;
    (void)err;
    scene->begun++;
    scene->held = held;
    scene->step = step;
    *start = (struct fleet_start){.step = held ? step : FIRST, .held = held};
    return true;
}

static bool s_over(void *context, struct err *err)
{
    (void)context, (void)err;
    return true;
}

static bool s_results(void *context, uint64_t first_step, const struct step_result *results, uint32_t steps,
                      struct err *err)
{
    struct scene *scene = context;
    (void)results, (void)err;
    scene->results_end = first_step + steps;
    return true;
}

static bool s_empty(void *context, struct err *err)
{
    (void)err;
    ((struct scene *)context)->emptied = true;
    return true;
}

static bool s_knows(void *context, uint64_t step)
{
    (void)context;
    return step >= FIRST && step <= END;
}

/* ---- the scene ---- */

static int s_open(void **state)
{
    static struct scene scene;
    int one = 1, none = 0;
    struct err err;
    scene = (struct scene){.folder = "/tmp/lstmq-fleet-XXXXXX", .context = zmq_ctx_new()};
    log_open("test", LOG_OFF);
    assert_non_null(mkdtemp(scene.folder));
    config_defaults(&scene.config);
    scene.config.cluster_settle = 0;
    scene.config.train_min_workers = 1;
    scene.config.train_shards = WORKERS;
    scene.dataset.src = vocab_new(&err);
    scene.dataset.tgt = vocab_new(&err);
    assert_true(vocab_count(scene.dataset.src, "a", 1, &err) && vocab_count(scene.dataset.tgt, "a", 1, &err));
    assert_true(vocab_close(scene.dataset.src, UNKNOWN_OWN, 10, &err) &&
                vocab_close(scene.dataset.tgt, UNKNOWN_OWN, 10, &err));
    ledger_begin(&scene.ledger, FIRST);
    assert_true(journal_open(&scene.journal, scene.folder, false, &scene.ledger, &err));
    scene.journal.workers = 5; /* of lives before */
    scene.loop = loop_new(&err);
    scene.router = zmq_socket(scene.context, ZMQ_ROUTER);
    zmq_setsockopt(scene.router, ZMQ_ROUTER_MANDATORY, &one, sizeof one);
    zmq_setsockopt(scene.router, ZMQ_LINGER, &none, sizeof none);
    assert_int_equal(zmq_bind(scene.router, s_endpoint), 0);
    for (int i = 0; i < WORKERS; i++) {
        scene.workers[i] = zmq_socket(scene.context, ZMQ_DEALER);
        zmq_setsockopt(scene.workers[i], ZMQ_LINGER, &none, sizeof none);
        assert_int_equal(zmq_connect(scene.workers[i], s_endpoint), 0);
    }
    scene.fleet = (struct fleet){.config = &scene.config,
                                 .dataset = &scene.dataset,
                                 .loop = scene.loop,
                                 .socket = scene.router,
                                 .journal = &scene.journal,
                                 .handed = HANDED,
                                 .owner = {.context = &scene,
                                           .begin = s_begin,
                                           .over = s_over,
                                           .results = s_results,
                                           .empty = s_empty,
                                           .knows = s_knows}};
    assert_true(fleet_open(&scene.fleet, &err));
    *state = &scene;
    return 0;
}

static int s_close(void **state)
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

/* Worker `who` says that it was number `was` of this run and holds the state of `step`, with `steps` results. */
static void s_hello(struct scene *scene, int who, uint64_t was, uint64_t step, uint32_t steps)
{
    static const struct step_result results[4] = {{.tokens = 1}, {.tokens = 1}, {.tokens = 1}, {.tokens = 1}};
    struct message message = {.type = MESSAGE_HELLO, .hello = dummy_hello()};
    bool got = false;
    message.hello.run = scene->fleet.run;
    message.hello.worker = was;
    message.hello.held = was > 0;
    message.hello.step = step;
    message.hello.steps = steps;
    message.hello.results = results;
    assert_true(message_send(scene->workers[who], NULL, &message, NULL));
    assert_true(fleet_receive(&scene->fleet, &got, NULL));
    assert_true(got);
}

static void a_state_that_fits_is_gone_on_from(void **state)
{
    struct scene *scene = *state;
    s_hello(scene, 0, 5, END, 4);
    assert_int_equal(scene->results_end, END);
    assert_int_equal(scene->begun, 1);
    assert_true(scene->held);
    assert_int_equal(scene->step, END);
}

/* Nor are the results believed that come with it. */
static void a_state_beyond_what_was_handed_out_is_none(void **state)
{
    struct scene *scene = *state;
    s_hello(scene, 0, 5, HANDED + 1, 4);
    assert_int_equal(scene->begun, 1);
    assert_false(scene->held);
    assert_int_equal(scene->results_end, 0);
}

static void a_state_of_a_number_that_was_not_given_is_none(void **state)
{
    struct scene *scene = *state;
    s_hello(scene, 0, 6, END, 4);
    assert_int_equal(scene->begun, 1);
    assert_false(scene->held);
    assert_int_equal(scene->results_end, 0);
}

/* What was handed out, but came to what nobody knows, does not send those back who hold a state that is known. */
static void a_state_that_leads_nowhere_takes_nothing_from_the_others(void **state)
{
    struct scene *scene = *state;
    scene->fleet.least = 2;
    s_hello(scene, 0, 4, END - 1, 0);
    s_hello(scene, 1, 5, HANDED, 0);
    assert_int_equal(scene->begun, 1);
    assert_true(scene->held);
    assert_int_equal(scene->step, END - 1);
}

/* By its connection it is one of them, by its number the other. */
static void a_worker_that_comes_again_is_what_it_was_no_more(void **state)
{
    struct scene *scene = *state;
    scene->fleet.least = 3;
    s_hello(scene, 0, 0, 0, 0);
    s_hello(scene, 1, 0, 0, 0);
    uint64_t other = scene->fleet.members[1]->id;
    assert_int_equal(scene->fleet.count, 2);
    s_hello(scene, 0, other, END, 0);
    assert_int_equal(scene->fleet.count, 1);
    assert_int_equal(scene->fleet.lost, 2);
    assert_true(scene->fleet.members[0]->id > other);
}

/* ---- dismissed ---- */

static void s_tell(struct scene *scene, int who, const struct message *message)
{
    bool got = false;
    assert_true(message_send(scene->workers[who], NULL, message, NULL));
    assert_true(fleet_receive(&scene->fleet, &got, NULL));
    assert_true(got);
}

/* The type of what worker `who` hears next; 0 = nothing. */
static enum message_type s_heard(struct scene *scene, int who)
{
    struct message message;
    bool got;
    assert_true(message_receive(scene->workers[who], NULL, false, &message, &got, NULL));
    enum message_type type = got ? message.type : 0;
    message_close(&message);
    return type;
}

/* Two are in a generation that begins, and a third waits for its turn. */
static void s_begin_generation(struct scene *scene, bool meeting)
{
    const struct text address = {"tcp://127.0.0.1:1", 17};
    scene->fleet.least = 2;
    for (int who = 0; who < WORKERS; who++) {
        s_hello(scene, who, 0, 0, 0);
        assert_int_equal(s_heard(scene, who), MESSAGE_WELCOME);
    }
    for (int who = 0; who < 2; who++) {
        assert_int_equal(s_heard(scene, who), MESSAGE_GENERATION);
        const struct message endpoint = {.type = MESSAGE_ENDPOINT,
                                         .endpoint = {.generation = scene->fleet.generation, .address = address}};
        if (meeting)
            s_tell(scene, who, &endpoint);
    }
    for (int who = 0; meeting && who < 2; who++)
        assert_int_equal(s_heard(scene, who), MESSAGE_PEERS);
}

static void s_dismiss(struct scene *scene, bool meeting)
{
    const struct message leave = {.type = MESSAGE_LEAVE};
    s_begin_generation(scene, meeting);
    const struct message stopped = {.type = MESSAGE_STOPPED, .stopped = {.generation = scene->fleet.generation}};
    assert_true(fleet_dismiss(&scene->fleet, "the run was interrupted", NULL));
    for (int who = 0; who < 2; who++) {
        assert_int_equal(s_heard(scene, who), MESSAGE_STOP);
        assert_int_equal(s_heard(scene, who), MESSAGE_DISMISS);
        s_tell(scene, who, &stopped);
        assert_int_equal(scene->fleet.count, WORKERS - who);
        s_tell(scene, who, &leave);
        assert_int_equal(scene->fleet.count, WORKERS - 1 - who);
    }
    assert_int_equal(s_heard(scene, 2), MESSAGE_DISMISS);
    assert_false(scene->emptied);
    s_tell(scene, 2, &leave);
    assert_true(scene->emptied);
    assert_int_equal(scene->fleet.lost, 0);
}

static void who_has_not_been_told_the_others_is_stopped_before_it_is_dismissed(void **state)
{
    s_dismiss(*state, false);
}

static void who_meets_the_others_is_stopped_before_it_is_dismissed(void **state)
{
    s_dismiss(*state, true);
}

static void what_found_no_room_is_said_later_in_its_order(void **state)
{
    struct scene *scene = *state;
    const struct message ping = {.type = MESSAGE_PING};
    bool sent = true;
    size_t pings = 0;
    enum message_type type;
    s_begin_generation(scene, true);
    struct member *member = scene->fleet.members[0];
    while (sent) {
        assert_true(fleet_send(&scene->fleet, member, &ping, &sent, NULL));
        pings += sent;
    }
    assert_true(fleet_dismiss(&scene->fleet, "the run was interrupted", NULL));
    while ((type = s_heard(scene, 0)) != 0 && pings-- > 0)
        assert_int_equal(type, MESSAGE_PING);
    assert_int_equal(pings, 0);
    assert_true(generation_ask_again(&scene->fleet, member, NULL));
    assert_int_equal(s_heard(scene, 0), MESSAGE_STOP);
    assert_int_equal(s_heard(scene, 0), MESSAGE_DISMISS);
    assert_true(generation_ask_again(&scene->fleet, member, NULL));
    assert_int_equal(s_heard(scene, 0), 0);
}

int main(void)
{
#define RUN(name) cmocka_unit_test_setup_teardown(name, s_open, s_close)
    const struct CMUnitTest tests[] = {
        RUN(a_state_that_fits_is_gone_on_from),
        RUN(a_state_beyond_what_was_handed_out_is_none),
        RUN(a_state_of_a_number_that_was_not_given_is_none),
        RUN(a_state_that_leads_nowhere_takes_nothing_from_the_others),
        RUN(a_worker_that_comes_again_is_what_it_was_no_more),
        RUN(who_has_not_been_told_the_others_is_stopped_before_it_is_dismissed),
        RUN(who_meets_the_others_is_stopped_before_it_is_dismissed),
        RUN(what_found_no_room_is_said_later_in_its_order),
    };
    return cmocka_run_group_tests_name("fleet", tests, NULL, NULL);
}
