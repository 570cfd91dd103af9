/* refusal.c - the limit on lines about refused peers; see refusal.h. */
#include "proto/wire/auth/refusal.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { LINES_A_SECOND = 10, SECOND_MS = 1000, TELL_MS = 5000, REPEAT_MS = 60000 };

static bool refusal_tell(void *context, struct err *err)
{
    struct refusals *refusals = context;
    (void)err;
    refusals->timer = 0;
    if (refusals->unlogged > 0)
        log_event(LOG_WARN, "connections_refused", LOG_FIELDS(LOG_COUNT("count", refusals->unlogged)),
                  "refused %llu more connections", (unsigned long long)refusals->unlogged);
    refusals->unlogged = 0;
    return true;
}

void refusals_close(struct refusals *refusals)
{
    if (refusals->timer == 0)
        return;
    loop_remove(refusals->loop, refusals->timer);
    refusal_tell(refusals, NULL);
}

/* FNV-1a (Fowler, Noll, Vo). */
static uint64_t refusal_hash(uint64_t hash, const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3;
    return hash;
}

/* Whether this line was logged within the last minute. It replaces the line that used its slot before. */
static bool refusal_is_repeated(struct refusals *refusals, const char *address, const char *reason, int64_t now)
{
    const char *port = strrchr(address, ':');
    uint64_t hash =
        refusal_hash(0xcbf29ce484222325, address, port == NULL ? strlen(address) : (size_t)(port - address));
    hash = refusal_hash(hash, reason, strlen(reason));
    size_t slot = hash % REFUSALS_REMEMBERED;
    bool repeated = refusals->recent[slot].hash == hash && refusals->recent[slot].ms != 0 &&
                    now - refusals->recent[slot].ms < REPEAT_MS;
    if (!repeated) {
        refusals->recent[slot].hash = hash;
        refusals->recent[slot].ms = now;
    }
    return repeated;
}

/* Whether this second allows another line. */
static bool refusal_has_space(struct refusals *refusals, int64_t now)
{
    if (refusals->lines == 0 || now - refusals->since_ms >= SECOND_MS) {
        refusals->since_ms = now;
        refusals->lines = 0;
    }
    return refusals->lines < LINES_A_SECOND;
}

void refusal_log(struct refusals *refusals, const char *address, const char *format, ...)
{
    char reason[512];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    int64_t now = clock_ms();
    if (!refusal_has_space(refusals, now) || refusal_is_repeated(refusals, address, reason, now)) {
        refusal_count(refusals, 1);
        return;
    }
    refusals->total++;
    refusals->lines++;
    log_event(LOG_WARN, "connection_refused",
              LOG_FIELDS(LOG_TEXT("address", strcmp(address, REFUSAL_NO_ADDRESS) == 0 ? NULL : address),
                         LOG_TEXT("reason", reason)),
              "refused %s: %s", address, reason);
}

void refusal_count(struct refusals *refusals, uint64_t more)
{
    refusals->total += more;
    refusals->unlogged += more;
    if (refusals->timer == 0)
        refusals->timer = loop_add_timer(refusals->loop, TELL_MS, 0, refusal_tell, refusals, NULL);
}
