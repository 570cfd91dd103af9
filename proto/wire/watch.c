/* watch.c - a socket monitor, and one look at every connection each WATCH_EVERY_MS.
 *
 * libzmq's events and messages name a connection by its file descriptor, so connections are stored by descriptor. The
 * kernel reuses a descriptor as soon as its connection has closed. libzmq's one network thread reports that a
 * connection was accepted before it reads from it, and that it has ended before it closes the descriptor. So once all
 * waiting events are taken, a descriptor belongs to the connection that was accepted on it last. The thread that
 * receives a message therefore takes the events first; a lock lets the monitor's socket change threads. Disconnecting
 * peers and logging wait for the look. Between an event and the look, the descriptor may have been reused. So before a
 * reset, its peer's address and the kernel's cookie must be those of the accepted connection.
 *
 * A connection whose handshake fails is closed within a millisecond, before the look can ask the kernel for its peer.
 * So no connection may be read before its peer is noted. The listening socket gets a SO_RCVLOWAT that no greeting
 * reaches; accepted sockets inherit it, and watch_accepted resets it.
 *
 * A message that is received after its connection has ended counts for no connection, or for the next one on the same
 * descriptor. That peer may be trusted because of it, or disconnected, and may then connect again. */
#include "proto/wire/watch.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/wire/auth/refusal.h"
#include "proto/wire/monitor.h"

#include <arpa/inet.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <zmq.h>

enum { ADDRESS_TEXT = 64, REASON_TEXT = 160, LINES = 16, HOLD_BYTES = 4096 };

struct connection {
    bool open, trusted, rejected, cut;
    uint64_t number;              /* in the order of accept, over all connections */
    struct sockaddr_storage peer; /* ss_family 0 = unknown: it was closed already */
    uint64_t cookie;              /* the kernel's number of the socket, never reused; 0 = unknown */
    uint64_t given;               /* bytes of the messages that were received */
    uint64_t kept;                /* at the last look */
    char key[CURVE_KEY], role[8]; /* from its messages; "" = none came yet */
    bool missing;                 /* the key was unlisted at the last look */
};

/* For the log. */
struct refusal_line {
    char address[ADDRESS_TEXT], reason[REASON_TEXT];
};

struct watch {
    void *zmq_context;
    struct loop *loop;
    uint64_t timer;
    pthread_mutex_t lock;           /* protects all fields below */
    void *socket, *monitor;         /* the watched one (the caller's), and the PAIR with its events; NULL = none */
    struct connection *connections; /* [capacity], by descriptor */
    size_t capacity;
    size_t strangers, strangers_most;
    uint64_t handshake;         /* approximate bytes of a handshake, which belong to no message */
    struct watch_limits limits; /* bytes */
    uint64_t strangers_kept;    /* bytes, the limit for all of them here */
    uint64_t arrived;           /* bytes and connections until the last look */
    bool reports;               /* watch_ended is used ... */
    uint64_t *ended;            /* ... [ended_count] numbers of connections, the last one is returned first */
    size_t ended_count, ended_capacity;
    char failure[REASON_TEXT];        /* of a handshake whose DISCONNECTED is due; "" = none */
    struct refusal_line lines[LINES]; /* to be logged at the next look ... */
    size_t line_count;
    uint64_t unlogged; /* ... and how many more did not fit */
    struct refusals refusals;
    struct watch_counts counts;
    struct allow *allow; /* NULL = no allow-list */
    int64_t keys_ms;     /* when to check the list next */
};

static struct connection *watch_find(const struct watch *watch, int fd)
{
    bool known = fd >= 0 && (size_t)fd < watch->capacity && watch->connections[fd].open;
    return known ? &watch->connections[fd] : NULL;
}

