/* loader.c - find or fetch a checkpoint, open it, try it, offer it to the compute thread; see loader.h. */
#include "worker/serve/loader.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "worker/serve/cache.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xxhash.h>

enum { PROBE_WORDS = 8, PROBE_ROWS = 16, MANIFEST_MOST = 65536, NICENESS = 10 };

/* ---- answers ---- */

static bool loader_loaded(struct loader *loader, const struct offer *offer, struct err *err)
{
    int64_t took_us = (clock_ns() - offer->begun_ns) / 1000;
    const struct message message = {.type = MESSAGE_LOADED,
                                    .loaded = {.version = offer->version, .ok = 1, .load_us = (uint64_t)took_us}};
    log_event(
        LOG_INFO, "model_loaded",
        LOG_FIELDS(LOG_COUNT("version", offer->version), LOG_COUNT("step", offer->step), LOG_INT("ms", took_us / 1000)),
        "loaded version %" PRIu64 ", %s to %s, step %" PRIu64 ", in %" PRId64 " ms", offer->version, offer->source,
        offer->target, offer->step, took_us / 1000);
    return lane_answer(loader->lane, &message, err);
}

static bool loader_refuse(struct loader *loader, const struct offer *offer, const struct err *why, struct err *err)
{
    const struct message message = {.type = MESSAGE_LOADED,
                                    .loaded = {.version = offer->version, .text = {why->text, strlen(why->text)}}};
    log_event(
        LOG_WARN, "model_refused",
        LOG_FIELDS(LOG_COUNT("version", offer->version), LOG_COUNT("step", offer->step), LOG_TEXT("reason", why->text)),
        "version %" PRIu64 " cannot be used: %s", offer->version, why->text);
    return lane_answer(loader->lane, &message, err);
}

/* ---- a model ---- */

/* A manifest is written in one way only, so its hash follows from what was read. */
static bool loader_is_offered(const struct checkpoint *checkpoint, uint64_t manifest, struct err *err)
{
    struct buffer text = {0};
    manifest_write(&checkpoint->manifest, &text);
    bool ok = buffer_ok(&text, err);
    if (ok && XXH3_64bits(text.data, text.size) != manifest)
        ok = err_set(err, ERR_DATA, "%s: is another checkpoint than the queue offers", checkpoint->path);
    buffer_free(&text);
    return ok;
}

/* Translate the vocabulary's first words, alone and several times together. It takes the memory that batches need, and
 * shows that the model works. */
static bool loader_probe(struct translator *translator, struct err *err)
{
    const char *sentences[PROBE_ROWS];
    struct translation translations[PROBE_ROWS];
    struct buffer sentence = {0}, texts = {0};
    size_t size = vocab_size(translator->checkpoint.src);
    for (size_t id = ID_UNKNOWN; id < size && id < ID_UNKNOWN + PROBE_WORDS; id++)
        buffer_format(&sentence, "%s ", vocab_word(translator->checkpoint.src, (uint16_t)id));
    bool ok = buffer_ok(&sentence, err);
    for (size_t i = 0; i < PROBE_ROWS; i++)
        sentences[i] = sentence.size > 0 ? sentence.data : "";
    ok = ok && translator_run(translator, sentences, 1, translations, &texts, err) &&
         translator_run(translator, sentences, PROBE_ROWS, translations, &texts, err);
    buffer_free(&sentence);
    buffer_free(&texts);
    return ok;
}

/* A checkpoint that is being opened, on a thread of its own. */
struct loader_task {
    const struct loader *loader;
    const struct offer *offer;
    const char *path;
    struct backend *backend;
    struct translator *translator;
    bool ok;
    struct err *err;
};

static void *loader_run_task(void *context)
{
    struct loader_task *task = context;
    struct translator *translator = task->translator;
    /* On Linux each thread has a niceness. The first load delays no batch, and all wait for it. */
    if (task->loader->serves)
        setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), getpriority(PRIO_PROCESS, 0) + NICENESS);
    if (!translator_open_at(translator, task->path, task->backend, task->loader->config, task->err))
        return NULL;
    task->ok = loader_is_offered(&translator->checkpoint, task->offer->manifest, task->err) &&
               loader_probe(translator, task->err);
    if (!task->ok)
        translator_close(translator);
    return NULL;
}

