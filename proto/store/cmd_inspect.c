/* cmd_inspect.c - `lstmq inspect PATH [--json]`: what a checkpoint or a run holds. It shows all it can of a damaged
 * checkpoint, and then fails with the damage. */
#include "proto/cli/commands.h"

#include "proto/store/inspect.h"

#include <stdlib.h>

static bool inspect_inspect(const char *path, bool json, struct inspection *found, struct err *err)
{
    struct buffer page = {0};
    if (!inspect_read(found, path, err))
        return false;
    if (json)
        inspect_json(found, &page);
    else
        inspect_text(found, &page);
    bool ok = command_print(&page, err);
    buffer_free(&page);
    const char *damage = inspect_damage(found);
    if (ok && damage[0] != '\0')
        ok = err_set(err, ERR_DATA, "%s", damage);
    inspect_free(found);
    return ok;
}

bool cmd_inspect(const struct command_call *call, struct err *err)
{
    if (call->words < 1)
        return err_set(err, ERR_USAGE, "which checkpoint or run? lstmq inspect %s", call->command->synopsis);
    struct inspection *found = malloc(sizeof *found);
    if (found == NULL)
        return err_set(err, ERR_MEMORY, "out of memory for an inspection");
    bool ok = inspect_inspect(call->word[0], call->config->output_json, found, err);
    free(found);
    return ok;
}
