/* config.c - the table of options, and one option at a time: defaults, text to value, value to text, the dump. */
#include "proto/base/config.h"

#include "proto/base/typed.h"
#include "proto/base/utf8.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct option_row config_rows[] = {
#define FIELD(section, name) .key = #section "." #name, .offset = offsetof(struct config, section##_##name)
#define OPTION_INT(section, name, value, low, high, units, set, other, text)                                           \
    {FIELD(section, name), .type = OPTION_TYPE_INT, .least = (low),   .most = (high),                                  \
     .unit = (units),      .commands = (set),       .alias = (other), .help = (text)},
#define OPTION_REAL(section, name, value, low, high, units, set, other, text)                                          \
    {FIELD(section, name), .type = OPTION_TYPE_REAL, .least = (low),   .most = (high),                                 \
     .unit = (units),      .commands = (set),        .alias = (other), .help = (text)},
#define OPTION_BOOL(section, name, value, set, other, text)                                                            \
    {FIELD(section, name), .type = OPTION_TYPE_BOOL, .unit = "", .commands = (set), .alias = (other), .help = (text)},
#define OPTION_TEXT(section, name, value, units, set, other, text)                                                     \
    {FIELD(section, name), .type = OPTION_TYPE_TEXT, .unit = (units),                                                  \
     .commands = (set),    .alias = (other),         .help = (text)},
#define OPTION_LIST(section, name, units, set, other, text)                                                            \
    {FIELD(section, name), .type = OPTION_TYPE_LIST, .unit = (units),                                                  \
     .commands = (set),    .alias = (other),         .help = (text)},
#define OPTION_CHOICE(section, name, value, names, set, other, text)                                                   \
    {FIELD(section, name), .type = OPTION_TYPE_CHOICE, .unit = "",    .choices = (names),                              \
     .commands = (set),    .alias = (other),           .help = (text)},
#include "proto/base/config.def"
#undef OPTION_INT
#undef OPTION_REAL
#undef OPTION_BOOL
#undef OPTION_TEXT
#undef OPTION_LIST
#undef OPTION_CHOICE
#undef FIELD
};

enum { CHOICE_LONGEST = 31 };

const struct option_row *config_options(size_t *count)
{
    *count = CONFIG_OPTIONS;
    return config_rows;
}

const struct option_row *config_option(const char *key)
{
    for (size_t i = 0; i < CONFIG_OPTIONS; i++)
        if (strcmp(config_rows[i].key, key) == 0)
            return &config_rows[i];
    const char *renamed = config_renamed(key);
    return renamed == NULL ? NULL : config_option(renamed);
}

void config_defaults(struct config *config)
{
    /* Cleared first, so that equal configurations are equal bytes. */
    memset(config, 0, sizeof *config);
#define OPTION_INT(section, name, value, ...)  config->section##_##name = (value);
#define OPTION_REAL(section, name, value, ...) config->section##_##name = (value);
#define OPTION_BOOL(section, name, value, ...) config->section##_##name = (value);
#define OPTION_TEXT(section, name, value, ...) memcpy(config->section##_##name, (value), sizeof(value));
#define OPTION_LIST(...)
#define OPTION_CHOICE(section, name, value, ...) config->section##_##name = (value);
#include "proto/base/config.def"
#undef OPTION_INT
#undef OPTION_REAL
#undef OPTION_BOOL
#undef OPTION_TEXT
#undef OPTION_LIST
#undef OPTION_CHOICE
}

/* The index of `text` among the choices; -1 = none. */
static int config_choice_index(const char *choices, const char *text)
{
    size_t size = strlen(text);
    for (int index = 0;; index++) {
        size_t length = strcspn(choices, "|");
        if (length == size && memcmp(choices, text, size) == 0)
            return index;
        if (choices[length] == '\0')
            return -1;
        choices += length + 1;
    }
}

static void config_choice_name(const char *choices, int index, char name[CHOICE_LONGEST + 1])
{
    for (; index > 0; index--)
        choices += strcspn(choices, "|") + 1;
    snprintf(name, CHOICE_LONGEST + 1, "%.*s", (int)strcspn(choices, "|"), choices);
}

static bool config_set_int(const struct option_row *row, const char *text, int64_t *field, struct err *err)
{
    const char *digits = text[0] == '-' ? text + 1 : text;
    errno = 0;
    long long value = strtoll(text, NULL, 10);
    if (digits[0] == '\0' || digits[strspn(digits, "0123456789")] != '\0' || errno != 0 || (double)value < row->least ||
        (double)value > row->most)
        return err_set(err, ERR_USAGE, "%s: \"%s\" is not a whole number from %.0f to %.0f", row->key,
                       typed_show(text).shown, row->least, row->most);
    *field = value;
    return true;
}

