/* help.c - pages for a terminal: two columns, wrapped at 100. */
#include "proto/base/help.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PAGE_WIDTH = 100, OPTION_COLUMN = 40, COMMAND_COLUMN = 14, STATUS_COLUMN = 7 };

const struct help_always help_always[3] = {
    {"config", "FILE",
     "read options from this YAML file, or from the recipe of this name; the command line wins over it"},
    {"dump-config", "", "print all options as they would be used, as YAML, and do nothing else"},
    {"help", "", "print this page and do nothing else"},
};

const struct help_status help_statuses[5] = {
    {0, "done"},
    {1, "failed"},
    {2, "bad usage or configuration"},
    {3, "bad input data"},
    {130, "interrupted; train has written a checkpoint"},
};

bool help_is_styled(void)
{
    const char *plain = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return isatty(STDOUT_FILENO) && (plain == NULL || plain[0] == '\0') && terminal != NULL &&
           strcmp(terminal, "dumb") != 0;
}

void help_value(const struct option_row *row, struct buffer *out)
{
    switch (row->type) {
    case OPTION_TYPE_INT:
        buffer_text(out, "N");
        break;
    case OPTION_TYPE_REAL:
        buffer_text(out, "X");
        break;
    case OPTION_TYPE_TEXT:
        for (const char *letter = row->unit; *letter != '\0'; letter++)
            buffer_format(out, "%c", toupper((unsigned char)*letter));
        break;
    case OPTION_TYPE_CHOICE:
        buffer_text(out, row->choices);
        break;
    case OPTION_TYPE_BOOL:
        break;
    }
}

void help_limits(const struct option_row *row, struct buffer *out)
{
    struct config defaults;
    struct buffer value = {0};
    config_defaults(&defaults);
    config_get(&defaults, row, &value);
    if (row->type == OPTION_TYPE_INT || row->type == OPTION_TYPE_REAL)
        buffer_format(out, "%.15g to %.15g%s%s; ", row->least, row->most, row->unit[0] != '\0' ? " " : "", row->unit);
    bool has_default = value.size > 0 && (row->type != OPTION_TYPE_BOOL || help_is_on(row));
    if (has_default)
        buffer_format(out, "default %s", value.data);
    buffer_free(&value);
}

bool help_is_on(const struct option_row *row)
{
    struct config defaults;
    config_defaults(&defaults);
    return row->type == OPTION_TYPE_BOOL && *(const bool *)((const char *)&defaults + row->offset);
}

bool help_opens_section(size_t i, unsigned commands)
{
    size_t count;
    const struct option_row *rows = config_options(&count), *row = &rows[i];
    if ((row->commands & commands) == 0)
        return false;
    while (i-- > 0)
        if ((rows[i].commands & commands) != 0)
            return strncmp(rows[i].key, row->key, strcspn(row->key, ".") + 1) != 0;
    return true;
}

static size_t s_columns(const char *text, size_t size)
{
    size_t columns = 0;
    for (size_t i = 0; i < size; i++)
        columns += ((unsigned char)text[i] & 0xc0) != 0x80;
    return columns;
}

/* Words of `text`, broken before PAGE_WIDTH; `column` is where the cursor stands, `indent` where further lines
 * begin. */
