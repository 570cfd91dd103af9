/* http_head.c - what a request's head says, and whether it can be trusted to end where it says; see http_inside.h.
 *
 * A proxy in front may read a head with two lengths, or a length and chunks, otherwise than libmicrohttpd does. Then
 * one client's body would become another client's request. So such heads are refused, and their connection ends. */
#include "coordinator/http/http_inside.h"

#include "proto/base/random.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* What matters in a head's fields. */
struct head_fields {
    unsigned hosts, lengths, encodings;
    bool bad;     /* a name or a value has characters that are not allowed */
    bool expects; /* it waits for 100 Continue before it sends the body */
    const char *length, *encoding, *id, *trace, *forwarded;
};

static bool head_is_name(const char *name)
{
    static const char letters[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    return name[0] != '\0' && name[strspn(name, letters)] == '\0';
}

static bool head_is_value(const char *value)
{
    for (const char *c = value; *c != '\0'; c++)
        if (((unsigned char)*c < ' ' && *c != '\t') || *c == 0x7f)
            return false;
    return true;
}

static enum MHD_Result head_field(void *context, enum MHD_ValueKind kind, const char *name, const char *value)
{
    struct head_fields *head = context;
    (void)kind;
    value = value == NULL ? "" : value;
    head->bad = head->bad || !head_is_name(name) || !head_is_value(value);
    switch (name[0] | 0x20) {
    case 'h':
        head->hosts += strcasecmp(name, "Host") == 0;
        break;
    case 'c':
        if (strcasecmp(name, "Content-Length") == 0)
            head->lengths++, head->length = value;
        break;
    case 'e':
        head->expects = head->expects || strcasecmp(name, "Expect") == 0;
        break;
    case 't':
        if (strcasecmp(name, "Transfer-Encoding") == 0)
            head->encodings++, head->encoding = value;
        else if (strcasecmp(name, "traceparent") == 0)
            head->trace = value;
        break;
    case 'x':
        if (strcasecmp(name, "X-Request-ID") == 0)
            head->id = value;
        else if (strcasecmp(name, "X-Forwarded-For") == 0)
            head->forwarded = value;
        break;
    default:
        break;
    }
    return MHD_YES;
}

/* ---- identity ---- */

static void head_draw(struct http *http, char *hex, size_t words)
{
    for (size_t i = 0; i < words; i++) {
        uint64_t bits = splitmix(http->seed + ++http->drawn);
        for (int shift = 60; shift >= 0; shift -= 4)
            *hex++ = "0123456789abcdef"[bits >> shift & 15];
    }
    *hex = '\0';
}

static bool head_is_id(const char *id)
{
    size_t size = 0;
    while (id[size] > ' ' && id[size] < 0x7f)
        size++;
    return id[size] == '\0' && size > 0 && size < HTTP_ID;
}

/* Lower-case hexadecimal digits, not all of them 0. */
static bool head_is_hex(const char *text, size_t size, bool zero_too)
{
    return strspn(text, "0123456789abcdef") >= size && (zero_too || strspn(text, "0") < size);
}

/* W3C Trace Context: VERSION-TRACE-PARENT-FLAGS. A later version may add fields. */
static bool head_is_trace(const char *text)
{
    size_t size = strlen(text);
    return size >= 55 && head_is_hex(text, 2, true) && memcmp(text, "ff", 2) != 0 && text[2] == '-' &&
           head_is_hex(text + 3, 32, false) && text[35] == '-' && head_is_hex(text + 36, 16, false) &&
           text[52] == '-' && head_is_hex(text + 53, 2, true) &&
           (size == 55 || (memcmp(text, "00", 2) != 0 && text[55] == '-'));
}

/* The last address of X-Forwarded-For is the one that our own proxy added. */
static void head_take_forwarded(const char *forwarded, char address[HTTP_ADDRESS])
{
    unsigned char bytes[16];
    const char *last = strrchr(forwarded, ',');
    last = last == NULL ? forwarded : last + 1;
    last += strspn(last, " \t[");
    size_t size = strcspn(last, " \t]");
    char text[HTTP_ADDRESS] = "";
    if (size == 0 || size >= sizeof text)
        return;
    memcpy(text, last, size);
    char *colon = strchr(text, ':');
    if (colon != NULL && strchr(text, '.') != NULL && colon == strrchr(text, ':'))
        *colon = '\0'; /* 10.0.0.7:4711 */
    if (inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1)
        strcpy(address, text);
}

static void head_identify(struct client *client, const struct head_fields *head)
{
    struct exchange *exchange = &client->exchange;
    struct http *http = client->http;
    strcpy(exchange->address, client->peer);
    if (http->trusts_forwarded && head->forwarded != NULL)
        head_take_forwarded(head->forwarded, exchange->address);
    if (head->id != NULL && head_is_id(head->id))
        strcpy(exchange->id, head->id);
    else
        head_draw(http, exchange->id, 2);
    if (head->trace != NULL && head_is_trace(head->trace))
        memcpy(exchange->trace, head->trace + 3, HTTP_TRACE - 1);
    else
        head_draw(http, exchange->trace, 2);
}

/* ---- the URI ---- */

static int head_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

/* Append the path without its %XX; false: it has a bad one, or a NUL. */
static bool head_decode(const char *raw, struct buffer *path)
{
    char *out = buffer_reserve(path, strlen(raw));
    if (out == NULL)
        return false;
    for (; *raw != '\0'; raw++) {
        int high = *raw == '%' ? head_digit(raw[1]) : 0, low = *raw == '%' && high >= 0 ? head_digit(raw[2]) : 0;
        if (high < 0 || low < 0 || (*raw == '%' && high + low == 0))
            return false;
        bool coded = *raw == '%';
        *out = *raw;
        if (coded)
            *out = (char)(high << 4 | low);
        out++;
        raw += coded ? 2 : 0;
    }
    *out = '\0';
    path->size = (size_t)(out - path->data);
    return true;
}

/* Split client->uri at the query, and decode the path. The whole address of a proxy's request loses its host. */
static bool head_read_uri(struct client *client)
{
    struct exchange *exchange = &client->exchange;
    char *raw = client->uri.data;
    size_t scheme = strncasecmp(raw, "http://", 7) == 0 ? 7 : strncasecmp(raw, "https://", 8) == 0 ? 8 : 0;
    char *query = strchr(raw, '?');
    bool good = head_is_value(raw) && strpbrk(raw, " \t") == NULL;
    exchange->query = query == NULL ? "" : query + 1;
    if (query != NULL)
        *query = '\0';
    if (scheme > 0)
        raw += scheme + strcspn(raw + scheme, "/");
    buffer_clear(&client->path);
    good = head_decode(scheme > 0 && *raw == '\0' ? "/" : raw, &client->path) && good;
    exchange->path = client->path.data;
    return good && (exchange->path[0] == '/' || strcmp(exchange->path, "*") == 0);
}

/* ---- the whole ---- */

static unsigned head_refuse(unsigned status, const char **text, const char *why)
{
    *text = why;
    return status;
}

/* Whether the head says clearly where its request ends. */
static unsigned head_check_framing(const struct head_fields *head, const char *version, const char **text)
{
    bool old = strcmp(version, "HTTP/1.1") != 0;
    if (head->bad)
        return head_refuse(400, text, "A header has characters that are not allowed");
    if (head->hosts > 1 || (head->hosts == 0 && !old))
        return head_refuse(400, text, "The request needs one Host header");
    if (head->lengths + head->encodings > 1 || (head->encodings > 0 && old))
        return head_refuse(400, text, "The request has more than one length");
    if (head->encodings > 0 && strcasecmp(head->encoding, "chunked") != 0)
        return head_refuse(501, text, "Transfer-Encoding must be chunked");
    return 0;
}

unsigned http_read_head(struct client *client, const char *method, const char *version, const char **text)
{
    struct head_fields head = {0};
    const struct http *http = client->http;
    MHD_get_connection_values(client->connection, MHD_HEADER_KIND, head_field, &head);
    head_identify(client, &head);
    size_t uri = client->uri.size;
    bool good = head_read_uri(client);
    bool named = head_is_name(method) && strlen(method) < HTTP_METHOD;
    strcpy(client->exchange.method, named ? method : "-");
    if (uri > HTTP_URI)
        return head_refuse(414, text, "The URI is too long");
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(client->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (info != NULL && info->header_size > HTTP_HEAD)
        return head_refuse(431, text, "The headers are too large");
    unsigned status = head_check_framing(&head, version, text);
    if (status != 0)
        return status;
    if (!good)
        return head_refuse(400, text, "The URI is malformed");
    if (!named)
        return head_refuse(501, text, "The method is not known");
    unsigned long long length = head.length != NULL ? strtoull(head.length, NULL, 10) : 0;
    if (length <= http->body)
        return 0;
    *text = HTTP_TOO_LARGE;
    if (head.expects || length / HTTP_PATIENCE > http->body)
        return 413;
    client->refusal = 413;
    return 0;
}
