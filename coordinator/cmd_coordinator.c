/* cmd_coordinator.c - `lstmq coordinator`: a run whose workers join and leave over the network, at any time.
 *
 * One thread: the loop owns the listening socket, the ZAP handler that checks keys, and the watch that limits
 * connections. The run folder's journal holds what must survive a kill. */
#include "coordinator/board.h"
#include "coordinator/conduct.h"
#include "proto/base/log.h"
#include "proto/cli/commands.h"
#include "proto/wire/auth/keyring.h"
#include "proto/wire/socket.h"

#include <stdlib.h>
#include <zmq.h>

/* The default number of shards, since the number of workers is unknown. */
enum { SHARDS = 4 };

struct service {
    struct config config;
    struct conduct conduct;
    struct keyring keyring;
    struct zap *zap; /* accepts the keyring's keys; without keys, every peer that speaks ZMTP 3 */
    void *context, *socket;
    struct watch *watch;
    struct journal journal;
    struct ledger ledger;
    struct board *board; /* NULL = there is no HTTP */
};

static bool coordinator_open_socket(struct service *service, struct err *err)
{
    char bound[ENDPOINT_SIZE];
    service->watch = watch_new(service->context, service->conduct.loop, err);
    if (service->watch == NULL)
        return false;
    if (service->keyring.used)
        watch_keys(service->watch, service->keyring.allow);
    const struct socket_options options = {.context = service->context,
                                           .keys = service->keyring.used ? &service->keyring.own : NULL,
                                           .zap = service->zap,
                                           .domain = ZAP_TRAIN,
                                           .watch = service->watch,
                                           .insecure = service->config.curve_insecure};
    service->socket = socket_bind(&options, service->config.cluster_bind, bound, err);
    if (service->socket == NULL)
        return false;
    log_event(LOG_INFO, "listening", LOG_FIELDS(LOG_TEXT("address", bound)),
              "waiting for workers: lstmq worker --connect %s", bound);
    return true;
}

static bool coordinator_open(struct service *service, struct err *err)
{
    struct conduct *conduct = &service->conduct;
    struct journal_origin origin;
    if (!conduct_open_loop(conduct, err) || !run_origin(&service->config, conduct->dataset.fingerprint, &origin, err))
        return false;
    service->context = zmq_ctx_new();
    if (service->context == NULL)
        return socket_error(err, "cannot make a ZeroMQ context");
    service->zap = zap_new(service->context, conduct->loop, service->keyring.allow, err);
    ledger_begin(&service->ledger, conduct->found ? conduct->checkpoint.state.step : 0);
    if (service->zap == NULL || !coordinator_open_socket(service, err) ||
        !journal_open(&service->journal, conduct->run.dir, service->config.run_resume, &origin, &service->ledger, err))
        return false;
    if (!conduct_open_trainer(conduct, service->socket, service->watch, &service->journal, &service->ledger, err))
        return false;
    if (service->config.http_bind[0] != '\0')
        service->board = board_open(&service->config, conduct->loop, conduct->trainer, conduct->run.dir, err);
    return service->config.http_bind[0] == '\0' || service->board != NULL;
}

static void coordinator_close(struct service *service)
{
    board_close(&service->board);
    watch_destroy(&service->watch);
    if (service->conduct.trainer != NULL)
        trainer_destroy(&service->conduct.trainer);
    if (service->socket != NULL)
        socket_close(&service->socket);
    zap_destroy(&service->zap);
    conduct_close_trainer(&service->conduct);
    if (service->context != NULL)
        zmq_ctx_term(service->context);
    journal_close(&service->journal);
    ledger_free(&service->ledger);
}

/* The previous coordinator was killed after the run's end, so its workers may not know: dismiss them. */
static bool coordinator_see_off(struct service *service, struct err *err)
{
    trainer_see_off(service->conduct.trainer);
    return loop_run(service->conduct.loop, err);
}

static bool coordinator_coordinate(struct service *service, int argc, char **argv, struct err *err)
{
    struct config *config = &service->config;
    bool over = false;
    service->journal.file = -1;
    if (config->train_shards == 0)
        config->train_shards = config->train_min_workers > SHARDS ? config->train_min_workers : SHARDS;
    if (!endpoint_check(config->cluster_bind, true, err))
        return err_context(err, "cluster.bind");
    if (!socket_raise_files(SOCKET_FILES, err) || !keyring_open_server(&service->keyring, config, err))
        return false;
    bool done = conduct_prepare(&service->conduct, config, argc, argv, &over, err);
    if (done && (!over || journal_is_there(service->conduct.run.dir))) {
        done = coordinator_open(service, err) &&
               (over ? coordinator_see_off(service, err) : conduct_run(&service->conduct, err));
        if (done)
            journal_remove(&service->journal);
        coordinator_close(service);
    }
    conduct_close(&service->conduct);
    keyring_close(&service->keyring);
    return done;
}

bool cmd_coordinator(const struct command_call *call, struct err *err)
{
    struct service *service = calloc(1, sizeof *service);
    if (service == NULL)
        return err_set(err, ERR_MEMORY, "no memory for a coordinator");
    service->config = *call->config;
    bool ok = coordinator_coordinate(service, call->argc, call->argv, err);
    free(service);
    return ok;
}
