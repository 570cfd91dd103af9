/* Who is believed to hold what: a fleet whose workers say HELLO with states that nobody gave them, or come twice; what
 * those hear who are dismissed before they have begun; and with whom nothing may go that is nowhere else. */
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
    bool wound_up; /* when its work was to begin */
    bool held, emptied, unsaved;
    uint64_t step, results_end;
    bool contradicted; /* whatever results come differ from those it knows */
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

static bool s_wind_up(void *context, struct err *err)
{
    (void)context, (void)err;
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
    (void)results;
    if (scene->contradicted)
        return err_set(err, ERR_FAILED, "workers say different things");
    scene->results_end = first_step + steps;
    return true;
}

static bool s_empty(void *context, struct err *err)
{
    (void)err;
    ((struct scene *)context)->emptied = true;
    return true;
}

static bool s_work(void *context, struct err *err)
{
    struct scene *scene = context;
    (void)err;
    scene->wound_up = fleet_winds_up(&scene->fleet);
    return true;
}

static bool s_unsaved(void *context)
{
    return ((const struct scene *)context)->unsaved;
}

static bool s_knows(void *context, uint64_t step)
{
    (void)context;
    return step >= FIRST && step <= END;
}

/* ---- the scene ---- */

static const struct journal_origin s_origin = {.options = 1, .pairs = 2};

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
    assert_true(journal_open(&scene.journal, scene.folder, false, &s_origin, &scene.ledger, &err));
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
                                           .work = s_work,
                                           .wind_up = s_wind_up,
                                           .over = s_over,
                                           .results = s_results,
                                           .empty = s_empty,
                                           .knows = s_knows,
                                           .unsaved = s_unsaved}};
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

/* Worker `who` says that it was number `was` of this run and holds the state of `step`, as of generation `branch`, with
 * `steps` results. Returns whether the run can go on. */
static bool s_come(struct scene *scene, int who, uint64_t was, uint64_t step, uint64_t branch, uint32_t steps)
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

