/* config.h - all options of a command or a run, as one plain struct.
 *
 * config.def is the table; this header turns it into fields. A struct config holds no pointers, so it is copied by
 * assignment and needs no cleanup. It is filled in the order built-in, file, command line. After that it is read-only,
 * and any thread may read it. */
#ifndef LSTMQ_PROTO_BASE_CONFIG_H
#define LSTMQ_PROTO_BASE_CONFIG_H

#include "proto/base/buffer.h"
#include "proto/base/err.h"

#include <stddef.h>
#include <stdint.h>

enum command_bit {
    COMMAND_TRAIN = 1 << 0,
    COMMAND_TRANSLATE = 1 << 1,
    COMMAND_EVALUATE = 1 << 2,
    COMMAND_INSPECT = 1 << 3,
    COMMAND_BENCH = 1 << 4,
    COMMAND_OR_GATE = 1 << 5,
    COMMAND_HELP = 1 << 6,
    COMMAND_COORDINATOR = 1 << 7,
    COMMAND_WORKER = 1 << 8,
    COMMAND_STATUS = 1 << 9,
    COMMAND_KEYGEN = 1 << 10,
    COMMAND_SERVE = 1 << 11,
    COMMAND_TRANSLATE_WORKER = 1 << 12,
    COMMAND_ALL = (1 << 13) - 1,
};

/* The values of CHOICE options, in the order of their rows in config.def. */
enum normalise { NORMALISE_NOTEBOOK, NORMALISE_NFC, NORMALISE_NONE };
enum on_bad_line { BAD_LINE_FAIL, BAD_LINE_SKIP };
enum split { SPLIT_TAIL, SPLIT_SOURCE };
enum vocab_from { VOCAB_FROM_ALL, VOCAB_FROM_TRAIN };
enum unknown { UNKNOWN_FREQUENT, UNKNOWN_OWN };
enum cell { CELL_LSTM, CELL_RNN };
enum optimizer_rule { OPTIMIZER_SGD, OPTIMIZER_ADAM };
enum norm { NORM_DOUBLE, NORM_FLOAT };
enum keep_best { KEEP_VAL_ACC, KEEP_VAL_LOSS, KEEP_BLEU, KEEP_BLEU_NORMALISED };
enum loss_mean { MEAN_BATCH, MEAN_TOKEN };
enum valid_decode { VALID_FREE, VALID_FORCED };
enum precision { PRECISION_FP32, PRECISION_BF16 };
enum reduce { REDUCE_FP32, REDUCE_EXACT, REDUCE_BF16 };
enum follow { FOLLOW_BEST, FOLLOW_LATEST };
enum completion { COMPLETION_NONE, COMPLETION_BASH, COMPLETION_ZSH, COMPLETION_FISH };
enum progress { PROGRESS_AUTO, PROGRESS_LIVE, PROGRESS_PLAIN, PROGRESS_NONE };

/* The bytes of a TEXT and of a LIST with their NULs, and the most entries of a LIST. */
enum { CONFIG_TEXT = 1024, CONFIG_LIST = 8192, CONFIG_ENTRIES = 64 };

struct config {
#define OPTION_INT(section, name, ...)    int64_t section##_##name;
#define OPTION_REAL(section, name, ...)   double section##_##name;
#define OPTION_BOOL(section, name, ...)   bool section##_##name;
#define OPTION_TEXT(section, name, ...)   char section##_##name[CONFIG_TEXT];
#define OPTION_LIST(section, name, ...)   char section##_##name[CONFIG_LIST]; /* read it with config_list_next */
#define OPTION_CHOICE(section, name, ...) int section##_##name;
#include "proto/base/config.def"
#undef OPTION_INT
#undef OPTION_REAL
#undef OPTION_BOOL
#undef OPTION_TEXT
#undef OPTION_LIST
#undef OPTION_CHOICE
};

/* The number of rows of the table. */
enum {
    CONFIG_OPTIONS = 0
#define OPTION_INT(...)    +1
#define OPTION_REAL(...)   +1
#define OPTION_BOOL(...)   +1
#define OPTION_TEXT(...)   +1
#define OPTION_LIST(...)   +1
#define OPTION_CHOICE(...) +1
#include "proto/base/config.def"
#undef OPTION_INT
#undef OPTION_REAL
#undef OPTION_BOOL
#undef OPTION_TEXT
#undef OPTION_LIST
#undef OPTION_CHOICE
};

enum option_type {
    OPTION_TYPE_INT,
    OPTION_TYPE_REAL,
    OPTION_TYPE_BOOL,
    OPTION_TYPE_TEXT,
    OPTION_TYPE_LIST,
    OPTION_TYPE_CHOICE,
};

/* A row of the table, for parsing, help, the man page and tests. All strings are static. */
struct option_row {
    const char *key; /* "train.batch" */
    enum option_type type;
    size_t offset;       /* of the field in struct config */
    double least, most;  /* INT and REAL */
    const char *unit;    /* "" = none */
    const char *choices; /* "fp32|bf16"; CHOICE only */
    unsigned commands;   /* set of enum command_bit */
    const char *alias;   /* NULL or a second long option */
    const char *help;
};

