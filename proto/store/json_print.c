/* json_print.c - JSON values as text; see json_print.h. */
#include "proto/store/json_print.h"

#include <stdlib.h>
#include <string.h>

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

/* Bytes of the nan, inf, -nan or -inf at `text`; 0 = other text. */
static size_t json_no_number(const char *text)
{
    size_t sign = text[0] == '-';
    return strncmp(text + sign, "nan", 3) == 0 || strncmp(text + sign, "inf", 3) == 0 ? sign + 3 : 0;
}

void json_print_nulls(struct buffer *text)
{
    struct buffer out = {0};
    bool quoted = false;
    if (!buffer_ok(text, NULL))
        return;
    for (size_t i = 0; i < text->size;) {
        const char *at = text->data + i;
        size_t size = quoted ? 0 : json_no_number(at);
        if (size > 0) {
            buffer_text(&out, "null");
        } else {
            size = quoted && at[0] == '\\' && at[1] != '\0' ? 2 : 1;
            buffer_append(&out, at, size);
            quoted ^= at[0] == '"';
        }
        i += size;
    }
    buffer_free(text);
    *text = out;
}
