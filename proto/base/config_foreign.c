/* config_foreign.c - names that are no option here, and what they mean; see config.h. */
#include "proto/base/config.h"

#include <string.h>

/* Names of other tools (OpenNMT-py, Marian, fairseq, Joey NMT, Sockeye, PyTorch) for options that mean the same here.
 * '-', '_' and '.' do not count: --batch-size and --batchsize are batch_size. */
static const char *const foreign_names[][2] = {
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

/* Their names for the length of training, in steps. */
static const char *const foreign_lengths[] = {"steps",          "num_steps", "train_steps",
                                              "training_steps", "max_steps", "max_update"};

/* Whether two names differ in '-', '_' and '.' at most. */
static bool foreign_same_letters(const char *a, const char *b)
{
    for (;; a++, b++) {
        a += strspn(a, "-_.");
        b += strspn(b, "-_.");
        if (*a != *b || *a == '\0')
            return *a == *b;
    }
}

const char *config_foreign(const char *name)
{
    size_t count;
    const struct option_row *rows = config_options(&count);
    for (size_t i = 0; i < count; i++)
        if (foreign_same_letters(rows[i].key, name))
            return rows[i].key;
    for (size_t i = 0; i < sizeof foreign_names / sizeof foreign_names[0]; i++)
        if (foreign_same_letters(foreign_names[i][0], name))
            return foreign_names[i][1];
    return NULL;
}

bool config_is_length(const char *name)
{
    if (strncmp(name, "train.", 6) == 0)
        name += 6;
    for (size_t i = 0; i < sizeof foreign_lengths / sizeof foreign_lengths[0]; i++)
        if (foreign_same_letters(foreign_lengths[i], name))
            return true;
    return false;
}

bool config_counts_steps(const char *name)
{
    const char *found = strstr(name, "steps");
    return found != NULL && (found == name || strchr("-_.", found[-1]) != NULL);
}
