/* cmd_translate_worker.c - `lstmq translate-worker`: a member of a translation queue's pool, until it is signalled. */
#include "proto/cli/commands.h"

#include "proto/wire/message.h"
#include "proto/wire/socket.h"
#include "worker/serve/queue_worker.h"

#include <malloc.h>
#include <zmq.h>

bool cmd_translate_worker(const struct command_call *call, struct err *err)
{
    const struct config *config = call->config;
    /* A model's large blocks go back to the system when it is retired. glibc would otherwise raise this limit to the
     * size of the largest freed block, keep what is freed below it, and grow with each reload. */
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    struct keyring keyring = {0};
    bool ok = (endpoint_check(config->serve_connect, false, err) || err_context(err, "serve.connect")) &&
              socket_raise_files(SOCKET_FILES, err) && keyring_open_client(&keyring, config, err);
    void *context = ok ? zmq_ctx_new() : NULL;
    if (context != NULL) {
        const struct queue_worker_options options = {
            .zmq_context = context, .endpoint = config->serve_connect, .config = config, .keyring = &keyring};
        ok = queue_worker_run(&options, err);
        zmq_ctx_term(context);
    } else if (ok) {
        ok = socket_error(err, "cannot make a ZeroMQ context");
    }
    keyring_close(&keyring);
    return ok;
}
