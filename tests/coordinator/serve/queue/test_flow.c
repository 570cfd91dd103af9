/* Flows share tokens, a flood does not delay a flow that sends little, and a batch is of one kind. */
#include "coordinator/serve/queue/flow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BATCH = 64 };

struct scene {
    struct flows flows;
    struct schedule schedule;
    struct sentences sentences;
    struct part parts[4096];
    uint32_t used;
};

static int scene_open(void **state)
{
    struct scene *scene = calloc(1, sizeof *scene);
    assert_true(sentences_open(&scene->sentences, NULL));
    *state = scene;
    return 0;
}

static uint32_t scene_pick(struct scene *scene, struct sentence **picked)
{
    return schedule_pick(&scene->schedule, BATCH, picked);
}

static void scene_free(struct scene *scene, struct sentence **picked, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        part_leave(picked[i]->parts);
        sentences_free(&scene->sentences, picked[i]);
    }
}

static int scene_close(void **state)
{
    struct scene *scene = *state;
    struct sentence *picked[BATCH];
    while (scene->schedule.waiting > 0)
        scene_free(scene, picked, scene_pick(scene, picked));
    flows_close(&scene->flows);
    sentences_close(&scene->sentences);
    free(scene);
    return 0;
}

static struct flow *scene_flow(struct scene *scene, const char *name)
{
    struct flow *flow = flows_get(&scene->flows, &scene->schedule, name, 0);
    assert_non_null(flow);
    return flow;
}

/* `count` different sentences of so many bytes each. */
static void scene_add(struct scene *scene, struct flow *flow, uint32_t count, size_t bytes, uint32_t details)
{
    static char text[65536];
    const struct sentence_kind kind = {.details = details};
    for (uint32_t i = 0; i < count; i++) {
        bool made;
        memset(text, 'x', bytes);
        int size = snprintf(text, sizeof text, "%u", scene->used);
        text[size] = 'x';
        struct sentence *sentence =
            sentences_get(&scene->sentences, &kind, (struct text){text, bytes}, &scene->parts[scene->used++], &made);
        assert_non_null(sentence);
        assert_true(made);
        flow_add(flow, sentence);
    }
}

/* Sentences and tokens of the flow among those picked. */
static uint64_t scene_count(const struct flow *flow, struct sentence **picked, uint32_t count, uint64_t *tokens)
{
    uint64_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        found += picked[i]->flow == flow;
        *tokens += picked[i]->flow == flow ? picked[i]->tokens : 0;
    }
    return found;
}

static void one_flow_fills_a_batch_in_order_of_arrival(void **state)
{
    struct scene *scene = *state;
    struct sentence *picked[BATCH];
    scene_add(scene, scene_flow(scene, "a"), 100, 20, 0);
    assert_int_equal(scene_pick(scene, picked), BATCH);
    for (uint32_t i = 0; i < BATCH; i++)
        assert_int_equal(picked[i]->number, i);
    scene_free(scene, picked, BATCH);
    assert_int_equal(scene_pick(scene, picked), 100 - BATCH);
    scene_free(scene, picked, 100 - BATCH);
    assert_int_equal(scene->schedule.waiting, 0);
    assert_null(scene->schedule.turn);
}

static void a_sentence_beside_a_flood_is_in_the_next_batch(void **state)
{
    struct scene *scene = *state;
    struct sentence *picked[BATCH];
    struct flow *flood = scene_flow(scene, "flood"), *little = scene_flow(scene, "little");
    uint64_t tokens = 0;
    scene_add(scene, flood, 1000, 20, 0);
    for (int batch = 0; batch < 20; batch++) {
        scene_add(scene, little, 1, 200, 0);
        uint32_t count = scene_pick(scene, picked);
        assert_int_equal(scene_count(little, picked, count, &tokens), 1);
        assert_in_range(count, 2, BATCH / 2); /* a short batch, so that the next sentence waits less */
        scene_free(scene, picked, count);
    }
    scene_free(scene, picked, scene_pick(scene, picked));
}

