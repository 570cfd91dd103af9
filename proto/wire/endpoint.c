/* endpoint.c - parse endpoints, and try them without ZeroMQ; see endpoint.h. */
#include "proto/wire/endpoint.h"

#include "proto/base/typed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char endpoint_tcp[] = "tcp://", endpoint_ipc[] = "ipc://", endpoint_inproc[] = "inproc://";

static bool endpoint_begins(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* A path or white space is a typing mistake. libzmq reads the part before a semicolon as a local address. */
static const char endpoint_not_in_host[] = "/\\@;?# \t\r\n", endpoint_not_in_name[] = ":[]/\\@;?# \t\r\n";

static bool endpoint_is_number(const char *port)
{
    return port[0] != '\0' && port[strspn(port, "0123456789")] == '\0';
}

/* libzmq wraps a number beyond 65535 to another port. */
static bool endpoint_is_port(const char *port)
{
    return strcmp(port, "*") == 0 || (endpoint_is_number(port) && strtol(port, NULL, 10) <= UINT16_MAX);
}

static bool endpoint_not_an_endpoint(const char *endpoint, const char *detail, struct err *err)
{
    return err_set(err, ERR_USAGE, "\"%s\" is not an endpoint: use tcp://HOST:PORT%s", typed_show(endpoint).shown,
                   detail);
}

static bool endpoint_parse_tcp(const char *endpoint, struct address *address, struct err *err)
{
    const char *host = endpoint + strlen(endpoint_tcp), *colon = strrchr(host, ':');
    size_t size = colon == NULL ? 0 : (size_t)(colon - host), digits = colon == NULL ? 0 : strlen(colon + 1);
    *address = (struct address){.transport = TRANSPORT_TCP};
    bool bracketed = size > 2 && host[0] == '[' && host[size - 1] == ']';
    if (bracketed)
        host++, size -= 2;
    bool good = size > 0 && size < sizeof address->host && digits > 0 && digits < sizeof address->port;
    if (good) {
        memcpy(address->host, host, size);
        memcpy(address->port, colon + 1, digits);
        unsigned char bytes[16];
        char *zone = strchr(address->host, '%');
        if (zone != NULL)
            *zone = '\0';
        address->literal6 = inet_pton(AF_INET6, address->host, bytes) == 1;
        if (zone != NULL)
            *zone = '%';
        good = address->literal6 == bracketed &&
               strpbrk(address->host, bracketed ? endpoint_not_in_host : endpoint_not_in_name) == NULL &&
               endpoint_is_port(address->port);
    }
    const char *detail = address->literal6 && !bracketed ? ", with the address in brackets"
                         : endpoint_is_number(address->port) && !endpoint_is_port(address->port)
                             ? ", with a port of at most 65535"
                             : "";
    return good || endpoint_not_an_endpoint(endpoint, detail, err);
}

bool endpoint_parse(const char *endpoint, struct address *address, struct err *err)
{
    if (strlen(endpoint) >= ENDPOINT_SIZE)
        return err_set(err, ERR_USAGE, "\"%s\" is longer than the %d bytes of an endpoint", typed_show(endpoint).shown,
                       ENDPOINT_SIZE - 1);
    if (endpoint_begins(endpoint, endpoint_tcp))
        return endpoint_parse_tcp(endpoint, address, err);
    *address =
        (struct address){.transport = endpoint_begins(endpoint, endpoint_ipc) ? TRANSPORT_IPC : TRANSPORT_INPROC};
    bool local = (endpoint_begins(endpoint, endpoint_ipc) && endpoint[strlen(endpoint_ipc)] != '\0') ||
                 (endpoint_begins(endpoint, endpoint_inproc) && endpoint[strlen(endpoint_inproc)] != '\0');
    return local || endpoint_not_an_endpoint(endpoint, "", err);
}

/* A wildcard host or port can be bound, but not connected to. */
static bool endpoint_is_wildcard(const struct address *address)
{
    return strcmp(address->host, "*") == 0 || strcmp(address->port, "*") == 0 || strtol(address->port, NULL, 10) == 0;
}

bool endpoint_parse_target(const char *endpoint, struct address *address, struct err *err)
{
    if (!endpoint_parse(endpoint, address, err))
        return false;
    if (address->transport != TRANSPORT_TCP || !endpoint_is_wildcard(address))
        return true;
    return err_set(err, ERR_USAGE, "%s can only be listened at: to connect, name the host and its port",
                   typed_show(endpoint).shown);
}

bool endpoint_check(const char *endpoint, bool binds, struct err *err)
{
    struct address address;
    if (endpoint_begins(endpoint, endpoint_inproc))
        return endpoint_not_an_endpoint(endpoint, " or ipc://PATH", err);
    return binds ? endpoint_parse(endpoint, &address, err) : endpoint_parse_target(endpoint, &address, err);
}

bool endpoint_check_host(const char *endpoint, struct err *err)
{
    struct address address;
    struct addrinfo *found = NULL;
    if (!endpoint_begins(endpoint, endpoint_tcp) || !endpoint_parse_tcp(endpoint, &address, NULL) ||
        strcmp(address.host, "*") == 0 || if_nametoindex(address.host) != 0)
        return true;
    int unknown = getaddrinfo(address.host, NULL, NULL, &found);
    if (found != NULL)
        freeaddrinfo(found);
    return unknown != EAI_NONAME || err_set(err, ERR_USAGE, "%s: no host has the name \"%s\"",
                                            typed_show(endpoint).shown, typed_show(address.host).shown);
}

static bool endpoint_is_loopback(const struct address *address)
{
    struct in_addr four;
    struct in6_addr six;
    if (inet_pton(AF_INET, address->host, &four) == 1)
        return ntohl(four.s_addr) >> 24 == 127;
    if (address->literal6 && inet_pton(AF_INET6, address->host, &six) == 1)
        return IN6_IS_ADDR_LOOPBACK(&six) || (IN6_IS_ADDR_V4MAPPED(&six) && six.s6_addr[12] == 127);
    return strcmp(address->host, "localhost") == 0 || strcmp(address->host, "lo") == 0;
}

bool endpoint_is_local(const char *endpoint)
{
    struct address address;
    if (endpoint_begins(endpoint, endpoint_tcp))
        return endpoint_parse_tcp(endpoint, &address, NULL) && endpoint_is_loopback(&address);
    return endpoint_begins(endpoint, endpoint_ipc) || endpoint_begins(endpoint, endpoint_inproc);
}

bool endpoint_wants_ipv6(const struct address *address, bool binds)
{
    struct in_addr four;
    if (address->literal6 || inet_pton(AF_INET, address->host, &four) == 1)
        return address->literal6;
    if (binds)
        return strcmp(address->host, "*") == 0;
    const struct addrinfo old = {.ai_family = AF_INET}, new = {.ai_family = AF_INET6};
    struct addrinfo *found = NULL;
    bool has_old = getaddrinfo(address->host, NULL, &old, &found) == 0;
    bool has_new = !has_old && getaddrinfo(address->host, NULL, &new, &found) == 0;
    if (found != NULL)
        freeaddrinfo(found);
    return has_new;
}

/* Connect once, within ENDPOINT_EXPLAIN_MS. Returns the descriptor, or -errno. */
static int endpoint_try(const struct addrinfo *to)
{
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int failure = fd >= 0 && connect(fd, to->ai_addr, to->ai_addrlen) == 0 ? 0 : errno;
    if (fd >= 0 && failure == EINPROGRESS) {
        struct pollfd item = {.fd = fd, .events = POLLOUT};
        socklen_t size = sizeof failure;
        if (poll(&item, 1, ENDPOINT_EXPLAIN_MS) <= 0)
            failure = ETIMEDOUT;
        else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) != 0)
            failure = errno;
    }
    if (fd >= 0 && failure != 0)
        close(fd);
    return failure == 0 ? fd : -failure;
}

