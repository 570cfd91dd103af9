/* resume.c - RUN/options.yaml, and what --resume reads from it; see resume.h. */
#include "coordinator/run/resume.h"

#include "coordinator/run/run.h"
#include "proto/base/log.h"
#include "proto/store/checkpoint.h"
#include "proto/store/file.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static const size_t resume_most = (size_t)1 << 20; /* bytes of an options.yaml that are read, at most */

/* The first option that a file does not give; NULL = it gives all, as resume_record writes them. */
static const char *resume_lacks(const struct config_given *given)
{
    size_t count;
    const struct option_row *rows = config_options(&count);
    for (size_t i = 0; i < count; i++)
        if (!given->row[i])
            return rows[i].key;
    return NULL;
}

enum options_file { OPTIONS_MISSING, OPTIONS_UNREADABLE, OPTIONS_READ };

/* Replace the options in `run` by those of options.yaml; `why` says why it is unreadable. A last line without a line
 * end may be truncated within a value ("lr: 0" of "lr: 0.001"), so it is ignored. */
static enum options_file resume_read(const char *path, struct config *run, struct config_given *given, struct err *why)
{
    struct buffer text = {0};
    if (access(path, F_OK) != 0)
        return OPTIONS_MISSING;
    bool read = file_read(path, resume_most, &text, why);
    size_t size = read ? text.size : 0;
    while (size > 0 && text.data[size - 1] != '\n')
        size--;
    read = read && config_parse(run, size == 0 ? "" : text.data, size, path, given, why);
    buffer_free(&text);
    return read ? OPTIONS_READ : OPTIONS_UNREADABLE;
}

/* options.yaml is newer than the checkpoints, but a copy or a full disk may have truncated it. Missing options must not
 * become the built-in values, so they come from the newest checkpoint. */
static bool resume_find(const char *dir, struct config *run, bool *found, struct err *err)
{
    char path[FILE_PATH];
    struct checkpoint_state state;
    struct config_given given = {0};
    struct err why = {0};
    *found = false;
    if (dir[0] == '\0' || access(dir, F_OK) != 0)
        return true;
    config_defaults(run);
    if (!path_join(path, dir, RUN_OPTIONS, err))
        return false;
    enum options_file file = resume_read(path, run, &given, &why);
    const char *lacks = resume_lacks(&given);
    *found = file == OPTIONS_READ && lacks == NULL;
    if (*found)
        return true;
    if (file == OPTIONS_READ)
        err_set(&why, ERR_DATA, "%s: incomplete: %s is not in it", path, lacks);
    if (!checkpoint_latest_state(&state, dir, found, err))
        return false;
    if (!*found)
        return file == OPTIONS_MISSING ||
               err_set(err, ERR_DATA, "%s; correct it, or begin again with --run.overwrite in place of --resume",
                       why.text);
    if (file != OPTIONS_MISSING)
        log_event(LOG_WARN, "options_unread", LOG_FIELDS(LOG_TEXT("path", path), LOG_TEXT("reason", why.text)),
                  "%s; options that it does not give are those of the newest checkpoint", why.text);
    *run = state.config;
    if (file == OPTIONS_READ)
        resume_read(path, run, &given, &why);
    return true;
}

/* Check that the file at `path`, an option of the run, exists. A relative path may lead elsewhere from this folder. */
static bool resume_check_file(const struct config *config, const struct option_row *row, const char *path,
                              struct err *err)
{
    char here[FILE_PATH];
    if (access(path, F_OK) == 0)
        return true;
    int saved = errno;
    bool relative = path[0] != '/' && getcwd(here, sizeof here) != NULL;
    return err_set(err, ERR_IO, "the run in %s has %s \"%s\": %s%s%s: give --%s with its present path", config->run_dir,
                   row->key, path, strerror(saved), relative ? " in " : "", relative ? here : "", row->key);
}

/* Check the files that the run's options name and the user did not give. */
static bool resume_check_files(const struct command *self, const struct config *config,
                               const struct config_given *given, struct err *err)
{
    size_t count;
    const struct option_row *rows = config_options(&count);
    for (size_t i = 0; i < count; i++) {
        const char *field = (const char *)config + rows[i].offset, *path = NULL;
        if ((rows[i].type != OPTION_TYPE_TEXT && rows[i].type != OPTION_TYPE_LIST) || given->row[i] ||
            (rows[i].commands & self->bit) == 0 || config_resume_rule(&rows[i]) == RESUME_NOT_KEPT ||
            (strcmp(rows[i].unit, "file") != 0 && strcmp(rows[i].unit, "folder") != 0))
            continue;
        if (rows[i].type == OPTION_TYPE_TEXT && field[0] != '\0' && !resume_check_file(config, &rows[i], field, err))
            return false;
        while (rows[i].type == OPTION_TYPE_LIST && (path = config_list_next(field, path)) != NULL)
            if (!resume_check_file(config, &rows[i], path, err))
                return false;
    }
    return true;
}

bool resume_config(const struct command *self, struct config *config, struct config_given *given, bool runs,
                   struct err *err)
{
    struct config run;
    bool found;
    size_t count;
    if (!config->run_resume)
        return true;
    if (!resume_find(config->run_dir, &run, &found, err))
        return false;
    if (!found)
        return !runs || config->data_pairs[0] != '\0' || config->data_src[0] != '\0' || config->data_tgt[0] != '\0' ||
               err_set(
                   err, ERR_USAGE,
                   "%s holds no run to continue: give another --run.dir, or begin a run there with --data.pairs FILE",
                   config->run_dir);
    /* 0 lets the program choose; it chose when the run began */
    if (config->train_shards == 0)
        given->row[config_option("train.shards") - config_options(&count)] = false;
    return config_resume(config, given, &run, config->run_dir, err) &&
           (!runs || resume_check_files(self, config, given, err));
}

bool resume_may_record(const struct config *config, struct err *err)
{
    char path[FILE_PATH];
    struct config ignored;
    struct config_given given = {0};
    struct err why = {0};
    config_defaults(&ignored);
    return path_join(path, config->run_dir, RUN_OPTIONS, err) &&
           (config->run_resume || resume_read(path, &ignored, &given, &why) == OPTIONS_MISSING ||
            resume_lacks(&given) == NULL ||
            err_set(
                err, ERR_USAGE,
                "%s: not written by this lstmq: move it, give another --run.dir, or replace it with --run.overwrite",
                path));
}

void resume_record(const struct config *config)
{
    struct config kept = *config;
    struct buffer text = {0};
    struct err why = {0};
    char path[FILE_PATH];
    kept.run_resume = kept.run_overwrite = kept.curve_insecure = false;
    config_dump(&kept, &text);
    if (!path_join(path, config->run_dir, RUN_OPTIONS, &why) || !buffer_ok(&text, &why) ||
        !file_write_atomic(path, text.data, text.size, &why))
        log_event(
            LOG_WARN, "options_unrecorded", LOG_FIELDS(LOG_TEXT("path", config->run_dir), LOG_TEXT("reason", why.text)),
            "%s; training continues, but until its next checkpoint the run has no record of its options", why.text);
    buffer_free(&text);
}
