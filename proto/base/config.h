/* config.h - the options of a command or a run, all of them, as one plain struct.
 *
 * The table is config.def; this header only turns it into fields. A struct config holds no pointers: it is copied by
 * assignment and freed by forgetting it. It is filled in the order built-in, file, command line, and read-only from
 * then on, so any thread may read it. */
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
    COMMAND_ALL = (1 << 11) - 1,
};

/* The values of the options that are a choice, in the order of their rows in config.def. */
enum normalise { NORMALISE_NOTEBOOK, NORMALISE_NFC, NORMALISE_NONE };
enum on_bad_line { BAD_LINE_FAIL, BAD_LINE_SKIP };
enum split { SPLIT_TAIL, SPLIT_SOURCE };
enum vocab_from { VOCAB_FROM_ALL, VOCAB_FROM_TRAIN };
enum unknown { UNKNOWN_FREQUENT, UNKNOWN_OWN };
enum cell { CELL_LSTM, CELL_RNN };
enum optimizer { OPTIMIZER_SGD, OPTIMIZER_ADAM };
enum norm { NORM_DOUBLE, NORM_FLOAT };
enum keep_best { KEEP_VAL_ACC, KEEP_VAL_LOSS, KEEP_BLEU, KEEP_BLEU_NORMALISED };
enum loss_mean { MEAN_BATCH, MEAN_TOKEN };
enum valid_decode { VALID_FREE, VALID_FORCED };
enum precision { PRECISION_FP32, PRECISION_BF16 };
enum reduce { REDUCE_FP32, REDUCE_EXACT, REDUCE_BF16 };
enum progress { PROGRESS_AUTO, PROGRESS_LIVE, PROGRESS_PLAIN, PROGRESS_NONE };

enum { CONFIG_TEXT = 1024 };

struct config {
#define OPTION_INT(section, name, ...)    int64_t section##_##name;
#define OPTION_REAL(section, name, ...)   double section##_##name;
#define OPTION_BOOL(section, name, ...)   bool section##_##name;
#define OPTION_TEXT(section, name, ...)   char section##_##name[CONFIG_TEXT];
#define OPTION_CHOICE(section, name, ...) int section##_##name;
#include "proto/base/config.def"
#undef OPTION_INT
#undef OPTION_REAL
#undef OPTION_BOOL
#undef OPTION_TEXT
#undef OPTION_CHOICE
};

/* How many rows the table has. */
enum {
    CONFIG_OPTIONS = 0
#define OPTION_INT(...)    +1
#define OPTION_REAL(...)   +1
#define OPTION_BOOL(...)   +1
#define OPTION_TEXT(...)   +1
#define OPTION_CHOICE(...) +1
#include "proto/base/config.def"
#undef OPTION_INT
#undef OPTION_REAL
#undef OPTION_BOOL
#undef OPTION_TEXT
#undef OPTION_CHOICE
};

enum option_type { OPTION_TYPE_INT, OPTION_TYPE_REAL, OPTION_TYPE_BOOL, OPTION_TYPE_TEXT, OPTION_TYPE_CHOICE };

/* A row of the table, for help, the man page and tests. All strings are static. */
struct option_row {
    const char *key; /* "train.batch" */
    enum option_type type;
    size_t offset;       /* of its field in struct config */
    double least, most;  /* INT and REAL */
    const char *unit;    /* "" where it has none */
    const char *choices; /* "fp32|bf16"; CHOICE only */
    unsigned commands;   /* set of enum command_bit */
    const char *alias;   /* NULL or a second long option */
    const char *help;
};

/* All rows, in order, and their number. */
const struct option_row *config_options(size_t *count);

/* The row of a key, or NULL. */
const struct option_row *config_option(const char *key);

void config_defaults(struct config *config);

/* Set one option from text ("64", "true", "lstm"), checking type and range. ERR_USAGE names the key, the value and what
 * is allowed; an unknown key has a "did you mean". TEXT is valid UTF-8 of less than CONFIG_TEXT bytes. */
bool config_set(struct config *config, const char *key, const char *text, struct err *err);

/* The value of a row as config_set takes it, appended to `out`; numbers survive the round trip to the bit. */
void config_get(const struct config *config, const struct option_row *row, struct buffer *out);

/* The key that `name` means, which is no option: the same letters with other '-', '_' and '.' between them, or the name
 * of another tool. NULL = none is known. */
const char *config_foreign(const char *name);

/* Whether other tools call the length of training so, in steps: here it is counted in epochs. */
bool config_is_length(const char *name);

/* Whether `name` is a number of steps. Then no option with a similar name means the same: log.steps does not. */
bool config_counts_steps(const char *name);

/* Which options were given, in a file or on the command line, by their places in the table. */
struct config_given {
    bool row[CONFIG_OPTIONS];
};

/* Read YAML: sections as mappings of scalars ("train:\n  batch: 64"), or flat "train.batch: 64". Unknown and repeated keys, other
 * node kinds, anchors, tags and bad values are ERR_USAGE with "NAME:LINE: ", and leave `config` as it was. `name` is what
 * errors call the text. What it gives is added to `given`; NULL = not wanted, here and below. */
bool config_parse(struct config *config, const char *yaml, size_t size, const char *name, struct config_given *given,
                  struct err *err);

/* config_parse on a file, or, when `path` has no slash and no such file exists, on the recipe of that name: it is
 * looked for in $LSTMQ_RECIPES, in ../share/lstmq/recipes beside the executable's folder, and in the sources it was
 * built from. ERR_USAGE when there is none, with the recipes there are. */
bool config_load(struct config *config, const char *path, struct config_given *given, struct err *err);

/* The whole configuration as YAML with sections, which config_parse reads back to an equal struct. */
void config_dump(const struct config *config, struct buffer *out);

/* Read a command's arguments (argv[0] is the command's name): --config FILE first wherever it stands, then the other
 * options in order; `--key value`, `--key=value`, aliases, and for BOOL also a bare `--key` and `--no-key` (the next
 * word is a BOOL's value only where it is true or false). Only options whose row names `command` are taken; `--` ends
 * them. Words that are not options are left in argv[1..*words] in order; ERR_USAGE when there are more than
 * `most_words`. --help (at once, before --config is read) and --dump-config are reported through `what`. */
enum config_request { CONFIG_RUN, CONFIG_HELP, CONFIG_DUMP };
bool config_arguments(struct config *config, unsigned command, int argc, char **argv, int most_words, int *words,
                      enum config_request *what, struct config_given *given, struct err *err);

/* What becomes of an option when a run goes on (--resume); the rules are in config_resume.c. */
enum option_resume {
    RESUME_SAME,       /* it shapes the run's numbers: a value that is given must be the run's */
    RESUME_MAY_CHANGE, /* a value that is given takes the place of the run's */
    RESUME_NOT_KEPT,   /* it concerns one start alone: the run's value does not count */
};
enum option_resume config_resume_rule(const struct option_row *row);

/* ERR_USAGE names the first option of RESUME_SAME in which `config` differs from `run`, the options that the run in
 * folder `dir` has, with both values. */
bool config_agrees(const struct config *config, const struct config *run, const char *dir, struct err *err);

/* The options of a run that goes on: `config`, of which only `given` was given, takes all others from `run`.
 * ERR_USAGE as config_agrees where an option that was given is not the run's. One way to name pairs (data.pairs, or
 * data.src and data.tgt) that is given replaces the other. */
bool config_resume(struct config *config, const struct config_given *given, const struct config *run, const char *dir,
                   struct err *err);

#endif