static void watch_address(const struct connection *connection, char text[ADDRESS_TEXT])
{
    char host[INET6_ADDRSTRLEN] = "";
    const struct sockaddr_in *four = (const struct sockaddr_in *)&connection->peer;
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&connection->peer;
    if (connection->peer.ss_family == AF_INET && inet_ntop(AF_INET, &four->sin_addr, host, sizeof host) != NULL)
        snprintf(text, ADDRESS_TEXT, "%s:%u", host, ntohs(four->sin_port));
    else if (connection->peer.ss_family == AF_INET6 && inet_ntop(AF_INET6, &six->sin6_addr, host, sizeof host) != NULL)
        snprintf(text, ADDRESS_TEXT, "[%s]:%u", host, ntohs(six->sin6_port));
    else
        snprintf(text, ADDRESS_TEXT, "%s", REFUSAL_NO_ADDRESS);
}

/* ---- disconnecting ---- */

static void watch_peer(int fd, struct sockaddr_storage *peer)
{
    socklen_t size = sizeof *peer;
    memset(peer, 0, sizeof *peer);
    if (getpeername(fd, (struct sockaddr *)peer, &size) != 0)
        memset(peer, 0, sizeof *peer);
}

static uint64_t watch_cookie(int fd)
{
    uint64_t cookie = 0;
    socklen_t size = sizeof cookie;
    return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 ? cookie : 0;
}

/* Whether the descriptor still belongs to the connection. */
static bool watch_is_same(const struct connection *connection, int fd)
{
    struct sockaddr_storage peer;
    watch_peer(fd, &peer);
    return peer.ss_family != 0 && memcmp(&peer, &connection->peer, sizeof peer) == 0 &&
           watch_cookie(fd) == connection->cookie;
}

/* Reset a connection: libzmq sees the error and drops what it holds. shutdown(2) would not do, because libzmq would
 * still read all that the kernel has received. Connecting to AF_UNSPEC frees that too (tcp_disconnect in Linux). */
static void watch_reset(int fd)
{
    const struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    if (connect(fd, &nowhere, sizeof nowhere) != 0)
        shutdown(fd, SHUT_RDWR);
}

static void watch_cut(struct watch *watch, int fd, const char *reason)
{
    struct connection *connection = &watch->connections[fd];
    char address[ADDRESS_TEXT];
    connection->cut = true;
    watch->strangers -= !connection->trusted;
    if (!watch_is_same(connection, fd))
        return;
    watch_address(connection, address);
    watch_reset(fd);
    watch->counts.cut++;
    refusal_log(&watch->refusals, address, "%s", reason);
}

/* ---- events ---- */

/* A line for the next look, because only the loop thread logs. */
static void watch_note_refusal(struct watch *watch, const char *address, const char *reason)
{
    if (watch->line_count == LINES) {
        watch->unlogged++;
        return;
    }
    struct refusal_line *line = &watch->lines[watch->line_count++];
    snprintf(line->address, sizeof line->address, "%s", address);
    snprintf(line->reason, sizeof line->reason, "%s", reason);
}

static bool watch_grow(struct watch *watch, int fd)
{
    if ((size_t)fd < watch->capacity)
        return true;
    size_t capacity = watch->capacity == 0 ? 256 : watch->capacity;
    while (capacity <= (size_t)fd)
        capacity *= 2;
    struct connection *connections = realloc(watch->connections, capacity * sizeof *connections);
    if (connections == NULL)
        return false;
    memset(connections + watch->capacity, 0, (capacity - watch->capacity) * sizeof *connections);
    watch->connections = connections;
    watch->capacity = capacity;
    return true;
}

/* Without memory, the owner learns of it when it next sends to the peer. */
static void watch_note_ended(struct watch *watch, uint64_t number)
{
    if (watch->ended_count == watch->ended_capacity) {
        size_t capacity = watch->ended_capacity == 0 ? 64 : watch->ended_capacity * 2;
        uint64_t *ended = realloc(watch->ended, capacity * sizeof *ended);
        if (ended == NULL)
            return;
        watch->ended = ended;
        watch->ended_capacity = capacity;
    }
    watch->ended[watch->ended_count++] = number;
}