static void s_wrap(const char *text, size_t indent, size_t column, struct buffer *out)
{
    bool first = true;
    for (;;) {
        text += strspn(text, " \n");
        size_t size = strcspn(text, " \n"), columns = s_columns(text, size);
        if (size == 0)
            break;
        if (!first && column + 1 + columns > PAGE_WIDTH) {
            buffer_format(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (!first) {
            buffer_text(out, " ");
            column++;
        }
        buffer_append(out, text, size);
        column += columns;
        text += size;
        first = false;
    }
    buffer_text(out, "\n");
}

/* `left` at column 2, `right` wrapped at `at`, on the next line where the left is too long. */
static void s_row(const char *left, const char *right, size_t at, struct buffer *out)
{
    size_t columns = 2 + s_columns(left, strlen(left));
    buffer_format(out, "  %s", left);
    if (columns + 2 > at) {
        buffer_text(out, "\n");
        columns = 0;
    }
    buffer_format(out, "%*s", (int)(at - columns), "");
    s_wrap(right, at, at, out);
}

static void s_heading(const char *text, size_t size, bool styled, struct buffer *out)
{
    buffer_format(out, styled ? "\n\033[1m%.*s\033[0m\n" : "\n%.*s\n", (int)size, text);
}

/* Paragraphs are parted by an empty line; lines that begin with a space stay as they are. */
static void s_paragraphs(const char *text, struct buffer *out)
{
    while (*text != '\0') {
        const char *end = strstr(text, "\n\n");
        size_t size = end == NULL ? strlen(text) : (size_t)(end - text);
        struct buffer paragraph = {0};
        buffer_append(&paragraph, text, size);
        buffer_text(out, "\n");
        if (buffer_ok(&paragraph, NULL) && text[0] == ' ')
            buffer_format(out, "%s\n", paragraph.data);
        else if (buffer_ok(&paragraph, NULL))
            s_wrap(paragraph.data, 0, 0, out);
        out->failed |= paragraph.failed;
        buffer_free(&paragraph);
        text += end == NULL ? size : size + 2;
    }
}

static void s_option(const struct option_row *row, struct buffer *out)
{
    struct buffer left = {0}, right = {0}, value = {0}, limits = {0};
    help_value(row, &value);
    help_limits(row, &limits);
    if (row->alias != NULL)
        buffer_format(&left, "--%s, ", row->alias);
    buffer_format(&left, "--%s", row->key);
    if (help_is_on(row))
        buffer_format(&left, ", --no-%s", row->key);
    if (value.size > 0)
        buffer_format(&left, " %s", value.data);
    buffer_text(&right, row->help);
    if (limits.size > 0)
        buffer_format(&right, " (%s)", limits.data);
    out->failed |= left.failed || right.failed || value.failed || limits.failed;
    if (!out->failed)
        s_row(left.data, right.data, OPTION_COLUMN, out);
    buffer_free(&left);
    buffer_free(&right);
    buffer_free(&value);
    buffer_free(&limits);
}

static void s_always(bool styled, struct buffer *out)
{
    static const char title[] = "every command";
    s_heading(title, strlen(title), styled, out);
    for (size_t i = 0; i < sizeof help_always / sizeof help_always[0]; i++) {
        struct buffer left = {0};
        buffer_format(&left, "--%s%s%s", help_always[i].option, help_always[i].value[0] != '\0' ? " " : "",
                      help_always[i].value);
        out->failed |= left.failed;
        if (!left.failed)
            s_row(left.data, help_always[i].help, OPTION_COLUMN, out);
        buffer_free(&left);
    }
}

void help_may_change(unsigned commands, struct buffer *out)
{
    size_t count;
    const struct option_row *rows = config_options(&count);
    const char *before =
        "With --resume a run keeps its own options, which need not be given again. A value that is given "
        "must be the run's, but for options that may change: ";
    for (size_t i = 0; i < count; i++) {
        if ((rows[i].commands & commands) == 0 || config_resume_rule(&rows[i]) != RESUME_MAY_CHANGE)
            continue;
        buffer_format(out, "%s%s", before, rows[i].key);
        before = ", ";
    }
    buffer_text(out, ".");
}

static void s_resume(const struct command *command, bool styled, struct buffer *out)
{
    static const char title[] = "with --resume";
    struct buffer text = {0};
    if ((config_option("run.resume")->commands & command->bit) == 0)
        return;
    help_may_change(command->bit, &text);
    out->failed |= text.failed;
    s_heading(title, strlen(title), styled, out);
    buffer_text(out, "  ");
    if (!out->failed)
        s_wrap(text.data, 2, 2, out);
    buffer_free(&text);
}

void help_command(const struct command *command, bool styled, struct buffer *out)
{
    size_t count;
    const struct option_row *rows = config_options(&count);
    buffer_format(out, "lstmq %s - %s\n", command->name, command->summary);
    static const char usage[] = "usage";
    s_heading(usage, strlen(usage), styled, out);
    buffer_format(out, "  lstmq %s%s%s\n", command->name, command->synopsis[0] != '\0' ? " " : "", command->synopsis);
    s_paragraphs(command->description, out);
    for (size_t i = 0; i < count; i++) {
        if ((rows[i].commands & command->bit) == 0)
            continue;
        if (help_opens_section(i, command->bit))
            s_heading(rows[i].key, strcspn(rows[i].key, "."), styled, out);
        s_option(&rows[i], out);
    }
    s_resume(command, styled, out);
    s_always(styled, out);
}

void help_overview(const struct command *table, size_t count, bool styled, struct buffer *out)
{
    static const char commands[] = "commands", statuses[] = "exit status";
    buffer_text(out, "lstmq - " HELP_SUMMARY "\n\nusage: lstmq COMMAND [options]\n");
    s_heading(commands, strlen(commands), styled, out);
    for (size_t i = 0; i < count; i++)
        s_row(table[i].name, table[i].summary, COMMAND_COLUMN, out);
    s_heading(statuses, strlen(statuses), styled, out);
    for (size_t i = 0; i < sizeof help_statuses / sizeof help_statuses[0]; i++)
        buffer_format(out, "  %-*d%s\n", STATUS_COLUMN - 2, help_statuses[i].status, help_statuses[i].help);
    buffer_text(out,
                "\n\"lstmq help COMMAND\" explains a command and all its options, \"lstmq --version\" what this is.\n");
}