static bool config_set_real(const struct option_row *row, const char *text, double *field, struct err *err)
{
    char *end = NULL;
    errno = 0;
    double value = strtod(text, &end);
    /* These characters exclude "inf", "nan", hexadecimal and leading white space, which strtod would accept. */
    bool number = text[0] != '\0' && text[strspn(text, "0123456789+-.eE")] == '\0' && *end == '\0';
    bool lost = errno == ERANGE && (value == 0.0 || isinf(value));
    if (!number || lost || !(value >= row->least && value <= row->most))
        return err_set(err, ERR_USAGE, "%s: \"%s\" is not a number from %.15g to %.15g", row->key,
                       typed_show(text).shown, row->least, row->most);
    *field = value;
    return true;
}

static bool config_set_bool(const struct option_row *row, const char *text, bool *field, struct err *err)
{
    bool is_true = strcmp(text, "true") == 0;
    if (!is_true && strcmp(text, "false") != 0)
        return err_set(err, ERR_USAGE, "%s: \"%s\" is neither true nor false", row->key, typed_show(text).shown);
    *field = is_true;
    return true;
}

/* Whether `text` is valid UTF-8 of less than CONFIG_TEXT bytes. */
static bool config_check_text(const struct option_row *row, const char *text, struct err *err)
{
    size_t size = strlen(text);
    if (size >= CONFIG_TEXT)
        return err_set(err, ERR_USAGE, "%s: a text of %zu bytes; %d is the most", row->key, size, CONFIG_TEXT - 1);
    uint32_t code;
    for (size_t at = 0, length; at < size; at += length) {
        length = utf8_next(text + at, size - at, &code);
        if (length == 0)
            return err_set(err, ERR_USAGE, "%s: \"%s\" is not valid UTF-8 (byte %zu)", row->key, typed_show(text).shown,
                           at + 1);
    }
    return true;
}

static bool config_set_text(const struct option_row *row, const char *text, char *field, struct err *err)
{
    if (!config_check_text(row, text, err))
        return false;
    memset(field, 0, CONFIG_TEXT);
    memcpy(field, text, strlen(text));
    return true;
}

/* A list is its entries, each with its NUL, and zeroes up to CONFIG_LIST: at least one, which ends it. */
const char *config_list_next(const char list[CONFIG_LIST], const char *entry)
{
    const char *next = entry == NULL ? list : entry + strlen(entry) + 1;
    return *next == '\0' ? NULL : next;
}

static bool config_set_list(const struct option_row *row, const char *text, char *field, struct err *err)
{
    if (!config_check_text(row, text, err))
        return false;
    memset(field, 0, CONFIG_LIST);
    memcpy(field, text, strlen(text));
    return true;
}

static bool config_unknown_key(const char *key, struct err *err)
{
    const char *dot = strrchr(key, '.');
    struct suggest whole = suggest_begin(key), last = suggest_begin(dot == NULL ? key : dot + 1);
    for (size_t i = 0; i < CONFIG_OPTIONS; i++) {
        suggest_offer(&whole, config_rows[i].key, config_rows[i].key);
        suggest_offer(&last, strchr(config_rows[i].key, '.') + 1, config_rows[i].key);
        if (config_rows[i].alias != NULL)
            suggest_offer(&last, config_rows[i].alias, config_rows[i].key);
    }
    const char *best = config_foreign(key);
    if (best == NULL && dot != NULL)
        best = config_foreign(dot + 1);
    if (best == NULL && config_is_length(key))
        return err_set(err, ERR_USAGE, "unknown key \"%s\"; training is counted in epochs: see train.epochs",
                       typed_show(key).shown);
    if (best == NULL && !config_counts_steps(key))
        best = suggest_nearer(&whole, &last);
    if (best == NULL)
        return err_set(err, ERR_USAGE, "unknown key \"%s\"", typed_show(key).shown);
    return err_set(err, ERR_USAGE, "unknown key \"%s\"; did you mean \"%s\"?", typed_show(key).shown, best);
}

bool config_add(struct config *config, const char *key, const char *text, struct err *err)
{
    const struct option_row *row = config_option(key);
    if (row == NULL)
        return config_unknown_key(key, err);
    if (row->type != OPTION_TYPE_LIST)
        return err_set(err, ERR_USAGE, "%s takes one value, not several", row->key);
    char *list = (char *)config + row->offset;
    size_t used = 0, count = 0, size = strlen(text) + 1;
    for (const char *entry = NULL; (entry = config_list_next(list, entry)) != NULL; count++)
        used += strlen(entry) + 1;
    if (size == 1)
        return err_set(err, ERR_USAGE, "%s: entry %zu is empty", row->key, count + 1);
    if (!config_check_text(row, text, err))
        return false;
    if (count == CONFIG_ENTRIES)
        return err_set(err, ERR_USAGE, "%s: more than %d entries", row->key, CONFIG_ENTRIES);
    if (used + size >= CONFIG_LIST)
        return err_set(err, ERR_USAGE, "%s: %zu entries of %zu bytes together; %d is the most", row->key, count + 1,
                       used + size, CONFIG_LIST - 1);
    memcpy(list + used, text, size);
    return true;
}

