/* loader.c - open a checkpoint, try it, offer it to the compute thread; see loader.h. */
#include "worker/serve/loader.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { PROBE_WORDS = 8, PROBE_ROWS = 16 };

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

static bool loader_open_model(struct loader *loader, const struct model_offer *offer, struct loaded_model *model,
                              struct err *err)
{
    char path[MESSAGE_FOLDER + 1];
    if (offer->echo == 1)
        return true;
    memcpy(path, offer->path.data, offer->path.size);
    path[offer->path.size] = '\0';
    if (!translator_open_at(&model->translator, path, "best", loader->config, err))
        return false;
    if (loader_is_offered(&model->translator.checkpoint, offer->manifest, err) && loader_probe(&model->translator, err))
        return true;
    translator_close(&model->translator);
    return false;
}

static struct loaded_model *loader_load(struct loader *loader, const struct model_offer *offer, struct err *err)
{
    struct loaded_model *model = calloc(1, sizeof *model);
    if (model == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a model");
        return NULL;
    }
    model->version = offer->version;
    model->manifest = offer->manifest;
    model->echo = offer->echo == 1;
    if (loader_open_model(loader, offer, model, err))
        return model;
    free(model);
    return NULL;
}

static bool loader_answer(struct loader *loader, const struct model_offer *offer, int64_t begun, const char *reason,
                          struct err *err)
{
    int64_t took_us = (clock_ns() - begun) / 1000;
    const struct message message = {.type = MESSAGE_LOADED,
                                    .loaded = {.version = offer->version,
                                               .ok = reason == NULL,
                                               .load_us = (uint64_t)took_us,
                                               .text = {reason, reason != NULL ? strlen(reason) : 0}}};
    if (reason == NULL)
        log_event(LOG_INFO, "model_loaded",
                  LOG_FIELDS(LOG_COUNT("version", offer->version), LOG_COUNT("step", offer->step),
                             LOG_INT("ms", took_us / 1000)),
                  "loaded version %" PRIu64 ", %.*s to %.*s, step %" PRIu64 ", in %" PRId64 " ms", offer->version,
                  (int)offer->source.size, offer->source.data, (int)offer->target.size, offer->target.data, offer->step,
                  took_us / 1000);
    else
        log_event(LOG_WARN, "model_refused",
                  LOG_FIELDS(LOG_COUNT("version", offer->version), LOG_COUNT("step", offer->step),
                             LOG_TEXT("reason", reason)),
                  "version %" PRIu64 " cannot be used: %s", offer->version, reason);
    return lane_answer(loader->lane, &message, err);
}

static bool loader_offered(struct loader *loader, const struct model_offer *offer, struct err *err)
{
    int64_t begun = clock_ns();
    struct err why = {0};
    enum models_found found = models_adopt(loader->models, offer->version, offer->manifest, offer->echo == 1);
    if (found == MODELS_DIFFERENT)
        return err_set(err, ERR_PROTOCOL, "MODEL: version %" PRIu64 " is another checkpoint already", offer->version);
    if (found == MODELS_PRESENT)
        return loader_answer(loader, offer, begun, NULL, err);
    struct loaded_model *model = loader_load(loader, offer, &why);
    if (model == NULL)
        return loader_answer(loader, offer, begun, why.text, err);
    models_put(loader->models, model);
    models_drop_unnamed(loader->models);
    return loader_answer(loader, offer, begun, NULL, err);
}

bool loader_handle(void *context, const struct message *message, struct err *err)
{
    struct loader *loader = context;
    if (message == NULL) {
        models_forget_versions(loader->models);
        return true;
    }
    if (message->type == MESSAGE_MODEL)
        return loader_offered(loader, &message->model, err);
    if (message->type == MESSAGE_RETIRE) {
        models_retire(loader->models, message->retire.version);
        return true;
    }
    return err_set(err, ERR_PROTOCOL, "%s came without a FETCH before it", message_name(message->type));
}

void loader_close(struct loader *loader)
{
    (void)loader;
}