/* The backend is opened here, because its threads inherit the niceness of the one that opens it. */
static bool loader_open_translator(struct translator *translator, const struct loader *loader,
                                   const struct offer *offer, const char *path, struct err *err)
{
    const struct config *config = loader->config;
    struct loader_task task = {.loader = loader, .offer = offer, .path = path, .translator = translator, .err = err};
    pthread_t thread;
    task.backend =
        backend_open(config->train_device, (int)config->train_threads, (enum precision)config->train_precision, err);
    if (task.backend == NULL)
        return false;
    errno = pthread_create(&thread, NULL, loader_run_task, &task);
    if (errno != 0) {
        err_errno(err, ERR_FAILED, "cannot start a thread to load a checkpoint");
        backend_close(&task.backend);
        return false;
    }
    pthread_join(thread, NULL);
    return task.ok;
}

/* Open the checkpoint at `path`, or with NULL an echo, and let batches take it. */
static bool loader_open(struct loader *loader, const struct offer *offer, const char *path, struct err *err)
{
    struct loaded_model *model = calloc(1, sizeof *model);
    if (model == NULL)
        return err_set(err, ERR_MEMORY, "no memory for a model");
    model->version = offer->version;
    model->manifest = offer->manifest;
    model->echo = path == NULL;
    if (path != NULL && !loader_open_translator(&model->translator, loader, offer, path, err)) {
        free(model);
        return false;
    }
    models_put(loader->models, model);
    models_drop_unnamed(loader->models);
    loader->serves = true;
    return true;
}

/* ---- where a checkpoint is ---- */

/* Whether the folder has the manifest that the queue offers. */
static bool loader_sees(const struct offer *offer)
{
    char path[FILE_PATH];
    struct buffer text = {0};
    bool sees = offer->path[0] != '\0' && path_join(path, offer->path, MANIFEST_FILE, NULL) &&
                file_read(path, MANIFEST_MOST, &text, NULL) && XXH3_64bits(text.data, text.size) == offer->manifest;
    buffer_free(&text);
    return sees;
}

/* Open the cache's copy. *found: it has one; a damaged copy is removed. */
static bool loader_open_cached(struct loader *loader, const struct offer *offer, bool *found, struct err *err)
{
    char folder[FILE_PATH], path[FILE_PATH];
    if (!cache_locate(folder, loader->config->serve_cache, err) || !cache_entry(path, folder, offer->manifest, err))
        return false;
    *found = cache_use(path);
    if (!*found)
        return true;
    if (loader_open(loader, offer, path, err))
        return true;
    if (err->code == ERR_DATA || err->code == ERR_IO)
        folder_remove(path, NULL);
    return false;
}

static bool loader_fetch(struct loader *loader, const struct offer *offer, struct err *err)
{
    char folder[FILE_PATH], path[FILE_PATH];
    return cache_locate(folder, loader->config->serve_cache, err) && folder_make(folder, err) &&
           cache_partial(path, folder, offer->manifest, err) &&
           fetching_begin(&loader->fetching, path, offer->manifest, err);
}

/* The whole checkpoint has arrived. */
static bool loader_keep(struct loader *loader, const struct offer *offer, struct err *err)
{
    char folder[FILE_PATH];
    bool found = true;
    log_event(LOG_INFO, "model_fetched",
              LOG_FIELDS(LOG_COUNT("version", offer->version), LOG_COUNT("bytes", loader->fetching.bytes)),
              "fetched version %" PRIu64 " from the queue: %" PRIu64 " bytes", offer->version, loader->fetching.bytes);
    if (!cache_locate(folder, loader->config->serve_cache, err) || !cache_keep(folder, offer->manifest, err))
        return false;
    fetching_abandon(&loader->fetching);
    return loader_open_cached(loader, offer, &found, err) &&
           (found || err_set(err, ERR_IO, "%s: the fetched checkpoint was removed", folder));
}

/* Make the first offer usable. *done = false: it must be fetched. */
static bool loader_find(struct loader *loader, const struct offer *offer, bool *done, struct err *err)
{
    struct err why;
    bool found = false;
    *done = true;
    if (offer->echo)
        return loader_open(loader, offer, NULL, err);
    if (loader_sees(offer))
        return loader_open(loader, offer, offer->path, err);
    if (loader_open_cached(loader, offer, &found, &why) && found)
        return true;
    *done = false;
    return loader_fetch(loader, offer, err);
}

/* ---- offers ---- */

static void loader_drop_first(struct loader *loader)
{
    struct offer *gone = loader->first;
    loader->strays += loader->fetching.awaited_count;
    fetching_abandon(&loader->fetching);
    loader->first = gone->next;
    if (loader->first == NULL)
        loader->last = NULL;
    loader->offers--;
    free(gone);
}

