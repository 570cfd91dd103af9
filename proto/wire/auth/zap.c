/* zap.c - requests of RFC 27, one multipart message each, answered at once.
 *
 *     request: identity | "" | "1.0" | id | domain | address | routing id | "CURVE" | key, 32 bytes
 *              the same without the key, and "NULL", from a socket without keys
 *     reply:   identity | "" | "1.0" | id | "200" or "300" | text | user id | metadata
 *
 * 300 is RFC 27's temporary failure: the connection is closed and the peer tries again later, so it can connect once
 * its key is on the list. After a 400, libzmq's clients never retry.
 *
 * Requests come from libzmq in the same process, but the peer chooses address, routing id and key. So every size is
 * checked before a frame is read. */
#include "proto/wire/auth/zap.h"

#include "proto/base/log.h"
#include "proto/wire/auth/refusal.h"
#include "proto/wire/message.h"
#include "proto/wire/parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#define ZAP_ENDPOINT "inproc://zeromq.zap.01"

/* Frames of a request, in order. */
enum { ASKER, DELIMITER, VERSION, REQUEST_ID, DOMAIN, ADDRESS, ROUTING_ID, MECHANISM, KEY, REQUEST_FRAMES };

/* The domain of a socket without keys. */
static const char zap_open[] = "open";

enum { KEY_BYTES = 32, REQUESTS_A_ROUND = 256, ROLE_PROPERTY = 32 };

struct zap {
    void *socket; /* ROUTER, so that one vanished requester blocks no other */
    struct loop *loop;
    uint64_t source;
    struct allow *allow;
    char ring[CURVE_KEY]; /* "" = no key */
    struct refusals refusals;
    uint64_t accepted;
};

static const char *const zap_domains[ZAP_DOMAINS] = {"train", "ring", "serve", "admin"};

/* The roles that each domain accepts, as a set. */
static const unsigned zap_roles[ZAP_DOMAINS] = {
    [ZAP_TRAIN] = 1U << ROLE_TRAIN | 1U << ROLE_ADMIN,
    [ZAP_SERVE] = 1U << ROLE_SERVE | 1U << ROLE_CLIENT | 1U << ROLE_ADMIN,
    [ZAP_ADMIN] = 1U << ROLE_ADMIN,
};

struct zap_request {
    zmq_msg_t frames[REQUEST_FRAMES];
    size_t count; /* initialised */
};

static void zap_request_close(struct zap_request *request)
{
    for (size_t i = 0; i < request->count; i++)
        zmq_msg_close(&request->frames[i]);
}

static bool zap_is(zmq_msg_t *frame, const char *text)
{
    return zmq_msg_size(frame) == strlen(text) && memcmp(zmq_msg_data(frame), text, strlen(text)) == 0;
}

/* Receive a whole message, and drop frames beyond a request's. False: no message waits. */
static bool zap_receive(void *socket, struct zap_request *request, bool *whole)
{
    zmq_msg_t first;
    struct parts parts = {.kept = request->frames, .most = REQUEST_FRAMES, .most_bytes = UINT64_MAX};
    *request = (struct zap_request){0};
    if (!parts_receive_one(socket, &first, ZMQ_DONTWAIT))
        return false;
    bool received = parts_receive_rest(socket, &first, &parts);
    request->count = parts.kept_count;
    *whole = parts.count == REQUEST_FRAMES || parts.count == KEY;
    return received;
}

static bool zap_is_request(struct zap_request *request)
{
    return zap_is(&request->frames[DELIMITER], "") && zap_is(&request->frames[VERSION], "1.0");
}

static bool zap_has_key(struct zap_request *request)
{
    return request->count == REQUEST_FRAMES && zap_is(&request->frames[MECHANISM], "CURVE") &&
           zmq_msg_size(&request->frames[KEY]) == KEY_BYTES;
}

static bool zap_is_open(struct zap_request *request)
{
    return request->count == KEY && zap_is(&request->frames[MECHANISM], "NULL") &&
           zap_is(&request->frames[DOMAIN], zap_open);
}

