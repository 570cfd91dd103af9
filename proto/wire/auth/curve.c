/* curve.c - read and write key files, and set the CURVE options of a socket. */
#include "proto/wire/auth/curve.h"

#include "proto/base/typed.h"
#include "proto/wire/message.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zmq.h>

enum { PATH_MOST = 4096, FILE_MOST = 4096, KEY_CHARS = CURVE_KEY - 1 };

static const char *const curve_roles[ROLES] = {"train", "serve", "client", "admin"};

const char *curve_role_name(enum curve_role role)
{
    return curve_roles[role];
}

void curve_clear(struct curve_keys *keys)
{
    explicit_bzero(keys, sizeof *keys);
}

/* libzmq decodes a text beyond 32 bytes to other bytes, so the key must encode to the same text again. */
bool curve_is_key(const char *text)
{
    static const char alphabet[] =
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#";
    uint8_t bytes[32];
    char again[CURVE_KEY];
    if (strlen(text) != KEY_CHARS || strspn(text, alphabet) != KEY_CHARS)
        return false;
    bool good = zmq_z85_decode(bytes, text) != NULL && zmq_z85_encode(again, bytes, sizeof bytes) != NULL &&
                memcmp(again, text, KEY_CHARS) == 0;
    explicit_bzero(bytes, sizeof bytes);
    explicit_bzero(again, sizeof again);
    return good;
}

void curve_show(const char *key, char shown[CURVE_SHOWN])
{
    snprintf(shown, CURVE_SHOWN, "%.7s...", key);
}

static bool curve_name_allowed(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t size = strlen(name);
    return size > 0 && size < CURVE_NAME && strspn(name, letters) == size && name[0] != '.' && name[0] != '-';
}

bool curve_generate(struct curve_keys *keys, const char *name, enum curve_role role, struct err *err)
{
    if (!curve_name_allowed(name))
        return err_set(err, ERR_USAGE,
                       "\"%s\" is not a name of a key: 1 to %d letters, digits, dots, dashes and underscores",
                       typed_show(name).shown, CURVE_NAME - 1);
    *keys = (struct curve_keys){.public.role = role};
    snprintf(keys->public.name, sizeof keys->public.name, "%s", name);
    if (zmq_curve_keypair(keys->public.key, keys->secret) != 0)
        return err_set(err, ERR_FAILED, "cannot make keys: this libzmq has no CURVE");
    return true;
}

/* ---- files ---- */

static bool curve_path(char path[PATH_MOST], const char *folder, const char *name, const char *suffix, struct err *err)
{
    int length = snprintf(path, PATH_MOST, "%s/%s.%s", folder, name, suffix);
    if (length >= PATH_MOST)
        return err_set(err, ERR_USAGE, "a path of more than %d bytes: %.200s...", PATH_MOST - 1, folder);
    return true;
}

/* Create a file that does not exist yet: complete and durable, or not at all. */
static bool curve_create(const char *path, const char *text, mode_t mode, struct err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (fd < 0 && errno == EEXIST)
        return err_set(err, ERR_USAGE, "%s exists; --force writes over it", path);
    if (fd < 0)
        return err_errno(err, ERR_IO, "%s: cannot create", path);
    size_t size = strlen(text);
    errno = ENOSPC; /* for a short write */
    bool good = write(fd, text, size) == (ssize_t)size && fsync(fd) == 0;
    if (!good)
        err_errno(err, ERR_IO, "%s: cannot write", path);
    if (close(fd) != 0 && good)
        good = err_errno(err, ERR_IO, "%s: cannot write", path);
    if (!good)
        unlink(path);
    return good;
}

static bool curve_absent(const char *path, bool force, struct err *err)
{
    struct stat about;
    if (lstat(path, &about) != 0)
        return true;
    if (!force)
        return err_set(err, ERR_USAGE, "%s exists; --force writes over it", path);
    return unlink(path) == 0 || err_errno(err, ERR_IO, "%s: cannot remove", path);
}

/* Sync the folder, so that the new file survives a crash. */
static bool curve_sync_folder(const char *folder, struct err *err)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    if (!good)
        err_errno(err, ERR_IO, "%s: cannot make durable", folder);
    if (fd >= 0)
        close(fd);
    return good;
}

