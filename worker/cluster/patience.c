/* patience.c - wait for a coordinator; see patience.h. */
#include "worker/cluster/patience.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"
#include "proto/wire/socket.h"

#include <inttypes.h>
#include <stdio.h>

enum {
    SAY_MS = 1000,      /* without a connection, before the wait is logged */
    REPEAT_MS = 60000,  /* between two lines about failures */
    REPLACE_MS = 1000,  /* from the end of a link that does not retry to the next link */
    FAILURES_ENOUGH = 2 /* that count as certain after a successful connection */
};

void patience_begin(struct patience *patience)
{
    patience->replace_ms = 0;
    if (patience->lost_ms == 0)
        patience->lost_ms = clock_ms();
}

void patience_rest(struct patience *patience)
{
    *patience = (struct patience){.options = patience->options, .stood = true};
}

static const char *patience_advice(const struct patience *patience, char line[ERR_TEXT])
{
    const struct worker_options *options = patience->options;
    if (patience->failure == MONITOR_SILENT)
        snprintf(line, ERR_TEXT, "%s" MONITOR_SILENT_ADVICE, options->endpoint);
    else
        snprintf(line, ERR_TEXT, "%s refuses this worker: " MONITOR_KEY_ADVICE "%s", options->endpoint,
                 worker_has_keys(options) ? ""
                                          : " (this worker has no key: it was started without --key and --server)");
    return line;
}

/* A coordinator that is ending also breaks off a handshake. After a successful connection, one failure proves
 * nothing. */
void patience_failed(struct patience *patience, enum monitor_news failure, bool spent)
{
    char line[ERR_TEXT];
    int64_t now = clock_ms();
    patience->failure = failure;
    if (failure == MONITOR_UNREACHED)
        return;
    patience->failures++;
    if (spent)
        patience->replace_ms = now + REPLACE_MS;
    if (patience->stood && patience->failures < FAILURES_ENOUGH)
        return;
    if (patience->warned == failure && now - patience->warned_ms < REPEAT_MS)
        return;
    patience->warned = failure;
    patience->warned_ms = now;
    const struct log_field address = LOG_TEXT("address", patience->options->endpoint);
    if (failure == MONITOR_SILENT)
        log_event(LOG_WARN, "coordinator_silent", LOG_FIELDS(address, LOG_INT("ms", SOCKET_HANDSHAKE_MS)), "%s",
                  patience_advice(patience, line));
    else
        log_event(LOG_WARN, "key_refused", LOG_FIELDS(address), "%s", patience_advice(patience, line));
}

bool patience_tick(struct patience *patience, bool *replace, struct err *err)
{
    char line[ERR_TEXT];
    const struct worker_options *options = patience->options;
    int64_t now = clock_ms(), waited_ms = now - patience->lost_ms, most_s = options->config->worker_patience;
    *replace = patience->replace_ms != 0 && now >= patience->replace_ms;
    if (most_s > 0 && waited_ms > most_s * 1000 &&
        (patience->failure == MONITOR_SILENT || patience->failure == MONITOR_REFUSED))
        return err_set(err, ERR_FAILED, "%s The wait of %" PRId64 " s is over (worker.patience)",
                       patience_advice(patience, line), most_s);
    if (most_s > 0 && waited_ms > most_s * 1000)
        return err_set(err, ERR_FAILED,
                       "the coordinator at %s could not be reached for %" PRId64 " s (worker.patience)",
                       options->endpoint, most_s);
    if (!patience->says_waiting && waited_ms > SAY_MS) {
        patience->says_waiting = true;
        log_event(LOG_INFO, "waiting_for_coordinator",
                  LOG_FIELDS(LOG_TEXT("address", options->endpoint), LOG_INT("patience", most_s)),
                  "waiting for the coordinator at %s (worker.patience: %" PRId64 " s)", options->endpoint, most_s);
    }
    return true;
}
