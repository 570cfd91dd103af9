/* trainer_scene.h - what a trainer stands on, for tests: the dataset and the plan that a file of pairs makes, a run's
 * folder, a loop. The worker, and the socket to it, are the test's.
 *
 *   scene_configure -> scene_open_data
 *     -> (scene_open_run -> scene_open_trainer -> scene_close_trainer -> scene_close_run)* -> scene_close_data
 *
 * No function here fails a test; each says in `err` why it did not do what it should. One thread. */
#ifndef LSTMQ_TESTS_SUPPORT_TRAINER_SCENE_H
#define LSTMQ_TESTS_SUPPORT_TRAINER_SCENE_H

#include "coordinator/cluster/trainer.h"
#include "proto/base/random.h"

#include <stdio.h>
#include <zmq.h>

struct scene {
    struct config config;
    struct dataset dataset;
    struct samples samples;
    struct plan plan;
    struct display display;
    /* of a part of the run, from its beginning or its last checkpoint on */
    struct run run;
    struct checkpoint checkpoint; /* where `found` */
    bool found;
    struct loop *loop;
    struct trainer *trainer;
};

/* Defaults, but for where the pairs and the run are, and for what makes both small and the same each time: two epochs
 * of batches of 3 in two shards, in spans of two steps, each step with a record, on one thread. */
static inline void scene_configure(struct config *config, const char *pairs, const char *run)
{
    config_defaults(config);
    snprintf(config->data_pairs, sizeof config->data_pairs, "%s", pairs);
    snprintf(config->run_dir, sizeof config->run_dir, "%s", run);
    config->data_normalise = NORMALISE_NONE; /* digits count */
    config->data_valid_fraction = 0.2;
    config->data_split = SPLIT_TAIL;
    config->train_epochs = 2;
    config->train_batch = 3;
    config->train_shards = 2;
    config->train_span = 2;
    config->train_threads = 1;
    config->log_steps = 1000;
    config->run_progress = PROGRESS_NONE;
}

/* Read the pairs and plan the first epoch. */
static inline bool scene_open_data(struct scene *scene, struct err *err)
{
    const struct config *config = &scene->config;
    struct mt19937 stream;
    mt19937_seed(&stream, (uint64_t)config->train_seed);
    progress_open(&scene->display, PROGRESS_NONE, 1);
    return dataset_read(&scene->dataset, config, &stream, err) &&
           samples_open(&scene->samples, &scene->dataset, config, err) &&
           plan_open(&scene->plan, scene->dataset.train, (uint32_t)config->train_batch, (uint32_t)config->train_shards,
                     &stream, err);
}

/* A new run; where run.resume is set, the one that is there, from its last checkpoint if it has one. */
static inline bool scene_open_run(struct scene *scene, struct err *err)
{
    const struct config *config = &scene->config;
    scene->found = false;
    if (!run_open(&scene->run, config, err))
        return false;
    if (!config->run_resume)
        return true;
    if (!run_resume(&scene->run, config, scene->dataset.fingerprint, &scene->checkpoint, &scene->found, err))
        return false;
    if (scene->found)
        run_rewind(&scene->run, scene->checkpoint.state.epoch, scene->checkpoint.state.step);
    return true;
}

/* A ROUTER as a trainer wants it; the caller's. NULL where it cannot be. */
static inline void *scene_router(void *zmq_context, const char *endpoint)
{
    const int mandatory = 1, linger = 0;
    void *socket = zmq_socket(zmq_context, ZMQ_ROUTER);
    if (socket != NULL && zmq_setsockopt(socket, ZMQ_ROUTER_MANDATORY, &mandatory, sizeof mandatory) == 0 &&
        zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger) == 0 && zmq_bind(socket, endpoint) == 0)
        return socket;
    if (socket != NULL)
        zmq_close(socket);
    return NULL;
}

/* `journal` and `ledger` are the caller's, open, or NULL both. */
static inline bool scene_open_trainer(struct scene *scene, void *socket, struct journal *journal, struct ledger *ledger,
                                      struct err *err)
{
    scene->loop = loop_new(err);
    if (scene->loop == NULL)
        return false;
    const struct trainer_parts parts = {.config = &scene->config,
                                        .dataset = &scene->dataset,
                                        .plan = &scene->plan,
                                        .samples = &scene->samples,
                                        .run = &scene->run,
                                        .display = &scene->display,
                                        .loop = scene->loop,
                                        .socket = socket,
                                        .checkpoint = scene->found ? &scene->checkpoint : NULL,
                                        .journal = journal,
                                        .ledger = ledger};
    scene->trainer = trainer_new(&parts, err);
    return scene->trainer != NULL;
}

static inline void scene_close_trainer(struct scene *scene)
{
    trainer_destroy(&scene->trainer);
    loop_destroy(&scene->loop);
}

static inline void scene_close_run(struct scene *scene)
{
    if (scene->found)
        checkpoint_close(&scene->checkpoint);
    scene->found = false;
    run_close(&scene->run);
}

static inline void scene_close_data(struct scene *scene)
{
    progress_close(&scene->display);
    plan_close(&scene->plan);
    samples_close(&scene->samples);
    dataset_free(&scene->dataset);
}

#endif
