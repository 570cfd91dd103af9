/* api_form.c - the encodings of a request, see api_form.h: JSON, and what all encodings share. */
#include "coordinator/serve/api/api_form.h"

#include "proto/text/unicode.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char *const form_fields[API_FIELDS] = {
    [API_SOURCE] = "source", [API_TARGET] = "target",   [API_FORMAT] = "format", [API_ALTERNATIVES] = "alternatives",
    [API_KEY] = "api_key",   [API_DETAILS] = "details",
};

bool api_refuse(struct api_error *error, unsigned status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    error->status = status;
    vsnprintf(error->text, sizeof error->text, format, args);
    va_end(args);
    return false;
}

size_t api_texts_count(const struct api_texts *texts)
{
    return texts->lengths.size / sizeof(uint32_t);
}

const uint32_t *api_texts_lengths(const struct api_texts *texts)
{
    return (const uint32_t *)(const void *)texts->lengths.data;
}

void api_texts_add(struct api_texts *texts, const char *text, size_t size)
{
    uint32_t length = (uint32_t)size;
    buffer_append(&texts->bytes, text, size);
    buffer_append(&texts->lengths, &length, sizeof length);
}

void api_texts_clear(struct api_texts *texts)
{
    buffer_clear(&texts->bytes);
    buffer_clear(&texts->lengths);
}

void api_texts_free(struct api_texts *texts)
{
    buffer_free(&texts->bytes);
    buffer_free(&texts->lengths);
}

static void form_set(struct api_value *value, enum api_kind kind, const char *text, size_t size)
{
    value->kind = kind;
    buffer_clear(&value->text);
    buffer_append(&value->text, text, size);
}

/* The line separators of Python's str.splitlines become \n, and a final one is dropped. */
static void form_add_lines(struct api_texts *texts, const char *text, size_t size)
{
    size_t begin = texts->bytes.size;
    const unsigned char *at = (const unsigned char *)text, *end = at + size;
    while (at < end) {
        const unsigned char *from = at;
        uint32_t code = unicode_next(&at, end);
        bool line_end = (code >= '\n' && code <= '\r') || (code >= 0x1C && code <= 0x1E) || code == 0x85 ||
                        code == 0x2028 || code == 0x2029;
        if (code == '\r' && at < end && *at == '\n')
            at++;
        if (!line_end)
            buffer_append(&texts->bytes, from, (size_t)(at - from));
        else if (at < end)
            buffer_append(&texts->bytes, "\n", 1);
    }
    if (texts->bytes.size == begin && size > 0) /* a line end alone is a text */
        buffer_append(&texts->bytes, "\n", 1);
    uint32_t length = (uint32_t)(texts->bytes.size - begin);
    buffer_append(&texts->lengths, &length, sizeof length);
}

void api_form_add(struct api_form *form, const char *name, const char *value, size_t size)
{
    if (strcmp(name, "q") == 0) {
        form_add_lines(&form->q, value, size);
        return;
    }
    for (int field = 0; field < API_FIELDS; field++) {
        struct api_value *into = &form->of[field];
        if (strcmp(name, form_fields[field]) == 0 && into->kind == API_ABSENT)
            form_set(into, size > 0 ? API_TEXT : field == API_ALTERNATIVES ? API_OTHER : API_ABSENT, value, size);
    }
}

/* A list of strings into form->q; false: it has other items. */
static bool form_take_list(struct api_form *form, const json_t *list)
{
    size_t index;
    json_t *item;
    api_texts_clear(&form->q);
    json_array_foreach(list, index, item)
    {
        if (!json_is_string(item))
            return false;
        api_texts_add(&form->q, json_string_value(item), json_string_length(item));
    }
    return true;
}

static void form_take_q(struct api_form *form, const json_t *q)
{
    if (json_is_string(q)) {
        form->shape = json_string_length(q) > 0 ? API_ONE : API_NO_TEXT;
        api_texts_add(&form->q, json_string_value(q), json_string_length(q));
    } else if (json_is_array(q)) {
        form->shape = json_array_size(q) == 0 ? API_NO_TEXT : form_take_list(form, q) ? API_LIST : API_WRONG;
    } else if (q && !json_is_null(q)) {
        form->shape = API_WRONG;
    }
}

static void form_take_value(struct api_form *form, enum api_field field, const json_t *json)
{
    struct api_value *value = &form->of[field];
    char number[32];
    if (json_is_string(json)) {
        bool empty = json_string_length(json) == 0;
        form_set(value, empty ? (field == API_ALTERNATIVES ? API_OTHER : API_ABSENT) : API_TEXT,
                 json_string_value(json), json_string_length(json));
    } else if (json_is_real(json)) {
        int size = snprintf(number, sizeof number, "%.17g", json_real_value(json));
        form_set(value, API_NUMBER, number, (size_t)size);
    } else if (json_is_boolean(json)) {
        form_set(value, API_BOOL, json_is_true(json) ? "true" : "false", json_is_true(json) ? 4 : 5);
    } else if (json && (!json_is_null(json) || field == API_ALTERNATIVES)) {
        form_set(value, API_OTHER, "", 0);
    }
}

/* Write \u0001 for \u0000 in the names of members: jansson refuses those, and no name that matters has one. A name is a
 * string before a colon. */
