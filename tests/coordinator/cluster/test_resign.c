/* Workers that resign with states that no other worker holds and no checkpoint has. */
#include "tests/support/fleet_scene.h"

static const struct message resign_resign = {.type = MESSAGE_RESIGN};

static void resign_ready(struct scene *scene, int who)
{
    scene_tell(scene, who,
               &(struct message){.type = MESSAGE_READY,
                                 .ready = {.generation = scene->fleet.generation, .step = scene->fleet.start.step}});
}

static void resign_stopped(struct scene *scene, int who)
{
    scene_tell(scene, who,
               &(struct message){.type = MESSAGE_STOPPED,
                                 .stopped = {.generation = scene->fleet.generation,
                                             .held = 1,
                                             .step = END,
                                             .branch = scene->fleet.generation}});
}

/* Worker `who` gets a generation of its own, is saved from at once, and is dismissed when that is over. */
static void resign_saves_and_goes(struct scene *scene, int who)
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
    resign_ready(scene, who);
    assert_true(scene->wound_up);
    scene->unsaved = false;
    fleet_end(&scene->fleet);
    scene_turn(scene);
    assert_int_equal(scene_heard(scene, who), MESSAGE_STOP);
    resign_stopped(scene, who);
    assert_int_equal(scene_heard(scene, who), MESSAGE_DISMISS);
    scene_tell(scene, who, &scene_leave);
    assert_int_equal(scene->fleet.lost, 0);
}

/* `count` wait, the first with the state of END, the others of `step`; the first resigns. */
static void resign_one_waits_and_resigns(struct scene *scene, int count, uint64_t step)
{
    scene->fleet.least = WORKERS + 1;
    for (int who = 0; who < count; who++) {
        scene_hello(scene, who, 5 - (uint64_t)who, who == 0 ? END : step, 0);
        assert_int_equal(scene_heard(scene, who), MESSAGE_WELCOME);
    }
    scene_tell(scene, 0, &resign_resign);
}

static void a_standby_worker_is_saved_from_before_it_leaves(void **state)
{
    struct scene *scene = *state;
    scene->unsaved = true;
    resign_one_waits_and_resigns(scene, 1, 0);
    resign_saves_and_goes(scene, 0);
    assert_int_equal(scene->fleet.count, 0);
}

static void a_standby_worker_leaves_at_once_if_all_is_saved(void **state)
{
    resign_one_waits_and_resigns(*state, 1, 0);
    assert_int_equal(scene_heard(*state, 0), MESSAGE_DISMISS);
}

static void a_standby_worker_leaves_at_once_if_another_holds_as_much(void **state)
{
    struct scene *scene = *state;
    scene->unsaved = true;
    resign_one_waits_and_resigns(scene, 2, END);
    assert_int_equal(scene_heard(scene, 0), MESSAGE_DISMISS);
    assert_int_equal(scene->begun, 0);
}

static void a_standby_worker_that_holds_most_is_saved_from_first(void **state)
{
    struct scene *scene = *state;
    scene->unsaved = true;
    resign_one_waits_and_resigns(scene, 2, END - 1);
    resign_saves_and_goes(scene, 0);
    assert_int_equal(scene_heard(scene, 1), 0);
}

/* It has to stop for another reason, and resigns meanwhile. */
static void a_worker_that_resigns_while_it_stops_is_saved_from_first(void **state)
{
    struct scene *scene = *state;
    scene->unsaved = true;
    scene_hello(scene, 0, 5, END, 0);
    assert_int_equal(scene_heard(scene, 0), MESSAGE_WELCOME);
    assert_int_equal(scene_heard(scene, 0), MESSAGE_GENERATION);
    resign_ready(scene, 0);
    assert_false(scene->wound_up);
    fleet_end(&scene->fleet);
    scene_turn(scene);
    assert_int_equal(scene_heard(scene, 0), MESSAGE_STOP);
    scene_tell(scene, 0, &resign_resign);
    assert_int_equal(scene_heard(scene, 0), 0);
    resign_stopped(scene, 0);
    resign_saves_and_goes(scene, 0);
}

/* There is no second try, or a worker could never leave a run whose disk is full. */
static void a_worker_whose_state_could_not_be_saved_leaves_too(void **state)
{
    struct scene *scene = *state;
    scene->unsaved = true;
    resign_one_waits_and_resigns(scene, 1, 0);
    assert_int_equal(scene_heard(scene, 0), MESSAGE_GENERATION);
    resign_ready(scene, 0);
    fleet_end(&scene->fleet);
    scene_turn(scene);
    assert_int_equal(scene_heard(scene, 0), MESSAGE_STOP);
    resign_stopped(scene, 0);
    assert_int_equal(scene_heard(scene, 0), MESSAGE_DISMISS);
    assert_int_equal(scene->begun, 1);
}

/* Two resign as their generation fails, and a third, who just came, waits: the first of them dies before it is saved
 * from, then the second is; and the third has its turn when that is done. */
static void if_one_dies_while_it_is_saved_from_the_other_is_saved_from(void **state)
{
    struct scene *scene = *state;
    scene->unsaved = true;
    scene_begin_generation(scene, true);
    resign_ready(scene, 0), resign_ready(scene, 1);
    fleet_end(&scene->fleet);
    scene_turn(scene);
    for (int who = 0; who < 2; who++) {
        assert_int_equal(scene_heard(scene, who), MESSAGE_STOP);
        scene_tell(scene, who, &resign_resign);
    }
    resign_stopped(scene, 0), resign_stopped(scene, 1);
    scene_turn(scene); /* as time passes */
    assert_int_equal(scene_heard(scene, 0), MESSAGE_GENERATION);
    assert_int_equal(scene_heard(scene, 1), 0);
    scene_tell(scene, 0, &scene_leave);
    assert_int_equal(scene->fleet.lost, 1);
    scene->fleet.lost = 0;
    scene->fleet.least = 1;
    assert_int_equal(scene_heard(scene, 2), 0);
    resign_saves_and_goes(scene, 1);
    assert_int_equal(scene_heard(scene, 2), MESSAGE_GENERATION);
    assert_false(scene->held);
}
int main(void)
{
#define RUN(name) cmocka_unit_test_setup_teardown(name, scene_open, scene_close)
    const struct CMUnitTest tests[] = {
        RUN(a_standby_worker_is_saved_from_before_it_leaves),
        RUN(a_standby_worker_leaves_at_once_if_all_is_saved),
        RUN(a_standby_worker_leaves_at_once_if_another_holds_as_much),
        RUN(a_standby_worker_that_holds_most_is_saved_from_first),
        RUN(a_worker_that_resigns_while_it_stops_is_saved_from_first),
        RUN(a_worker_whose_state_could_not_be_saved_leaves_too),
        RUN(if_one_dies_while_it_is_saved_from_the_other_is_saved_from),
    };
    return cmocka_run_group_tests_name("resign", tests, NULL, NULL);
}