/* The same for the one address that libzmq tries: the first of its family. *unknown = getaddrinfo's error. */
static int endpoint_dial(const struct address *address, int *unknown)
{
    const struct addrinfo hints = {.ai_family = endpoint_wants_ipv6(address, false) ? AF_INET6 : AF_INET,
                                   .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    *unknown = getaddrinfo(address->host, address->port, &hints, &found);
    int fd = *unknown == 0 ? endpoint_try(found) : -EHOSTUNREACH;
    if (found != NULL)
        freeaddrinfo(found);
    return fd;
}

bool endpoint_greets(const char *endpoint)
{
    struct address address;
    char byte;
    int unknown;
    if (!endpoint_begins(endpoint, endpoint_tcp) || !endpoint_parse_tcp(endpoint, &address, NULL))
        return true;
    struct pollfd item = {.fd = endpoint_dial(&address, &unknown), .events = POLLIN};
    bool greets = item.fd >= 0 && poll(&item, 1, ENDPOINT_EXPLAIN_MS) > 0 && recv(item.fd, &byte, 1, MSG_DONTWAIT) == 1;
    if (item.fd >= 0)
        close(item.fd);
    return greets;
}

void endpoint_explain(const char *endpoint, struct err *err)
{
    struct address address;
    int failure = ECONNREFUSED, unknown;
    if (endpoint_begins(endpoint, endpoint_tcp) && endpoint_parse_tcp(endpoint, &address, NULL)) {
        int fd = endpoint_dial(&address, &unknown);
        if (unknown != 0) {
            err_set(err, ERR_FAILED, "%s cannot be reached: %s", endpoint, gai_strerror(unknown));
            return;
        }
        failure = fd < 0 ? -fd : 0;
        if (fd >= 0)
            close(fd);
    }
    if (failure == ECONNREFUSED)
        err_set(err, ERR_FAILED, "nothing listens at %s", endpoint);
    else if (failure == ETIMEDOUT)
        err_set(err, ERR_FAILED, "%s does not answer: is the host up, and does a firewall let the port through?",
                endpoint);
    else
        err_set(err, ERR_FAILED, "%s cannot be reached: %s", endpoint,
                failure == 0 ? "the connection ended at once" : strerror(failure));
}
