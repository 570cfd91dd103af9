/* models.h - the checkpoints that a translation worker has loaded, by the queue's version numbers.
 *
 * The loader thread puts models here; the compute thread takes the one that a batch names, gives it back after the
 * batch, and retires models. A lock separates the two. A retired model is freed when no batch uses it.
 *
 * A queue that was restarted counts versions from the start. So after a new connection no model has a version
 * (models_forget_versions), until the queue offers the same manifest again (models_adopt) or another model is loaded
 * (models_drop_unnamed). Owned by the worker, which outlives both threads. */
#ifndef LSTMQ_WORKER_SERVE_MODELS_H
#define LSTMQ_WORKER_SERVE_MODELS_H

#include "worker/model/translator.h"

#include <pthread.h>

struct loaded_model {
    uint64_t version;  /* 0 = none on this connection */
    uint64_t manifest; /* XXH3 of its manifest.json */
    bool echo;         /* there is no translator */
    struct translator translator;
    unsigned uses; /* batches that use it now */
    bool retired;
    struct loaded_model *next;
};

struct models {
    pthread_mutex_t lock;
    struct loaded_model *first;
};

void models_open(struct models *models);
void models_close(struct models *models);

/* Any batch may now take it. The list owns it. */
void models_put(struct models *models, struct loaded_model *model);

enum models_found { MODELS_ABSENT, MODELS_PRESENT, MODELS_DIFFERENT };

/* Whether this version is loaded, or a model without version that can be it. MODELS_DIFFERENT: the version is loaded
 * with another manifest. */
enum models_found models_adopt(struct models *models, uint64_t version, uint64_t manifest, bool echo);

/* Unknown versions are ignored. */
void models_retire(struct models *models, uint64_t version);

void models_forget_versions(struct models *models);
void models_drop_unnamed(struct models *models);

/* The model of a version, until models_give_back; NULL: not loaded. Compute thread. */
struct loaded_model *models_take(struct models *models, uint64_t version);
void models_give_back(struct models *models, struct loaded_model *model);

#endif