static void form_rename(char *body, size_t size)
{
    char *begin = NULL;
    for (char *at = body, *end = body + size; at < end; at++) {
        if (begin && *at == '\\') {
            at++;
        } else if (*at == '"' && !begin) {
            begin = at;
        } else if (*at == '"') {
            const char *after = at + 1;
            while (after < end && strchr(" \t\r\n", *after))
                after++;
            for (char *in = begin; after < end && *after == ':' && in < at; in++)
                if (*in == '\\' && *++in == 'u' && memcmp(in + 1, "0000", 4) == 0)
                    in[4] = '1';
            begin = NULL;
        }
    }
}

static json_t *form_load(struct api_form *form, const char *body, size_t size)
{
    enum { FLAGS = JSON_ALLOW_NUL | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL };
    json_error_t wrong;
    json_t *root = json_loadb(body ? body : "", size, FLAGS, &wrong);
    if (root || json_error_code(&wrong) != json_error_null_byte_in_key)
        return root;
    buffer_clear(&form->value);
    buffer_append(&form->value, body, size);
    if (form->value.failed)
        return NULL;
    form_rename(form->value.data, form->value.size);
    return json_loadb(form->value.data, form->value.size, FLAGS, NULL);
}

static bool form_read_json(struct api_form *form, const char *body, size_t size, struct api_error *error)
{
    json_t *root = form_load(form, body, size);
    if (!root)
        return api_refuse(error, 400, API_NOT_UNDERSTOOD);
    bool object = json_is_object(root);
    if (object) {
        form_take_q(form, json_object_get(root, "q"));
        for (int field = 0; field < API_FIELDS; field++)
            form_take_value(form, (enum api_field)field, json_object_get(root, form_fields[field]));
    }
    json_decref(root);
    return object || api_refuse(error, 400, "Invalid JSON format");
}

/* The one text of a multipart form may be a list: URL-encoded JSON, as a client in PHP sends it. */
static bool form_unwrap(struct api_form *form)
{
    if (form->q.bytes.size < 6 || strncasecmp(form->q.bytes.data, "%5B%22", 6) != 0)
        return false;
    buffer_clear(&form->value);
    api_form_unescape(&form->value, form->q.bytes.data, form->q.bytes.size);
    json_t *list = json_loadb(form->value.data, form->value.size, JSON_ALLOW_NUL, NULL);
    size_t strings = 0;
    while (strings < json_array_size(list) && json_is_string(json_array_get(list, strings)))
        strings++;
    bool wrapped = strings > 0 && strings == json_array_size(list) && form_take_list(form, list);
    json_decref(list);
    return wrapped;
}

static bool form_type_is(const char *content_type, const char *type)
{
    size_t size = strlen(type);
    return strncasecmp(content_type, type, size) == 0 && strchr("; \t", content_type[size]) != NULL;
}

/* application/json, application/ANYTHING+json */
static bool form_type_is_json(const char *content_type)
{
    if (form_type_is(content_type, "application/json"))
        return true;
    size_t size = strcspn(content_type, "; \t");
    return strncasecmp(content_type, "application/", 12) == 0 && size > 17 &&
           strncasecmp(content_type + size - 5, "+json", 5) == 0;
}

static bool form_read_form(struct api_form *form, const char *type, const char *query, const char *body, size_t size,
                           struct api_error *error)
{
    bool multipart = form_type_is(type, "multipart/form-data");
    api_form_urlencoded(form, query, strlen(query));
    size_t of_query = form->q.bytes.size > 0 ? api_texts_count(&form->q) : 0;
    if (of_query == 0)
        api_texts_clear(&form->q);
    size_t bytes_of_query = form->q.bytes.size;
    if (form_type_is(type, "application/x-www-form-urlencoded"))
        api_form_urlencoded(form, body, size);
    else if (multipart && !api_form_multipart(form, type, body, size))
        return api_refuse(error, 400, API_NOT_UNDERSTOOD);
    else if (!multipart && type[0] && size > 0)
        return api_refuse(error, 415,
                          "Unsupported content type: send application/json, application/x-www-form-urlencoded or "
                          "multipart/form-data");
    if (of_query > 0) { /* the query wins */
        form->q.bytes.size = bytes_of_query;
        form->q.lengths.size = of_query * sizeof(uint32_t);
    }
    size_t count = api_texts_count(&form->q);
    form->shape = count > 1 ? API_LIST : form->q.bytes.size > 0 ? API_ONE : API_NO_TEXT;
    if (multipart && form->shape == API_ONE && form_unwrap(form))
        form->shape = API_WRAPPED;
    return true;
}

bool api_form_read(struct api_form *form, const char *content_type, const char *query, const char *body, size_t size,
                   struct api_error *error)
{
    form->shape = API_NO_TEXT;
    api_texts_clear(&form->q);
    for (int field = 0; field < API_FIELDS; field++)
        form_set(&form->of[field], API_ABSENT, "", 0);
    const char *type = content_type ? content_type : "";
    type += strspn(type, " \t");
    bool read = form_type_is_json(type) ? form_read_json(form, body, size, error)
                                        : form_read_form(form, type, query, body, size, error);
    bool failed = form->q.bytes.failed || form->q.lengths.failed || form->name.failed || form->value.failed;
    for (int field = 0; field < API_FIELDS; field++)
        failed |= form->of[field].text.failed;
    return read && (!failed || api_refuse(error, 500, "Out of memory"));
}

void api_form_free(struct api_form *form)
{
    api_texts_free(&form->q);
    for (int field = 0; field < API_FIELDS; field++)
        buffer_free(&form->of[field].text);
    buffer_free(&form->name);
    buffer_free(&form->value);
}
