/* link.h - a worker's connection to its coordinator: a DEALER, and word of what becomes of it.
 *
 * A link tries to connect until it stands, and never stands twice: when it breaks, its owner closes it, with whatever
 * still lay in it, and opens another. So nothing of an old connection is ever taken for the new one's. Over inproc there
 * is nothing that could break: such a link stands from the beginning. Owned by the loop thread. */
#ifndef LSTMQ_WORKER_CLUSTER_LINK_H
#define LSTMQ_WORKER_CLUSTER_LINK_H

#include "proto/wire/monitor.h"
#include "proto/wire/socket.h"

struct link {
    void *socket;            /* DEALER */
    struct monitor *monitor; /* NULL over inproc */
    bool stands;
};

/* Begin to connect, as socket_connect (socket.h) does with these options. `link` may hold anything before; on failure it is
 * closed. */
bool link_open(struct link *link, struct socket_options options, const char *endpoint, struct err *err);

/* What was sent is delivered for `linger_ms` more, in the background. NULL sockets are passed over. */
void link_close(struct link *link, int linger_ms);

/* Take one piece of news from the monitor. After MONITOR_BROKE the link will not stand again, and after MONITOR_REFUSED
 * only if its monitor is not spent. */
bool link_listen(struct link *link, enum monitor_news *news, struct err *err);

/* The address by which this host reaches the TCP endpoint, for others to reach it in turn: "192.0.2.7", or "[2001:db8::7]".
 * ERR_USAGE where the endpoint names no host, ERR_IO where there is no way to it. */
enum { LINK_ADDRESS = 64 };
bool link_local_address(const char *endpoint, char address[LINK_ADDRESS], struct err *err);

#endif
