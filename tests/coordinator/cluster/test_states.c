/* The tables of states, walked: workers that answer as they should, and workers that send what is not due, leave, fail
 * and die, in any order. At the end of each turn the fleet and its members are in states that the tables list, and in
 * the end every state that they list has been there. */
#include "proto/base/random.h"
#include "tests/support/fleet_scene.h"

enum { TURNS = 30000 };

/* What a worker knows of where it stands. */
struct states_actor {
    uint64_t id, generation, step;
    bool joined; /* it sent HELLO, and no LEAVE after that */
};

struct states_walk {
    struct scene *scene;
    struct states_actor actors[WORKERS];
    uint64_t dice;
    unsigned reached[FLEET_STATES]; /* sets of 1 << enum member_state */
    unsigned wishes[MEMBER_STATES]; /* sets of 1 << enum member_wish  */
    bool goes_on;
};

static uint32_t states_roll(struct states_walk *walk, uint32_t sides)
{
    walk->dice = splitmix(walk->dice);
    return (uint32_t)(walk->dice >> 33) % sides;
}

static void states_note(struct states_walk *walk)
{
    const struct fleet *fleet = &walk->scene->fleet;
    walk->reached[fleet->state] |= legal_states(fleet);
    for (size_t i = 0; i < fleet->count; i++)
        walk->wishes[fleet->members[i]->state] |= 1U << fleet->members[i]->wish;
}

static void states_send(struct states_walk *walk, int who, const struct message *message)
{
    assert_true(message_send(walk->scene->workers[who], NULL, message, NULL));
    walk->goes_on = scene_receive(walk->scene, NULL);
    if (walk->goes_on)
        states_note(walk);
}

static struct message states_message(const struct states_actor *actor, enum message_type type)
{
    struct message message = {.type = type};
    if (type == MESSAGE_HELLO) {
        message.hello = dummy_hello();
        message.hello.run = 1;
        message.hello.worker = actor->id;
    } else if (type == MESSAGE_ENDPOINT) {
        message.endpoint = (struct endpoint){actor->generation, {"tcp://127.0.0.1:1", 17}};
    } else if (type == MESSAGE_READY) {
        message.ready = (struct ready){actor->generation, actor->step};
    } else if (type == MESSAGE_STOPPED) {
        message.stopped = (struct stopped){
            .generation = actor->generation, .held = 1, .step = actor->step, .branch = actor->generation};
    } else if (type == MESSAGE_ERROR) {
        message.error = (struct failure){ERR_FAILED, {"it broke", 8}};
    } else if (type == MESSAGE_CREDIT) {
        message.credit.units = 1;
    }
    return message;
}

/* The worker reads a message and answers it as it should. */
static void states_answer(struct states_walk *walk, int who)
{
    struct states_actor *actor = &walk->actors[who];
    struct message message = {0}, answer = {0};
    bool got;
    assert_true(message_receive(walk->scene->workers[who], NULL, false, &message, &got, NULL));
    if (!got && actor->joined)
        return;
    if (!got || message.type == MESSAGE_ERROR)
        answer.type = MESSAGE_HELLO;
    if (message.type == MESSAGE_WELCOME)
        actor->id = message.welcome.worker;
    if (message.type == MESSAGE_GENERATION) {
        actor->generation = message.generation.generation;
        actor->step = message.generation.step;
        answer.type = message.generation.size > 1 ? MESSAGE_ENDPOINT : MESSAGE_READY;
    }
    if (message.type == MESSAGE_PEERS)
        answer.type = MESSAGE_READY;
    if (message.type == MESSAGE_STOP)
        answer.type = MESSAGE_STOPPED;
    if (message.type == MESSAGE_DISMISS)
        answer.type = MESSAGE_LEAVE;
    message_close(&message);
    actor->joined = answer.type != MESSAGE_LEAVE;
    answer = states_message(actor, answer.type);
    if (answer.type != 0)
        states_send(walk, who, &answer);
}

