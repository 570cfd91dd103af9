/* uplink.h - a client's connection to its queue, and the one descriptor that wakes the client.
 *
 * An uplink opens a DEALER and its monitor, records what becomes of the connection, and opens both again where libzmq
 * does not. Its epoll descriptor holds three: the socket's, the monitor's and a timer. ZeroMQ's descriptors only say
 * that a socket's state may have changed. So after each turn the client asks uplink_has_more, until it is false.
 *
 * The client owns the uplink, from uplink_open to uplink_close. The client's thread. */
#ifndef LSTMQ_PROTO_CLIENT_UPLINK_H
#define LSTMQ_PROTO_CLIENT_UPLINK_H

#include "proto/client/lstmq.h"
#include "proto/wire/auth/curve.h"
#include "proto/wire/endpoint.h"
#include "proto/wire/monitor.h"

enum uplink_state {
    UPLINK_OPENS,   /* connecting; libzmq retries                               */
    UPLINK_FRESH,   /* connected, and the queue has sent nothing yet            */
    UPLINK_TRUSTED, /* connected, and the queue has sent something              */
    UPLINK_STUCK,   /* libzmq does not retry, or the queue refused this client  */
};

struct uplink {
    char endpoint[ENDPOINT_SIZE];
    bool has_keys;
    struct curve_keys keys;
    struct curve_public server;
    void *context, *socket;
    struct monitor *monitor;
    int poll_fd, timer_fd;
    enum uplink_state state;
    bool stood;                /* it was connected once               */
    enum monitor_news failure; /* of the last attempt to connect      */
    int64_t stands_ms;         /* when it was connected               */
    int64_t heard_ms;          /* when the queue last sent a message  */
    int64_t reopen_ms;         /* UPLINK_STUCK: when to open it again */
    int64_t timer_ms;          /* as in uplink_set_timer; 0 = not yet */
};

/* False and `error`: LSTMQ_USAGE, LSTMQ_MEMORY or LSTMQ_CONNECTION, and the uplink is closed. */
bool uplink_open(struct uplink *uplink, const char *endpoint, const struct lstmq_settings *settings,
                 struct lstmq_error *error);

/* An uplink whose uplink_open failed may be closed. */
void uplink_close(struct uplink *uplink);

static inline bool uplink_stands(const struct uplink *uplink)
{
    return uplink->state == UPLINK_FRESH || uplink->state == UPLINK_TRUSTED;
}

/* Record what the monitor has seen. *broke: a connection ended since the last call, or another one began. */
bool uplink_take_news(struct uplink *uplink, bool *broke, struct err *err);

/* Break the connection off, and open another after `ms`. */
void uplink_break(struct uplink *uplink, int64_t ms);

/* Whether a socket has something to read that its descriptor may not show. */
bool uplink_has_more(const struct uplink *uplink);

/* The descriptor can be read at `due_ms`, or now if that has passed; UPLINK_NEVER_MS: only for news. */
#define UPLINK_NEVER_MS INT64_MAX
void uplink_set_timer(struct uplink *uplink, int64_t due_ms);

/* Why there is no connection, as an error of LSTMQ_CONNECTION. */
void uplink_explain(const struct uplink *uplink, struct lstmq_error *error);

#endif
