/* completion.c - completion scripts; see completion.h.
 *
 * Commands differ in their options, and in what a short name such as --model means. So each script has one part for
 * each command. */
#include "proto/cli/completion.h"

#include "proto/cli/help.h"

#include <string.h>

enum completion_value { VALUE_SWITCH, VALUE_ANY, VALUE_FILE, VALUE_FOLDER, VALUE_CHOICE };

static enum completion_value completion_value(const struct option_row *row)
{
    if (row->type == OPTION_TYPE_BOOL)
        return VALUE_SWITCH;
    if (row->type == OPTION_TYPE_CHOICE)
        return VALUE_CHOICE;
    if (strcmp(row->unit, "file") == 0)
        return VALUE_FILE;
    return strcmp(row->unit, "folder") == 0 ? VALUE_FOLDER : VALUE_ANY;
}

/* The names of an option, each after `before`: its key, its alias, and the form that turns it off. */
static void completion_names(const struct option_row *row, const char *before, struct buffer *out)
{
    buffer_format(out, "%s--%s", before, row->key);
    if (row->alias != NULL)
        buffer_format(out, "%s--%s", before, row->alias);
    if (help_is_on(row))
        buffer_format(out, "%s--no-%s", before, row->key);
}

/* Text within single quotes of a shell. `special` letters get a backslash. */
static void completion_quote(const char *text, const char *special, struct buffer *out)
{
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            buffer_text(out, "'\\''");
        else
            buffer_format(out, "%s%c", strchr(special, *text) != NULL ? "\\" : "", *text);
    }
}

/* The choices "a|b|c" as "a b c". */
static void completion_choices(const struct option_row *row, struct buffer *out)
{
    for (const char *letter = row->choices; *letter != '\0'; letter++)
        buffer_append(out, *letter == '|' ? " " : letter, 1);
}

/* A case of bash that matches the command's options whose values are files, or folders, or any. */
static void completion_bash_kind(const struct command *command, enum completion_value value, const char *kind,
                                 struct buffer *out)
{
    size_t options, found = 0;
    const struct option_row *rows = config_options(&options);
    for (size_t i = 0; i < options; i++) {
        if ((rows[i].commands & command->bit) == 0 || completion_value(&rows[i]) != value)
            continue;
        buffer_format(out, "%s--%s", found++ == 0 ? "        " : " | ", rows[i].key);
        if (rows[i].alias != NULL)
            buffer_format(out, " | --%s", rows[i].alias);
    }
    if (found > 0)
        buffer_format(out, ") kind='%s' ;;\n", kind);
}

static void completion_bash_command(const struct command *command, struct buffer *out)
{
    size_t options;
    const struct option_row *rows = config_options(&options);
    buffer_format(out, "    %s)\n        options='", command->name);
    for (size_t i = 0; i < sizeof help_always / sizeof help_always[0]; i++)
        buffer_format(out, "%s--%s", i > 0 ? " " : "", help_always[i].option);
    for (size_t i = 0; i < options; i++)
        if ((rows[i].commands & command->bit) != 0)
            completion_names(&rows[i], " ", out);
    buffer_format(out, "'\n        words='%s'\n        case $option in\n",
                  command->bit == COMMAND_HELP ? "command"
                  : command->words > 0         ? "file"
                                               : "");
    completion_bash_kind(command, VALUE_FILE, "file", out);
    completion_bash_kind(command, VALUE_FOLDER, "folder", out);
    completion_bash_kind(command, VALUE_ANY, "any", out);
    completion_bash_kind(command, VALUE_SWITCH, "switch", out);
    for (size_t i = 0; i < options; i++) {
        if ((rows[i].commands & command->bit) == 0 || completion_value(&rows[i]) != VALUE_CHOICE)
            continue;
        buffer_format(out, "        --%s", rows[i].key);
        if (rows[i].alias != NULL)
            buffer_format(out, " | --%s", rows[i].alias);
        buffer_text(out, ") kind='choice' values='");
        completion_choices(&rows[i], out);
        buffer_text(out, "' ;;\n");
    }
    buffer_text(out, "        esac\n        ;;\n");
}

