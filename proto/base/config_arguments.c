/* config_arguments.c - options from a command's arguments.
 *
 * getopt_long is not used. It accepts any unambiguous prefix of a name, so a script breaks when an option is added. It
 * keeps its state in global variables, and it has no optional value before a word. */
#include "proto/base/config.h"

#include "proto/base/log.h"
#include "proto/base/typed.h"

#include <stdio.h>
#include <string.h>

enum item_kind { ITEM_END, ITEM_WORD, ITEM_OPTION, ITEM_CONFIG, ITEM_HELP, ITEM_DUMP };

/* One part of a command line: a word, or an option with its value. */
struct item {
    enum item_kind kind;
    const struct option_row *row; /* OPTION */
    char *text;                   /* WORD */
    const char *value;            /* OPTION and CONFIG */
    bool renamed;                 /* OPTION: given by an older version's name */
};

struct scan {
    int argc;
    char **argv;
    unsigned command;
    int at;          /* next argument to read */
    bool words_only; /* "--" was seen */
};

enum { NAME_LONGEST = 63 };

/* The text between "--" and "=" (or the end), truncated beyond the longest name. */
static void arguments_name(const char *argument, char name[NAME_LONGEST + 1])
{
    snprintf(name, NAME_LONGEST + 1, "%.*s", (int)strcspn(argument + 2, "="), argument + 2);
}

static const struct option_row *arguments_find(const char *name, unsigned command)
{
    size_t count;
    const struct option_row *rows = config_options(&count);
    for (size_t i = 0; i < count; i++)
        if ((rows[i].commands & command) != 0 &&
            (strcmp(rows[i].key, name) == 0 || (rows[i].alias != NULL && strcmp(rows[i].alias, name) == 0)))
            return &rows[i];
    const char *renamed = config_renamed(name);
    return renamed == NULL ? NULL : arguments_find(renamed, command);
}

static bool arguments_exists(const char *name)
{
    return arguments_find(name, COMMAND_ALL) != NULL;
}

/* The option that config_foreign finds, if the command has it; NULL = none. */
static const char *arguments_translated(const char *name, unsigned command)
{
    const char *key = config_foreign(name);
    return key != NULL && arguments_find(key, command) != NULL ? key : NULL;
}

/* Suggest one of the command's options; only options that can be off, if the name began with "no-". */
static const char *arguments_meant(const struct scan *scan, const char *name, bool off)
{
    static const char *const always[] = {"config", "dump-config", "help"};
    const char *dot = strrchr(name, '.');
    struct suggest whole = suggest_begin(name), last = suggest_begin(dot == NULL ? name : dot + 1);
    size_t count;
    const struct option_row *rows = config_options(&count);
    for (size_t i = 0; i < count; i++) {
        if ((rows[i].commands & scan->command) == 0 || (off && rows[i].type != OPTION_TYPE_BOOL))
            continue;
        suggest_offer(&whole, rows[i].key, rows[i].key);
        if (rows[i].alias != NULL)
            suggest_offer(&whole, rows[i].alias, rows[i].alias);
        suggest_offer(&last, strchr(rows[i].key, '.') + 1, rows[i].key);
    }
    for (size_t i = 0; !off && i < sizeof always / sizeof always[0]; i++)
        suggest_offer(&whole, always[i], always[i]);
    return suggest_nearer(&whole, &last);
}

static bool arguments_unknown(const struct scan *scan, const char *argument, const char *name, struct err *err)
{
    bool off = strncmp(name, "no-", 3) == 0;
    const char *best = off ? NULL : arguments_translated(name, scan->command);
    const char *what = arguments_exists(name) ? "is an option of other commands" : "is not an option";
    struct typed typed = typed_show(argument);
    typed.shown[strcspn(typed.shown, "=")] = '\0';
    if (best == NULL && config_is_length(name) && arguments_find("train.epochs", scan->command) != NULL)
        return err_set(err, ERR_USAGE, "%s %s; training is counted in epochs: see --train.epochs", typed.shown, what);
    if (best == NULL && !config_counts_steps(name))
        best = arguments_meant(scan, off ? name + 3 : name, off);
    if (best == NULL)
        return err_set(err, ERR_USAGE, "%s %s; see \"lstmq help %s\"", typed.shown, what, scan->argv[0]);
    return err_set(err, ERR_USAGE, "%s %s; did you mean --%s%s?", typed.shown, what, off ? "no-" : "", best);
}

/* The value of an option that needs one: the text after "=", or the next argument unless that is an option. */
static bool arguments_value(struct scan *scan, const char *argument, const char **value, struct err *err)
{
    const char *equals = strchr(argument, '=');
    const char *next = scan->at < scan->argc ? scan->argv[scan->at] : NULL;
    if (equals != NULL) {
        *value = equals + 1;
    } else if (next != NULL && strncmp(next, "--", 2) != 0) {
        *value = next;
        scan->at++;
    } else {
        return err_set(err, ERR_USAGE, "%s needs a value", argument);
    }
    return true;
}

static bool arguments_bool_value(struct scan *scan, const char *argument, const char **value, struct err *err)
{
    const char *next = scan->at < scan->argc ? scan->argv[scan->at] : "";
    if (strchr(argument, '=') != NULL || strcmp(next, "true") == 0 || strcmp(next, "false") == 0)
        return arguments_value(scan, argument, value, err);
    *value = "true";
    return true;
}

