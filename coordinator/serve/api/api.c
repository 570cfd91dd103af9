/* api.c - which request is answered by what, see api.h. */
#include "coordinator/serve/api/api.h"

#include "coordinator/serve/api/api_inside.h"
#include "coordinator/serve/api/text/api_json.h"
#include "proto/store/file.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { API_TOKEN = 4096 };

static void api_answer_livez(struct api *api, struct exchange *exchange)
{
    buffer_text(&api->out, "{\"status\":\"ok\"}");
    api_answer(api, exchange, 200);
}

static void api_answer_health(struct api *api, struct exchange *exchange)
{
    const char *trouble = broker_trouble(api->broker);
    if (!trouble) {
        api_answer_livez(api, exchange);
        return;
    }
    buffer_text(&api->out, "{\"error\":");
    api_json_text(&api->out, trouble);
    buffer_text(&api->out, ",\"status\":\"unavailable\"}");
    http_set_header(exchange, "Retry-After", "1");
    api_answer(api, exchange, 503);
}

/* What LibreTranslate answers where these functions are off, word for word. */
static void api_answer_suggest(struct api *api, struct exchange *exchange)
{
    api_answer_error(api, exchange, 403, "Suggestions are disabled on this server.");
}

static void api_answer_files(struct api *api, struct exchange *exchange)
{
    api_answer_error(api, exchange, 403, "Files translation are disabled on this server.");
}

static void api_answer_download(struct api *api, struct exchange *exchange)
{
    api_answer_error(api, exchange, 400, "Files translation are disabled on this server.");
}

static void api_answer_move(struct api *api, struct exchange *exchange)
{
    http_set_header(exchange, "Location", "/docs/");
    buffer_text(&api->out, "{\"location\":\"/docs/\"}");
    api_answer(api, exchange, 308);
}

enum api_method { API_GET, API_POST };

static const struct api_route {
    const char *path; /* one that ends with * stands for all that begin so */
    enum api_method method;
    bool own; /* not for pages of other origins */
    void (*answer)(struct api *api, struct exchange *exchange);
} api_routes[] = {
    {"/translate", API_POST, false, api_translate},
    {"/detect", API_POST, false, api_detect_answer},
    {"/languages", API_GET, false, api_answer_languages},
    {"/frontend/settings", API_GET, false, api_answer_settings},
    {"/health", API_GET, false, api_answer_health},
    {"/readyz", API_GET, false, api_answer_health},
    {"/livez", API_GET, false, api_answer_livez},
    {"/", API_GET, true, api_answer_page},
    {"/page/*", API_GET, true, api_answer_page},
    {"/status.json", API_GET, true, api_answer_status},
    {"/metrics.jsonl", API_GET, true, api_answer_curves},
    {"/metrics", API_GET, true, api_answer_metrics},
    {"/spec", API_GET, false, api_answer_spec},
    {"/openapi.json", API_GET, false, api_answer_spec},
    {"/docs", API_GET, false, api_answer_move},
    {"/docs/", API_GET, false, api_answer_docs},
    {"/suggest", API_POST, false, api_answer_suggest},
    {"/translate_file", API_POST, false, api_answer_files},
    {"/download_file/*", API_GET, false, api_answer_download},
};

/* Whether a path, in which several slashes count as one, is that of a route. */
static bool api_route_fits(const char *route, const char *path)
{
    for (; *route && *route != '*'; route++, path++) {
        if (*route != *path)
            return false;
        while (*path == '/' && path[1] == '/')
            path++;
    }
    return *route == '*' || *path == '\0';
}

static const struct api_route *api_route(const char *path)
{
    for (size_t i = 0; i < sizeof api_routes / sizeof *api_routes; i++)
        if (api_route_fits(api_routes[i].path, path))
            return &api_routes[i];
    return NULL;
}

