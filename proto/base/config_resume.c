/* config_resume.c - which options a resumed run keeps, and which may change.
 *
 * The rules are here only. An option that is in no list, and whose section is in no list, is RESUME_SAME. The help of
 * the training commands is made from these lists. Paths of data may change, because the dataset's fingerprint protects
 * the pairs. */
#include "proto/base/config.h"

#include <string.h>

static const char *const resume_not_kept[] = {"run.dir", "run.resume", "run.overwrite", "curve.insecure", NULL};

static const char *const resume_may_change[] = {
    "data.pairs",        "data.src",     "data.tgt",       "data.valid_pairs",       "data.valid_src",
    "data.valid_tgt",    "train.epochs", "train.patience", "train.threads",          "train.workers",
    "train.min_workers", "train.span",   "train.keep",     "train.checkpoint_every", NULL,
};

/* Sections whose options never affect a run's numbers. */
static const char *const resume_may_change_sections[] = {"cluster.", "worker.", "run.",    "log.",    "translate.",
                                                         "curve.",   "keygen.", "status.", "output.", "bench.",
                                                         "serve.",   "http.",   NULL};

static bool resume_lists(const char *const *list, const char *key)
{
    while (*list != NULL && strcmp(*list, key) != 0)
        list++;
    return *list != NULL;
}

enum option_resume config_resume_rule(const struct option_row *row)
{
    if (resume_lists(resume_not_kept, row->key))
        return RESUME_NOT_KEPT;
    for (const char *const *section = resume_may_change_sections; *section != NULL; section++)
        if (strncmp(row->key, *section, strlen(*section)) == 0)
            return RESUME_MAY_CHANGE;
    return resume_lists(resume_may_change, row->key) ? RESUME_MAY_CHANGE : RESUME_SAME;
}

/* Compare a RESUME_SAME option. */
static bool resume_agrees(const struct config *config, const struct config *run, const struct option_row *row,
                          const char *dir, struct err *err)
{
    struct buffer given = {0}, had = {0};
    config_get(config, row, &given);
    config_get(run, row, &had);
    bool same = buffer_ok(&given, err) && buffer_ok(&had, err);
    if (same && (given.size != had.size || (given.size > 0 && memcmp(given.data, had.data, given.size) != 0)))
        same = err_set(err, ERR_USAGE,
                       "%s is \"%s\" but the run in %s was begun with \"%s\": it can only be continued with that",
                       row->key, given.size > 0 ? given.data : "", dir, had.size > 0 ? had.data : "");
    buffer_free(&given);
    buffer_free(&had);
    return same;
}

bool config_agrees(const struct config *config, const struct config *run, const char *dir, struct err *err)
{
    size_t count;
    const struct option_row *rows = config_options(&count);
    for (size_t i = 0; i < count; i++)
        if (config_resume_rule(&rows[i]) == RESUME_SAME && !resume_agrees(config, run, &rows[i], dir, err))
            return false;
    return true;
}

static void resume_copy(struct config *to, const struct config *from, const struct option_row *row)
{
    static const size_t sizes[] = {
        [OPTION_TYPE_INT] = sizeof(int64_t), [OPTION_TYPE_REAL] = sizeof(double), [OPTION_TYPE_BOOL] = sizeof(bool),
        [OPTION_TYPE_TEXT] = CONFIG_TEXT,    [OPTION_TYPE_LIST] = CONFIG_LIST,    [OPTION_TYPE_CHOICE] = sizeof(int)};
    memcpy((char *)to + row->offset, (const char *)from + row->offset, sizes[row->type]);
}

/* Whether a text or list was given and is not empty. */
static bool resume_names(const struct config *config, const struct config_given *given, const char *key)
{
    size_t count;
    const struct option_row *row = config_option(key);
    return given->row[row - config_options(&count)] && ((const char *)config + row->offset)[0] != '\0';
}

static void resume_clear(char text[CONFIG_TEXT])
{
    memset(text, 0, CONFIG_TEXT);
}

bool config_resume(struct config *config, const struct config_given *given, const struct config *run, const char *dir,
                   struct err *err)
{
    struct config merged = *run;
    size_t count;
    const struct option_row *rows = config_options(&count);
    if (resume_names(config, given, "data.src") || resume_names(config, given, "data.tgt"))
        resume_clear(merged.data_pairs);
    if (resume_names(config, given, "data.pairs")) {
        resume_clear(merged.data_src);
        resume_clear(merged.data_tgt);
    }
    if (resume_names(config, given, "data.valid_src") || resume_names(config, given, "data.valid_tgt"))
        resume_clear(merged.data_valid_pairs);
    if (resume_names(config, given, "data.valid_pairs")) {
        resume_clear(merged.data_valid_src);
        resume_clear(merged.data_valid_tgt);
    }
    for (size_t i = 0; i < count; i++) {
        enum option_resume rule = config_resume_rule(&rows[i]);
        if (rule == RESUME_SAME && given->row[i] && !resume_agrees(config, run, &rows[i], dir, err))
            return false;
        if (rule == RESUME_NOT_KEPT || given->row[i])
            resume_copy(&merged, config, &rows[i]);
    }
    *config = merged;
    return true;
}
