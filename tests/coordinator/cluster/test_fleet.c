/* Which states of workers a fleet uses: its workers send HELLO with states that they were not given, or come twice. And
 * what is sent to workers that are dismissed before they have begun. */
#include "tests/support/fleet_scene.h"

static void a_run_goes_on_from_a_state_that_fits(void **state)
{
    struct scene *scene = *state;
    scene_hello(scene, 0, 5, END, 4);
    assert_int_equal(ledger_end(&scene->ledger), END);
    assert_int_equal(scene->begun, 1);
    assert_true(scene->held);
    assert_int_equal(scene->step, END);
}

/* Nor are the results believed that come with it. */
static void a_state_beyond_what_was_handed_out_is_not_used(void **state)
{
    struct scene *scene = *state;
    scene_hello(scene, 0, 5, HANDED + 1, 4);
    assert_int_equal(scene->begun, 1);
    assert_false(scene->held);
    assert_int_equal(ledger_end(&scene->ledger), FIRST + KNOWN);
}

static void a_state_of_a_number_that_was_not_given_is_not_used(void **state)
{
    struct scene *scene = *state;
    scene_hello(scene, 0, 6, END, 4);
    assert_int_equal(scene->begun, 1);
    assert_false(scene->held);
    assert_int_equal(ledger_end(&scene->ledger), FIRST + KNOWN);
}

/* The host of the coordinator before crashed in the run's first moments, and took all numbers out of the journal. */
static void fleet_crash(struct scene *scene)
{
    fleet_close(&scene->fleet);
    journal_close(&scene->journal);
    scene->journal.generation = scene->journal.workers = scene->journal.ranks = 0;
    journal_restart(&scene->journal, &scene->ledger);
    journal_close(&scene->journal);
    assert_true(journal_open(&scene->journal, scene->folder, true, &scene_origin, &scene->ledger, NULL));
    assert_true(scene->journal.resumed);
    const struct fleet before = scene->fleet;
    scene->fleet = (struct fleet){.config = before.config,
                                  .dataset = before.dataset,
                                  .loop = before.loop,
                                  .socket = before.socket,
                                  .journal = before.journal,
                                  .ledger = before.ledger,
                                  .handed = before.handed};
    assert_true(fleet_open(&scene->fleet, NULL));
}

/* Of a generation that a worker remembers, or of a worker that says who it was. */
static void a_number_that_the_journal_lost_is_not_given_again(void **state)
{
    struct scene *scene = *state;
    scene->fleet.least = 2;
    scene_hello(scene, 0, 0, 0, 0);
    scene_hello(scene, 1, 0, 0, 0);
    uint64_t generation = scene->fleet.generation, last = scene->fleet.members[1]->id;
    assert_int_equal(scene->begun, 1);
    fleet_crash(scene);
    scene_hello(scene, 0, last, END, 4);
    assert_int_equal(scene->begun, 2);
    assert_true(scene->held);
    assert_int_equal(scene->step, END);
    assert_true(scene->fleet.generation > generation);
    assert_true(scene->fleet.members[0]->id > last);
}

/* A state whose results are unknown does not send back workers that hold a state with known results. */
static void a_state_with_unknown_results_sends_no_other_worker_back(void **state)
{
    struct scene *scene = *state;
    scene->fleet.least = 2;
    scene_hello(scene, 0, 4, END - 1, 0);
    scene_hello(scene, 1, 5, HANDED, 0);
    assert_int_equal(scene->begun, 1);
    assert_true(scene->held);
    assert_int_equal(scene->step, END - 1);
}

/* ---- more than one course ---- */

/* The source of its state that GENERATION names to worker `who`. */
static enum generation_source fleet_source(struct scene *scene, int who)
{
    struct message message;
    bool got = true;
    enum generation_source source = SOURCE_SEED;
    for (bool found = false; !found; message_close(&message)) {
        assert_true(message_receive(scene->workers[who], NULL, false, &message, &got, NULL));
        assert_true(got);
        found = message.type == MESSAGE_GENERATION;
        if (found)
            source = message.generation.source;
    }
    return source;
}

/* A generation of two from step FIRST + 2 is there; then the third comes, with a step more. */
static const struct member *fleet_one_step_ahead(struct scene *scene, enum reduce reduce)
{
    scene->config.train_reduce = reduce;
    scene->fleet.generation = 3;
    scene->fleet.least = 2;
    assert_true(scene_come(scene, 0, 4, FIRST + 2, 3, 0));
    assert_true(scene_come(scene, 1, 5, FIRST + 2, 3, 0));
    assert_int_equal(scene->begun, 1);
    assert_true(scene_come(scene, 2, 3, FIRST + 3, 3, 1));
    return scene->fleet.members[2];
}

