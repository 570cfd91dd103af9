/* help_man.c - the manual page, with the macros of man(7). */
#include "proto/cli/help.h"

#include "proto/base/version.h"

#include <string.h>

/* Text for roff: typed hyphens stay hyphens, and no line begins with a request. */
static void man_text(const char *text, size_t size, struct buffer *out)
{
    bool line_start = true;
    for (size_t i = 0; i < size; i++) {
        if (line_start && (text[i] == '.' || text[i] == '\''))
            buffer_text(out, "\\&");
        line_start = text[i] == '\n';
        if (text[i] == '-')
            buffer_text(out, "\\-");
        else if (text[i] == '\\')
            buffer_text(out, "\\e");
        else if (text[i] == '\'')
            buffer_text(out, "\\(aq");
        else
            buffer_append(out, text + i, 1);
    }
}

static void man_string(const char *text, struct buffer *out)
{
    man_text(text, strlen(text), out);
}

/* "\fB--NAME\fR" */
static void man_bold_option(const char *before, const char *name, struct buffer *out)
{
    buffer_text(out, "\\fB\\-\\-");
    man_string(before, out);
    man_string(name, out);
    buffer_text(out, "\\fR");
}

static void man_italic(const char *text, struct buffer *out)
{
    if (text == NULL || text[0] == '\0')
        return;
    buffer_text(out, " \\fI");
    man_string(text, out);
    buffer_text(out, "\\fR");
}

static void man_paragraphs(const char *text, struct buffer *out)
{
    while (*text != '\0') {
        const char *end = strstr(text, "\n\n");
        size_t size = end == NULL ? strlen(text) : (size_t)(end - text);
        buffer_text(out, text[0] == ' ' ? ".PP\n.nf\n" : ".PP\n");
        man_text(text, size, out);
        buffer_text(out, text[0] == ' ' ? "\n.fi\n" : "\n");
        text += end == NULL ? size : size + 2;
    }
}

static void man_command(const struct command *command, struct buffer *out)
{
    buffer_format(out, ".SS \"lstmq %s", command->name);
    buffer_text(out, "\"\n");
    man_string(command->summary, out);
    buffer_format(out, ".\n.PP\n\\fBlstmq %s\\fR", command->name);
    man_italic(command->synopsis, out);
    buffer_text(out, "\n");
    man_paragraphs(command->description, out);
}

/* "Commands: train, bench." */
static void man_takers(const struct command *table, size_t count, unsigned commands, struct buffer *out)
{
    const char *before = "Commands: ";
    if ((commands & COMMAND_ALL) == COMMAND_ALL)
        before = NULL;
    for (size_t i = 0; before != NULL && i < count; i++) {
        if ((table[i].bit & commands) == 0)
            continue;
        buffer_text(out, before);
        man_string(table[i].name, out);
        before = ", ";
    }
    buffer_text(out, before == NULL ? "All commands.\n" : ".\n");
}

static void man_option(const struct command *table, size_t count, const struct option_row *row, struct buffer *out)
{
    struct buffer value = {0}, limits = {0};
    help_value(row, &value);
    help_limits(row, &limits);
    buffer_text(out, ".TP\n");
    if (row->alias != NULL) {
        man_bold_option("", row->alias, out);
        buffer_text(out, ", ");
    }
    man_bold_option("", row->key, out);
    if (help_is_on(row)) {
        buffer_text(out, ", ");
        man_bold_option("no-", row->key, out);
    }
    man_italic(value.data, out);
    buffer_text(out, "\n");
    man_string(row->help, out);
    if (limits.size > 0) {
        buffer_text(out, " (");
        man_string(limits.data, out);
        buffer_text(out, ")");
    }
    buffer_text(out, ".\n");
    man_takers(table, count, row->commands, out);
    out->failed |= value.failed || limits.failed;
    buffer_free(&value);
    buffer_free(&limits);
}

static void man_options(const struct command *table, size_t count, struct buffer *out)
{
    size_t options;
    const struct option_row *rows = config_options(&options);
    buffer_text(
        out, ".SH OPTIONS\n"
             "Each is also a key of the configuration file: \\fB\\-\\-train.batch 64\\fR on the command line is\n"
             "\\fBbatch: 64\\fR below \\fBtrain:\\fR there. An option that is on or off is given as\n"
             "\\fB\\-\\-\\fIkey\\fR or \\fB\\-\\-no\\-\\fIkey\\fR. The command line wins over the file, and the file\n"
             "over what is built in.\n.PP\n");
    struct buffer resume = {0};
    help_may_change(config_option("run.resume")->commands, &resume);
    man_text(resume.data, resume.size, out);
    out->failed |= resume.failed;
    buffer_free(&resume);
    buffer_text(out, "\n");
    for (size_t i = 0; i < sizeof help_always / sizeof help_always[0]; i++) {
        buffer_text(out, ".TP\n");
        man_bold_option("", help_always[i].option, out);
        man_italic(help_always[i].value, out);
        buffer_text(out, "\n");
        man_string(help_always[i].help, out);
        buffer_text(out, ".\nAll commands.\n");
    }
    for (size_t i = 0; i < options; i++) {
        if (help_opens_section(i, COMMAND_ALL))
            buffer_format(out, ".SS %.*s\n", (int)strcspn(rows[i].key, "."), rows[i].key);
        man_option(table, count, &rows[i], out);
    }
}

void help_man(const struct command *table, size_t count, struct buffer *out)
{
    buffer_text(out, ".TH LSTMQ 1 \"\" \"lstmq " LSTMQ_VERSION "\" \"User Commands\"\n.SH NAME\nlstmq \\- ");
    man_string(HELP_SUMMARY, out);
    buffer_text(out, "\n.SH SYNOPSIS\n\\fBlstmq\\fR \\fIcommand\\fR [\\fIoptions\\fR]\n.br\n"
                     "\\fBlstmq help\\fR [\\fIcommand\\fR]\n.br\n\\fBlstmq \\-\\-version\\fR\n.SH COMMANDS\n");
    for (size_t i = 0; i < count; i++)
        man_command(&table[i], out);
    man_options(table, count, out);
    buffer_text(out, ".SH \"EXIT STATUS\"\n");
    for (size_t i = 0; i < sizeof help_statuses / sizeof help_statuses[0]; i++) {
        buffer_format(out, ".TP\n\\fB%d\\fR\n", help_statuses[i].status);
        man_string(help_statuses[i].help, out);
        buffer_text(out, ".\n");
    }
    buffer_text(out, ".SH ENVIRONMENT\n"
                     ".TP\n\\fBCOLUMNS\\fR\nLargest width of help and progress; by default the terminal's width.\n"
                     ".TP\n\\fBLSTMQ_RECIPES\\fR\nA folder of recipes that is searched before the installed one.\n"
                     ".TP\n\\fBNO_COLOR\\fR\nIf it is set to any text, help has no bold headings.\n");
}