/* The peer's address as one word. libzmq sends it, so "?" stands for an address that it should never send. */
static void zap_address(struct zap_request *request, char address[64])
{
    zmq_msg_t *frame = &request->frames[ADDRESS];
    size_t size = zmq_msg_size(frame) < 63 ? zmq_msg_size(frame) : 63;
    memcpy(address, zmq_msg_data(frame), size);
    address[size] = '\0';
    for (size_t i = 0; i < size; i++)
        if (address[i] <= ' ' || address[i] > '~')
            address[i] = '?';
}

/* Whether `key` may use the request's domain; if not, the reason for the log. */
static bool zap_judge(struct zap *zap, struct zap_request *request, const char *key, char *reason, size_t space)
{
    int domain = 0;
    while (domain < ZAP_DOMAINS && !zap_is(&request->frames[DOMAIN], zap_domains[domain]))
        domain++;
    char shown[CURVE_SHOWN];
    curve_show(key, shown);
    const struct curve_public *known = zap_find(zap, key);
    if (domain == ZAP_DOMAINS)
        snprintf(reason, space, "key %s connected to a socket of unknown kind", shown);
    else if (domain == ZAP_RING && strcmp(zap->ring, key) == 0)
        return true;
    else if (domain == ZAP_RING)
        snprintf(reason, space, "key %s is not the key of this rank's neighbour", shown);
    else if (known == NULL)
        snprintf(reason, space, "key %s is not on the list of keys", shown);
    else if ((zap_roles[domain] & 1U << known->role) != 0)
        return true;
    else
        snprintf(reason, space, "key %s (%s) has the role %s, which is not for \"%s\"", shown, known->name,
                 curve_role_name(known->role), zap_domains[domain]);
    return false;
}

static bool zap_send(void *socket, zmq_msg_t *copied, const char *text, bool more)
{
    int flags = ZMQ_DONTWAIT | (more ? ZMQ_SNDMORE : 0);
    if (copied != NULL)
        return zmq_send(socket, zmq_msg_data(copied), zmq_msg_size(copied), flags) >= 0;
    return zmq_send(socket, text, strlen(text), flags) >= 0;
}

/* The role of a key on the list, as ZAP encodes a property: sizes before name and value. A ring's keys have no role.
 * Returns its size. */
static size_t zap_role_property(struct zap *zap, const char *key, uint8_t property[ROLE_PROPERTY])
{
    static const char name[] = ROUTE_ROLE;
    const struct curve_public *known = zap_find(zap, key);
    if (known == NULL)
        return 0;
    const char *role = curve_role_name(known->role);
    const uint8_t sizes[] = {sizeof name - 1, 0, 0, 0, (uint8_t)strlen(role)};
    uint8_t *at = property;
    *at++ = sizes[0];
    at = (uint8_t *)mempcpy(at, name, sizes[0]);
    at = (uint8_t *)mempcpy(at, sizes + 1, 4);
    at = (uint8_t *)mempcpy(at, role, sizes[4]);
    return (size_t)(at - property);
}

/* If the requester has gone, the ROUTER drops the reply, which is no failure. */
static void zap_reply(struct zap *zap, struct zap_request *request, bool good, const char *user)
{
    uint8_t property[ROLE_PROPERTY];
    size_t size = zap_role_property(zap, user, property);
    bool sent = zap_send(zap->socket, &request->frames[ASKER], NULL, true) && zap_send(zap->socket, NULL, "", true) &&
                zap_send(zap->socket, NULL, "1.0", true) &&
                zap_send(zap->socket, &request->frames[REQUEST_ID], NULL, true) &&
                zap_send(zap->socket, NULL, good ? "200" : "300", true) &&
                zap_send(zap->socket, NULL, good ? "OK" : "not allowed", true) &&
                zap_send(zap->socket, NULL, user, true) && zmq_send(zap->socket, property, size, ZMQ_DONTWAIT) >= 0;
    if (!sent)
        log_event(LOG_WARN, "admission_failed", LOG_FIELDS(LOG_TEXT("reason", zmq_strerror(zmq_errno()))),
                  "cannot answer whether a peer may connect: %s", zmq_strerror(zmq_errno()));
}

