/* cmd_keygen.c - `lstmq keygen NAME`: write a key pair as NAME.key and NAME.pub. Prints the two paths and the public
 * key. */
#include "proto/cli/commands.h"

#include "proto/wire/auth/curve.h"

static bool keygen_print(const struct curve_public *public, const char *folder, struct err *err)
{
    struct buffer page = {0};
    buffer_format(&page, "%s/%s.key  secret, stays here\n%s/%s.pub  public, role %s: %s\n", folder, public->name,
                  folder, public->name, curve_role_name(public->role), public->key);
    bool ok = command_print(&page, err);
    buffer_free(&page);
    return ok;
}

bool cmd_keygen(const struct command_call *call, struct err *err)
{
    if (call->words < 1)
        return err_set(err, ERR_USAGE, "whose keys? lstmq keygen %s", call->command->synopsis);
    struct curve_keys keys;
    bool ok = curve_generate(&keys, call->word[0], (enum curve_role)call->config->keygen_role, err) &&
              curve_write(&keys, call->config->keygen_out, call->config->keygen_force, err);
    if (ok)
        ok = keygen_print(&keys.public, call->config->keygen_out, err);
    curve_clear(&keys);
    return ok;
}