static void api_take(struct api *api, struct exchange *exchange)
{
    const struct api_route *route = api_route(exchange->path);
    const char *method = exchange->method;
    buffer_clear(&api->out);
    if (!route) {
        api_answer_error(api, exchange, 404, "There is no such page; /docs/ lists what this server answers");
        return;
    }
    if (!route->own)
        api_set_cors(exchange);
    if (strcmp(method, "OPTIONS") == 0) {
        http_answer(exchange, 200, NULL, "", 0);
    } else if (route->method == API_POST ? strcmp(method, "POST") != 0
                                         : strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        http_set_header(exchange, "Allow", route->method == API_POST ? "OPTIONS, POST" : "GET, HEAD, OPTIONS");
        api_answer_error(api, exchange, 405, "The method is not allowed for this address");
    } else {
        route->answer(api, exchange);
    }
}

void api_turn(struct api *api)
{
    struct exchange *exchange;
    struct request *request;
    while ((exchange = http_gone(api->http)) != NULL) {
        if (exchange->owner)
            api_abandon(api, exchange->owner);
        http_drop(exchange);
    }
    exchange = http_take(api->http);
    if (exchange)
        api_languages_read(&api->languages, broker_catalog(api->broker));
    for (; exchange; exchange = http_take(api->http))
        api_take(api, exchange);
    /* After the submission, because some are over at once. */
    while ((request = broker_finished(api->broker)) != NULL)
        api_finished(api, request);
    http_say(api->http);
}

static bool api_read_token(struct api *api, struct err *err)
{
    const char *path = api->config->http_metrics_token;
    if (!*path)
        return true;
    if (!file_read(path, API_TOKEN, &api->token, err))
        return err_context(err, "http.metrics_token");
    while (api->token.size > 0 && isspace((unsigned char)api->token.data[api->token.size - 1]))
        api->token.data[--api->token.size] = '\0';
    return api->token.size > 0 || err_set(err, ERR_DATA, "http.metrics_token: %s is empty", path);
}

/* Every peer that reaches the port could use the server. */
static bool api_is_guarded(const struct api *api, struct err *err)
{
    if (api->config->http_require_key && !api->keys)
        return err_set(err, ERR_USAGE, "http.require_key needs keys: name their file with --http.keys");
    if (http_is_local(api->http) || api->config->curve_insecure || api->config->http_require_key)
        return true;
    return err_set(err, ERR_USAGE,
                   "http.bind %s: every machine that reaches it could translate here; require keys with --http.keys "
                   "FILE --http.require_key, or accept that with --insecure",
                   http_address(api->http));
}

struct api *api_open(struct http *http, struct broker *broker, const struct config *config, struct err *err)
{
    struct api *api = calloc(1, sizeof *api);
    if (!api) {
        err_set(err, ERR_MEMORY, "out of memory for the HTTP interface");
        return NULL;
    }
    api->http = http;
    api->broker = broker;
    api->config = config;
    api->duration.bounds = &histogram_request_seconds;
    bool ok = getrandom(&api->seed, sizeof api->seed, 0) == sizeof api->seed ||
              err_errno(err, ERR_FAILED, "no random numbers");
    if (ok && *config->http_keys) {
        api->keys = api_keys_open(config->http_keys, api->seed, err);
        ok = api->keys || err_context(err, "http.keys");
    }
    if (ok) {
        api->windows = api_windows_new(err);
        api->detector = api->windows ? detector_open(err) : NULL;
        ok = api->detector && api_read_token(api, err) && api_is_guarded(api, err);
    }
    if (!ok)
        api_close(&api);
    return api;
}

void api_close(struct api **api)
{
    if (*api) {
        api_jobs_free(*api);
        api_keys_close(&(*api)->keys);
        api_windows_destroy(&(*api)->windows);
        detector_close(&(*api)->detector);
        buffer_free(&(*api)->token);
        buffer_free(&(*api)->out);
        buffer_free(&(*api)->plain);
        buffer_free(&(*api)->found);
        api_form_free(&(*api)->form);
    }
    free(*api);
    *api = NULL;
}