static void watch_forget(struct watch *watch, int fd)
{
    struct connection *connection = watch_find(watch, fd);
    if (connection == NULL)
        return;
    watch->strangers -= !connection->trusted && !connection->cut;
    watch->counts.connections--;
    if (watch->reports && connection->trusted)
        watch_note_ended(watch, connection->number);
    *connection = (struct connection){0};
}

/* The socket is readable only with at least this many unread bytes, or at its end. */
static void watch_read_from(int fd, int bytes)
{
    setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes);
}

/* A new connection replaces the descriptor's previous one. Without memory for it, it is not watched. */
static void watch_accepted(struct watch *watch, int fd)
{
    struct sockaddr_storage peer;
    watch->counts.accepted++;
    watch_peer(fd, &peer);
    watch_read_from(fd, 1);
    if (fd < 0 || !watch_grow(watch, fd))
        return;
    watch_forget(watch, fd);
    struct connection *connection = &watch->connections[fd];
    connection->open = true;
    connection->number = watch->counts.accepted;
    connection->cookie = watch_cookie(fd);
    connection->peer = peer;
    watch->counts.connections++;
    watch->strangers++;
}

static void watch_disconnected(struct watch *watch, int fd)
{
    struct connection *connection = watch_find(watch, fd), unknown = {0};
    char address[ADDRESS_TEXT];
    if (watch->failure[0] != '\0' && (connection == NULL || !connection->cut)) {
        watch_address(connection == NULL ? &unknown : connection, address);
        watch->counts.refused++;
        watch_note_refusal(watch, address, watch->failure);
    }
    watch->failure[0] = '\0';
    watch->counts.lost += connection != NULL && connection->trusted;
    watch_forget(watch, fd);
}

static void watch_failed_protocol(struct watch *watch, unsigned code)
{
    const char *what = "it does not follow ZeroMQ's protocol";
    if (code == ZMQ_PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)
        what = "it has no key, or keys where none are used";
    else if (code == ZMQ_PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC)
        what = "its --server key is not this coordinator's, or its secret and public keys do not match";
    snprintf(watch->failure, sizeof watch->failure, "%s (%08x)", what, code);
}

static void watch_failed(struct watch *watch, unsigned code)
{
    const char *what = "it disconnected, or sent nothing for too long, during the handshake";
    if (code == EMSGSIZE)
        what = "a frame of its handshake is too large";
    snprintf(watch->failure, sizeof watch->failure, "%s", what);
}

static void watch_event(struct watch *watch, uint16_t event, uint32_t value)
{
    if (event == ZMQ_EVENT_ACCEPTED)
        watch_accepted(watch, (int)value);
    else if (event == ZMQ_EVENT_DISCONNECTED || event == ZMQ_EVENT_CLOSED)
        watch_disconnected(watch, (int)value);
    else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL)
        watch_failed_protocol(watch, value);
    else if (event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL)
        watch_failed(watch, value);
    else if (event == ZMQ_EVENT_LISTENING)
        watch_read_from((int)value, HOLD_BYTES);
    else if (event == ZMQ_EVENT_ACCEPT_FAILED)
        watch_note_refusal(watch, REFUSAL_NO_ADDRESS,
                           value != 0 ? zmq_strerror((int)value) : "it belongs to another user");
}

/* Take all waiting events. This is faster than a network thread can make more. */
static void watch_take_events(struct watch *watch)
{
    uint16_t event;
    uint32_t value;
    while (watch->monitor != NULL && monitor_pair_take(watch->monitor, &event, &value))
        watch_event(watch, event, value);
}

/* ---- looking ---- */

