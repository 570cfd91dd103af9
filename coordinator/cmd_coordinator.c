/* cmd_coordinator.c - `lstmq coordinator`: a run whose workers come over the network, and go, at any time.
 *
 * One thread: the loop owns the listening socket, the handler that lets keys in, and the watch over what connections
 * hoard. What it must not forget when it is killed is in the run folder's journal. */
#include "coordinator/commands.h"
#include "coordinator/conduct.h"
#include "proto/base/log.h"
#include "proto/wire/socket.h"

#include <stdlib.h>
#include <zmq.h>

/* Where nobody said how many workers there may be. */
enum { SHARDS = 4 };

struct service {
    struct config config;
    struct conduct conduct;
    struct curve_keys keys;
    struct allow *allow;
    struct zap *zap;
    void *context, *socket;
    struct watch *watch;
    struct journal journal;
    struct ledger ledger;
};

/* Keys and whom they let in, where the options name any. */
static bool s_open_keys(struct service *service, struct err *err)
{
    const struct config *config = &service->config;
    if ((config->curve_key[0] == '\0') != (config->curve_allow[0] == '\0'))
        return err_set(err, ERR_USAGE,
                       "curve.key and curve.allow go together: one's own key pair, and whom it lets in");
    if (config->curve_key[0] == '\0')
        return true;
    if (!curve_read(config->curve_key, &service->keys, err))
        return false;
    service->allow = allow_open(config->curve_allow, err);
    if (service->allow == NULL)
        return false;
    service->zap = zap_new(service->context, service->conduct.loop, service->allow, err);
    return service->zap != NULL;
}

static bool s_open_socket(struct service *service, struct err *err)
{
    char bound[SOCKET_ENDPOINT];
    const struct socket_options options = {.context = service->context,
                                           .keys = service->zap != NULL ? &service->keys : NULL,
                                           .zap = service->zap,
                                           .domain = ZAP_TRAIN,
                                           .insecure = service->config.curve_insecure};
    service->socket = socket_bind(&options, service->config.cluster_bind, bound, err);
    if (service->socket == NULL)
        return false;
    service->watch = watch_new(service->context, service->conduct.loop, service->socket, err);
    if (service->watch == NULL)
        return false;
    log_info("waiting for workers: lstmq worker --connect %s", bound);
    return true;
}

static bool s_open(struct service *service, struct err *err)
{
    struct conduct *conduct = &service->conduct;
    if (!conduct_open_loop(conduct, err))
        return false;
    service->context = zmq_ctx_new();
    if (service->context == NULL)
        return socket_error(err, "cannot make a ZeroMQ context");
    ledger_begin(&service->ledger, conduct->found ? conduct->checkpoint.state.step : 0);
    if (!s_open_keys(service, err) || !s_open_socket(service, err) ||
        !journal_open(&service->journal, conduct->run.dir, service->config.run_resume, &service->ledger, err))
        return false;
    return conduct_open_trainer(conduct, service->socket, service->watch, &service->journal, &service->ledger, err);
}

static void s_close(struct service *service)
{
    watch_destroy(&service->watch);
    if (service->conduct.trainer != NULL)
        trainer_destroy(&service->conduct.trainer);
    if (service->socket != NULL)
        socket_close(&service->socket);
    zap_destroy(&service->zap);
    conduct_close_trainer(&service->conduct);
    allow_close(&service->allow);
    if (service->context != NULL)
        zmq_ctx_term(service->context);
    curve_clear(&service->keys);
    journal_close(&service->journal);
    ledger_free(&service->ledger);
}

static bool s_coordinate(struct service *service, int argc, char **argv, struct err *err)
{
    struct config *config = &service->config;
    bool over = false;
    service->journal.file = -1;
    if (config->train_shards == 0)
        config->train_shards = config->train_min_workers > SHARDS ? config->train_min_workers : SHARDS;
    bool done = conduct_prepare(&service->conduct, config, &over, err);
    if (done && !over) {
        done = s_open(service, err) && conduct_run(&service->conduct, argc, argv, err);
        s_close(service);
    }
    conduct_close(&service->conduct);
    return done;
}

bool cmd_coordinator(const struct command *self, int argc, char **argv, struct err *err)
{
    bool done = false;
    int words;
    struct service *service = calloc(1, sizeof *service);
    if (service == NULL)
        return err_set(err, ERR_MEMORY, "no memory for a coordinator");
    bool ok = command_config(self, argc, argv, &service->config, &words, &done, err);
    if (ok && !done)
        ok = s_coordinate(service, argc, argv, err);
    free(service);
    return ok;
}