static void completion_bash(const struct command *table, size_t count, struct buffer *out)
{
    buffer_text(out, "# bash completion of lstmq, made by \"lstmq help --completion bash\"\n"
                     "_lstmq()\n"
                     "{\n"
                     "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} option joined=''\n"
                     "    local commands options words kind='' values='' recipes\n"
                     "    commands='");
    for (size_t i = 0; i < count; i++)
        buffer_format(out, "%s ", table[i].name);
    buffer_text(out, "'\n"
                     "    COMPREPLY=()\n"
                     "    if ((COMP_CWORD == 1)); then\n"
                     "        mapfile -t COMPREPLY < <(compgen -W \"$commands --help --version\" -- \"$word\")\n"
                     "        return\n"
                     "    fi\n"
                     "    # In --option=value bash makes \"=\" a word of its own.\n"
                     "    option=$before\n"
                     "    if [[ $word == = ]]; then\n"
                     "        joined=yes word=''\n"
                     "    elif [[ $before == = ]]; then\n"
                     "        joined=yes option=${COMP_WORDS[COMP_CWORD - 2]}\n"
                     "    fi\n"
                     "    case ${COMP_WORDS[1]} in\n");
    for (size_t i = 0; i < count; i++)
        completion_bash_command(&table[i], out);
    buffer_text(
        out, "    *) return ;;\n"
             "    esac\n"
             "    [[ $option != --config ]] || kind='config'\n"
             "    [[ $kind != switch || -z $joined ]] || kind='choice' values='true false'\n"
             "    if [[ -z $kind || $kind == switch ]]; then\n"
             "        kind=$words\n"
             "        [[ $word != -* ]] || kind='choice' values=$options\n"
             "    fi\n"
             "    case $kind in\n"
             "    choice) mapfile -t COMPREPLY < <(compgen -W \"$values\" -- \"$word\") ;;\n"
             "    command) mapfile -t COMPREPLY < <(compgen -W \"$commands\" -- \"$word\") ;;\n"
             "    folder) mapfile -t COMPREPLY < <(compgen -d -- \"$word\") ;;\n"
             "    file) mapfile -t COMPREPLY < <(compgen -f -- \"$word\") ;;\n"
             "    config)\n"
             "        recipes=$(shopt -s nullglob && cd \"$(dirname \"$(command -v lstmq)\")/../share/lstmq/recipes\" "
             "2>/dev/null &&\n"
             "            printf '%s ' *.yaml)\n"
             "        mapfile -t COMPREPLY < <(compgen -f -- \"$word\" && compgen -W \"${recipes//.yaml/}\" -- "
             "\"$word\")\n"
             "        ;;\n"
             "    esac\n"
             "    case $kind in\n"
             "    folder | file | config) compopt -o filenames 2>/dev/null ;;\n"
             "    esac\n"
             "}\n"
             "complete -F _lstmq lstmq\n");
}

/* "[help]:FILE:_files" within single quotes. */
static void completion_zsh_value(const struct option_row *row, struct buffer *out)
{
    struct buffer name = {0};
    enum completion_value value = completion_value(row);
    buffer_text(out, "'[");
    completion_quote(row->help, "[]:\\", out);
    buffer_text(out, "]");
    if (value != VALUE_SWITCH) {
        if (value == VALUE_CHOICE)
            buffer_text(&name, "value");
        else
            help_value(row, &name);
        buffer_text(out, ":");
        completion_quote(name.failed ? "" : name.data, ":\\", out);
        buffer_text(out, ":");
    }
    if (value == VALUE_FILE)
        buffer_text(out, "_files");
    else if (value == VALUE_FOLDER)
        buffer_text(out, "_files -/");
    else if (value == VALUE_CHOICE) {
        buffer_text(out, "(");
        completion_choices(row, out);
        buffer_text(out, ")");
    }
    buffer_text(out, "'");
    out->failed |= name.failed;
    buffer_free(&name);
}

/* One name of an option is a specification of its own; the first part excludes the other names. */
static void completion_zsh_option(const struct option_row *row, struct buffer *out)
{
    const char *equals = row->type == OPTION_TYPE_BOOL ? "" : "=";
    bool again = row->type == OPTION_TYPE_LIST, on = help_is_on(row);
    const char *names[3] = {row->key, on ? row->key : NULL, row->alias};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i] == NULL)
            continue;
        buffer_text(out, " \\\n            ");
        if (again)
            buffer_text(out, "'*'");
        else {
            buffer_text(out, "'(");
            completion_names(row, "", out);
            buffer_text(out, ")'");
        }
        buffer_format(out, "--%s%s%s", i == 1 ? "no-" : "", names[i], equals);
        completion_zsh_value(row, out);
    }
}

static void completion_zsh_command(const struct command *command, struct buffer *out)
{
    size_t options;
    const struct option_row *rows = config_options(&options);
    buffer_format(out, "    %s)\n        _arguments -S", command->name);
    for (size_t i = 0; i < sizeof help_always / sizeof help_always[0]; i++) {
        const struct help_always *always = &help_always[i];
        buffer_format(out, " \\\n            '--%s%s[", always->option, always->value[0] != '\0' ? "=" : "");
        completion_quote(always->help, "[]:\\", out);
        buffer_format(out, "]%s'", always->value[0] != '\0' ? ":FILE:_lstmq_config" : "");
    }
    for (size_t i = 0; i < options; i++)
        if ((rows[i].commands & command->bit) != 0)
            completion_zsh_option(&rows[i], out);
    if (command->words > 0)
        buffer_format(out, " \\\n            '%s'",
                      command->bit == COMMAND_HELP ? "1:command:_lstmq_commands" : "*:file:_files");
    buffer_text(out, "\n        ;;\n");
}