/* Bytes that libzmq has read from a connection and not returned in messages. Bytes still in the kernel do not count. */
static uint64_t watch_kept(const struct watch *watch, struct connection *connection, int fd)
{
    struct tcp_info info = {0};
    socklen_t size = sizeof info;
    int unread = 0;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 ||
        size < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof info.tcpi_bytes_received)
        return 0;
    uint64_t received = info.tcpi_bytes_received;
    if (received > connection->given + WATCH_STRANGER / 8 && ioctl(fd, SIOCINQ, &unread) == 0 && unread > 0)
        received -= (uint64_t)unread < received ? (uint64_t)unread : received;
    /* A sum of returned bytes that is too high must not allow a peer more. */
    if (connection->given > info.tcpi_bytes_received)
        connection->given = info.tcpi_bytes_received;
    uint64_t known = connection->given + watch->handshake;
    return received > known ? received - known : 0;
}

/* The oldest stranger; -1 = none. */
static int watch_oldest(const struct watch *watch)
{
    int oldest = -1;
    for (size_t fd = 0; fd < watch->capacity; fd++) {
        const struct connection *at = &watch->connections[fd];
        if (at->open && !at->trusted && !at->cut && (oldest < 0 || at->number < watch->connections[oldest].number))
            oldest = (int)fd;
    }
    return oldest;
}

/* Disconnect the strangers that have been silent longest, until the rest are few enough. */
static void watch_evict(struct watch *watch)
{
    while (watch->strangers > watch->strangers_most) {
        int oldest = watch_oldest(watch);
        if (oldest < 0)
            return;
        watch_cut(watch, oldest, "too many connections without a valid first message");
    }
}

/* Disconnect the peers that hold most, until the rest of their kind hold at most `most` bytes. */
static void watch_shrink(struct watch *watch, bool trusted, uint64_t sum, uint64_t most)
{
    while (sum > most) {
        size_t largest = watch->capacity;
        for (size_t fd = 0; fd < watch->capacity; fd++) {
            const struct connection *at = &watch->connections[fd];
            if (at->open && !at->cut && at->trusted == trusted &&
                (largest == watch->capacity || at->kept > watch->connections[largest].kept))
                largest = fd;
        }
        if (largest == watch->capacity)
            return;
        sum -= watch->connections[largest].kept;
        watch_cut(watch, (int)largest, "it is one of several peers whose messages do not end");
    }
}

/* Disconnect each peer above its own limit, then those of each kind that hold most. True: nothing has arrived since the
 * last look. */
static bool watch_hold(struct watch *watch)
{
    uint64_t sums[2] = {0, 0}, arrived = watch->counts.accepted;
    for (size_t fd = 0; fd < watch->capacity; fd++) {
        struct connection *connection = &watch->connections[fd];
        if (!connection->open || connection->cut)
            continue;
        connection->kept = watch_kept(watch, connection, (int)fd);
        arrived += connection->kept + connection->given;
        if (connection->rejected && !connection->trusted)
            watch_cut(watch, (int)fd, "it sends invalid messages");
        else if (connection->kept > (connection->trusted ? watch->limits.one : watch->limits.stranger))
            watch_cut(watch, (int)fd,
                      connection->trusted ? "it sends a message that does not end" : "its first message is too large");
        else
            sums[connection->trusted] += connection->kept;
    }
    bool rests = arrived == watch->arrived;
    watch->arrived = arrived;
    watch->counts.kept = sums[0] + sums[1];
    watch_shrink(watch, false, sums[0], watch->strangers_kept);
    watch_shrink(watch, true, sums[1], watch->limits.all);
    return rests;
}

static void watch_tell(struct watch *watch)
{
    for (size_t i = 0; i < watch->line_count; i++)
        refusal_log(&watch->refusals, watch->lines[i].address, "%s", watch->lines[i].reason);
    if (watch->unlogged > 0)
        refusal_count(&watch->refusals, watch->unlogged);
    watch->line_count = 0;
    watch->unlogged = 0;
}