static void in_floats_a_step_that_others_do_again_is_not_used(void **state)
{
    struct scene *scene = *state;
    assert_false(fleet_one_step_ahead(scene, REDUCE_FP32)->held);
    assert_int_equal(ledger_end(&scene->ledger), FIRST + KNOWN);
}

static void in_exact_sums_such_a_step_is_used(void **state)
{
    struct scene *scene = *state;
    assert_true(fleet_one_step_ahead(scene, REDUCE_EXACT)->held);
    assert_int_equal(ledger_end(&scene->ledger), FIRST + 3);
}

/* As after a restart, when it is not known where generations began. */
static void one_step_on_two_branches_is_two_states(void **state)
{
    struct scene *scene = *state;
    scene->config.train_reduce = REDUCE_FP32;
    scene->fleet.generation = 9;
    scene->fleet.least = 3;
    assert_true(scene_come(scene, 0, 3, FIRST + 3, 7, 0));
    assert_true(scene_come(scene, 1, 4, FIRST + 2, 8, 0));
    assert_true(scene_come(scene, 2, 5, FIRST + 2, 7, 0));
    assert_true(scene->held);
    assert_int_equal(scene->step, FIRST + 2);
    assert_int_equal(fleet_source(scene, 0), SOURCE_PEER);
    assert_int_equal(fleet_source(scene, 1), SOURCE_HELD);
    assert_int_equal(fleet_source(scene, 2), SOURCE_PEER);
}

static void other_results_are_another_branch_or_with_exact_sums_a_fault(void **state)
{
    struct scene *scene = *state;
    scene->fleet.least = 3;
    scene_know(scene, END - FIRST, 2); /* the workers say 1 token */
    scene->config.train_reduce = REDUCE_FP32;
    scene->fleet.generation = 9;
    assert_true(scene_come(scene, 0, 4, END, 8, 1));
    assert_false(scene->fleet.members[0]->held);
    assert_false(scene_come(scene, 1, 5, END, 9, 1));
    scene->config.train_reduce = REDUCE_EXACT;
    assert_false(scene_come(scene, 2, 5, END, 8, 1));
}

/* It is on standby with a step whose results are unknown, while others do that step again from the checkpoint. */
static void an_outdated_state_of_a_standby_worker_is_not_used(void **state)
{
    struct scene *scene = *state;
    scene->config.train_reduce = REDUCE_FP32;
    scene->fleet.generation = 9;
    scene->fleet.least = 2;
    scene->fleet.most = 1;
    assert_true(scene_come(scene, 0, 0, 0, 0, 0));
    assert_true(scene_come(scene, 1, 5, END + 1, 7, 0));
    assert_int_equal(scene->begun, 1);
    assert_false(scene->held);
    scene->fleet.least = 1;
    scene->known_more = 1;
    scene_tell(scene, 0, &scene_leave);
    assert_int_equal(scene->begun, 2);
    assert_false(scene->held);
}

/* By its connection it is one of them, by its number the other. */
static void a_worker_that_comes_again_loses_its_former_membership(void **state)
{
    struct scene *scene = *state;
    scene->fleet.least = 3;
    scene_hello(scene, 0, 0, 0, 0);
    scene_hello(scene, 1, 0, 0, 0);
    uint64_t other = scene->fleet.members[1]->id;
    assert_int_equal(scene->fleet.count, 2);
    scene_hello(scene, 0, other, END, 0);
    assert_int_equal(scene->fleet.count, 1);
    assert_int_equal(scene->fleet.lost, 2);
    assert_true(scene->fleet.members[0]->id > other);
}

/* ---- dismissed ---- */

static void test_fleet_dismiss(struct scene *scene, bool meeting)
{
    scene_begin_generation(scene, meeting);
    const struct message stopped = {.type = MESSAGE_STOPPED, .stopped = {.generation = scene->fleet.generation}};
    fleet_dismiss(&scene->fleet, FLEET_DISMISSED, "the run was interrupted");
    scene_turn(scene);
    for (int who = 0; who < 2; who++) {
        assert_int_equal(scene_heard(scene, who), MESSAGE_STOP);
        assert_int_equal(scene_heard(scene, who), MESSAGE_DISMISS);
        scene_tell(scene, who, &stopped);
        assert_int_equal(scene->fleet.count, WORKERS - who);
        scene_tell(scene, who, &scene_leave);
        assert_int_equal(scene->fleet.count, WORKERS - 1 - who);
    }
    assert_int_equal(scene_heard(scene, 2), MESSAGE_DISMISS);
    assert_false(scene->emptied);
    scene_tell(scene, 2, &scene_leave);
    assert_true(scene->emptied);
    assert_int_equal(scene->fleet.lost, 0);
}

