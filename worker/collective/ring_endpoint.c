/* ring_endpoint.c - see ring_endpoint.h. */
#include "worker/collective/ring_endpoint.h"

#include "kernels/collective.h"
#include "proto/base/clock.h"

#include <ifaddrs.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CIRCLE = 96, BOOT = 8, CIRCLE_FIELDS = 3 };

static const char ring_endpoint_local[] = "ipc://@lstmq-ring-";

/* How a place begins that can be reached from here. What cannot be read of the machine counts as the same
 * everywhere. */
static void ring_endpoint_circle(char text[CIRCLE])
{
    char boot[BOOT + 1] = "";
    struct stat space = {0};
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
    if (file != NULL) {
        boot[fread(boot, 1, BOOT, file)] = '\0';
        fclose(file);
    }
    if (stat("/proc/self/ns/net", &space) != 0)
        space.st_ino = 0;
    snprintf(text, CIRCLE, "%s%s-%ju-%ju-", ring_endpoint_local, boot, (uintmax_t)space.st_ino, (uintmax_t)geteuid());
}

void ring_endpoint_fill(const char *bind, const void *ring, uint64_t generation, char *text, size_t size)
{
    const char *colon = strrchr(bind, ':');
    char circle[CIRCLE];
    if (strcmp(bind, "ipc://") == 0) {
        snprintf(text, size, "ipc://*");
    } else if (strcmp(bind, "ipc://@") == 0) {
        ring_endpoint_circle(circle);
        snprintf(text, size, "%s%ld-%" PRId64, circle, (long)getpid(), clock_ns());
    } else if (strcmp(bind, "inproc://") == 0) {
        snprintf(text, size, "inproc://ring-%p-%" PRIu64, ring, generation);
    } else if (strncmp(bind, "tcp://", 6) == 0 && (colon == bind + 3 || strchr(colon, ']') != NULL)) {
        snprintf(text, size, "%s:*", bind);
    } else {
        snprintf(text, size, "%s", bind);
    }
}

/* ---- reachability ---- */

static bool ring_endpoint_is_local(const char *endpoint)
{
    return strncmp(endpoint, ring_endpoint_local, sizeof ring_endpoint_local - 1) == 0;
}

/* The first `fields` fields after the beginning of both places are the same. */
static bool ring_endpoint_same(const char *one, const char *other, int fields)
{
    for (one += sizeof ring_endpoint_local - 1, other += sizeof ring_endpoint_local - 1;
         fields > 0 && *one == *other && *one != '\0'; other++)
        fields -= *one++ == '-';
    return fields == 0;
}

/* The address of a place at tcp://, where it is a number. */
static bool ring_endpoint_address(const char *endpoint, struct sockaddr_storage *address)
{
    char host[COLLECTIVE_ENDPOINT];
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *found = NULL;
    const char *colon = strrchr(endpoint, ':'), *begin = endpoint + 6;
    if (strncmp(endpoint, "tcp://", 6) != 0 || colon < begin)
        return false;
    int length = (int)(colon - begin);
    bool brackets = length > 2 && begin[0] == '[' && colon[-1] == ']';
    snprintf(host, sizeof host, "%.*s", brackets ? length - 2 : length, brackets ? begin + 1 : begin);
    if (getaddrinfo(host, NULL, &hints, &found) != 0)
        return false;
    memcpy(address, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return true;
}

/* The IP address inside a socket's address; NULL = not an IP address. */
static const void *ring_endpoint_bytes(const struct sockaddr *address, size_t *size)
{
    const struct sockaddr_in *four = (const void *)address;
    const struct sockaddr_in6 *six = (const void *)address;
    *size = address->sa_family == AF_INET ? sizeof four->sin_addr : sizeof six->sin6_addr;
    if (address->sa_family == AF_INET)
        return &four->sin_addr;
    return address->sa_family == AF_INET6 ? &six->sin6_addr : NULL;
}

static bool ring_endpoint_is_loopback(const struct sockaddr *address)
{
    size_t size;
    const uint8_t *bytes = ring_endpoint_bytes(address, &size);
    return bytes != NULL &&
           (size == 4 ? bytes[0] == 127 : IN6_IS_ADDR_LOOPBACK((const struct in6_addr *)(const void *)bytes));
}

/* It is that of another machine or network namespace, as far as one can know. */
static bool ring_endpoint_is_elsewhere(const char *endpoint)
{
    struct sockaddr_storage address = {0};
    struct ifaddrs *list;
    size_t size, own_size;
    if (!ring_endpoint_address(endpoint, &address) || ring_endpoint_is_loopback((struct sockaddr *)&address) ||
        getifaddrs(&list) != 0)
        return false;
    const void *bytes = ring_endpoint_bytes((struct sockaddr *)&address, &size), *own;
    bool here = false;
    for (const struct ifaddrs *at = list; at != NULL && !here; at = at->ifa_next)
        here = at->ifa_addr != NULL && at->ifa_addr->sa_family == address.ss_family &&
               (own = ring_endpoint_bytes(at->ifa_addr, &own_size)) != NULL && memcmp(own, bytes, size) == 0;
    freeifaddrs(list);
    return !here;
}

/* A local socket `place` is out of reach for who is at `from`, and its owner knows that. */
static bool ring_endpoint_knows_apart(const char *place, const char *from, const char *circle)
{
    struct sockaddr_storage address;
    if (ring_endpoint_is_local(from))
        return !ring_endpoint_same(place, from, CIRCLE_FIELDS);
    return !ring_endpoint_same(place, circle, CIRCLE_FIELDS - 1) && ring_endpoint_address(from, &address) &&
           !ring_endpoint_is_loopback((struct sockaddr *)&address);
}

/* This rank's local socket is out of reach for `older`, which was here before. */
static bool ring_endpoint_is_apart(const char *own, const char *older)
{
    return ring_endpoint_is_local(older) ? !ring_endpoint_same(own, older, CIRCLE_FIELDS)
                                         : ring_endpoint_is_elsewhere(older);
}

static const char ring_endpoint_mend[] = "start it with --worker.bind ADDRESS, or connect it by another address";

bool ring_endpoint_check(const char *const *endpoints, uint32_t rank, uint32_t size, struct err *err)
{
    char circle[CIRCLE];
    uint32_t successor = (rank + 1) % size;
    const char *own = endpoints[rank], *next = endpoints[successor];
    ring_endpoint_circle(circle);
    for (uint32_t older = 0; older < rank && ring_endpoint_is_local(own); older++)
        if (ring_endpoint_is_apart(own, endpoints[older]))
            return err_set(err, ERR_USAGE,
                           "this worker, of rank %u, reaches the coordinator by loopback, so that only workers of its "
                           "user, machine and network namespace can reach it, and rank %u, which was here before, is "
                           "none: %s",
                           rank, older, ring_endpoint_mend);
    if (!ring_endpoint_is_local(next) || ring_endpoint_same(next, circle, CIRCLE_FIELDS) ||
        (successor > rank && ring_endpoint_knows_apart(next, own, circle)))
        return true;
    return err_set(
        err, ERR_USAGE,
        "rank %u can only be reached by workers of its user, machine and network namespace, since it reaches "
        "the coordinator by loopback: %s",
        successor, ring_endpoint_mend);
}
