/* api_common.c - what translation and detection share: keys, limits, and the form of answers. */
#include "coordinator/serve/api/api_inside.h"
#include "coordinator/serve/api/text/api_json.h"
#include "proto/base/clock.h"
#include "proto/base/utf8.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <xxhash.h>

#define COMMON_NO_KEY "Please contact the server operator to get an API key"

void api_set_cors(struct exchange *exchange)
{
    http_set_header(exchange, "Access-Control-Allow-Origin", "*");
    http_set_header(exchange, "Access-Control-Allow-Headers", "Authorization, Content-Type, X-Request-Timeout");
    http_set_header(exchange, "Access-Control-Allow-Methods", "GET, POST");
    http_set_header(exchange, "Access-Control-Expose-Headers",
                    "Authorization, Retry-After, X-Lstmq-Model, X-RateLimit-Limit, X-RateLimit-Remaining, "
                    "X-RateLimit-Reset, X-Request-ID");
    http_set_header(exchange, "Access-Control-Max-Age", "1728000");
}

void api_answer_as(struct api *api, struct exchange *exchange, unsigned status, const char *content_type)
{
    if (api->out.failed)
        api_answer_error(api, exchange, 500, "Out of memory");
    else
        http_answer(exchange, status, content_type, api->out.data, api->out.size);
}

void api_answer(struct api *api, struct exchange *exchange, unsigned status)
{
    buffer_text(&api->out, "\n");
    api_answer_as(api, exchange, status, "application/json");
}

void api_answer_error(struct api *api, struct exchange *exchange, unsigned status, const char *text)
{
    buffer_clear(&api->out);
    buffer_text(&api->out, "{\"error\":");
    api_json_text(&api->out, text);
    buffer_text(&api->out, "}\n");
    if (api->out.failed)
        http_answer_error(exchange, status, "Out of memory");
    else
        http_answer(exchange, status, "application/json", api->out.data, api->out.size);
}

void api_count(struct api *api, const struct exchange *exchange, enum api_outcome outcome)
{
    api->outcomes[outcome]++;
    if (outcome == API_OK)
        histogram_add(&api->duration, (double)(clock_ns() / 1000 - exchange->begun_us) * 1e-6, exchange->trace);
}

const char *api_field_text(const struct api_form *form, enum api_field field)
{
    const struct api_value *value = &form->of[field];
    return value->kind != API_ABSENT && value->text.data ? value->text.data : "";
}

/* The identity of an address in limits: of IPv6 the network, because one user has all of its addresses. */
static uint64_t common_address(const struct api *api, const char *address)
{
    struct in6_addr six;
    if (inet_pton(AF_INET6, address, &six) == 1)
        return XXH3_64bits_withSeed(&six, 8, api->seed);
    return XXH3_64bits_withSeed(address, strlen(address), api->seed);
}

/* The key of a request, in its form or as a bearer; its size, 0 = none. */
static size_t common_key(const struct exchange *exchange, const struct api_form *form, const char **key)
{
    if (form->of[API_KEY].kind == API_TEXT) {
        *key = form->of[API_KEY].text.data;
        return form->of[API_KEY].text.size;
    }
    const char *header = http_header(exchange, "Authorization");
    if (!header || strncasecmp(header, "Bearer ", 7) != 0)
        return 0;
    *key = header + 7 + strspn(header + 7, " ");
    return strlen(*key);
}

/* Count the request within its caller's limit, and say so in the answer's headers. */
static bool common_limit(struct api *api, struct exchange *exchange, uint64_t id, uint32_t limit, size_t cost,
                         struct api_error *error)
{
    char number[16];
    if (limit == 0)
        return true;
    struct api_allowance allowance =
        api_windows_take(api->windows, id, limit, (uint32_t)(cost > 0 ? cost : 1), clock_ms());
    snprintf(number, sizeof number, "%u", limit);
    http_set_header(exchange, "X-RateLimit-Limit", number);
    snprintf(number, sizeof number, "%u", allowance.remaining);
    http_set_header(exchange, "X-RateLimit-Remaining", number);
    snprintf(number, sizeof number, "%u", allowance.reset_s);
    http_set_header(exchange, "X-RateLimit-Reset", number);
    if (!allowance.refused)
        return true;
    snprintf(number, sizeof number, "%u", allowance.retry_s);
    http_set_header(exchange, "Retry-After", number);
    return api_refuse(error, 429, "Slowdown: %u per 1 minute", limit);
}

bool api_admit(struct api *api, struct exchange *exchange, struct api_form *form, struct api_caller *caller)
{
    struct api_error error = {0}, limited = {0};
    const char *key;
    bool read = api_form_read(form, http_header(exchange, "Content-Type"), exchange->query, exchange->body.data,
                              exchange->body.size, &error);
    size_t size = common_key(exchange, form, &key);
    if (api->keys)
        api_keys_refresh(api->keys, clock_ms());
    const struct api_key *known = api->keys && size > 0 ? api_keys_find(api->keys, key, size) : NULL;
    caller->characters = known && known->characters >= 0 ? known->characters : api->config->http_characters;
    if (known)
        snprintf(caller->flow, sizeof caller->flow, "key:%s", known->name);
    else
        snprintf(caller->flow, sizeof caller->flow, "address:%s", exchange->address);
    enum api_outcome outcome = API_INVALID;
    if (!common_limit(api, exchange, known ? known->id : common_address(api, exchange->address),
                      known ? known->requests : (uint32_t)api->config->http_requests_per_minute,
                      api_texts_count(&form->q), &limited)) {
        error = limited;
        outcome = API_LIMITED;
    } else if (read) {
        outcome = API_UNAUTHORIZED;
        if (form->of[API_KEY].kind != API_ABSENT && form->of[API_KEY].kind != API_TEXT)
            api_refuse(&error, 400, "Invalid request: api_key must be a string");
        else if (api->keys && size > 0 && !known)
            api_refuse(&error, 403, "Invalid API key");
        else if (api->config->http_require_key && !known)
            api_refuse(&error, 400, COMMON_NO_KEY);
    }
    if (error.status == 0)
        return true;
    api_count(api, exchange, outcome);
    api_answer_error(api, exchange, error.status, error.text);
    return false;
}

bool api_check_texts(const struct api_form *form, struct api_error *error)
{
    if (form->shape == API_NO_TEXT)
        return api_refuse(error, 400, "Invalid request: missing q parameter");
    if (form->shape == API_WRONG)
        return api_refuse(error, 400, "Invalid request: q must be a string or a list of strings");
    return true;
}

static int64_t common_characters(const char *text, size_t size)
{
    int64_t count = 0;
    for (size_t i = 0; i < size; i++)
        count += ((unsigned char)text[i] & 0xC0) != 0x80;
    return count;
}

bool api_check_lengths(const struct api *api, const struct api_form *form, int64_t characters, struct api_error *error)
{
    size_t count = api_texts_count(&form->q), most = (size_t)api->config->http_texts;
    const char *text = form->q.bytes.data;
    if (count > most)
        return api_refuse(error, 400, "Invalid request: request (%zu) exceeds text limit (%zu)", count, most);
    for (size_t i = 0; characters > 0 && i < count; text += api_texts_lengths(&form->q)[i++]) {
        int64_t length = common_characters(text, api_texts_lengths(&form->q)[i]);
        if (length > characters)
            return api_refuse(error, 400, "Invalid request: request (%lld) exceeds text limit (%lld)",
                              (long long)length, (long long)characters);
    }
    return true;
}
