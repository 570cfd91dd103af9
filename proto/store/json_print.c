/* json_print.c - JSON values as text; see json_print.h. */
#include "proto/store/json_print.h"

#include <stdlib.h>

void json_print(json_t *root, struct buffer *out)
{
    char *text = root == NULL ? NULL : json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(JSON_PRINT_DIGITS));
    json_decref(root);
    if (text == NULL) {
        out->failed = true;
        return;
    }
    buffer_text(out, text);
    buffer_text(out, "\n");
    free(text);
}