/* Disconnect peers whose key was removed from the list. */
static void watch_hold_to_list(struct watch *watch)
{
    int64_t now = clock_ms();
    if (watch->allow == NULL || now < watch->keys_ms)
        return;
    watch->keys_ms = now + WATCH_KEYS_MS;
    allow_refresh(watch->allow);
    for (size_t fd = 0; fd < watch->capacity; fd++) {
        struct connection *connection = &watch->connections[fd];
        char shown[CURVE_SHOWN], reason[REASON_TEXT];
        if (!connection->open || connection->cut || connection->key[0] == '\0')
            continue;
        bool was_missing = connection->missing;
        connection->missing = !allow_has(watch->allow, connection->key, connection->role);
        if (!was_missing || !connection->missing)
            continue;
        curve_show(connection->key, shown);
        snprintf(reason, sizeof reason, "key %s was removed from the list of keys", shown);
        watch_cut(watch, (int)fd, reason);
    }
}

static bool watch_look(void *context, struct err *err)
{
    struct watch *watch = context;
    pthread_mutex_lock(&watch->lock);
    watch_take_events(watch);
    watch_tell(watch);
    watch_hold_to_list(watch);
    watch_evict(watch);
    int64_t every_ms = watch_hold(watch) ? WATCH_REST_MS : WATCH_EVERY_MS;
    pthread_mutex_unlock(&watch->lock);
    /* At a multiple of the time, so that a process with several watches wakes once for all of them. */
    watch->timer = loop_add_timer(watch->loop, every_ms - clock_ms() % every_ms, 0, watch_look, watch, err);
    return watch->timer != 0;
}

/* ---- public ---- */

/* A quarter of the files that the process may open is for strangers. */
static size_t watch_strangers_most(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur / 4 > WATCH_CONNECTIONS)
        return WATCH_CONNECTIONS;
    return files.rlim_cur < 64 ? 16 : (size_t)files.rlim_cur / 4;
}

/* ZMTP's greeting is 64 bytes. READY follows, or CURVE's HELLO and INITIATE with the content of READY. Without CURVE a
 * stranger can send empty frames, each 32 times larger here than on the wire; with CURVE it can send none. */
static void watch_find_limits(struct watch *watch)
{
    int mechanism = ZMQ_NULL;
    size_t size = sizeof mechanism;
    zmq_getsockopt(watch->socket, ZMQ_MECHANISM, &mechanism, &size);
    watch->handshake = mechanism == ZMQ_CURVE ? 1024 : 192;
    watch->strangers_kept = mechanism == ZMQ_CURVE ? watch->limits.strangers : watch->limits.strangers / 4;
    watch->strangers_most = watch_strangers_most();
}

static bool watch_start(struct watch *watch, void *socket, struct err *err)
{
    const int events = ZMQ_EVENT_LISTENING | ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_ACCEPT_FAILED | ZMQ_EVENT_DISCONNECTED |
                       ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL;
    watch->monitor = monitor_pair_open(watch->zmq_context, socket, events, err);
    if (watch->monitor == NULL)
        return false;
    watch->socket = socket;
    watch_find_limits(watch);
    return true;
}

static void watch_finish(struct watch *watch)
{
    monitor_pair_close(watch->socket, &watch->monitor);
    watch->socket = NULL;
    if (watch->capacity > 0)
        memset(watch->connections, 0, watch->capacity * sizeof *watch->connections);
    watch->strangers = 0;
    watch->counts.connections = watch->counts.kept = 0;
    watch->failure[0] = '\0';
}

void watch_set_limits(struct watch *watch, const struct watch_limits *limits)
{
    pthread_mutex_lock(&watch->lock);
    watch->limits = *limits;
    pthread_mutex_unlock(&watch->lock);
}

bool watch_socket(struct watch *watch, void *socket, struct err *err)
{
    pthread_mutex_lock(&watch->lock);
    watch_finish(watch);
    bool done = watch_start(watch, socket, err);
    pthread_mutex_unlock(&watch->lock);
    return done;
}

