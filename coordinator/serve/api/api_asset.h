/* api_asset.h - files inside the program: the template of the OpenAPI document, and the page about the API.
 *
 * The build puts them into the binary's read-only data, each followed by a NUL. Constant; any thread. */
#ifndef LSTMQ_COORDINATOR_SERVE_API_API_ASSET_H
#define LSTMQ_COORDINATOR_SERVE_API_API_ASSET_H

/* openapi.json.in, with {{slots}} */
extern const char api_asset_spec[];
/* docs.html */
extern const char api_asset_docs[];

#endif
