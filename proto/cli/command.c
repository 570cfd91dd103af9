/* command.c - helpers of the commands; see command.h. */
#include "proto/cli/command.h"

#include "proto/base/typed.h"

#include <stdio.h>
#include <string.h>

bool command_print(const struct buffer *text, struct err *err)
{
    if (!buffer_ok(text, err))
        return false;
    if (fwrite(text->data, 1, text->size, stdout) != text->size || fflush(stdout) != 0)
        return err_errno(err, ERR_IO, "cannot write to standard output");
    return true;
}

const struct command *command_find(const struct command *table, size_t count, const char *name, struct err *err)
{
    struct suggest suggest = suggest_begin(name);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
        suggest_offer(&suggest, table[i].name, table[i].name);
    }
    if (suggest_best(&suggest) == NULL)
        err_set(err, ERR_USAGE, "unknown command \"%s\"; \"lstmq help\" lists them", typed_show(name).shown);
    else
        err_set(err, ERR_USAGE, "unknown command \"%s\"; did you mean \"%s\"?", typed_show(name).shown,
                suggest_best(&suggest));
    return NULL;
}

bool command_wants_json(int argc, char **argv)
{
    static const char name[] = "--log.format", joined[] = "--log.format=";
    bool json = false;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *value = NULL;
        if (strncmp(argv[i], joined, sizeof joined - 1) == 0)
            value = argv[i] + sizeof joined - 1;
        else if (strcmp(argv[i], name) == 0 && i + 1 < argc)
            value = argv[++i];
        if (value != NULL)
            json = strcmp(value, "json") == 0;
    }
    return json;
}