/* All rows, in order, and their number. */
const struct option_row *config_options(size_t *count);

/* The row of a key, or of an older version's key for it; NULL = unknown. */
const struct option_row *config_option(const char *key);

void config_defaults(struct config *config);

/* Set one option from text ("64", "true", "lstm"), with a check of type and range. ERR_USAGE names the key, the value
 * and the allowed values; for an unknown key it suggests one. TEXT must be valid UTF-8 of less than CONFIG_TEXT
 * bytes. A LIST becomes a list of this one entry; "" empties it. */
bool config_set(struct config *config, const char *key, const char *text, struct err *err);

/* Append an entry to a LIST. ERR_USAGE: the entry is empty or no TEXT, or the list is full. */
bool config_add(struct config *config, const char *key, const char *text, struct err *err);

/* The entry of a LIST after `entry`; NULL begins, and ends: for (const char *model = NULL; (model =
 * config_list_next(config->serve_model, model)) != NULL;). A list's own address is its first entry, or "". */
const char *config_list_next(const char list[CONFIG_LIST], const char *entry);

/* Append a row's value to `out`, as config_set reads it; numbers keep every bit. The entries of a LIST are
 * "one, two": to show them, not to read them back. */
void config_get(const struct config *config, const struct option_row *row, struct buffer *out);

/* The key that `name` probably means, if `name` is not an option: equal letters with other '-', '_' and '.', or another
 * tool's name. NULL = unknown. */
const char *config_foreign(const char *name);

/* Whether `name` is another tool's name for the length of training in steps; here it is counted in epochs. */
bool config_is_length(const char *name);

/* Whether `name` is a number of steps. No option with a similar name has that meaning: log.steps has another. */
bool config_counts_steps(const char *name);

/* The key that an older version called `key`; NULL = none. */
const char *config_renamed(const char *key);

/* The options that a file or the command line gave, by their index in the table. */
struct config_given {
    bool row[CONFIG_OPTIONS];
};

/* Read YAML: sections as mappings of scalars ("train:\n  batch: 64"), or flat "train.batch: 64". A LIST is a sequence,
 * or a scalar for its only entry. Errors are ERR_USAGE with "NAME:LINE: " and leave `config` unchanged: unknown and
 * repeated keys, other node kinds, anchors, tags, bad values. Errors call the text `name`. The keys read are added to
 * `given`, which may be NULL, here and below. */
bool config_parse(struct config *config, const char *yaml, size_t size, const char *name, struct config_given *given,
                  struct err *err);

/* config_parse on a file. If `path` has no slash and no such file exists, it is the name of a recipe. Recipes are in
 * $LSTMQ_RECIPES, in ../share/lstmq/recipes beside the executable's folder, and in the source folder of the build.
 * ERR_USAGE lists the existing recipes if there is no such one. */
bool config_load(struct config *config, const char *path, struct config_given *given, struct err *err);

/* The whole configuration as YAML with sections. config_parse reads it back to an equal struct. */
void config_dump(const struct config *config, struct buffer *out);

/* Read a command's arguments (argv[0] is the command's name). --config FILE is read first, wherever it stands, then the
 * other options in order. The first entry of a LIST replaces what the file gave; further ones follow it. Forms:
 * `--key value`, `--key=value`, aliases; for BOOL also a bare `--key` and `--no-key` (the next word is its value only
 * if it is true or false). Only options whose row names `command` are accepted; `--` ends them. Other words are left in
 * argv[1..*words] in order; ERR_USAGE if there are more than `most_words`. `what` reports --help (at once, before
 * --config is read) and --dump-config. */
enum config_request { CONFIG_RUN, CONFIG_HELP, CONFIG_DUMP };
bool config_arguments(struct config *config, unsigned command, int argc, char **argv, int most_words, int *words,
                      enum config_request *what, struct config_given *given, struct err *err);

/* The rule for an option when a run is resumed (--resume); the rules are in config_resume.c. */
enum option_resume {
    RESUME_SAME,       /* it affects the run's numbers: a given value must equal the run's */
    RESUME_MAY_CHANGE, /* a given value replaces the run's */
    RESUME_NOT_KEPT,   /* it belongs to one start only: the run's value is ignored */
};
enum option_resume config_resume_rule(const struct option_row *row);

/* ERR_USAGE names the first RESUME_SAME option that differs between `config` and `run`, the options of the run in
 * folder `dir`, with both values. */
bool config_agrees(const struct config *config, const struct config *run, const char *dir, struct err *err);

/* Complete the options of a resumed run: `config` takes all options that are not in `given` from `run`. ERR_USAGE as
 * config_agrees, for a given option that is not the run's. One given way to name pairs (data.pairs, or data.src and
 * data.tgt) replaces the other. */
bool config_resume(struct config *config, const struct config_given *given, const struct config *run, const char *dir,
                   struct err *err);

#endif