/* The work on the first offer is over. */
static bool loader_settle(struct loader *loader, bool ok, const struct err *why, struct err *err)
{
    bool sent = ok ? loader_loaded(loader, loader->first, err) : loader_refuse(loader, loader->first, why, err);
    loader_drop_first(loader);
    return sent;
}

/* Take offers until one must be fetched, and request what it needs. */
static bool loader_advance(struct loader *loader, struct err *err)
{
    while (loader->first != NULL && loader->fetching.state == FETCHING_IDLE && !atomic_load(&loader->ending)) {
        const struct offer *offer = loader->first;
        struct err why = {0};
        bool done = true, ok = true;
        enum models_found found = models_adopt(loader->models, offer->version, offer->manifest, offer->echo);
        if (found == MODELS_DIFFERENT)
            return err_set(err, ERR_PROTOCOL, "MODEL: version %" PRIu64 " is another checkpoint already",
                           offer->version);
        if (found == MODELS_ABSENT)
            ok = loader_find(loader, offer, &done, &why);
        if ((done || !ok) && !loader_settle(loader, ok, &why, err))
            return false;
    }
    struct message message = {.type = MESSAGE_FETCH};
    while (fetching_next(&loader->fetching, &message.fetch))
        if (!lane_answer(loader->lane, &message, err))
            return false;
    return true;
}

static void loader_copy(char *to, const struct text *text)
{
    memcpy(to, text->data, text->size);
    to[text->size] = '\0';
}

static bool loader_offered(struct loader *loader, const struct model_offer *model, struct err *err)
{
    if (loader->offers == LOADER_OFFERS)
        return err_set(err, ERR_PROTOCOL, "MODEL: %d checkpoints wait to be loaded already", LOADER_OFFERS);
    struct offer *offer = calloc(1, sizeof *offer);
    if (offer == NULL)
        return err_set(err, ERR_MEMORY, "no memory for the offer of a checkpoint");
    offer->version = model->version;
    offer->manifest = model->manifest;
    offer->step = model->step;
    offer->echo = model->echo == 1;
    offer->begun_ns = clock_ns();
    loader_copy(offer->source, &model->source);
    loader_copy(offer->target, &model->target);
    loader_copy(offer->path, &model->path);
    if (loader->last == NULL)
        loader->last = &loader->first;
    *loader->last = offer;
    loader->last = &offer->next;
    loader->offers++;
    return true;
}

static bool loader_piece(struct loader *loader, const struct file_piece *piece, struct err *err)
{
    struct err why = {0};
    if (!fetching_awaits(&loader->fetching, piece) && loader->strays > 0) {
        loader->strays--;
        return true;
    }
    bool ok = fetching_take(&loader->fetching, piece, &why);
    if (!ok && why.code == ERR_PROTOCOL) {
        *err = why;
        return false;
    }
    if (ok && !fetching_is_done(&loader->fetching))
        return true;
    ok = ok && loader_keep(loader, loader->first, &why);
    return loader_settle(loader, ok, &why, err);
}

/* A loaded version is retired by the compute thread, behind the batches that it may still have to do. */
static bool loader_retire(struct loader *loader, const struct message *message, struct err *err)
{
    uint64_t version = message->retire.version;
    struct offer **at = &loader->first;
    if (loader->first != NULL && loader->first->version == version) {
        loader_drop_first(loader);
        return true;
    }
    while (*at != NULL && (*at)->version != version)
        at = &(*at)->next;
    struct offer *gone = *at;
    if (gone == NULL) {
        const struct message retire = {.type = MESSAGE_RETIRE, .retire = message->retire};
        return lane_answer(loader->lane, &retire, err);
    }
    *at = gone->next;
    if (gone->next == NULL)
        loader->last = at;
    loader->offers--;
    free(gone);
    return true;
}

bool loader_handle(void *context, const struct message *message, struct err *err)
{
    struct loader *loader = context;
    bool ok = true;
    if (message == NULL) {
        while (loader->first != NULL)
            loader_drop_first(loader);
        loader->strays = 0;
        models_forget_versions(loader->models);
    } else if (message->type == MESSAGE_MODEL) {
        ok = loader_offered(loader, &message->model, err);
    } else if (message->type == MESSAGE_PIECE) {
        ok = loader_piece(loader, &message->piece, err);
    } else {
        ok = loader_retire(loader, message, err);
    }
    return ok && loader_advance(loader, err);
}

void loader_close(struct loader *loader)
{
    while (loader->first != NULL)
        loader_drop_first(loader);
}