static bool config_set_choice(const struct option_row *row, const char *text, int *field, struct err *err)
{
    int index = config_choice_index(row->choices, text);
    if (index < 0)
        return err_set(err, ERR_USAGE, "%s: \"%s\" is not one of %s", row->key, typed_show(text).shown, row->choices);
    *field = index;
    return true;
}

bool config_set(struct config *config, const char *key, const char *text, struct err *err)
{
    const struct option_row *row = config_option(key);
    if (row == NULL)
        return config_unknown_key(key, err);
    void *field = (char *)config + row->offset;
    switch (row->type) {
    case OPTION_TYPE_INT:
        return config_set_int(row, text, field, err);
    case OPTION_TYPE_REAL:
        return config_set_real(row, text, field, err);
    case OPTION_TYPE_BOOL:
        return config_set_bool(row, text, field, err);
    case OPTION_TYPE_TEXT:
        return config_set_text(row, text, field, err);
    case OPTION_TYPE_LIST:
        return config_set_list(row, text, field, err);
    case OPTION_TYPE_CHOICE:
        return config_set_choice(row, text, field, err);
    }
    return err_set(err, ERR_FAILED, "%s has a type that is not known", key);
}

/* The shortest text that strtod reads back to the same bits; 17 digits are always enough. */
static void config_get_real(double value, struct buffer *out)
{
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    buffer_text(out, text);
}

static void config_get_list(const char *list, struct buffer *out)
{
    const char *before = "";
    buffer_text(out, "");
    for (const char *entry = NULL; (entry = config_list_next(list, entry)) != NULL; before = ", ")
        buffer_format(out, "%s%s", before, entry);
}

void config_get(const struct config *config, const struct option_row *row, struct buffer *out)
{
    const void *field = (const char *)config + row->offset;
    char name[CHOICE_LONGEST + 1];
    switch (row->type) {
    case OPTION_TYPE_INT:
        buffer_format(out, "%lld", (long long)*(const int64_t *)field);
        break;
    case OPTION_TYPE_REAL:
        config_get_real(*(const double *)field, out);
        break;
    case OPTION_TYPE_BOOL:
        buffer_text(out, *(const bool *)field ? "true" : "false");
        break;
    case OPTION_TYPE_TEXT:
        buffer_text(out, field);
        break;
    case OPTION_TYPE_LIST:
        config_get_list(field, out);
        break;
    case OPTION_TYPE_CHOICE:
        config_choice_name(row->choices, *(const int *)field, name);
        buffer_text(out, name);
        break;
    }
}

/* A YAML double-quoted scalar. Escapes the characters that YAML refuses or would fold. */
static void config_dump_text(const char *text, struct buffer *out)
{
    buffer_text(out, "\"");
    size_t size = strlen(text);
    uint32_t code = 0;
    for (size_t at = 0, length; at < size; at += length) {
        length = utf8_next(text + at, size - at, &code);
        if (length == 0)
            break;
        bool plain = (code >= 0x20 && code < 0x7f) || (code > 0xa0 && code != 0x2028 && code != 0x2029 &&
                                                       code != 0xfeff && code != 0xfffe && code != 0xffff);
        if (code == '"' || code == '\\')
            buffer_format(out, "\\%c", (int)code);
        else if (plain)
            buffer_append(out, text + at, length);
        else
            buffer_format(out, "\\u%04X", (unsigned)code);
    }
    buffer_text(out, "\"");
}

static void config_dump_list(const char *list, struct buffer *out)
{
    const char *before = "";
    buffer_text(out, "[");
    for (const char *entry = NULL; (entry = config_list_next(list, entry)) != NULL; before = ", ") {
        buffer_text(out, before);
        config_dump_text(entry, out);
    }
    buffer_text(out, "]");
}

void config_dump(const struct config *config, struct buffer *out)
{
    const char *section = "";
    size_t section_size = 0;
    for (size_t i = 0; i < CONFIG_OPTIONS; i++) {
        const struct option_row *row = &config_rows[i];
        size_t size = strcspn(row->key, ".");
        if (size != section_size || memcmp(section, row->key, size) != 0) {
            section = row->key;
            section_size = size;
            buffer_format(out, "%.*s:\n", (int)size, section);
        }
        buffer_format(out, "  %s: ", row->key + size + 1);
        if (row->type == OPTION_TYPE_TEXT)
            config_dump_text((const char *)config + row->offset, out);
        else if (row->type == OPTION_TYPE_LIST)
            config_dump_list((const char *)config + row->offset, out);
        else
            config_get(config, row, out);
        buffer_text(out, "\n");
    }
}
