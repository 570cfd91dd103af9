/* cmd_worker.c - `lstmq worker`: a member of a coordinator's cluster, until it is dismissed. */
#include "worker/commands.h"

#include "proto/wire/message.h"
#include "worker/worker.h"

#include <string.h>
#include <zmq.h>

static bool s_endpoint_allowed(const char *endpoint, struct err *err)
{
    if (strncmp(endpoint, "tcp://", 6) == 0 || strncmp(endpoint, "ipc://", 6) == 0)
        return true;
    return err_set(err, ERR_USAGE, "cluster.connect: \"%s\" is not tcp://HOST:PORT or ipc://PATH", endpoint);
}

bool cmd_worker(const struct command *self, int argc, char **argv, struct err *err)
{
    struct config config;
    int words;
    bool done;
    if (!command_config(self, argc, argv, &config, &words, &done, err))
        return false;
    if (done)
        return true;
    if (!s_endpoint_allowed(config.cluster_connect, err) || !worker_check(&config, err))
        return false;
    void *context = zmq_ctx_new();
    if (context == NULL)
        return socket_error(err, "cannot make a ZeroMQ context");
    const struct worker_options options = {
        .zmq_context = context, .endpoint = config.cluster_connect, .config = &config, .signals = true};
    bool ok = worker_run(&options, err);
    zmq_ctx_term(context);
    return ok;
}
