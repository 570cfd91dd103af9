/* How a run stands, as JSON that a program can read and a message can carry. */
#include "coordinator/cluster/status.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { MANY = 300 };

/* A run in its second epoch, with `count` members: the first of them work, one waits, one stops. */
struct scene {
    struct config config;
    struct checkpoint_state state;
    struct member members[MANY], *table[MANY];
    struct fleet fleet;
    struct status_facts facts;
};

static struct scene status_scene;

static struct scene *status_set(size_t count)
{
    struct scene *scene = &status_scene;
    memset(scene, 0, sizeof *scene);
    config_defaults(&scene->config);
    scene->config.train_epochs = 50;
    scene->state = (struct checkpoint_state){.step = 120, .epoch = 2, .epoch_step = 7, .tokens = 9000};
    for (size_t i = 0; i < count; i++) {
        struct member *member = &scene->members[i];
        *member = (struct member){.id = i + 1, .state = MEMBER_ACTIVE, .rank = (uint32_t)i, .pid = 77, .steps = 5};
        member->busy_ns = 1500000000;
        scene->table[i] = member;
    }
    scene->fleet =
        (struct fleet){.config = &scene->config, .members = scene->table, .count = count, .generation = 3, .lost = 1};
    scene->facts = (struct status_facts){.phase = "training",
                                         .state = &scene->state,
                                         .train_seconds = 2,
                                         .epoch_steps = 113,
                                         .saved_step = 113,
                                         .fleet = &scene->fleet,
                                         .dir = "runs/\"first\"\n",
                                         .metric = "val_loss"};
    return scene;
}

static json_t *status_written(const struct scene *scene, bool detail)
{
    struct buffer text = {0};
    status_write(&scene->facts, detail, &text);
    assert_true(buffer_ok(&text, NULL));
    assert_in_range(text.size, 1, MESSAGE_JSON);
    json_t *object = json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(object);
    buffer_free(&text);
    return object;
}

static json_int_t test_status_integer(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static void a_status_says_where_the_run_stands(void **state)
{
    struct scene *scene = status_set(4);
    (void)state;
    scene->members[2].state = MEMBER_STANDBY;
    scene->members[3].state = MEMBER_STOPPING;
    json_t *object = status_written(scene, false);
    assert_string_equal(json_string_value(json_object_get(object, "phase")), "training");
    assert_string_equal(json_string_value(json_object_get(object, "run")), "runs/\"first\"\n");
    assert_int_equal(test_status_integer(object, "step"), 120);
    assert_int_equal(test_status_integer(object, "epoch"), 2);
    assert_int_equal(test_status_integer(object, "epoch_step"), 7);
    assert_int_equal(test_status_integer(object, "epoch_steps"), 113);
    assert_int_equal(test_status_integer(object, "epochs"), 50);
    assert_int_equal(test_status_integer(object, "saved_step"), 113);
    assert_int_equal(test_status_integer(object, "generation"), 3);
    assert_int_equal(test_status_integer(object, "workers"), 2);
    assert_int_equal(test_status_integer(object, "waiting"), 2);
    assert_int_equal(test_status_integer(object, "lost"), 1);
    assert_true(json_real_value(json_object_get(object, "tgt_tok_per_s")) == 4500);
    assert_null(json_object_get(object, "members"));
    json_decref(object);
}

static void the_best_epoch_is_null_until_there_is_one(void **state)
{
    struct scene *scene = status_set(0);
    (void)state;
    json_t *object = status_written(scene, true);
    assert_true(json_is_null(json_object_get(object, "best_score")) &&
                json_is_null(json_object_get(object, "best_epoch")));
    assert_string_equal(json_string_value(json_object_get(object, "best_metric")), "val_loss");
    assert_int_equal(json_array_size(json_object_get(object, "members")), 0);
    json_decref(object);
    scene->state.has_best = true;
    scene->state.best_score = 0.25;
    scene->state.best_epoch = 1;
    object = status_written(scene, false);
    assert_true(json_real_value(json_object_get(object, "best_score")) == 0.25);
    assert_int_equal(test_status_integer(object, "best_epoch"), 1);
    json_decref(object);
}

/* NaN and infinities are no JSON, and a speed of 0 would be a figure. */
static void a_figure_that_does_not_exist_is_null(void **state)
{
    struct scene *scene = status_set(0);
    const struct {
        uint64_t tokens;
        double seconds, best;
    } cases[] = {{0, 0, (double)NAN}, {0, 2, (double)INFINITY}, {9000, 0, -(double)INFINITY}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        scene->state.tokens = cases[i].tokens;
        scene->facts.train_seconds = cases[i].seconds;
        scene->state.has_best = true;
        scene->state.best_score = cases[i].best;
        json_t *object = status_written(scene, true);
        assert_true(json_is_null(json_object_get(object, "tgt_tok_per_s")));
        assert_true(json_is_null(json_object_get(object, "best_score")));
        json_decref(object);
    }
}

static void a_member_has_a_rank_while_it_is_in_a_generation(void **state)
{
    static const char *const phases[] = {"waiting", "entering", "syncing", "working", "stopping", "leaving"};
    struct scene *scene = status_set(6);
    (void)state;
    for (int i = 0; i < 6; i++)
        scene->members[i].state = (enum member_state)i;
    json_t *object = status_written(scene, true), *members = json_object_get(object, "members");
    for (int i = 0; i < 6; i++) {
        const json_t *member = json_array_get(members, (size_t)i), *rank = json_object_get(member, "rank");
        assert_string_equal(json_string_value(json_object_get(member, "phase")), phases[i]);
        assert_int_equal(test_status_integer(member, "worker"), i + 1);
        assert_true(i >= 1 && i <= 3 ? json_integer_value(rank) == i : json_is_null(rank));
        assert_true(json_real_value(json_object_get(member, "busy_seconds")) == 1.5);
    }
    json_decref(object);
}

static void a_status_of_many_members_fits_its_message(void **state)
{
    struct scene *scene = status_set(MANY);
    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        struct member *member = &scene->members[i];
        memset(member->host, 'h', sizeof member->host - 1);
        memset(member->backend, 'b', sizeof member->backend - 1);
        member->id = member->steps = member->rows = INT64_MAX - i;
        member->busy_ns = member->waited_ns = UINT64_MAX;
    }
    json_t *object = status_written(scene, true);
    assert_int_equal(test_status_integer(object, "workers"), MANY);
    assert_true(json_array_size(json_object_get(object, "members")) > 0);
    json_decref(object);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_status_says_where_the_run_stands),
        cmocka_unit_test(the_best_epoch_is_null_until_there_is_one),
        cmocka_unit_test(a_figure_that_does_not_exist_is_null),
        cmocka_unit_test(a_member_has_a_rank_while_it_is_in_a_generation),
        cmocka_unit_test(a_status_of_many_members_fits_its_message),
    };
    return cmocka_run_group_tests_name("status", tests, NULL, NULL);
}
