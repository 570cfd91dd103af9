/* allow.h - the public keys that a server accepts, each with its role.
 *
 * Read from a folder (every *.pub file in it) or from one file of such lines. The list is checked for changes when a
 * peer connects, at most ten times a second. So added keys are accepted and removed keys are refused without a restart.
 * A change that cannot be read is logged once, and the list stays as it was. watch.h disconnects connected peers whose
 * key was removed. One thread owns it. */
#ifndef LSTMQ_PROTO_WIRE_AUTH_ALLOW_H
#define LSTMQ_PROTO_WIRE_AUTH_ALLOW_H

#include "proto/wire/auth/curve.h"

#include <stddef.h>

struct allow;

/* Read the list. ERR_USAGE: it does not exist, or other users can write to it. ERR_DATA, with file and line: not a key,
 * or a key with two roles. An empty folder is allowed. */
struct allow *allow_open(const char *path, struct err *err);

void allow_close(struct allow **allow);

/* The entry of a key (Z85), or NULL. The list owns it; it is valid until the next call. */
const struct curve_public *allow_find(struct allow *allow, const char *key);

/* Check the files now. Reads them if names, sizes or times have changed, or if they changed so recently that their
 * times may hide another change. */
void allow_refresh(struct allow *allow);

/* Whether the list, as last read, has the key with that role (curve_role_name). */
bool allow_has(const struct allow *allow, const char *key, const char *role);

size_t allow_count(const struct allow *allow);

#endif
