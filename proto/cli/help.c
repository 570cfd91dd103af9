/* help.c - pages for a terminal: in two columns, or one below the other on a narrow terminal. */
#include "proto/cli/help.h"

#include "proto/cli/terminal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PAGE_WIDEST = 120, COMMAND_COLUMN = 15, STATUS_COLUMN = 7, HANGING = 6 };

const struct help_always help_always[3] = {
    {"config", "FILE",
     "read options from this YAML file, or from the recipe of this name; the command line overrides it"},
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

struct help_style help_style(void)
{
    const char *plain = getenv("NO_COLOR"), *terminal = getenv("TERM");
    return (struct help_style){
        .width = terminal_width(),
        .bold = isatty(STDOUT_FILENO) && (plain == NULL || plain[0] == '\0') && terminal != NULL &&
                strcmp(terminal, "dumb") != 0,
    };
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
    case OPTION_TYPE_LIST:
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
    if (row->type == OPTION_TYPE_LIST)
        buffer_text(out, "may be given several times");
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

/* A page while it is written. */
struct help_page {
    struct buffer *out;
    size_t width;
    bool bold;
};

static struct help_page help_page(struct help_style style, struct buffer *out)
{
    size_t width = style.width < PAGE_WIDEST ? style.width : PAGE_WIDEST;
    return (struct help_page){.out = out, .width = width, .bold = style.bold};
}

static size_t help_columns(const char *text, size_t size)
{
    size_t columns = 0;
    for (size_t i = 0; i < size; i++)
        columns += ((unsigned char)text[i] & 0xc0) != 0x80;
    return columns;
}

/* Bytes of the word at `text` that fit a line of `space` columns: the whole word, or as many of its choices a|b|c as
 * fit. A word without choices stays whole. */
static size_t help_piece(const char *text, size_t space)
{
    size_t size = strcspn(text, " \n"), piece = 0;
    if (help_columns(text, size) <= space)
        return size;
    for (size_t i = 0; i < size; i++)
        if (text[i] == '|' && (piece == 0 || help_columns(text, i + 1) <= space))
            piece = i + 1;
    return piece == 0 ? size : piece;
}

/* How help_wrap lays out a text. */
struct wrap {
    size_t column, indent; /* the cursor's column; indent of further lines */
    const char *more;      /* ends a line that continues: "", " \\" */
};

/* Write the words of `text` in lines of at most page->width columns. */
static void help_wrap(const struct help_page *page, struct wrap wrap, const char *text)
{
    size_t column = wrap.column, more = strlen(wrap.more);
    size_t space = page->width > wrap.indent + more ? page->width - wrap.indent - more : 1;
    for (bool first = true, split = false;; first = false) {
        text += strspn(text, " \n");
        size_t size = help_piece(text, space), columns = help_columns(text, size), gap = first || split ? 0 : 1;
        if (size == 0)
            break;
        bool last = text[size + strspn(text + size, " \n")] == '\0';
        if (column > wrap.indent && column + gap + columns + (last ? 0 : more) > page->width) {
            buffer_format(page->out, "%s\n%*s", wrap.more, (int)wrap.indent, "");
            column = wrap.indent;
        } else if (gap > 0) {
            buffer_text(page->out, " ");
            column++;
        }
        buffer_append(page->out, text, size);
        column += columns;
        text += size;
        split = text[0] != '\0' && strchr(" \n", text[0]) == NULL;
    }
    buffer_text(page->out, "\n");
}

static void help_text(const struct help_page *page, const char *text)
{
    help_wrap(page, (struct wrap){.more = ""}, text);
}

/* `left` at column 2, `right` wrapped at column `at`; on the next line if `left` is too long. */
static void help_row(const struct help_page *page, const char *left, const char *right, size_t at)
{
    size_t columns = 2 + help_columns(left, strlen(left));
    buffer_text(page->out, "  ");
    if (columns + 2 > at) {
        help_wrap(page, (struct wrap){.column = 2, .indent = HANGING - 2, .more = ""}, left);
        columns = 0;
    } else {
        buffer_text(page->out, left);
    }
    buffer_format(page->out, "%*s", (int)(at - columns), "");
    help_wrap(page, (struct wrap){.column = at, .indent = at, .more = ""}, right);
}

static void help_heading(const struct help_page *page, const char *text, size_t size)
{
    buffer_format(page->out, page->bold ? "\n\033[1m%.*s\033[0m\n" : "\n%.*s\n", (int)size, text);
}

/* A command as a user types it, after two spaces; with `more` " \\", broken as a shell reads it. */
static void help_typed(const struct help_page *page, const char *text, const char *more)
{
    buffer_text(page->out, "  ");
    help_wrap(page, (struct wrap){.column = 2, .indent = HANGING, .more = more}, text);
}

/* Empty lines separate paragraphs; a line that begins with a space is a command. */
static void help_paragraphs(const struct help_page *page, const char *text)
{
    while (*text != '\0') {
        const char *end = strstr(text, "\n\n");
        size_t size = end == NULL ? strlen(text) : (size_t)(end - text);
        struct buffer paragraph = {0};
        buffer_append(&paragraph, text, size);
        buffer_text(page->out, "\n");
        if (buffer_ok(&paragraph, NULL) && text[0] == ' ')
            for (char *line = strtok(paragraph.data, "\n"); line != NULL; line = strtok(NULL, "\n"))
                help_typed(page, line, " \\");
        else if (buffer_ok(&paragraph, NULL))
            help_text(page, paragraph.data);
        page->out->failed |= paragraph.failed;
        buffer_free(&paragraph);
        text += end == NULL ? size : size + 2;
    }
}

/* The column where the help of options begins. */
static size_t help_option_column(const struct help_page *page)
{
    if (page->width >= 100)
        return 40;
    return page->width >= 72 ? 30 : HANGING;
}

static void help_option(const struct help_page *page, const struct option_row *row)
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
    page->out->failed |= left.failed || right.failed || value.failed || limits.failed;
    if (!page->out->failed)
        help_row(page, left.data, right.data, help_option_column(page));
    buffer_free(&left);
    buffer_free(&right);
    buffer_free(&value);
    buffer_free(&limits);
}

static void help_common(const struct help_page *page)
{
    static const char title[] = "every command";
    help_heading(page, title, strlen(title));
    for (size_t i = 0; i < sizeof help_always / sizeof help_always[0]; i++) {
        struct buffer left = {0};
        buffer_format(&left, "--%s%s%s", help_always[i].option, help_always[i].value[0] != '\0' ? " " : "",
                      help_always[i].value);
        page->out->failed |= left.failed;
        if (!left.failed)
            help_row(page, left.data, help_always[i].help, help_option_column(page));
        buffer_free(&left);
    }
}

void help_may_change(unsigned commands, struct buffer *out)
{
    size_t count;
    const struct option_row *rows = config_options(&count);
    const char *before = "With --resume a run keeps its own options, which need not be given again. A given value must "
                         "equal the run's, except for options that may change: ";
    for (size_t i = 0; i < count; i++) {
        if ((rows[i].commands & commands) == 0 || config_resume_rule(&rows[i]) != RESUME_MAY_CHANGE)
            continue;
        buffer_format(out, "%s%s", before, rows[i].key);
        before = ", ";
    }
    buffer_text(out, ".");
}

static void help_resume(const struct help_page *page, const struct command *command)
{
    static const char title[] = "with --resume";
    struct buffer text = {0};
    if ((config_option("run.resume")->commands & command->bit) == 0)
        return;
    help_may_change(command->bit, &text);
    page->out->failed |= text.failed;
    if (!page->out->failed) {
        help_heading(page, title, strlen(title));
        buffer_text(page->out, "  ");
        help_wrap(page, (struct wrap){.column = 2, .indent = 2, .more = ""}, text.data);
    }
    buffer_free(&text);
}

/* What the command is, and how to type it. */
static void help_opening(const struct help_page *page, const struct command *command)
{
    static const char usage[] = "usage";
    struct buffer title = {0}, typed = {0};
    buffer_format(&title, "lstmq %s - %s", command->name, command->summary);
    buffer_format(&typed, "lstmq %s %s", command->name, command->synopsis);
    page->out->failed |= title.failed || typed.failed;
    if (!page->out->failed) {
        help_text(page, title.data);
        help_heading(page, usage, strlen(usage));
        help_typed(page, typed.data, "");
    }
    buffer_free(&title);
    buffer_free(&typed);
}

void help_command(const struct command *command, struct help_style style, struct buffer *out)
{
    size_t count;
    const struct option_row *rows = config_options(&count);
    struct help_page page = help_page(style, out);
    help_opening(&page, command);
    help_paragraphs(&page, command->description);
    for (size_t i = 0; i < count; i++) {
        if ((rows[i].commands & command->bit) == 0)
            continue;
        if (help_opens_section(i, command->bit))
            help_heading(&page, rows[i].key, strcspn(rows[i].key, "."));
        help_option(&page, &rows[i]);
    }
    help_resume(&page, command);
    help_common(&page);
}

void help_overview(const struct command *table, size_t count, struct help_style style, struct buffer *out)
{
    static const char commands[] = "commands", statuses[] = "exit status";
    struct help_page page = help_page(style, out);
    help_text(&page, "lstmq - " HELP_SUMMARY);
    buffer_text(out, "\n");
    help_text(&page, "usage: lstmq COMMAND [options]");
    help_heading(&page, commands, strlen(commands));
    for (size_t i = 0; i < count; i++)
        help_row(&page, table[i].name, table[i].summary, COMMAND_COLUMN);
    help_heading(&page, statuses, strlen(statuses));
    for (size_t i = 0; i < sizeof help_statuses / sizeof help_statuses[0]; i++) {
        char status[16];
        snprintf(status, sizeof status, "%d", help_statuses[i].status);
        help_row(&page, status, help_statuses[i].help, STATUS_COLUMN);
    }
    buffer_text(out, "\n");
    help_text(&page,
              "\"lstmq help COMMAND\" explains a command and all its options, \"lstmq --version\" what this is.");
}