bool curve_write(const struct curve_keys *keys, const char *folder, bool force, struct err *err)
{
    char secret_path[PATH_MOST], public_path[PATH_MOST], text[FILE_MOST];
    const struct curve_public *public = &keys->public;
    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return err_errno(err, ERR_IO, "%s: cannot create", folder);
    if (!curve_path(secret_path, folder, public->name, "key", err) ||
        !curve_path(public_path, folder, public->name, "pub", err))
        return false;
    if (!curve_absent(secret_path, force, err) || !curve_absent(public_path, force, err))
        return false;
    snprintf(text, sizeof text,
             "# lstmq secret key: it stays where it is used, readable by its owner only\n%s %s %s\nsecret %s\n",
             curve_roles[public->role], public->key, public->name, keys->secret);
    bool good = curve_create(secret_path, text, 0600, err);
    explicit_bzero(text, sizeof text);
    if (!good)
        return false;
    snprintf(text, sizeof text, "# lstmq public key\n%s %s %s\n", curve_roles[public->role], public->key, public->name);
    if (curve_create(public_path, text, 0644, err) && curve_sync_folder(folder, err))
        return true;
    unlink(secret_path);
    return false;
}

/* ---- reading ---- */

/* Copy the word at *at into `word`, or "" if it does not fit, and move *at behind it. */
static void curve_word(const char **at, char *word, size_t space)
{
    *at += strspn(*at, " \t");
    size_t size = strcspn(*at, " \t\r");
    snprintf(word, space, "%.*s", size < space ? (int)size : 0, *at);
    *at += size;
}

bool curve_parse_public(const char *line, struct curve_public *public, struct err *err)
{
    char role[16];
    enum curve_role found = ROLES;
    curve_word(&line, role, sizeof role);
    for (int i = 0; i < ROLES; i++)
        if (strcmp(role, curve_roles[i]) == 0)
            found = (enum curve_role)i;
    *public = (struct curve_public){.role = found};
    curve_word(&line, public->key, sizeof public->key);
    curve_word(&line, public->name, sizeof public->name);
    if (found == ROLES)
        return err_set(err, ERR_DATA, "a key begins with its role: train, serve, client or admin");
    if (!curve_is_key(public->key))
        return err_set(err, ERR_DATA, "the second word is no public key: %d characters of Z85", KEY_CHARS);
    if (!curve_name_allowed(public->name) || line[strspn(line, " \t\r")] != '\0')
        return err_set(err, ERR_DATA, "the third and last word is the key's name");
    return true;
}

/* Read the whole file, NUL-terminated, and whose it is. */
static bool curve_load(const char *path, char text[FILE_MOST], struct stat *about, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_errno(err, ERR_USAGE, "%s: cannot open", path);
    ssize_t got = -1;
    if (fstat(fd, about) != 0 || !S_ISREG(about->st_mode))
        err_set(err, ERR_DATA, "%s: not a file", path);
    else if ((got = read(fd, text, FILE_MOST)) < 0)
        err_errno(err, ERR_IO, "%s: cannot read", path);
    else if (got == FILE_MOST || memchr(text, '\0', (size_t)got) != NULL)
        got = -1, err_set(err, ERR_DATA, "%s: not a key file", path);
    close(fd);
    if (got >= 0)
        text[got] = '\0';
    return got >= 0;
}

/* The next line of *text that is neither empty nor a comment, terminated in place; NULL at the end. */
static char *curve_line(char **text)
{
    while (**text != '\0') {
        char *line = *text, *end = line + strcspn(line, "\r\n");
        *text = *end == '\0' ? end : end + 1;
        *end = '\0';
        line += strspn(line, " \t\r");
        if (*line != '\0' && *line != '#')
            return line;
    }
    return NULL;
}

/* The error for a file of the wrong kind: it names the other file of the pair. */
static bool curve_other_kind(const char *path, const char *kind, const char *own, const char *needed, struct err *err)
{
    size_t size = strlen(path), suffix = strlen(own);
    if (size <= suffix || strcmp(path + size - suffix, own) != 0)
        return err_set(err, ERR_USAGE, "this is a %s key; give the %s file of the pair", kind, needed);
    return err_set(err, ERR_USAGE, "this is a %s key; give %.*s%s", kind, (int)(size - suffix), path, needed);
}