static void a_worker_without_peers_is_stopped_before_it_is_dismissed(void **state)
{
    test_fleet_dismiss(*state, false);
}

static void a_worker_that_meets_peers_is_stopped_before_it_is_dismissed(void **state)
{
    test_fleet_dismiss(*state, true);
}

/* The coordinator's socket learns what its peers did meanwhile: a send alone looks only now and then. */
static void fleet_notice(const struct scene *scene)
{
    int events;
    size_t size = sizeof events;
    assert_int_equal(zmq_getsockopt(scene->router, ZMQ_EVENTS, &events, &size), 0);
}

static void what_found_no_space_is_sent_later_in_its_order(void **state)
{
    struct scene *scene = *state;
    const struct message ping = {.type = MESSAGE_PING};
    bool sent = true;
    size_t pings = 0;
    enum message_type type;
    scene_begin_generation(scene, true);
    struct member *member = scene->fleet.members[0];
    while (sent) {
        assert_true(fleet_send(&scene->fleet, member, &ping, &sent, NULL));
        pings += sent;
    }
    fleet_dismiss(&scene->fleet, FLEET_DISMISSED, "the run was interrupted");
    scene_turn(scene);
    while ((type = scene_heard(scene, 0)) != 0 && pings-- > 0)
        assert_int_equal(type, MESSAGE_PING);
    assert_int_equal(pings, 0);
    fleet_notice(scene);
    scene_turn(scene);
    assert_int_equal(scene_heard(scene, 0), MESSAGE_STOP);
    assert_int_equal(scene_heard(scene, 0), MESSAGE_DISMISS);
    scene_turn(scene);
    assert_int_equal(scene_heard(scene, 0), 0);
}

/* ---- errors that end the run ---- */

/* Worker 0 says that training diverged, and whether the run goes on. */
static bool fleet_diverge(struct scene *scene, struct err *err)
{
    const struct message error = {.type = MESSAGE_ERROR,
                                  .error = {.code = ERR_DIVERGED, .text = {"loss is not finite", 18}}};
    assert_true(message_send(scene->workers[0], NULL, &error, NULL));
    return scene_receive(scene, err);
}

static void a_diverged_run_is_abandoned_in_the_middle_of_its_work(void **state)
{
    struct scene *scene = *state;
    struct err err = {0};
    scene_begin_generation(scene, true);
    assert_false(fleet_diverge(scene, &err));
    assert_int_equal(err.code, ERR_DIVERGED);
    assert_string_equal(err.text, "loss is not finite");
    fleet_dismiss(&scene->fleet, FLEET_ABANDONED, "training failed");
    scene_turn(scene);
    assert_int_equal(scene_heard(scene, 1), MESSAGE_STOP);
    assert_int_equal(scene_heard(scene, 1), MESSAGE_DISMISS);
    assert_int_equal(scene_heard(scene, 2), MESSAGE_DISMISS);
    scene_tell(scene, 1, &scene_leave);
    assert_false(scene->emptied);
    scene_tell(scene, 2, &scene_leave);
    assert_true(scene->emptied);
    assert_int_equal(scene->begun, 1);
    assert_int_equal(scene->fleet.lost, 0);
}

static void the_last_worker_that_diverges_leaves_an_empty_fleet(void **state)
{
    struct scene *scene = *state;
    struct err err = {0};
    scene_hello(scene, 0, 0, 0, 0);
    assert_false(fleet_diverge(scene, &err));
    scene->emptied = false;
    fleet_dismiss(&scene->fleet, FLEET_ABANDONED, "training failed");
    scene_turn(scene);
    assert_true(scene->emptied);
    assert_int_equal(scene->begun, 1);
}

static void no_generation_follows_one_that_diverged(void **state)
{
    struct scene *scene = *state;
    struct err err = {0};
    scene->fleet.least = 2;
    for (int who = 0; who < 2; who++)
        scene_hello(scene, who, 0, 0, 0);
    scene->fleet.least = 1;
    scene_tell(scene, 1, &scene_leave); /* the generation ends; worker 0 has still to stop */
    scene_hello(scene, 2, 0, 0, 0);
    assert_int_equal(scene_heard(scene, 2), MESSAGE_WELCOME);
    assert_false(fleet_diverge(scene, &err));
    assert_int_equal(scene_heard(scene, 2), 0);
    fleet_dismiss(&scene->fleet, FLEET_ABANDONED, "training failed");
    scene_turn(scene);
    assert_int_equal(scene_heard(scene, 2), MESSAGE_DISMISS);
    assert_int_equal(scene->begun, 1);
}