static void completion_zsh(const struct command *table, size_t count, struct buffer *out)
{
    buffer_text(out, "#compdef lstmq\n"
                     "# zsh completion of lstmq, made by \"lstmq help --completion zsh\"\n"
                     "_lstmq_commands()\n"
                     "{\n"
                     "    local -a commands\n"
                     "    commands=(\n");
    for (size_t i = 0; i < count; i++) {
        buffer_format(out, "        '%s:", table[i].name);
        completion_quote(table[i].summary, "", out);
        buffer_text(out, "'\n");
    }
    buffer_text(out, "    )\n"
                     "    _describe -t commands command commands\n"
                     "}\n"
                     "\n"
                     "_lstmq_config()\n"
                     "{\n"
                     "    local -a recipes\n"
                     "    recipes=(${commands[lstmq]:h:h}/share/lstmq/recipes/*.yaml(N:t:r))\n"
                     "    _files\n"
                     "    compadd -a recipes\n"
                     "}\n"
                     "\n"
                     "_lstmq()\n"
                     "{\n"
                     "    if ((CURRENT == 2)); then\n"
                     "        _lstmq_commands\n"
                     "        return\n"
                     "    fi\n"
                     "    local command=$words[2]\n"
                     "    shift words\n"
                     "    ((CURRENT--))\n"
                     "    case $command in\n");
    for (size_t i = 0; i < count; i++)
        completion_zsh_command(&table[i], out);
    buffer_text(out, "    esac\n"
                     "}\n"
                     "_lstmq \"$@\"\n");
}

static void completion_fish_option(const struct command *command, const struct option_row *row, struct buffer *out)
{
    bool on = help_is_on(row);
    const char *names[3] = {row->key, on ? row->key : NULL, row->alias};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i] == NULL)
            continue;
        buffer_format(out, "complete -c lstmq -n '__fish_seen_subcommand_from %s' -l %s%s", command->name,
                      i == 1 ? "no-" : "", names[i]);
        switch (completion_value(row)) {
        case VALUE_SWITCH:
            break;
        case VALUE_ANY:
            buffer_text(out, " -x");
            break;
        case VALUE_FILE:
            buffer_text(out, " -r -F");
            break;
        case VALUE_FOLDER:
            buffer_text(out, " -x -a '(__fish_complete_directories)'");
            break;
        case VALUE_CHOICE:
            buffer_text(out, " -x -a '");
            completion_choices(row, out);
            buffer_text(out, "'");
            break;
        }
        buffer_text(out, " -d '");
        completion_quote(row->help, "\\", out);
        buffer_text(out, "'\n");
    }
}

static void completion_fish(const struct command *table, size_t count, struct buffer *out)
{
    size_t options;
    const struct option_row *rows = config_options(&options);
    buffer_text(out, "# fish completion of lstmq, made by \"lstmq help --completion fish\"\n"
                     "complete -c lstmq -n __fish_use_subcommand -f\n");
    for (size_t i = 0; i < count; i++) {
        buffer_format(out, "complete -c lstmq -n __fish_use_subcommand -f -a %s -d '", table[i].name);
        completion_quote(table[i].summary, "\\", out);
        buffer_text(out, "'\n");
        if (table[i].words == 0)
            buffer_format(out, "complete -c lstmq -n '__fish_seen_subcommand_from %s' -f\n", table[i].name);
        for (size_t j = 0; j < options; j++)
            if ((rows[j].commands & table[i].bit) != 0)
                completion_fish_option(&table[i], &rows[j], out);
    }
    for (size_t i = 0; i < sizeof help_always / sizeof help_always[0]; i++) {
        buffer_format(out, "complete -c lstmq -l %s%s -d '", help_always[i].option,
                      help_always[i].value[0] != '\0' ? " -r -F" : "");
        completion_quote(help_always[i].help, "\\", out);
        buffer_text(out, "'\n");
    }
}

void completion_script(const struct command *table, size_t count, enum completion shell, struct buffer *out)
{
    if (shell == COMPLETION_BASH)
        completion_bash(table, count, out);
    else if (shell == COMPLETION_ZSH)
        completion_zsh(table, count, out);
    else
        completion_fish(table, count, out);
}
