/* config_names.c - other names for options: other tools', and those of older versions; see config.h. */
#include "proto/base/config.h"

#include <string.h>

/* Names in other tools (OpenNMT-py, Marian, fairseq, Joey NMT, Sockeye, PyTorch) for options with the same meaning.
 * '-', '_' and '.' do not count: --batch-size and --batchsize are batch_size. */
static const char *const names_foreign[][2] = {
    {"learning_rate", "train.lr"},      {"learn_rate", "train.lr"},        {"initial_learning_rate", "train.lr"},
    {"hidden_size", "model.hidden"},    {"hidden_dim", "model.hidden"},    {"rnn_size", "model.hidden"},
    {"dim_rnn", "model.hidden"},        {"embedding_size", "model.embed"}, {"embedding_dim", "model.embed"},
    {"word_vec_size", "model.embed"},   {"dim_emb", "model.embed"},        {"num_layers", "model.layers"},
    {"batch_size", "train.batch"},      {"mini_batch", "train.batch"},     {"early_stopping", "train.patience"},
    {"max_epoch", "train.epochs"},      {"num_epochs", "train.epochs"},    {"max_num_epochs", "train.epochs"},
    {"clip_norm", "train.clip"},        {"max_grad_norm", "train.clip"},   {"save_dir", "run.dir"},
    {"output_dir", "run.dir"},          {"save_model", "run.dir"},         {"rnn_type", "model.cell"},
    {"cpu_threads", "train.threads"},   {"num_threads", "train.threads"},  {"emb_size", "model.embed"},
    {"emb_dim", "model.embed"},         {"embed_dim", "model.embed"},      {"embed_size", "model.embed"},
    {"hidden_units", "model.hidden"},   {"dec_layers", "model.layers"},    {"n_layers", "model.layers"},
    {"n_epochs", "train.epochs"},       {"gradient_clip", "train.clip"},   {"grad_clip", "train.clip"},
    {"vocab_size", "data.vocab_limit"}, {"optim", "train.optimizer"},      {"checkpoint_dir", "run.dir"},
    {"log_interval", "log.every"},      {"disp_freq", "log.every"},        {"report_every", "log.every"},
};

/* Other tools' names for the length of training in steps. */
static const char *const names_lengths[] = {"steps",          "num_steps", "train_steps",
                                            "training_steps", "max_steps", "max_update"};

/* Whether two names are equal apart from '-', '_' and '.'. */
static bool names_same_letters(const char *a, const char *b)
{
    for (;; a++, b++) {
        a += strspn(a, "-_.");
        b += strspn(b, "-_.");
        if (*a != *b || *a == '\0')
            return *a == *b;
    }
}

/* Keys of older versions, which stored configurations and scripts may hold. */
static const char *const names_renamed[][2] = {
    {"cluster.ping", "cluster.heartbeat"},          {"cluster.timeout", "cluster.heartbeat_timeout"},
    {"cluster.settle", "cluster.join_delay"},       {"worker.patience", "worker.reconnect_timeout"},
    {"worker.silence", "worker.heartbeat_timeout"},
};

const char *config_renamed(const char *key)
{
    for (size_t i = 0; i < sizeof names_renamed / sizeof names_renamed[0]; i++)
        if (strcmp(names_renamed[i][0], key) == 0)
            return names_renamed[i][1];
    return NULL;
}

const char *config_foreign(const char *name)
{
    size_t count;
    const struct option_row *rows = config_options(&count);
    for (size_t i = 0; i < count; i++)
        if (names_same_letters(rows[i].key, name))
            return rows[i].key;
    for (size_t i = 0; i < sizeof names_foreign / sizeof names_foreign[0]; i++)
        if (names_same_letters(names_foreign[i][0], name))
            return names_foreign[i][1];
    return NULL;
}

bool config_is_length(const char *name)
{
    if (strncmp(name, "train.", 6) == 0)
        name += 6;
    for (size_t i = 0; i < sizeof names_lengths / sizeof names_lengths[0]; i++)
        if (names_same_letters(names_lengths[i], name))
            return true;
    return false;
}

bool config_counts_steps(const char *name)
{
    const char *found = strstr(name, "steps");
    return found != NULL && (found == name || strchr("-_.", found[-1]) != NULL);
}
