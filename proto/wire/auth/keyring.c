/* keyring.c - read the keys that the options name; see keyring.h. */
#include "proto/wire/auth/keyring.h"

/* True when both are given, or neither. */
static bool keyring_together(const char *key, const char *other, const char *name, struct err *err)
{
    if ((key[0] == '\0') == (other[0] == '\0'))
        return true;
    if (other[0] == '\0')
        return err_set(err, ERR_USAGE, "curve.key needs --curve.%s beside it", name);
    return err_set(err, ERR_USAGE, "curve.%s needs --curve.key beside it; \"lstmq keygen\" makes one", name);
}

static bool keyring_own(struct keyring *keyring, const char *path, struct err *err)
{
    keyring->used = curve_read(path, &keyring->own, err);
    return keyring->used || err_context(err, "curve.key");
}

bool keyring_open_server(struct keyring *keyring, const struct config *config, struct err *err)
{
    *keyring = (struct keyring){0};
    if (!keyring_together(config->curve_key, config->curve_allow, "allow", err))
        return false;
    if (config->curve_key[0] == '\0')
        return true;
    if (!keyring_own(keyring, config->curve_key, err))
        return false;
    keyring->allow = allow_open(config->curve_allow, err);
    if (keyring->allow != NULL)
        return true;
    keyring_close(keyring);
    return err_context(err, "curve.allow");
}

bool keyring_open_client(struct keyring *keyring, const struct config *config, struct err *err)
{
    *keyring = (struct keyring){0};
    if (!keyring_together(config->curve_key, config->curve_server, "server", err))
        return false;
    if (config->curve_key[0] == '\0')
        return true;
    if (!keyring_own(keyring, config->curve_key, err))
        return false;
    if (curve_read_public(config->curve_server, &keyring->server, err))
        return true;
    keyring_close(keyring);
    return err_context(err, "curve.server");
}

void keyring_close(struct keyring *keyring)
{
    curve_clear(&keyring->own);
    allow_close(&keyring->allow);
    keyring->used = false;
}