void watch_bound(struct watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    watch_take_events(watch);
    pthread_mutex_unlock(&watch->lock);
}

void watch_leave(struct watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    watch_finish(watch);
    pthread_mutex_unlock(&watch->lock);
}

struct watch *watch_new(void *zmq_context, struct loop *loop, struct err *err)
{
    struct watch *watch = calloc(1, sizeof *watch);
    if (watch == NULL) {
        err_set(err, ERR_MEMORY, "out of memory for watching a socket");
        return NULL;
    }
    watch->zmq_context = zmq_context;
    watch->loop = loop;
    watch->refusals.loop = loop;
    watch->limits = (struct watch_limits){WATCH_STRANGER, WATCH_STRANGERS, WATCH_ONE, WATCH_ALL};
    pthread_mutex_init(&watch->lock, NULL);
    watch->timer = loop_add_timer(loop, WATCH_EVERY_MS, 0, watch_look, watch, err);
    if (watch->timer == 0)
        watch_destroy(&watch);
    return watch;
}

void watch_destroy(struct watch **watch)
{
    if (*watch == NULL)
        return;
    loop_remove((*watch)->loop, (*watch)->timer);
    refusals_close(&(*watch)->refusals);
    watch_leave(*watch);
    pthread_mutex_destroy(&(*watch)->lock);
    free((*watch)->connections);
    free((*watch)->ended);
    free(*watch);
    *watch = NULL;
}

void watch_received(struct watch *watch, const struct route *from)
{
    pthread_mutex_lock(&watch->lock);
    watch_take_events(watch);
    struct connection *connection = watch_find(watch, from->fd);
    if (connection != NULL) {
        connection->given += from->bytes;
        memcpy(connection->key, from->key, sizeof connection->key);
        memcpy(connection->role, from->role, sizeof connection->role);
    }
    pthread_mutex_unlock(&watch->lock);
}

void watch_received_again(struct watch *watch, const struct route *from)
{
    pthread_mutex_lock(&watch->lock);
    struct connection *connection = watch_find(watch, from->fd);
    if (connection != NULL)
        connection->given += from->bytes;
    pthread_mutex_unlock(&watch->lock);
}

void watch_keys(struct watch *watch, struct allow *allow)
{
    watch->allow = allow;
}

bool watch_knows(const struct watch *watch, const struct route *from)
{
    return watch->allow == NULL || allow_has(watch->allow, from->key, from->role);
}

void watch_trust(struct watch *watch, const struct route *from)
{
    pthread_mutex_lock(&watch->lock);
    struct connection *connection = watch_find(watch, from->fd);
    if (connection != NULL && !connection->trusted) {
        connection->trusted = true;
        watch->strangers -= !connection->cut;
    }
    pthread_mutex_unlock(&watch->lock);
}

void watch_reject(struct watch *watch, const struct route *from)
{
    pthread_mutex_lock(&watch->lock);
    struct connection *connection = watch_find(watch, from->fd);
    if (connection != NULL)
        connection->rejected = true;
    pthread_mutex_unlock(&watch->lock);
}

uint64_t watch_number(struct watch *watch, const struct route *from)
{
    pthread_mutex_lock(&watch->lock);
    const struct connection *connection = watch_find(watch, from->fd);
    uint64_t number = connection != NULL ? connection->number : 0;
    watch->reports = true;
    pthread_mutex_unlock(&watch->lock);
    return number;
}

uint64_t watch_ended(struct watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    uint64_t number = watch->ended_count > 0 ? watch->ended[--watch->ended_count] : 0;
    pthread_mutex_unlock(&watch->lock);
    return number;
}

struct watch_counts watch_counts(struct watch *watch)
{
    pthread_mutex_lock(&watch->lock);
    struct watch_counts counts = watch->counts;
    pthread_mutex_unlock(&watch->lock);
    return counts;
}
