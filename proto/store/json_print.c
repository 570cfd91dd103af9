/* json_print.c - JSON values as text; see json_print.h. */
#include "proto/store/json_print.h"

#include <math.h>
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

void json_print_real(struct buffer *out, double value)
{
    if (isfinite(value))
        buffer_format(out, "%.*g", JSON_PRINT_DIGITS, value);
    else
        buffer_text(out, "null");
}

void json_print_number(struct buffer *out, const char *key, double value)
{
    bool first = out->size > 0 && out->data[out->size - 1] == '{';
    buffer_format(out, "%s\"%s\": ", first ? "" : ", ", key);
    json_print_real(out, value);
}

void json_print_numbers(struct buffer *out, const char *key, const double *values, size_t count)
{
    buffer_format(out, ", \"%s\": [", key);
    for (size_t i = 0; i < count; i++) {
        buffer_text(out, i > 0 ? ", " : "");
        json_print_real(out, values[i]);
    }
    buffer_text(out, "]");
}