/* A boundary, the loss of a member, or the end of the run. */
static void states_move(struct states_walk *walk)
{
    struct fleet *fleet = &walk->scene->fleet;
    uint32_t what = states_roll(walk, 40);
    walk->scene->unsaved = states_roll(walk, 2) == 0;
    if (what < 30 && fleet_works(fleet))
        fleet_end(fleet);
    else if (what < 35 && fleet->count > 0)
        member_lose(fleet->members[states_roll(walk, (uint32_t)fleet->count)], ERR_FAILED, "was silent for too long");
    else if (what >= 35 && !fleet_is_dismissed(fleet))
        fleet_dismiss(fleet, states_roll(walk, 2) == 0 ? FLEET_DISMISSED : FLEET_ABANDONED, "the run is over");
    scene_turn(walk->scene);
    states_note(walk);
}

static void states_step(struct states_walk *walk)
{
    static const enum message_type types[] = {MESSAGE_RESIGN, MESSAGE_RESIGN, MESSAGE_RESIGN,  MESSAGE_RESIGN,
                                              MESSAGE_CREDIT, MESSAGE_PONG,   MESSAGE_HELLO,   MESSAGE_LEAVE,
                                              MESSAGE_ERROR,  MESSAGE_READY,  MESSAGE_STOPPED, MESSAGE_ENDPOINT};
    int who = (int)states_roll(walk, WORKERS);
    uint32_t what = states_roll(walk, 100);
    if (what < 90) {
        states_answer(walk, who);
    } else if (what < 96) {
        struct message message = states_message(&walk->actors[who], types[states_roll(walk, 12)]);
        states_send(walk, who, &message);
    } else {
        states_move(walk);
    }
}

static void states_begin(struct states_walk *walk)
{
    void *state;
    assert_int_equal(scene_open(&state), 0);
    walk->scene = state;
    walk->goes_on = true;
    walk->scene->fleet.least = 1 + states_roll(walk, 2);
    walk->scene->fleet.most = 2 + states_roll(walk, 2);
    memset(walk->actors, 0, sizeof walk->actors);
}

static void a_fleet_reaches_the_states_of_the_tables_and_no_others(void **state)
{
    static struct states_walk walk;
    (void)state;
    states_begin(&walk);
    for (int turn = 0; turn < TURNS; turn++) {
        states_step(&walk);
        if (walk.goes_on && !walk.scene->emptied)
            continue;
        void *scene = walk.scene;
        assert_int_equal(scene_close(&scene), 0);
        states_begin(&walk);
    }
    for (int i = 0; i < FLEET_SEEING_OFF; i++)
        if (walk.reached[i] != fleet_legal[i].may)
            fail_msg("fleet state %d with member states %x, not %x", i, walk.reached[i], fleet_legal[i].may);
    for (int i = 0; i < MEMBER_STATES; i++)
        if (walk.wishes[i] != member_legal[i].wishes)
            fail_msg("member state %d with wishes %x, not %x", i, walk.wishes[i], member_legal[i].wishes);
    void *scene = walk.scene;
    assert_int_equal(scene_close(&scene), 0);
}

static void a_run_that_was_over_has_no_members(void **state)
{
    struct scene *scene = *state;
    fleet_see_off(&scene->fleet);
    scene_hello(scene, 0, 5, END, 4);
    assert_int_equal(scene_heard(scene, 0), MESSAGE_DISMISS);
    assert_int_equal(scene->fleet.count, 0);
    assert_false(scene->emptied);
    scene->fleet.until_ms = 1;
    scene_turn(scene);
    assert_true(scene->emptied);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fleet_reaches_the_states_of_the_tables_and_no_others),
        cmocka_unit_test_setup_teardown(a_run_that_was_over_has_no_members, scene_open, scene_close),
    };
    return cmocka_run_group_tests_name("states", tests, NULL, NULL);
}
