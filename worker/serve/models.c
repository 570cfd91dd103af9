/* models.c - a list of models under a lock; see models.h. */
#include "worker/serve/models.h"

#include <stdlib.h>

void models_open(struct models *models)
{
    *models = (struct models){.first = NULL};
    pthread_mutex_init(&models->lock, NULL);
}

/* Free a model that is not in the list. */
static void models_destroy(struct loaded_model *model)
{
    if (!model->echo)
        translator_close(&model->translator);
    free(model);
}

void models_close(struct models *models)
{
    while (models->first != NULL) {
        struct loaded_model *gone = models->first;
        models->first = gone->next;
        models_destroy(gone);
    }
    pthread_mutex_destroy(&models->lock);
}

void models_put(struct models *models, struct loaded_model *model)
{
    pthread_mutex_lock(&models->lock);
    model->next = models->first;
    models->first = model;
    pthread_mutex_unlock(&models->lock);
}

/* Take retired models without users out of the list, and free them outside the lock. */
static void models_sweep(struct models *models)
{
    struct loaded_model *gone = NULL;
    pthread_mutex_lock(&models->lock);
    for (struct loaded_model **at = &models->first; *at != NULL;) {
        struct loaded_model *model = *at;
        if (!model->retired || model->uses > 0) {
            at = &model->next;
            continue;
        }
        *at = model->next;
        model->next = gone;
        gone = model;
    }
    pthread_mutex_unlock(&models->lock);
    while (gone != NULL) {
        struct loaded_model *next = gone->next;
        models_destroy(gone);
        gone = next;
    }
}

/* With the lock held. */
static struct loaded_model *models_find(struct models *models, uint64_t version)
{
    struct loaded_model *model = models->first;
    while (model != NULL && (model->version != version || model->retired))
        model = model->next;
    return model;
}

enum models_found models_adopt(struct models *models, uint64_t version, uint64_t manifest, bool echo)
{
    enum models_found found = MODELS_ABSENT;
    pthread_mutex_lock(&models->lock);
    struct loaded_model *model = models_find(models, version);
    if (model != NULL)
        found = model->manifest == manifest && model->echo == echo ? MODELS_PRESENT : MODELS_DIFFERENT;
    for (model = models->first; found == MODELS_ABSENT && model != NULL; model = model->next) {
        if (model->version != 0 || model->retired || model->manifest != manifest || model->echo != echo)
            continue;
        model->version = version;
        found = MODELS_PRESENT;
    }
    pthread_mutex_unlock(&models->lock);
    return found;
}

void models_retire(struct models *models, uint64_t version)
{
    pthread_mutex_lock(&models->lock);
    struct loaded_model *model = models_find(models, version);
    if (model != NULL)
        model->retired = true;
    pthread_mutex_unlock(&models->lock);
    models_sweep(models);
}

void models_forget_versions(struct models *models)
{
    pthread_mutex_lock(&models->lock);
    for (struct loaded_model *model = models->first; model != NULL; model = model->next)
        model->version = 0;
    pthread_mutex_unlock(&models->lock);
}

void models_drop_unnamed(struct models *models)
{
    pthread_mutex_lock(&models->lock);
    for (struct loaded_model *model = models->first; model != NULL; model = model->next)
        model->retired = model->retired || model->version == 0;
    pthread_mutex_unlock(&models->lock);
    models_sweep(models);
}

struct loaded_model *models_take(struct models *models, uint64_t version)
{
    pthread_mutex_lock(&models->lock);
    struct loaded_model *model = models_find(models, version);
    if (model != NULL)
        model->uses++;
    pthread_mutex_unlock(&models->lock);
    return model;
}

void models_give_back(struct models *models, struct loaded_model *model)
{
    pthread_mutex_lock(&models->lock);
    bool last = --model->uses == 0 && model->retired;
    pthread_mutex_unlock(&models->lock);
    if (last)
        models_sweep(models);
}
