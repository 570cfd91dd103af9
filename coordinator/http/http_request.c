/* http_request.c - what libmicrohttpd reports of connections and requests: recorded, nothing more; see
 * http_inside.h. */
#include "coordinator/http/http_inside.h"

#include "proto/base/clock.h"

#include <string.h>

static void request_begin(struct client *client, const char *uri)
{
    struct exchange *exchange = &client->exchange;
    client_move(client, CLIENT_HEAD);
    buffer_clear(&client->uri);
    buffer_text(&client->uri, uri == NULL ? "" : uri);
    buffer_clear(&exchange->body);
    buffer_clear(&client->headers);
    client->received = client->size = 0;
    client->refusal = client->status = 0;
    exchange->path = exchange->query = "";
    exchange->method[0] = exchange->id[0] = exchange->trace[0] = '\0';
    strcpy(exchange->address, client->peer);
    exchange->begun_us = clock_ns() / 1000;
    exchange->owner = NULL;
}

void *http_on_uri(void *context, const char *uri, struct MHD_Connection *connection)
{
    (void)context;
    struct client *client = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    request_begin(client, uri);
    return client;
}

static bool request_head(struct client *client, const char *method, const char *version)
{
    const char *text = NULL;
    if (!buffer_ok(&client->uri, NULL))
        return false;
    unsigned status = http_read_head(client, method, version, &text);
    client->state = CLIENT_BODY; /* the same list, and since_ms stays */
    return status == 0 || http_refuse(client, status, text);
}

/* Keep a piece of the body, or count it if it will be refused. */
static bool request_body(struct client *client, const char *data, size_t size)
{
    struct buffer *body = &client->exchange.body;
    client->received += size;
    if (client->refusal == 0 && client->received > client->http->body)
        client->refusal = MHD_HTTP_CONTENT_TOO_LARGE;
    if (client->refusal == 0)
        buffer_append(body, data, size);
    if (!buffer_ok(body, NULL))
        client->refusal = MHD_HTTP_SERVICE_UNAVAILABLE;
    if (client->refusal != 0)
        buffer_free(body);
    return client->received / HTTP_PATIENCE <= client->http->body;
}

/* The request is whole. */
static bool request_arrive(struct client *client)
{
    if (client->refusal == MHD_HTTP_CONTENT_TOO_LARGE)
        return http_refuse(client, client->refusal, HTTP_TOO_LARGE);
    if (client->refusal != 0)
        return http_refuse(client, client->refusal, "The server is out of memory");
    MHD_suspend_connection(client->connection);
    client_move(client, CLIENT_ARRIVED);
    return true;
}

enum MHD_Result http_on_request(void *context, struct MHD_Connection *connection, const char *url, const char *method,
                                const char *version, const char *data, size_t *size, void **request)
{
    struct http *http = context;
    struct client *client = *request;
    (void)url;
    (void)connection;
    if (client == NULL || http->closing || client->cut)
        return MHD_NO;
    bool good = false;
    if (client->state == CLIENT_HEAD) {
        good = request_head(client, method, version);
    } else if (client->state == CLIENT_BODY && *size > 0) {
        good = request_body(client, data, *size);
        *size = 0;
    } else if (client->state == CLIENT_BODY) {
        good = request_arrive(client);
    }
    return good ? MHD_YES : MHD_NO;
}

/* ---- the end ---- */

static void request_log(const struct client *client, bool sent)
{
    const struct exchange *exchange = &client->exchange;
    bool answered = client->state == CLIENT_ANSWERING || client->cut;
    const struct access_entry entry = {
        .address = exchange->address,
        .method = exchange->method,
        .path = client->uri.data == NULL ? "" : client->uri.data,
        .id = exchange->id,
        .trace = exchange->trace,
        .status = answered ? client->status
                  : sent   ? MHD_HTTP_BAD_REQUEST
                           : 499,
        .bytes = strcmp(exchange->method, "HEAD") == 0 ? 0 : client->size,
        .took_us = clock_ns() / 1000 - exchange->begun_us,
    };
    char *query = client->uri.data == NULL ? NULL : strchr(client->uri.data, '?');
    if (query != NULL)
        *query = '\0';
    access_log_add(client->http->log, &entry);
}

static void request_trim(struct buffer *buffer)
{
    if (buffer->capacity > HTTP_KEPT)
        buffer_free(buffer);
}

void http_on_completed(void *context, struct MHD_Connection *connection, void **request,
                       enum MHD_RequestTerminationCode code)
{
    struct http *http = context;
    struct client *client = *request;
    (void)connection;
    if (client == NULL)
        return;
    if (http->log != NULL)
        request_log(client, code == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    request_trim(&client->exchange.body);
    request_trim(&client->answer);
    client->requests++;
    client_move(client, CLIENT_IDLE);
    http->has_leavers = http->has_leavers || client->hung_up;
    *request = NULL;
}

void http_on_connection(void *context, struct MHD_Connection *connection, void **request,
                        enum MHD_ConnectionNotificationCode code)
{
    struct http *http = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        int fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        struct client *client = http->active.last; /* or one before it: version 1.0 reports it a little later */
        while (client != NULL && (client->fd != fd || client->connection != NULL))
            client = client->previous;
        if (client != NULL)
            client->connection = connection;
        *request = client;
        http->counts.connections++;
    } else {
        if (*request != NULL)
            client_retire(*request);
        http->counts.connections--;
        http->listens_again_ms = 0;
        *request = NULL;
    }
}
