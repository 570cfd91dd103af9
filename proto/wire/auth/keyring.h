/* keyring.h - the keys that a process was given by its options, read and checked.
 *
 * The process opens it once, before its sockets, and owns it. keyring_close overwrites the secret; call it once no more
 * sockets will be opened. One thread at a time. */
#ifndef LSTMQ_PROTO_WIRE_AUTH_KEYRING_H
#define LSTMQ_PROTO_WIRE_AUTH_KEYRING_H

#include "proto/base/config.h"
#include "proto/wire/auth/allow.h"

struct keyring {
    bool used;                  /* false: no keys were given, and the other fields are unset */
    struct curve_keys own;      /* --curve.key */
    struct curve_public server; /* --curve.server; of a process that connects */
    struct allow *allow;        /* --curve.allow; of a process that listens. Owned */
};

/* For a process that listens: --curve.key needs --curve.allow. ERR_USAGE and ERR_DATA name the option or the file. */
bool keyring_open_server(struct keyring *keyring, const struct config *config, struct err *err);

/* For a process that connects: --curve.key needs --curve.server, and --curve.server needs --curve.key. */
bool keyring_open_client(struct keyring *keyring, const struct config *config, struct err *err);

/* Overwrite the secret and free the list. A keyring of zeroes may be closed. */
void keyring_close(struct keyring *keyring);

#endif
