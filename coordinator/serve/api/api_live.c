/* api_live.c - the page, and what it asks for besides the API: the status of the queue, and training curves. */
#include "coordinator/http/page/page.h"
#include "coordinator/serve/api/api_inside.h"
#include "proto/store/file.h"

#include <stdlib.h>
#include <string.h>

void api_answer_page(struct api *api, struct exchange *exchange)
{
    if (!page_answer(exchange))
        api_answer_error(api, exchange, 404, "There is no such page");
}

/* Names of workers and of flows are for an operator, because a flow has the name of a key or an address. An operator is
 * the owner of the metrics' token or, without one, a user of this machine. A proxy on it speaks for others. */
static bool live_detail(const struct api *api, const struct exchange *exchange)
{
    if (api->token.size > 0)
        return api_is_operator(api, exchange);
    return http_is_local(api->http) && !api->config->http_trust_forwarded_for;
}

void api_answer_status(struct api *api, struct exchange *exchange)
{
    broker_status(api->broker, live_detail(api, exchange), &api->out);
    page_answer_status(exchange, &api->out);
}

/* ?model=INDEX, in the order of the status; the first one without it. */
void api_answer_curves(struct api *api, struct exchange *exchange)
{
    const struct catalog *catalog = broker_catalog(api->broker);
    const char *field = "model=";
    const char *query = exchange->query;
    unsigned long index = strncmp(query, field, strlen(field)) == 0 ? strtoul(query + strlen(field), NULL, 10) : 0;
    const char *path = index < catalog_count(catalog) ? catalog_at(catalog, index).path : NULL;
    char run[FILE_PATH];
    if (path != NULL && path_parent(run, path, NULL))
        page_answer_curves(exchange, run);
    else
        api_answer_error(api, exchange, 404, "There is no such model, or it has no checkpoint yet");
}