static void s_hello(struct scene *scene, int who, uint64_t was, uint64_t step, uint32_t steps)
{
    assert_true(s_come(scene, who, was, step, 0, steps));
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

/* The host of the coordinator before crashed in the run's first moments, and took all numbers out of the journal. */
static void s_crash(struct scene *scene)
{
    fleet_close(&scene->fleet);
    journal_close(&scene->journal);
    scene->journal.generation = scene->journal.workers = scene->journal.ranks = 0;
    journal_restart(&scene->journal, &scene->ledger);
    journal_close(&scene->journal);
    assert_true(journal_open(&scene->journal, scene->folder, true, &s_origin, &scene->ledger, NULL));
    assert_true(scene->journal.resumed);
    const struct fleet before = scene->fleet;
    scene->fleet = (struct fleet){.config = before.config,
                                  .dataset = before.dataset,
                                  .loop = before.loop,
                                  .socket = before.socket,
                                  .journal = before.journal,
                                  .handed = before.handed,
                                  .owner = before.owner};
    assert_true(fleet_open(&scene->fleet, NULL));
}

/* Of a generation that a worker remembers, or of a worker that says who it was. */
static void no_number_is_given_again_that_the_journal_has_lost(void **state)
{
    struct scene *scene = *state;
    scene->fleet.least = 2;
    s_hello(scene, 0, 0, 0, 0);
    s_hello(scene, 1, 0, 0, 0);
    uint64_t generation = scene->fleet.generation, last = scene->fleet.members[1]->id;
    assert_int_equal(scene->begun, 1);
    s_crash(scene);
    s_hello(scene, 0, last, END, 4);
    assert_int_equal(scene->begun, 2);
    assert_true(scene->held);
    assert_int_equal(scene->step, END);
    assert_true(scene->fleet.generation > generation);
    assert_true(scene->fleet.members[0]->id > last);
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

/* ---- more than one course ---- */

/* What GENERATION tells worker `who` of where its state comes from. */
static enum generation_source s_source(struct scene *scene, int who)
{
    struct message message;
    bool got = true;
    enum generation_source source = SOURCE_SEED;
    for (bool told = false; !told; message_close(&message)) {
        assert_true(message_receive(scene->workers[who], NULL, false, &message, &got, NULL));
        assert_true(got);
        told = message.type == MESSAGE_GENERATION;
        if (told)
            source = message.generation.source;
    }
    return source;
}

/* A generation of two from step FIRST + 2 is there; then the third comes, with a step more. */
static const struct member *s_one_step_ahead(struct scene *scene, enum reduce reduce)
{
    scene->config.train_reduce = reduce;
    scene->fleet.generation = 3;
    scene->fleet.least = 2;
    assert_true(s_come(scene, 0, 4, FIRST + 2, 3, 0));
    assert_true(s_come(scene, 1, 5, FIRST + 2, 3, 0));
    assert_int_equal(scene->begun, 1);
    assert_true(s_come(scene, 2, 3, FIRST + 3, 3, 1));
    return scene->fleet.members[2];
}

static void in_floats_a_step_that_the_others_do_again_is_none(void **state)
{
    struct scene *scene = *state;
    assert_false(s_one_step_ahead(scene, REDUCE_FP32)->held);
    assert_int_equal(scene->results_end, 0);
}

static void in_exact_sums_it_is_the_same_as_theirs(void **state)
{
    struct scene *scene = *state;
    assert_true(s_one_step_ahead(scene, REDUCE_EXACT)->held);
    assert_int_equal(scene->results_end, FIRST + 3);
}

/* As after a restart, when nobody knows where generations began. */
static void states_of_one_step_and_two_courses_are_two_states(void **state)
{
    struct scene *scene = *state;
    scene->config.train_reduce = REDUCE_FP32;
    scene->fleet.generation = 9;
    scene->fleet.least = 3;
    assert_true(s_come(scene, 0, 3, FIRST + 3, 7, 0));
    assert_true(s_come(scene, 1, 4, FIRST + 2, 8, 0));
    assert_true(s_come(scene, 2, 5, FIRST + 2, 7, 0));
    assert_true(scene->held);
    assert_int_equal(scene->step, FIRST + 2);
    assert_int_equal(s_source(scene, 0), SOURCE_PEER);
    assert_int_equal(s_source(scene, 1), SOURCE_HELD);
    assert_int_equal(s_source(scene, 2), SOURCE_PEER);
}

static void in_floats_other_results_are_another_course_and_in_exact_sums_a_fault(void **state)
{
    struct scene *scene = *state;
    scene->fleet.least = 3;
    scene->contradicted = true;
    scene->config.train_reduce = REDUCE_FP32;
    scene->fleet.generation = 9;
    assert_true(s_come(scene, 0, 4, END, 8, 1));
    assert_false(scene->fleet.members[0]->held);
    assert_false(s_come(scene, 1, 5, END, 9, 1));
    scene->config.train_reduce = REDUCE_EXACT;
    assert_false(s_come(scene, 2, 5, END, 8, 1));
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

static const struct message s_leave = {.type = MESSAGE_LEAVE};

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
    s_begin_generation(scene, meeting);
    const struct message stopped = {.type = MESSAGE_STOPPED, .stopped = {.generation = scene->fleet.generation}};
    assert_true(fleet_dismiss(&scene->fleet, "the run was interrupted", NULL));
    for (int who = 0; who < 2; who++) {
        assert_int_equal(s_heard(scene, who), MESSAGE_STOP);
        assert_int_equal(s_heard(scene, who), MESSAGE_DISMISS);
        s_tell(scene, who, &stopped);
        assert_int_equal(scene->fleet.count, WORKERS - who);
        s_tell(scene, who, &s_leave);
        assert_int_equal(scene->fleet.count, WORKERS - 1 - who);
    }
    assert_int_equal(s_heard(scene, 2), MESSAGE_DISMISS);
    assert_false(scene->emptied);
    s_tell(scene, 2, &s_leave);
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

/* ---- the last with a state ---- */

static const struct message s_resign = {.type = MESSAGE_RESIGN};

static void s_ready(struct scene *scene, int who)
{
    s_tell(scene, who,
           &(struct message){.type = MESSAGE_READY,
                             .ready = {.generation = scene->fleet.generation, .step = scene->fleet.start.step}});
}

static void s_stopped(struct scene *scene, int who)
{
    s_tell(scene, who,
           &(struct message){
               .type = MESSAGE_STOPPED,
               .stopped = {
                   .generation = scene->fleet.generation, .held = 1, .step = END, .branch = scene->fleet.generation}});
}

/* Worker `who` hears of a generation of itself alone, is to be saved from at once, and is let go when that is over. */
static void s_saves_and_goes(struct scene *scene, int who)
{
    struct message message;
    bool got;
    assert_true(message_receive(scene->workers[who], NULL, false, &message, &got, NULL));
    assert_true(got && message.type == MESSAGE_GENERATION);
    assert_int_equal(message.generation.source, SOURCE_HELD);
    assert_int_equal(message.generation.size, 1);
    message_close(&message);
    assert_true(scene->held);
    assert_int_equal(scene->step, END);
    scene->wound_up = false;
    s_ready(scene, who);
    assert_true(scene->wound_up);
    scene->unsaved = false;
    assert_true(fleet_end(&scene->fleet, NULL));
    assert_int_equal(s_heard(scene, who), MESSAGE_STOP);
    s_stopped(scene, who);
    assert_int_equal(s_heard(scene, who), MESSAGE_DISMISS);
    s_tell(scene, who, &s_leave);
    assert_int_equal(scene->fleet.lost, 0);
}

/* `count` wait, the first with the state of END, the others of `step`; the first resigns. */
static void s_one_waits_and_resigns(struct scene *scene, int count, uint64_t step)
{
    scene->fleet.least = WORKERS + 1;
    for (int who = 0; who < count; who++) {
        s_hello(scene, who, 5 - (uint64_t)who, who == 0 ? END : step, 0);
        assert_int_equal(s_heard(scene, who), MESSAGE_WELCOME);
    }
    s_tell(scene, 0, &s_resign);
}

static void one_who_waits_is_saved_from_before_it_goes(void **state)
{
    struct scene *scene = *state;
    scene->unsaved = true;
    s_one_waits_and_resigns(scene, 1, 0);
    s_saves_and_goes(scene, 0);
    assert_int_equal(scene->fleet.count, 0);
}

static void one_who_waits_goes_at_once_where_all_is_saved(void **state)
{
    s_one_waits_and_resigns(*state, 1, 0);
    assert_int_equal(s_heard(*state, 0), MESSAGE_DISMISS);
}

static void one_who_waits_goes_at_once_where_another_holds_as_much(void **state)
{
    struct scene *scene = *state;
    scene->unsaved = true;
    s_one_waits_and_resigns(scene, 2, END);
    assert_int_equal(s_heard(scene, 0), MESSAGE_DISMISS);
    assert_int_equal(scene->begun, 0);
}

static void one_who_waits_is_saved_from_where_the_others_hold_less(void **state)
{
    struct scene *scene = *state;
    scene->unsaved = true;
    s_one_waits_and_resigns(scene, 2, END - 1);
    s_saves_and_goes(scene, 0);
    assert_int_equal(s_heard(scene, 1), 0);
}

/* It is told to stop for another reason, and says meanwhile that it wants to go. */
static void one_who_resigns_while_it_stops_is_saved_from_before_it_goes(void **state)
{
    struct scene *scene = *state;
    scene->unsaved = true;
    s_hello(scene, 0, 5, END, 0);
    assert_int_equal(s_heard(scene, 0), MESSAGE_WELCOME);
    assert_int_equal(s_heard(scene, 0), MESSAGE_GENERATION);
    s_ready(scene, 0);
    assert_false(scene->wound_up);
    assert_true(fleet_end(&scene->fleet, NULL));
    assert_int_equal(s_heard(scene, 0), MESSAGE_STOP);
    s_tell(scene, 0, &s_resign);
    assert_int_equal(s_heard(scene, 0), 0);
    s_stopped(scene, 0);
    s_saves_and_goes(scene, 0);
}

/* There is no second try, or whoever has nowhere to save to would never be let go. */
static void one_whose_state_could_not_be_saved_goes_nevertheless(void **state)
{
    struct scene *scene = *state;
    scene->unsaved = true;
    s_one_waits_and_resigns(scene, 1, 0);
    assert_int_equal(s_heard(scene, 0), MESSAGE_GENERATION);
    s_ready(scene, 0);
    assert_true(fleet_end(&scene->fleet, NULL));
    assert_int_equal(s_heard(scene, 0), MESSAGE_STOP);
    s_stopped(scene, 0);
    assert_int_equal(s_heard(scene, 0), MESSAGE_DISMISS);
    assert_int_equal(scene->begun, 1);
}

/* Two resign as their generation fails, and a third, who just came, waits: the first of them dies before it is saved from,
 * then the second is; and the third has its turn when that is done. */
static void where_one_dies_while_it_is_saved_from_the_other_is_there(void **state)
{
    struct scene *scene = *state;
    scene->unsaved = true;
    s_begin_generation(scene, true);
    s_ready(scene, 0), s_ready(scene, 1);
    assert_true(generation_end(&scene->fleet, NULL));
    for (int who = 0; who < 2; who++) {
        assert_int_equal(s_heard(scene, who), MESSAGE_STOP);
        s_tell(scene, who, &s_resign);
    }
    s_stopped(scene, 0), s_stopped(scene, 1);
    assert_true(generation_consider(&scene->fleet, NULL)); /* as time passes */
    assert_int_equal(s_heard(scene, 0), MESSAGE_GENERATION);
    assert_int_equal(s_heard(scene, 1), 0);
    s_tell(scene, 0, &s_leave);
    assert_int_equal(scene->fleet.lost, 1);
    scene->fleet.lost = 0;
    scene->fleet.least = 1;
    assert_int_equal(s_heard(scene, 2), 0);
    s_saves_and_goes(scene, 1);
    assert_int_equal(s_heard(scene, 2), MESSAGE_GENERATION);
    assert_false(scene->held);
}

int main(void)
{
#define RUN(name) cmocka_unit_test_setup_teardown(name, s_open, s_close)
    const struct CMUnitTest tests[] = {
        RUN(a_state_that_fits_is_gone_on_from),
        RUN(a_state_beyond_what_was_handed_out_is_none),
        RUN(a_state_of_a_number_that_was_not_given_is_none),
        RUN(no_number_is_given_again_that_the_journal_has_lost),
        RUN(a_state_that_leads_nowhere_takes_nothing_from_the_others),
        RUN(in_floats_a_step_that_the_others_do_again_is_none),
        RUN(in_exact_sums_it_is_the_same_as_theirs),
        RUN(states_of_one_step_and_two_courses_are_two_states),
        RUN(in_floats_other_results_are_another_course_and_in_exact_sums_a_fault),
        RUN(a_worker_that_comes_again_is_what_it_was_no_more),
        RUN(who_has_not_been_told_the_others_is_stopped_before_it_is_dismissed),
        RUN(who_meets_the_others_is_stopped_before_it_is_dismissed),
        RUN(what_found_no_room_is_said_later_in_its_order),
        RUN(one_who_waits_is_saved_from_before_it_goes),
        RUN(one_who_waits_goes_at_once_where_all_is_saved),
        RUN(one_who_waits_goes_at_once_where_another_holds_as_much),
        RUN(one_who_waits_is_saved_from_where_the_others_hold_less),
        RUN(one_who_resigns_while_it_stops_is_saved_from_before_it_goes),
        RUN(one_whose_state_could_not_be_saved_goes_nevertheless),
        RUN(where_one_dies_while_it_is_saved_from_the_other_is_there),
    };
    return cmocka_run_group_tests_name("fleet", tests, NULL, NULL);
}
