/* reconnect.c - wait for a coordinator; see reconnect.h. */
#include "worker/cluster/reconnect.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/wire/socket.h"

#include <inttypes.h>
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
    *reconnect = (struct reconnect){.options = reconnect->options, .stood = true};
}

static const char *reconnect_advice(const struct reconnect *reconnect, char line[ERR_TEXT])
{
    const struct worker_options *options = reconnect->options;
    if (reconnect->failure == MONITOR_SILENT)
        snprintf(line, ERR_TEXT, "%s" MONITOR_SILENT_ADVICE, options->endpoint);
    else
        snprintf(line, ERR_TEXT, "%s refuses this worker: " MONITOR_KEY_ADVICE "%s", options->endpoint,
                 worker_has_keys(options) ? ""
                                          : " (this worker has no key: it was started without --key and --server)");
    return line;
}

/* A coordinator that is ending also breaks off a handshake. After a successful connection, one failure proves
 * nothing. */
void reconnect_failed(struct reconnect *reconnect, enum monitor_news failure, bool spent)
{
    char line[ERR_TEXT];
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
    const struct log_field address = LOG_TEXT("address", reconnect->options->endpoint);
    if (failure == MONITOR_SILENT)
        log_event(LOG_WARN, "coordinator_silent", LOG_FIELDS(address, LOG_INT("ms", MONITOR_HANDSHAKE_MS)), "%s",
                  reconnect_advice(reconnect, line));
    else
        log_event(LOG_WARN, "key_refused", LOG_FIELDS(address), "%s", reconnect_advice(reconnect, line));
}

bool reconnect_tick(struct reconnect *reconnect, bool *replace, struct err *err)
{
    char line[ERR_TEXT];
    const struct worker_options *options = reconnect->options;
    int64_t now = clock_ms(), waited_ms = now - reconnect->lost_ms, most_s = options->config->worker_reconnect_timeout;
    *replace = reconnect->replace_ms != 0 && now >= reconnect->replace_ms;
    if (most_s > 0 && waited_ms > most_s * 1000 &&
        (reconnect->failure == MONITOR_SILENT || reconnect->failure == MONITOR_REFUSED))
        return err_set(err, ERR_FAILED, "%s The wait of %" PRId64 " s is over (worker.reconnect_timeout)",
                       reconnect_advice(reconnect, line), most_s);
    if (most_s > 0 && waited_ms > most_s * 1000)
        return err_set(err, ERR_FAILED,
                       "the coordinator at %s could not be reached for %" PRId64 " s (worker.reconnect_timeout)",
                       options->endpoint, most_s);
    if (!reconnect->wait_logged && waited_ms > SAY_MS) {
        reconnect->wait_logged = true;
        log_event(LOG_INFO, "waiting_for_coordinator",
                  LOG_FIELDS(LOG_TEXT("address", options->endpoint), LOG_INT("reconnect_timeout", most_s)),
                  "waiting for the coordinator at %s (worker.reconnect_timeout: %" PRId64 " s)", options->endpoint,
                  most_s);
    }
    return true;
}
