/* curve.h - a CURVE key pair, as two small files.
 *
 * NAME.pub is public and goes into a server's allow-list. It is one line, so such files can be concatenated:
 *
 *     # lstmq public key
 *     train rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7 worker-1
 *
 * NAME.key stays with its owner (mode 0600) and has a second line, "secret KEY". Keys are 32 bytes as Z85 (ZeroMQ RFC
 * 32). The role says what a server lets the key do. Only the role in the server's allow-list counts, not the one in the
 * owner's files. A struct curve_keys is plain memory; its owner clears it with curve_clear as soon as the sockets are
 * set up. Any thread. */
#ifndef LSTMQ_PROTO_WIRE_AUTH_CURVE_H
#define LSTMQ_PROTO_WIRE_AUTH_CURVE_H

#include "proto/base/err.h"

#include <stddef.h>

enum {
    CURVE_KEY = 41,   /* a key as Z85, its NUL included */
    CURVE_NAME = 65,  /* of a name, its NUL included */
    CURVE_SHOWN = 11, /* a key as shown to users: its beginning */
};

/* In the order of the choice keygen.role. */
enum curve_role {
    ROLE_TRAIN,  /* trains for a coordinator */
    ROLE_SERVE,  /* translates for a serving queue */
    ROLE_CLIENT, /* requests translations from a queue */
    ROLE_ADMIN,  /* requests the status of a coordinator or a queue */
    ROLES
};

/* The content of a public key file. */
struct curve_public {
    char key[CURVE_KEY];
    char name[CURVE_NAME];
    enum curve_role role;
};

struct curve_keys {
    struct curve_public public;
    char secret[CURVE_KEY];
};

const char *curve_role_name(enum curve_role role);

/* A new pair. ERR_USAGE: the name is not 1 to 64 letters, digits, dots, dashes and underscores, or begins with a dot or
 * a dash. ERR_FAILED: libzmq was built without CURVE. */
bool curve_generate(struct curve_keys *keys, const char *name, enum curve_role role, struct err *err);

/* Write FOLDER/NAME.key and FOLDER/NAME.pub, both durable; makes the folder. Existing files are replaced only with
 * `force`; otherwise ERR_USAGE names the file. */
bool curve_write(const struct curve_keys *keys, const char *folder, bool force, struct err *err);

/* Read a .key file. ERR_USAGE: other users can read it (the error has the chmod to run), or it is a .pub file.
 * ERR_DATA: not a key file. */
bool curve_read(const char *path, struct curve_keys *keys, struct err *err);

/* Read a .pub file of one key. ERR_USAGE: it is a .key file. ERR_DATA: not a key file. */
bool curve_read_public(const char *path, struct curve_public *public, struct err *err);

/* ERR_USAGE: a line of the file belongs to a .key file; the text names the .pub file to give instead. */
bool curve_check_public(const char *path, const char *line, struct err *err);

/* Parse one line of a .pub file, without its newline. ERR_DATA, without file and line: not a key. */
bool curve_parse_public(const char *line, struct curve_public *public, struct err *err);

/* Overwrite the secret in a way that the compiler cannot remove. */
void curve_clear(struct curve_keys *keys);

/* True for 40 characters of Z85, which is 32 bytes. */
bool curve_is_key(const char *text);

/* The beginning of a key, enough to find it among .pub files. */
void curve_show(const char *key, char shown[CURVE_SHOWN]);

/* Before zmq_connect: authenticate with `keys`, and accept only the owner of `server_key` (Z85). The side that binds is
 * the CURVE server: zap_set_server (zap.h). */
bool curve_set_client(void *socket, const struct curve_keys *keys, const char *server_key, struct err *err);

#endif
