/* catalog.c - models, and the states of their versions; see catalog.h. */
#include "coordinator/serve/catalog.h"

#include "proto/base/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

size_t catalog_count(const struct catalog *catalog)
{
    return catalog->count;
}

struct catalog_view catalog_at(const struct catalog *catalog, size_t index)
{
    const struct served_model *model = &catalog->models[index];
    const struct version *version = model->current != NULL ? model->current : model->versions;
    struct catalog_view view = {.counts = &model->counts,
                                .waiting = model->schedule.waiting,
                                .oldest_us = schedule_oldest_us(&model->schedule)};
    if (version == NULL)
        return view;
    snprintf(view.source, sizeof view.source, "%s", version->source);
    snprintf(view.target, sizeof view.target, "%s", version->target);
    snprintf(view.hash, sizeof view.hash, "%016" PRIx64, version->manifest);
    view.ready = model->current != NULL && version->loaded > 0;
    view.version = model->current != NULL ? version->number : 0;
    view.step = version->step;
    view.path = model->path != NULL ? version->path : NULL;
    view.src_trigrams = version->src_trigrams;
    view.tgt_trigrams = version->tgt_trigrams;
    return view;
}

void version_free(struct version *version)
{
    for (size_t i = 0; i < version->file_count; i++)
        close(version->files[i].fd);
    detect_table_destroy(&version->src_trigrams);
    detect_table_destroy(&version->tgt_trigrams);
    free(version);
}

static bool catalog_echo(struct catalog *catalog, struct err *err)
{
    struct version *version = calloc(1, sizeof *version);
    if (version == NULL)
        return err_set(err, ERR_MEMORY, "no memory for a queue");
    *version = (struct version){.number = ++catalog->numbers, .model = catalog->models};
    snprintf(version->label, sizeof version->label, "echo");
    snprintf(version->source, sizeof version->source, "en");
    snprintf(version->target, sizeof version->target, "fr");
    catalog->models[0].versions = version;
    return true;
}

/* Two models of one pair of languages: the second would answer nothing. */
static bool catalog_check_pairs(const struct catalog *catalog, struct err *err)
{
    for (size_t i = 0; i < catalog->count; i++) {
        const struct version *one = catalog->models[i].versions;
        for (size_t k = 0; k < i && one != NULL; k++) {
            const struct version *other = catalog->models[k].versions;
            if (other != NULL && strcasecmp(one->source, other->source) == 0 &&
                strcasecmp(one->target, other->target) == 0)
                return err_set(err, ERR_USAGE,
                               "--model %s and --model %s both translate from %s to %s: give one of them",
                               catalog->models[k].path, catalog->models[i].path, one->source, one->target);
        }
    }
    return true;
}

bool catalog_open(struct catalog *catalog, const struct config *config, struct err *err)
{
    const char *path = NULL;
    *catalog = (struct catalog){.config = config};
    if (!config->serve_echo && config->serve_model[0] == '\0')
        return err_set(err, ERR_USAGE, "no model: give --model RUN_OR_CHECKPOINT");
    catalog->models = calloc(CONFIG_ENTRIES, sizeof *catalog->models);
    if (catalog->models == NULL)
        return err_set(err, ERR_MEMORY, "no memory for a queue");
    for (size_t i = 0; i < CONFIG_ENTRIES; i++)
        counts_begin(&catalog->models[i].counts);
    if (config->serve_echo) {
        catalog->count = 1;
        return catalog_echo(catalog, err);
    }
    while ((path = config_list_next(config->serve_model, path)) != NULL) {
        if (access(path, R_OK | X_OK) != 0)
            return err_errno(err, ERR_USAGE, "--model %s", path);
        catalog->models[catalog->count++].path = path;
    }
    catalog_look(catalog);
    return catalog_check_pairs(catalog, err);
}

void catalog_close(struct catalog *catalog)
{
    for (size_t i = 0; i < catalog->count; i++) {
        for (struct version *at = catalog->models[i].versions, *next; at != NULL; at = next) {
            next = at->next;
            version_free(at);
        }
    }
    free(catalog->models);
    *catalog = (struct catalog){0};
}

static bool catalog_is(const char *code, struct text text)
{
    return strlen(code) == text.size && strncasecmp(code, text.data, text.size) == 0;
}

struct served_model *catalog_model(const struct catalog *catalog, struct text source, struct text target)
{
    for (size_t i = 0; i < catalog->count; i++) {
        struct served_model *model = &catalog->models[i];
        const struct version *version = model->current != NULL ? model->current : model->versions;
        if (source.size == 0 && target.size == 0)
            return model;
        if (version != NULL && catalog_is(version->source, source) && catalog_is(version->target, target))
            return model;
    }
    return NULL;
}

struct version *catalog_serving(const struct served_model *model)
{
    struct version *version = model->current;
    for (struct version *at = model->versions; at != NULL && version == NULL; at = at->next)
        version = at->state == VERSION_OFFERED ? at : NULL;
    return version;
}

void catalog_promote(struct version *version)
{
    struct served_model *model = version->model;
    struct version *before = model->current;
    if (before != NULL)
        before->state = VERSION_OLD;
    version->state = VERSION_CURRENT;
    model->current = version;
    for (struct version *at = version->next; at != NULL; at = at->next)
        if (at->state == VERSION_OFFERED)
            at->state = VERSION_OLD;
    log_event(LOG_INFO, "model_current",
              LOG_FIELDS(LOG_TEXT("model", version->label), LOG_COUNT("version", version->number),
                         LOG_TEXT("before", before != NULL ? before->label : NULL)),
              "serving %s", version->label);
}

void catalog_fail(struct version *version)
{
    version->state = VERSION_FAILED;
    log_event(LOG_WARN, "model_failed",
              LOG_FIELDS(LOG_TEXT("model", version->label), LOG_COUNT("version", version->number)),
              "no worker can load %s: %s; workers that join later try it too", version->label,
              version->model->current != NULL ? "the checkpoint before it serves on" : "there is no other");
}

void catalog_sweep(struct catalog *catalog)
{
    for (size_t i = 0; i < catalog->count; i++) {
        for (struct version **at = &catalog->models[i].versions; *at != NULL;) {
            struct version *version = *at;
            bool unused = version->requests == 0 && version->holders == 0;
            bool failed = version->state == VERSION_FAILED && version != catalog->models[i].versions;
            if (unused && (version->state == VERSION_OLD || failed)) {
                *at = version->next;
                version_free(version);
            } else {
                at = &version->next;
            }
        }
    }
}

static const struct version_file *version_file_of(const struct version *version, uint64_t hash)
{
    for (size_t i = 0; version != NULL && i < version->file_count; i++)
        if (version->files[i].hash == hash)
            return &version->files[i];
    return NULL;
}

/* Versions may share a hash, and the file of one that no worker has loaded may be damaged: what serves comes first. */
const struct version_file *catalog_file(const struct catalog *catalog, uint64_t hash)
{
    const struct version_file *found = NULL;
    for (size_t i = 0; i < catalog->count && found == NULL; i++)
        found = version_file_of(catalog->models[i].current, hash);
    for (size_t i = 0; i < catalog->count; i++)
        for (const struct version *at = catalog->models[i].versions; at != NULL && found == NULL; at = at->next)
            found = version_file_of(at, hash);
    return found;
}

struct version *catalog_version(const struct catalog *catalog, uint64_t number)
{
    for (size_t i = 0; i < catalog->count; i++)
        for (struct version *at = catalog->models[i].versions; at != NULL; at = at->next)
            if (at->number == number)
                return at;
    return NULL;
}
