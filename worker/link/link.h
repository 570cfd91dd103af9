/* link.h - a worker's connection to its coordinator: a DEALER and its monitor.
 *
 * A link tries to connect until it succeeds, and is connected only once. When it breaks, its owner closes it, with all
 * messages in it, and opens another. So no message of an old connection is ever taken for one of the new. Over inproc
 * nothing can break: such a link is connected from the beginning. Owned by the loop thread. */
#ifndef LSTMQ_WORKER_LINK_LINK_H
#define LSTMQ_WORKER_LINK_LINK_H

#include "proto/wire/monitor.h"
#include "proto/wire/socket.h"

struct link {
    void *socket;            /* DEALER */
    struct monitor *monitor; /* NULL over inproc */
    bool stands;
};

/* Begin to connect, as socket_connect (socket.h) does with these options. `link` may have any content before; on
 * failure it is closed. */
bool link_open(struct link *link, struct socket_options options, const char *endpoint, struct err *err);

/* Messages that were sent are delivered for `linger_ms` more, in the background. NULL sockets are ignored. */
void link_close(struct link *link, int linger_ms);

/* The next piece of news from the monitor. After MONITOR_BROKE the link will not connect again; after MONITOR_REFUSED
 * only if its monitor is not spent. */
bool link_listen(struct link *link, enum monitor_news *news, struct err *err);

/* The address from which this host reaches the TCP endpoint, for others to connect to: "192.0.2.7", or "[2001:db8::7]".
 * ERR_USAGE: the endpoint names no host. ERR_IO: there is no route to it. */
enum { LINK_ADDRESS = 64 };
bool link_local_address(const char *endpoint, char address[LINK_ADDRESS], struct err *err);

#endif