static bool arguments_long_option(struct scan *scan, const char *argument, struct item *item, struct err *err)
{
    char name[NAME_LONGEST + 1];
    bool has_value = strchr(argument, '=') != NULL;
    arguments_name(argument, name);
    if (strcmp(name, "config") == 0) {
        item->kind = ITEM_CONFIG;
        return arguments_value(scan, argument, &item->value, err);
    }
    if (strcmp(name, "help") == 0 || strcmp(name, "dump-config") == 0) {
        item->kind = name[0] == 'h' ? ITEM_HELP : ITEM_DUMP;
        return !has_value || err_set(err, ERR_USAGE, "--%s takes no value", name);
    }
    item->kind = ITEM_OPTION;
    item->row = arguments_find(name, scan->command);
    item->renamed = config_renamed(name) != NULL;
    if (item->row != NULL)
        return item->row->type == OPTION_TYPE_BOOL ? arguments_bool_value(scan, argument, &item->value, err)
                                                   : arguments_value(scan, argument, &item->value, err);
    item->row = strncmp(name, "no-", 3) == 0 ? arguments_find(name + 3, scan->command) : NULL;
    if (item->row == NULL || item->row->type != OPTION_TYPE_BOOL)
        return arguments_unknown(scan, argument, name, err);
    item->value = "false";
    return !has_value || err_set(err, ERR_USAGE, "--%s takes no value", name);
}

static bool arguments_next(struct scan *scan, struct item *item, struct err *err)
{
    *item = (struct item){.kind = ITEM_END};
    if (scan->at >= scan->argc)
        return true;
    char *argument = scan->argv[scan->at++];
    if (scan->words_only || argument[0] != '-' || argument[1] == '\0') {
        item->kind = ITEM_WORD;
        item->text = argument;
        return true;
    }
    if (strcmp(argument, "--") == 0) {
        scan->words_only = true;
        return arguments_next(scan, item, err);
    }
    if (strcmp(argument, "-h") == 0) {
        item->kind = ITEM_HELP;
        return true;
    }
    if (argument[1] != '-')
        return err_set(err, ERR_USAGE, "%s is not an option; see \"lstmq help %s\"", typed_show(argument).shown,
                       scan->argv[0]);
    return arguments_long_option(scan, argument, item, err);
}

/* A first pass over the arguments: find the file and the request, and refuse what is not understood. */
static bool arguments_survey(struct scan scan, const char **file, int most_words, enum config_request *what,
                             struct err *err)
{
    int words = 0;
    struct item item;
    do {
        if (!arguments_next(&scan, &item, err))
            return false;
        if (item.kind == ITEM_HELP) {
            *what = CONFIG_HELP;
            return true;
        }
        if (item.kind == ITEM_DUMP)
            *what = CONFIG_DUMP;
        if (item.kind == ITEM_CONFIG && *file != NULL)
            return err_set(err, ERR_USAGE, "--config is given twice");
        if (item.kind == ITEM_CONFIG)
            *file = item.value;
        if (item.kind == ITEM_WORD && ++words > most_words)
            return err_set(err, ERR_USAGE, "unexpected \"%s\"; see \"lstmq help %s\"", typed_show(item.text).shown,
                           scan.argv[0]);
    } while (item.kind != ITEM_END);
    return true;
}

/* Set an option. `typed` has the options before it. */
static bool arguments_set(struct config *config, struct config_given *typed, const struct item *item, struct err *err)
{
    size_t count;
    bool *again = &typed->row[item->row - config_options(&count)];
    bool ok = *again && item->row->type == OPTION_TYPE_LIST ? config_add(config, item->row->key, item->value, err)
                                                            : config_set(config, item->row->key, item->value, err);
    *again = true;
    return ok;
}

bool config_arguments(struct config *config, unsigned command, int argc, char **argv, int most_words, int *words,
                      enum config_request *what, struct config_given *given, struct err *err)
{
    struct scan scan = {.argc = argc, .argv = argv, .command = command, .at = 1};
    const char *file = NULL;
    size_t count;
    *words = 0;
    *what = CONFIG_RUN;
    if (!arguments_survey(scan, &file, most_words, what, err))
        return false;
    if (*what == CONFIG_HELP)
        return true;
    if (file != NULL && !config_load(config, file, given, err))
        return false;
    struct item item;
    struct config_given typed = {0};
    do {
        if (!arguments_next(&scan, &item, err))
            return false;
        if (item.kind == ITEM_OPTION && !arguments_set(config, &typed, &item, err))
            return false;
        if (item.renamed)
            log_say(LOG_WARN, "option_renamed", LOG_FIELDS(LOG_TEXT("option", item.row->key)),
                    "an option has a new name: use --%s", item.row->key);
        if (item.kind == ITEM_OPTION && given != NULL)
            given->row[item.row - config_options(&count)] = true;
        /* A word moves to the front, over arguments that were read. */
        if (item.kind == ITEM_WORD)
            argv[++*words] = item.text;
    } while (item.kind != ITEM_END);
    return true;
}