static void zap_answer(struct zap *zap, struct zap_request *request)
{
    char address[64], key[CURVE_KEY] = "", reason[256] = "it has no key";
    bool good = zap_is_request(request);
    if (good && zap_has_key(request))
        good = zmq_z85_encode(key, zmq_msg_data(&request->frames[KEY]), KEY_BYTES) != NULL &&
               zap_judge(zap, request, key, reason, sizeof reason);
    else
        good = good && zap_is_open(request);
    zap_address(request, address);
    if (good)
        zap->accepted++;
    else
        refusal_log(&zap->refusals, address, "%s", reason);
    zap_reply(zap, request, good, good ? key : "");
}

/* At most so many requests a round, so that a flood leaves time for the loop's other sources. */
static bool zap_ready(void *context, struct err *err)
{
    struct zap *zap = context;
    struct zap_request request;
    bool whole = false;
    (void)err;
    for (int i = 0; i < REQUESTS_A_ROUND; i++) {
        bool got = zap_receive(zap->socket, &request, &whole);
        if (got && whole)
            zap_answer(zap, &request);
        zap_request_close(&request);
        if (!got)
            break;
    }
    return true;
}

struct zap *zap_new(void *zmq_context, struct loop *loop, struct allow *allow, struct err *err)
{
    struct zap *zap = calloc(1, sizeof *zap);
    if (zap == NULL) {
        err_set(err, ERR_MEMORY, "out of memory for the handler of keys");
        return NULL;
    }
    zap->loop = loop;
    zap->allow = allow;
    zap->refusals.loop = loop;
    const int linger = 0, no_limit = 0;
    zap->socket = zmq_socket(zmq_context, ZMQ_ROUTER);
    if (zap->socket == NULL || zmq_setsockopt(zap->socket, ZMQ_LINGER, &linger, sizeof linger) != 0 ||
        zmq_setsockopt(zap->socket, ZMQ_RCVHWM, &no_limit, sizeof no_limit) != 0 ||
        zmq_setsockopt(zap->socket, ZMQ_SNDHWM, &no_limit, sizeof no_limit) != 0 ||
        zmq_bind(zap->socket, ZAP_ENDPOINT) != 0)
        socket_error(err, "cannot bind the handler of keys");
    else
        zap->source = loop_add_socket(loop, zap->socket, zap_ready, zap, err);
    if (zap->source == 0)
        zap_destroy(&zap);
    return zap;
}

void zap_destroy(struct zap **zap)
{
    if (*zap == NULL)
        return;
    loop_remove((*zap)->loop, (*zap)->source);
    refusals_close(&(*zap)->refusals);
    if ((*zap)->socket != NULL)
        zmq_close((*zap)->socket);
    free(*zap);
    *zap = NULL;
}

static bool zap_set(void *socket, int option, const void *value, size_t size, struct err *err)
{
    return zmq_setsockopt(socket, option, value, size) == 0 || socket_error(err, "cannot set a socket's keys");
}

bool zap_set_server(struct zap *zap, void *socket, const struct curve_keys *keys, enum zap_domain domain,
                    struct err *err)
{
    const int on = 1;
    (void)zap; /* a parameter, because the socket must not exist without the handler */
    return zap_set(socket, ZMQ_CURVE_SERVER, &on, sizeof on, err) &&
           zap_set(socket, ZMQ_CURVE_SECRETKEY, keys->secret, CURVE_KEY, err) &&
           zap_set(socket, ZMQ_ZAP_DOMAIN, zap_domains[domain], strlen(zap_domains[domain]), err);
}

bool zap_set_open(struct zap *zap, void *socket, struct err *err)
{
    (void)zap;
    return zap_set(socket, ZMQ_ZAP_DOMAIN, zap_open, strlen(zap_open), err);
}

void zap_set_ring(struct zap *zap, const char *key)
{
    snprintf(zap->ring, sizeof zap->ring, "%s", key == NULL ? "" : key);
}

const struct curve_public *zap_find(struct zap *zap, const char *key)
{
    return zap->allow == NULL ? NULL : allow_find(zap->allow, key);
}

struct zap_counts zap_counts(const struct zap *zap)
{
    return (struct zap_counts){zap->accepted, zap->refusals.total};
}
