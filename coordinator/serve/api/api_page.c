/* api_page.c - what describes the server: its languages, its settings, its OpenAPI document and its pages. */
#include "coordinator/serve/api/api_asset.h"
#include "coordinator/serve/api/api_inside.h"
#include "coordinator/serve/api/text/api_json.h"
#include "coordinator/serve/api/text/api_language.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int page_order(const void *one, const void *other)
{
    return strcmp(*(const char *const *)one, *(const char *const *)other);
}

/* Append the codes that texts of a language can be translated to, sorted, as a JSON list. */
static void page_targets(struct api *api, size_t source)
{
    const struct api_languages *languages = &api->languages;
    const char *targets[API_LANGUAGES];
    size_t count = 0;
    for (size_t i = 0; i < languages->count; i++)
        if (api_languages_reach(languages, source, i))
            targets[count++] = api_language_code(languages->code[i]);
    qsort(targets, count, sizeof *targets, page_order);
    for (size_t i = 0; i < count; i++) {
        buffer_text(&api->out, i > 0 ? "," : "[");
        api_json_text(&api->out, targets[i]);
    }
    buffer_text(&api->out, "]");
}

void api_answer_languages(struct api *api, struct exchange *exchange)
{
    const struct api_languages *languages = &api->languages;
    buffer_text(&api->out, "[");
    for (size_t i = 0; i < languages->count; i++) {
        buffer_text(&api->out, i > 0 ? ",{\"code\":" : "{\"code\":");
        api_json_text(&api->out, api_language_code(languages->code[i]));
        buffer_text(&api->out, ",\"name\":");
        api_json_text(&api->out, api_language_name(languages->code[i]));
        buffer_text(&api->out, ",\"targets\":");
        page_targets(api, i);
        buffer_text(&api->out, "}");
    }
    buffer_text(&api->out, "]");
    api_answer(api, exchange, 200);
}

void api_answer_settings(struct api *api, struct exchange *exchange)
{
    const struct config *config = api->config;
    const struct api_languages *languages = &api->languages;
    const char *target = languages->model_count ? languages->code[languages->models[0].target] : "en";
    long long characters = config->http_characters > 0 ? config->http_characters : -1;
    buffer_format(&api->out,
                  "{\"apiKeys\":%s,\"charLimit\":%lld,\"filesTranslation\":false,\"frontendTimeout\":500,"
                  "\"keyRequired\":%s,\"language\":{\"source\":{\"code\":\"auto\",\"name\":\"Auto Detect\"},"
                  "\"target\":{\"code\":",
                  api->keys ? "true" : "false", characters, config->http_require_key ? "true" : "false");
    api_json_text(&api->out, api_language_code(target));
    buffer_text(&api->out, ",\"name\":");
    api_json_text(&api->out, api_language_name(target));
    buffer_text(&api->out, "}},\"suggestions\":false,\"supportedFilesFormat\":[]}");
    api_answer(api, exchange, 200);
}

static void page_pair(struct api *api, const char *source, const char *before)
{
    buffer_format(&api->out, "%s{\"properties\":{\"source\":{\"enum\":[", before);
    api_json_text(&api->out, source);
    buffer_text(&api->out, "]},\"target\":{\"enum\":");
}

/* Append the pairs of languages, each as a schema: what may be given as source and target together. With source auto a
 * target must be one that every language can be translated to. */
static void page_pairs(struct api *api)
{
    const struct api_languages *languages = &api->languages;
    bool any = false;
    page_pair(api, "auto", "[");
    for (size_t target = 0; target < languages->count; target++) {
        bool all = true;
        for (size_t source = 0; source < languages->count; source++)
            all &= api_languages_reach(languages, source, target);
        if (all) {
            buffer_text(&api->out, any ? "," : "[");
            api_json_text(&api->out, api_language_code(languages->code[target]));
            any = true;
        }
    }
    buffer_text(&api->out, any ? "]}}}" : "[]}}}");
    for (size_t source = 0; source < languages->count; source++) {
        page_pair(api, api_language_code(languages->code[source]), ",");
        page_targets(api, source);
        buffer_text(&api->out, "}}}");
    }
    buffer_text(&api->out, "]");
}

static void page_slot(struct api *api, const char *name, size_t size)
{
    const struct config *config = api->config;
    if (strncmp(name, "pairs", size) == 0)
        page_pairs(api);
    else if (strncmp(name, "texts", size) == 0)
        buffer_format(&api->out, "%lld", (long long)config->http_texts);
    else if (strncmp(name, "alternatives", size) == 0)
        buffer_format(&api->out, "%lld", (long long)config->http_alternatives + 1);
    else if (strncmp(name, "characters", size) == 0 && config->http_characters > 0)
        buffer_format(&api->out, ",\"maxLength\":%lld", (long long)config->http_characters);
}

/* The template has {{slots}}. */
void api_answer_spec(struct api *api, struct exchange *exchange)
{
    const char *at = api_asset_spec, *slot;
    while ((slot = strstr(at, "{{")) != NULL) {
        const char *end = strstr(slot, "}}");
        buffer_append(&api->out, at, (size_t)(slot - at));
        page_slot(api, slot + 2, (size_t)(end - slot - 2));
        at = end + 2;
    }
    buffer_text(&api->out, at);
    api_answer_as(api, exchange, 200, "application/json");
}

void api_answer_docs(struct api *api, struct exchange *exchange)
{
    (void)api;
    http_answer_static(exchange, "text/html; charset=utf-8", api_asset_docs, strlen(api_asset_docs));
}