/* It may be in the middle of a step when its run fails. */
static void an_abandoned_worker_has_the_time_of_a_step_to_leave(void **state)
{
    struct scene *scene = *state;
    struct err err = {0};
    scene_begin_generation(scene, true);
    assert_false(fleet_diverge(scene, &err));
    fleet_dismiss(&scene->fleet, FLEET_ABANDONED, "training failed");
    scene_turn(scene);
    for (size_t i = 0; i < scene->fleet.count; i++)
        scene->fleet.members[i]->due_ms -= 10000;
    scene->fleet.tick_ms = 0;
    scene_turn(scene);
    assert_int_equal(scene->fleet.lost, 0);
    assert_int_equal(scene->fleet.count, 2);
}

static void an_error_read_after_its_worker_was_lost_still_counts(void **state)
{
    struct scene *scene = *state;
    struct err err = {0};
    scene_begin_generation(scene, true);
    member_lose(scene->fleet.members[0], ERR_FAILED, "has lost its connection");
    scene_turn(scene);
    assert_false(fleet_diverge(scene, &err));
    assert_int_equal(err.code, ERR_DIVERGED);
}

static void an_error_of_a_non_member_does_not_count(void **state)
{
    assert_true(fleet_diverge(*state, NULL));
}

/* Within a process a failed worker says ERROR and closes; the coordinator may send to it before it reads that. */
static void a_send_to_a_failed_worker_leaves_its_error_to_be_read(void **state)
{
    struct scene *scene = *state;
    const struct message error = {.type = MESSAGE_ERROR, .error = {.code = ERR_MEMORY, .text = {"no memory", 9}}};
    const struct message ping = {.type = MESSAGE_PING};
    struct err err = {0};
    char expected[64];
    bool sent = true;
    scene_begin_generation(scene, true);
    scene->fleet.journal = NULL; /* as within a process */
    struct member *member = scene->fleet.members[0];
    snprintf(expected, sizeof expected, "worker %d: no memory", (int)member->id);
    assert_true(message_send(scene->workers[0], NULL, &error, NULL));
    assert_int_equal(zmq_disconnect(scene->workers[0], scene_endpoint), 0);
    fleet_notice(scene);
    assert_true(fleet_send(&scene->fleet, member, &ping, &sent, &err));
    assert_false(sent);
    assert_false(scene_receive(scene, &err));
    assert_int_equal(err.code, ERR_MEMORY);
    assert_string_equal(err.text, expected);
}

int main(void)
{
#define RUN(name) cmocka_unit_test_setup_teardown(name, scene_open, scene_close)
    const struct CMUnitTest tests[] = {
        RUN(a_run_goes_on_from_a_state_that_fits),
        RUN(a_state_beyond_what_was_handed_out_is_not_used),
        RUN(a_state_of_a_number_that_was_not_given_is_not_used),
        RUN(a_number_that_the_journal_lost_is_not_given_again),
        RUN(a_state_with_unknown_results_sends_no_other_worker_back),
        RUN(in_floats_a_step_that_others_do_again_is_not_used),
        RUN(in_exact_sums_such_a_step_is_used),
        RUN(one_step_on_two_branches_is_two_states),
        RUN(other_results_are_another_branch_or_with_exact_sums_a_fault),
        RUN(an_outdated_state_of_a_standby_worker_is_not_used),
        RUN(a_worker_that_comes_again_loses_its_former_membership),
        RUN(a_worker_without_peers_is_stopped_before_it_is_dismissed),
        RUN(a_worker_that_meets_peers_is_stopped_before_it_is_dismissed),
        RUN(what_found_no_space_is_sent_later_in_its_order),
        RUN(a_diverged_run_is_abandoned_in_the_middle_of_its_work),
        RUN(an_abandoned_worker_has_the_time_of_a_step_to_leave),
        RUN(the_last_worker_that_diverges_leaves_an_empty_fleet),
        RUN(no_generation_follows_one_that_diverged),
        RUN(an_error_read_after_its_worker_was_lost_still_counts),
        RUN(an_error_of_a_non_member_does_not_count),
        RUN(a_send_to_a_failed_worker_leaves_its_error_to_be_read),
    };
    return cmocka_run_group_tests_name("fleet", tests, NULL, NULL);
}
