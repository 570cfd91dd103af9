/* http_answer.c - answers, from the owner and from the server itself; see http.h. */
#include "coordinator/http/http_inside.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

enum { ETAG = 19 }; /* 16 digits, the quotes and a NUL */

const char *http_header(const struct exchange *exchange, const char *name)
{
    return MHD_lookup_connection_value(((const struct client *)exchange)->connection, MHD_HEADER_KIND, name);
}

void http_set_header(struct exchange *exchange, const char *name, const char *value)
{
    struct client *client = (struct client *)exchange;
    for (const char *c = value; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            return;
    buffer_append(&client->headers, name, strlen(name) + 1);
    buffer_append(&client->headers, value, strlen(value) + 1);
}

/* Queue a response. `body` stays until libmicrohttpd has sent it. */
static bool answer_queue(struct client *client, unsigned status, const char *content_type, const void *body,
                         size_t size)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(size, size == 0 ? (void *)"" : (void *)body, MHD_RESPMEM_PERSISTENT);
    if (response == NULL)
        return false;
    if (content_type != NULL)
        MHD_add_response_header(response, "Content-Type", content_type);
    if (client->exchange.id[0] != '\0')
        MHD_add_response_header(response, "X-Request-ID", client->exchange.id);
    const struct buffer *headers = &client->headers;
    for (size_t at = 0; !headers->failed && at < headers->size;) {
        const char *name = headers->data + at, *value = name + strlen(name) + 1;
        MHD_add_response_header(response, name, value);
        at = (size_t)(value + strlen(value) + 1 - headers->data);
    }
    if (client->http->draining)
        MHD_add_response_header(response, "Connection", "close");
    bool queued = MHD_queue_response(client->connection, status, response) == MHD_YES;
    MHD_destroy_response(response);
    client->status = status;
    client->size = size;
    return queued;
}

/* The owner's answer: the connection goes on. */
static void answer_send(struct client *client, unsigned status, const char *content_type, const void *body, size_t size)
{
    assert(client->state == CLIENT_TAKEN || client->state == CLIENT_GONE || client->state == CLIENT_LEFT);
    bool queued = answer_queue(client, status, content_type, body, size);
    client_move(client, queued ? CLIENT_ANSWERING : CLIENT_DROPPED);
    MHD_resume_connection(client->connection);
    client->http->due = true;
}

void http_answer(struct exchange *exchange, unsigned status, const char *content_type, const void *body, size_t size)
{
    struct client *client = (struct client *)exchange;
    buffer_clear(&client->answer);
    buffer_append(&client->answer, body, size);
    if (buffer_ok(&client->answer, NULL))
        answer_send(client, status, content_type, client->answer.data, size);
    else
        http_drop(exchange);
}

/* {"error": "TEXT"} */
static void answer_write_error(struct buffer *out, const char *text)
{
    buffer_clear(out);
    buffer_text(out, "{\"error\": \"");
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\')
            buffer_format(out, "\\%c", *c);
        else if ((unsigned char)*c < ' ')
            buffer_format(out, "\\u%04x", (unsigned char)*c);
        else
            buffer_append(out, c, 1);
    }
    buffer_text(out, "\"}\n");
}

void http_answer_error(struct exchange *exchange, unsigned status, const char *text)
{
    struct client *client = (struct client *)exchange;
    answer_write_error(&client->answer, text);
    if (buffer_ok(&client->answer, NULL))
        answer_send(client, status, "application/json", client->answer.data, client->answer.size);
    else
        http_drop(exchange);
}

bool http_refuse(struct client *client, unsigned status, const char *text)
{
    answer_write_error(&client->answer, text);
    if (!buffer_ok(&client->answer, NULL))
        return false;
    client_move(client, CLIENT_ANSWERING);
    return answer_queue(client, status, "application/json", client->answer.data, client->answer.size);
}

/* Whether a list of ETags has this one. A proxy may have made it weak (W/"..."), which changes nothing here. */
static bool answer_has_etag(const char *list, const char *etag)
{
    return list != NULL && (strcmp(list, "*") == 0 || strstr(list, etag) != NULL);
}

void http_answer_static(struct exchange *exchange, const char *content_type, const void *bytes, size_t size)
{
    char etag[ETAG];
    snprintf(etag, sizeof etag, "\"%016" PRIx64 "\"", XXH3_64bits(bytes, size));
    http_set_header(exchange, "ETag", etag);
    http_set_header(exchange, "Cache-Control", "no-cache");
    http_set_header(exchange, "Content-Security-Policy",
                    "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'");
    http_set_header(exchange, "X-Content-Type-Options", "nosniff");
    http_set_header(exchange, "Referrer-Policy", "no-referrer");
    if (answer_has_etag(http_header(exchange, "If-None-Match"), etag))
        answer_send((struct client *)exchange, MHD_HTTP_NOT_MODIFIED, NULL, "", 0);
    else
        answer_send((struct client *)exchange, MHD_HTTP_OK, content_type, bytes, size);
}
