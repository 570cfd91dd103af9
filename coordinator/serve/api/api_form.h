/* api_form.h - what a request to the API asks for, whatever its encoding.
 *
 * Clients send the same fields as JSON, as a form (urlencoded or multipart), or in the query string. api_form_read
 * turns each of these into one struct. It decides only what belongs to an encoding: precedence, line ends, escapes.
 * Whether a value is allowed is decided later, so a value of a wrong type is kept with its kind. A form starts as all
 * zeroes and is read into again and again; it keeps its memory until api_form_free. Loop thread. */
#ifndef LSTMQ_COORDINATOR_SERVE_API_API_FORM_H
#define LSTMQ_COORDINATOR_SERVE_API_API_FORM_H

#include "proto/base/buffer.h"

#include <stdint.h>

/* Why a request is refused: the status and the text of {"error": text}. */
struct api_error {
    unsigned status;
    char text[512];
};

/* Fill `error` and return false. */
bool api_refuse(struct api_error *error, unsigned status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define API_NOT_UNDERSTOOD "The browser (or proxy) sent a request that this server could not understand."

/* Texts, one after another. */
struct api_texts {
    struct buffer bytes;
    struct buffer lengths; /* uint32_t each */
};
size_t api_texts_count(const struct api_texts *texts);
const uint32_t *api_texts_lengths(const struct api_texts *texts);
void api_texts_add(struct api_texts *texts, const char *text, size_t size);
void api_texts_clear(struct api_texts *texts);
void api_texts_free(struct api_texts *texts);

enum api_field { API_SOURCE, API_TARGET, API_FORMAT, API_ALTERNATIVES, API_KEY, API_DETAILS, API_FIELDS };

enum api_kind {
    API_ABSENT, /* missing, null or empty */
    API_TEXT,
    API_NUMBER, /* of JSON, as text */
    API_BOOL,   /* of JSON, as text */
    API_OTHER,  /* an object or a list; for `alternatives` also null or empty */
};

struct api_value {
    enum api_kind kind;
    struct buffer text;
};

/* What q is. */
enum api_shape {
    API_NO_TEXT,
    API_ONE,
    API_LIST,
    API_WRAPPED, /* a list as URL-encoded JSON within a multipart field; its answer is wrapped in the same way */
    API_WRONG,   /* neither a string nor a list of strings */
};

struct api_form {
    enum api_shape shape;
    struct api_texts q;
    struct api_value of[API_FIELDS];
    struct buffer name, value; /* while reading */
};

/* Read a request: `content_type` may be NULL; `query` has no question mark. 400: the body is not what its type says;
 * 415: a body of another type. The form then holds what was read before. */
bool api_form_read(struct api_form *form, const char *content_type, const char *query, const char *body, size_t size,
                   struct api_error *error);

void api_form_free(struct api_form *form);

/* For api_form_*.c: add a field of a query string or form. */
void api_form_add(struct api_form *form, const char *name, const char *value, size_t size);

/* Read fields of the form a=b&c=d. */
void api_form_urlencoded(struct api_form *form, const char *text, size_t size);

/* Read multipart/form-data; `content_type` has the boundary. False: it is damaged. Files are skipped. */
bool api_form_multipart(struct api_form *form, const char *content_type, const char *body, size_t size);

/* Append text with %XX and + decoded. Bytes that are not UTF-8 afterwards are written as %XX. */
void api_form_unescape(struct buffer *out, const char *text, size_t size);

#endif