static void flows_get_the_same_share_of_tokens(void **state)
{
    struct scene *scene = *state;
    struct sentence *picked[BATCH];
    struct flow *shorter = scene_flow(scene, "short"), *longer = scene_flow(scene, "long");
    uint64_t tokens[2] = {0, 0};
    scene_add(scene, shorter, 2000, 12, 0);
    scene_add(scene, longer, 300, 240, 0);
    while (longer->waiting > 20 && shorter->waiting > 20) {
        uint32_t count = scene_pick(scene, picked);
        scene_count(shorter, picked, count, &tokens[0]);
        scene_count(longer, picked, count, &tokens[1]);
        scene_free(scene, picked, count);
    }
    double ratio = (double)tokens[0] / (double)tokens[1];
    assert_true(ratio > 0.8 && ratio < 1.25);
    for (uint32_t count; (count = scene_pick(scene, picked)) > 0;)
        scene_free(scene, picked, count);
}

static void a_huge_sentence_does_not_stall_the_turns(void **state)
{
    struct scene *scene = *state;
    struct sentence *picked[BATCH];
    scene_add(scene, scene_flow(scene, "huge"), 3, 60000, 0);
    scene_add(scene, scene_flow(scene, "usual"), 3, 20, 0);
    uint32_t all = 0;
    for (uint32_t count; (count = scene_pick(scene, picked)) > 0; all += count)
        scene_free(scene, picked, count);
    assert_int_equal(all, 6);
}

static void a_batch_is_of_one_kind(void **state)
{
    struct scene *scene = *state;
    struct sentence *picked[BATCH];
    struct flow *flow = scene_flow(scene, "a");
    uint32_t all = 0;
    for (uint32_t i = 0; i < 10; i++)
        scene_add(scene, flow, 3, 20 + i, i % 2);
    for (uint32_t count; (count = scene_pick(scene, picked)) > 0; all += count) {
        for (uint32_t i = 1; i < count; i++)
            assert_int_equal(picked[i]->kind.details, picked[0]->kind.details);
        scene_free(scene, picked, count);
    }
    assert_int_equal(all, 30);
}

static void a_returned_sentence_is_the_next_one(void **state)
{
    struct scene *scene = *state;
    struct sentence *picked[BATCH], *returned;
    struct flow *flow = scene_flow(scene, "a");
    scene_add(scene, flow, 10, 20, 0);
    assert_int_equal(schedule_pick(&scene->schedule, 2, picked), 2);
    returned = picked[0];
    flow_return(flow, picked[1]);
    flow_return(flow, picked[0]);
    assert_ptr_equal(schedule_first(&scene->schedule), returned);
    uint32_t count = scene_pick(scene, picked);
    assert_int_equal(count, 10);
    assert_int_equal(picked[0]->number + 1, picked[1]->number);
    scene_free(scene, picked, count);
}

static void a_suspect_gets_a_small_batch_of_suspects(void **state)
{
    struct scene *scene = *state;
    struct sentence *picked[BATCH];
    struct flow *flow = scene_flow(scene, "a");
    scene_add(scene, flow, 20, 20, 0);
    assert_int_equal(schedule_pick(&scene->schedule, 10, picked), 10);
    for (uint32_t i = 10; i-- > 0;) {
        picked[i]->most = 4;
        flow_return(flow, picked[i]);
    }
    uint32_t sizes[] = {4, 4, 2, 10}, count;
    for (uint32_t i = 0; i < 4; i++) {
        count = scene_pick(scene, picked);
        assert_int_equal(count, sizes[i]);
        scene_free(scene, picked, count);
    }
}

static void idle_flows_are_forgotten(void **state)
{
    struct scene *scene = *state;
    scene_flow(scene, "a");
    scene_flow(scene, "b")->requests = 1;
    assert_int_equal(scene->schedule.known, 2);
    flows_sweep(&scene->flows, FLOW_IDLE_MS - 1);
    assert_int_equal(scene->flows.count, 2);
    flows_sweep(&scene->flows, FLOW_IDLE_MS);
    assert_int_equal(scene->flows.count, 1);
    assert_int_equal(scene->schedule.known, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_flow_fills_a_batch_in_order_of_arrival, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(a_sentence_beside_a_flood_is_in_the_next_batch, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(flows_get_the_same_share_of_tokens, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(a_huge_sentence_does_not_stall_the_turns, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(a_batch_is_of_one_kind, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(a_returned_sentence_is_the_next_one, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(a_suspect_gets_a_small_batch_of_suspects, scene_open, scene_close),
        cmocka_unit_test_setup_teardown(idle_flows_are_forgotten, scene_open, scene_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
