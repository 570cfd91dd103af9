/* scene_place.h - the folder that a test's runs are in, with the pairs that they train on: fixtures for cmocka.
 *
 * place_make is the group's setup, place_remove its teardown, place_clear each test's, after which there are no runs.
 * One place in a program, for the test's own thread. */
#ifndef LSTMQ_TESTS_SUPPORT_SCENE_PLACE_H
#define LSTMQ_TESTS_SUPPORT_SCENE_PLACE_H

#include "proto/base/log.h"
#include "proto/store/file.h"

#include <stdio.h>
#include <stdlib.h>

static struct {
    char folder[40], pairs[64], run[64], run_too[64];
} scene_place_place;

/* 25 pairs. With what scene_configure (trainer_scene.h) sets 20 are to train on and 5 to validate with: 7 steps an
 * epoch, and 2 validation requests. */
static inline bool place_write_pairs(void)
{
    FILE *file = fopen(scene_place_place.pairs, "we");
    if (file == NULL)
        return false;
    for (int i = 0; i < 25; i++)
        fprintf(file, "a%d b%d c d\tw%d x%d y z\n", i % 7, i, i % 5, i);
    return fclose(file) == 0;
}

static inline int place_make(void **state)
{
    (void)state;
    log_open("test", LOG_OFF);
    snprintf(scene_place_place.folder, sizeof scene_place_place.folder, "/tmp/lstmq-scene-XXXXXX");
    if (mkdtemp(scene_place_place.folder) == NULL)
        return -1;
    snprintf(scene_place_place.pairs, sizeof scene_place_place.pairs, "%s/pairs.tsv", scene_place_place.folder);
    snprintf(scene_place_place.run, sizeof scene_place_place.run, "%s/run", scene_place_place.folder);
    snprintf(scene_place_place.run_too, sizeof scene_place_place.run_too, "%s/run-too", scene_place_place.folder);
    return place_write_pairs() ? 0 : -1;
}

static inline int place_clear(void **state)
{
    (void)state;
    return folder_remove(scene_place_place.run, NULL) && folder_remove(scene_place_place.run_too, NULL) ? 0 : -1;
}

static inline int place_remove(void **state)
{
    (void)state;
    return folder_remove(scene_place_place.folder, NULL) ? 0 : -1;
}

#endif