static bool curve_is_secret(const char *line)
{
    return strncmp(line, "secret", 6) == 0 && (line[6] == ' ' || line[6] == '\t');
}

static bool curve_parse_pair(const char *path, char *text, struct curve_keys *keys, struct err *err)
{
    char *first = curve_line(&text), *second = curve_line(&text), word[16], derived[CURVE_KEY];
    if (first != NULL && second == NULL && curve_parse_public(first, &keys->public, NULL))
        return curve_other_kind(path, "public", ".pub", ".key", err);
    if (first == NULL || second == NULL || curve_line(&text) != NULL)
        return err_set(err, ERR_DATA,
                       "not a secret key file: it has the line of the public key and the line of the secret one");
    if (!curve_parse_public(first, &keys->public, err))
        return false;
    const char *at = second;
    curve_word(&at, word, sizeof word);
    curve_word(&at, keys->secret, sizeof keys->secret);
    if (strcmp(word, "secret") != 0 || !curve_is_key(keys->secret) || at[strspn(at, " \t\r")] != '\0')
        return err_set(err, ERR_DATA, "the second line is not \"secret KEY\", a key being %d characters of Z85",
                       KEY_CHARS);
    if (zmq_curve_public(derived, keys->secret) != 0)
        return err_set(err, ERR_FAILED, "cannot use keys: this libzmq has no CURVE");
    if (strcmp(derived, keys->public.key) != 0)
        return err_set(err, ERR_DATA, "the public and the secret key do not belong together");
    return true;
}

bool curve_read(const char *path, struct curve_keys *keys, struct err *err)
{
    char text[FILE_MOST];
    struct stat about = {0};
    bool good = curve_load(path, text, &about, err);
    if (good && !curve_parse_pair(path, text, keys, err))
        good = err_context(err, "%s", path);
    /* A file of root may be read by its group: so Kubernetes hands a secret to a process without privileges. */
    mode_t others = about.st_uid == 0 && geteuid() != 0 ? 037 : 077;
    if (good && (about.st_mode & others) != 0)
        good = err_set(err, ERR_USAGE, "%s: others can read this secret key (mode %03o); run: chmod 600 %s", path,
                       (unsigned)about.st_mode & 0777, path);
    explicit_bzero(text, sizeof text);
    if (!good)
        curve_clear(keys);
    return good;
}

bool curve_check_public(const char *path, const char *line, struct err *err)
{
    return !curve_is_secret(line) || curve_other_kind(path, "secret", ".key", ".pub", err);
}

bool curve_read_public(const char *path, struct curve_public *public, struct err *err)
{
    char text[FILE_MOST];
    struct stat about = {0};
    bool good = curve_load(path, text, &about, err);
    if (!good)
        return false;
    char *rest = text, *line = curve_line(&rest), *more = curve_line(&rest);
    if (more != NULL && curve_parse_public(line, public, NULL) && !curve_check_public(path, more, err))
        good = err_context(err, "%s", path);
    else if (line == NULL || more != NULL)
        good = err_set(err, ERR_DATA, "%s: not a public key file: it has one line beside comments", path);
    else if (!curve_parse_public(line, public, err))
        good = err_context(err, "%s", path);
    explicit_bzero(text, sizeof text); /* the user may have named a secret key by mistake */
    return good;
}

/* ---- sockets ---- */

static bool curve_set(void *socket, int option, const void *value, size_t size, struct err *err)
{
    return zmq_setsockopt(socket, option, value, size) == 0 || socket_error(err, "cannot set a socket's keys");
}

bool curve_set_client(void *socket, const struct curve_keys *keys, const char *server_key, struct err *err)
{
    return curve_set(socket, ZMQ_CURVE_SERVERKEY, server_key, CURVE_KEY, err) &&
           curve_set(socket, ZMQ_CURVE_PUBLICKEY, keys->public.key, CURVE_KEY, err) &&
           curve_set(socket, ZMQ_CURVE_SECRETKEY, keys->secret, CURVE_KEY, err);
}
