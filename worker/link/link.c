/* link.c - a DEALER with a monitor; see link.h. */
#include "worker/link/link.h"

#include "proto/wire/message.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

/* Messages that wait for the network, unless the owner wants another number. Few, because a piece of a state is 1 MiB,
 * and an urgent PONG waits behind them. */
enum { LINK_QUEUE = 4 };

static bool link_set(void *socket, int option, int value)
{
    return zmq_setsockopt(socket, option, &value, sizeof value) == 0;
}

bool link_open(struct link *link, struct socket_options options, const char *endpoint, struct err *err)
{
    bool within = strncmp(endpoint, "inproc://", 9) == 0;
    *link = (struct link){.stands = within};
    if (options.queue == 0)
        options.queue = LINK_QUEUE;
    options.monitor = within ? NULL : &link->monitor;
    link->socket = socket_connect(&options, endpoint, err);
    return link->socket != NULL;
}

void link_close(struct link *link, int linger_ms)
{
    monitor_destroy(&link->monitor);
    if (link->socket != NULL) {
        link_set(link->socket, ZMQ_LINGER, linger_ms);
        zmq_close(link->socket);
    }
    *link = (struct link){0};
}

bool link_listen(struct link *link, enum monitor_news *news, struct err *err)
{
    if (!monitor_take(link->monitor, news, err))
        return false;
    if (*news == MONITOR_STANDS && link->stands)
        *news = MONITOR_SAME; /* a link is connected only once */
    link->stands = *news == MONITOR_STANDS || (link->stands && *news != MONITOR_BROKE);
    return true;
}

/* Split "tcp://HOST:PORT"; removes the brackets of an IPv6 address. */
static bool link_host_and_port(const char *endpoint, char host[256], char port[16], struct err *err)
{
    const char *begin = strncmp(endpoint, "tcp://", 6) == 0 ? endpoint + 6 : NULL;
    const char *colon = begin != NULL ? strrchr(begin, ':') : NULL;
    if (colon == NULL || colon == begin || colon - begin > 255 || strlen(colon + 1) > 15)
        return err_set(err, ERR_USAGE, "%s is not tcp://HOST:PORT", endpoint);
    int length = (int)(colon - begin);
    bool brackets = begin[0] == '[' && colon[-1] == ']';
    snprintf(host, 256, "%.*s", brackets ? length - 2 : length, brackets ? begin + 1 : begin);
    snprintf(port, 16, "%s", colon + 1);
    return true;
}

/* A connected UDP socket sends nothing, but knows its own address. */
static bool link_own_address(const struct addrinfo *to, char *text, size_t size)
{
    struct sockaddr_storage own;
    socklen_t length = sizeof own;
    int fd = socket(to->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool found = connect(fd, to->ai_addr, to->ai_addrlen) == 0 &&
                 getsockname(fd, (struct sockaddr *)&own, &length) == 0 &&
                 getnameinfo((struct sockaddr *)&own, length, text, (socklen_t)size, NULL, 0, NI_NUMERICHOST) == 0;
    close(fd);
    return found;
}

bool link_local_address(const char *endpoint, char address[LINK_ADDRESS], struct err *err)
{
    char host[256], port[16], text[LINK_ADDRESS - 2];
    if (!link_host_and_port(endpoint, host, port, err))
        return false;
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *list = NULL;
    int failed = getaddrinfo(host, port, &hints, &list);
    if (failed != 0)
        return err_set(err, ERR_IO, "%s: %s", host, gai_strerror(failed));
    bool found = false;
    for (const struct addrinfo *to = list; to != NULL && !found; to = to->ai_next)
        found = link_own_address(to, text, sizeof text);
    freeaddrinfo(list);
    if (!found)
        return err_errno(err, ERR_IO, "%s: no route to it from this host", endpoint);
    snprintf(address, LINK_ADDRESS, strchr(text, ':') != NULL ? "[%s]" : "%s", text);
    return true;
}
