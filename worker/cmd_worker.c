/* cmd_worker.c - `lstmq worker`: a member of a coordinator's cluster, until it is dismissed. */
#include "proto/cli/commands.h"

#include "proto/base/typed.h"
#include "proto/wire/message.h"
#include "proto/wire/socket.h"
#include "worker/cluster/worker.h"

#include <stdio.h>
#include <string.h>
#include <zmq.h>

static bool worker_check_connect(const char *endpoint, struct err *err)
{
    return endpoint_check(endpoint, false, err) || err_context(err, "cluster.connect");
}

/* Without keys, every peer that reaches this worker can send it gradients. */
static bool worker_may_listen(const struct config *config, const struct keyring *keyring, struct err *err)
{
    char endpoint[ENDPOINT_SIZE + 16];
    const char *bind = config->worker_bind, *colon = strrchr(bind, ':');
    bool port = colon != NULL && (colon == strchr(bind, ':') || (bind[0] == '[' && colon[-1] == ']'));
    snprintf(endpoint, sizeof endpoint, "tcp://%.*s%s", ENDPOINT_SIZE - 1, bind, port ? "" : ":0");
    if (bind[0] != '\0' && !endpoint_check(endpoint, true, NULL))
        return err_set(err, ERR_USAGE,
                       "worker.bind: \"%s\" is not an address: use HOST or HOST:PORT, with an IPv6 address in brackets",
                       typed_show(bind).shown);
    const char *reached = bind[0] == '\0' ? config->cluster_connect : endpoint;
    if (keyring->used || endpoint_is_local(reached) || config->curve_insecure)
        return true;
    if (!endpoint_check_host(reached, err))
        return false;
    return err_set(err, ERR_USAGE,
                   "other machines can reach this worker, and no keys protect it: make keys with \"lstmq keygen\" and "
                   "give --curve.key and --curve.server, or accept every peer with --insecure");
}

static bool cmd_worker_run(const struct config *config, struct err *err)
{
    struct keyring keyring = {0};
    bool ok = worker_check_connect(config->cluster_connect, err) && socket_raise_files(SOCKET_FILES, err) &&
              worker_check(config, err) && keyring_open_client(&keyring, config, err) &&
              worker_may_listen(config, &keyring, err);
    void *context = ok ? zmq_ctx_new() : NULL;
    if (context != NULL) {
        const struct worker_options options = {.zmq_context = context,
                                               .endpoint = config->cluster_connect,
                                               .config = config,
                                               .keyring = &keyring,
                                               .signals = true};
        ok = worker_run(&options, err);
        zmq_ctx_term(context);
    } else if (ok) {
        ok = socket_error(err, "cannot make a ZeroMQ context");
    }
    keyring_close(&keyring);
    return ok;
}

bool cmd_worker(const struct command_call *call, struct err *err)
{
    return cmd_worker_run(call->config, err);
}
