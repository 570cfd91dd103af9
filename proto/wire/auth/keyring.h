/* keyring.h - the keys that a process was given by its options, read and checked.
 *
 * Read once, before sockets are opened; cleared by keyring_close as soon as nobody opens sockets any more. */
#ifndef LSTMQ_PROTO_WIRE_AUTH_KEYRING_H
#define LSTMQ_PROTO_WIRE_AUTH_KEYRING_H

#include "proto/base/config.h"
#include "proto/wire/auth/allow.h"

struct keyring {
    bool used;                  /* false: no keys were given, and nothing below is set        */
    struct curve_keys own;      /* --curve.key                                                 */
    struct curve_public server; /* --curve.server; of one that connects                        */
    struct allow *allow;        /* --curve.allow; of one that listens. The keyring's           */
};

/* For a process that listens: --curve.key needs --curve.allow. ERR_USAGE and ERR_DATA name option or file. */
bool keyring_open_server(struct keyring *keyring, const struct config *config, struct err *err);

/* For a process that connects: --curve.key needs --curve.server, and the other way round. */
bool keyring_open_client(struct keyring *keyring, const struct config *config, struct err *err);

/* Overwrite the secret and let go of the list. A keyring of zeroes may be closed. */
void keyring_close(struct keyring *keyring);

#endif
