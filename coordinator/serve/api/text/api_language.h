/* api_language.h - names of languages, and the codes by which clients call them.
 *
 * Codes are compared without regard to case. Some languages have two: pb and pt-BR, zh and zh-Hans, zt and zh-Hant.
 * Requests may use either; answers have the second one. Constant tables; any thread. */
#ifndef LSTMQ_COORDINATOR_SERVE_API_TEXT_API_LANGUAGE_H
#define LSTMQ_COORDINATOR_SERVE_API_TEXT_API_LANGUAGE_H

#include <stdbool.h>

/* The code as answers have it; it is `code` itself for most. */
const char *api_language_code(const char *code);

/* "French"; the code itself if the name is unknown. */
const char *api_language_name(const char *code);

bool api_language_same(const char *one, const char *other);

#endif
