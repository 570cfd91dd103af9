/* reconnect.c - wait for a server; see reconnect.h. */
#include "worker/link/reconnect.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <stdio.h>

enum {
    SAY_MS = 1000,      /* without a connection, before the wait is logged */
    REPEAT_MS = 60000,  /* between two log lines about the same failure */
    REPLACE_MS = 1000,  /* from the end of a link that does not retry to the next link */
    FAILURES_ENOUGH = 2 /* that count as certain after a successful connection */
};

void reconnect_begin(struct reconnect *reconnect)
{
    reconnect->replace_ms = 0;
    if (reconnect->lost_ms == 0)
        reconnect->lost_ms = clock_ms();
}

void reconnect_done(struct reconnect *reconnect)
{
    *reconnect = (struct reconnect){.server = reconnect->server, .stood = true};
}

static const char *reconnect_name(const struct reconnect_server *server)
{
    return server->kind == RECONNECT_QUEUE ? "queue" : "coordinator";
}

static const char *reconnect_advice(const struct reconnect *reconnect, char line[ERR_TEXT])
{
    const struct reconnect_server *server = reconnect->server;
    const char *name = reconnect_name(server);
    if (reconnect->failure == MONITOR_SILENT)
        snprintf(line, ERR_TEXT, "%s" MONITOR_SILENT_ADVICE, server->endpoint, name);
    else
        snprintf(line, ERR_TEXT, "%s refuses this worker: " MONITOR_KEY_ADVICE "%s", server->endpoint, name, name,
                 server->keys ? "" : " (this worker has no key: it was started without --key and --server)");
    return line;
}

static void reconnect_warn(const struct reconnect *reconnect)
{
    char line[ERR_TEXT];
    const struct log_field *silent =
        LOG_FIELDS(LOG_TEXT("address", reconnect->server->endpoint), LOG_INT("ms", MONITOR_HANDSHAKE_MS));
    reconnect_advice(reconnect, line);
    if (reconnect->failure == MONITOR_REFUSED)
        log_event(LOG_WARN, "key_refused", LOG_FIELDS(LOG_TEXT("address", reconnect->server->endpoint)), "%s", line);
    else if (reconnect->server->kind == RECONNECT_QUEUE)
        log_event(LOG_WARN, "queue_silent", silent, "%s", line);
    else
        log_event(LOG_WARN, "coordinator_silent", silent, "%s", line);
}

/* A server that is ending also breaks off a handshake. After a successful connection, one failure proves
 * nothing. */
void reconnect_failed(struct reconnect *reconnect, enum monitor_news failure, bool spent)
{
    int64_t now = clock_ms();
    reconnect->failure = failure;
    if (failure == MONITOR_UNREACHED)
        return;
    reconnect->failures++;
    if (spent)
        reconnect->replace_ms = now + REPLACE_MS;
    if (reconnect->stood && reconnect->failures < FAILURES_ENOUGH)
        return;
    if (reconnect->warned == failure && now - reconnect->warned_ms < REPEAT_MS)
        return;
    reconnect->warned = failure;
    reconnect->warned_ms = now;
    reconnect_warn(reconnect);
}

static void reconnect_log_wait(const struct reconnect_server *server)
{
    const struct log_field *fields =
        LOG_FIELDS(LOG_TEXT("address", server->endpoint), LOG_REAL("reconnect_timeout", server->timeout_s));
    static const char sentence[] = "waiting for the %s at %s (%s: %g s)";
    if (server->kind == RECONNECT_QUEUE)
        log_event(LOG_INFO, "waiting_for_queue", fields, sentence, reconnect_name(server), server->endpoint,
                  server->option, server->timeout_s);
    else
        log_event(LOG_INFO, "waiting_for_coordinator", fields, sentence, reconnect_name(server), server->endpoint,
                  server->option, server->timeout_s);
}

bool reconnect_tick(struct reconnect *reconnect, bool *replace, struct err *err)
{
    char line[ERR_TEXT];
    const struct reconnect_server *server = reconnect->server;
    int64_t now = clock_ms(), waited_ms = now - reconnect->lost_ms;
    bool over = server->timeout_s > 0 && (double)waited_ms > server->timeout_s * 1000;
    *replace = reconnect->replace_ms != 0 && now >= reconnect->replace_ms;
    if (over && (reconnect->failure == MONITOR_SILENT || reconnect->failure == MONITOR_REFUSED))
        return err_set(err, ERR_FAILED, "%s The wait of %g s is over (%s)", reconnect_advice(reconnect, line),
                       server->timeout_s, server->option);
    if (over)
        return err_set(err, ERR_FAILED, "the %s at %s could not be reached for %g s (%s)", reconnect_name(server),
                       server->endpoint, server->timeout_s, server->option);
    if (!reconnect->wait_logged && waited_ms > SAY_MS) {
        reconnect->wait_logged = true;
        reconnect_log_wait(server);
    }
    return true;
}
