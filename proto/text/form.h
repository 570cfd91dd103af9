/* form.h - recognise a file that is not UTF-8 text, by its first bytes.
 *
 * Without this check, archives and other encodings would end in an error about one line, or in no error. Pure
 * functions; any thread. */
#ifndef LSTMQ_PROTO_TEXT_FORM_H
#define LSTMQ_PROTO_TEXT_FORM_H

#include <stddef.h>

enum { FORM_BYTES = 1024 }; /* first bytes that are looked at */

enum form_kind { FORM_TEXT, FORM_GZIP, FORM_ZIP, FORM_OTHER };

struct form {
    enum form_kind kind;
    const char *name;    /* "xz data"; NULL for FORM_TEXT */
    const char *command; /* writes the file as text to stdout; append the file's name */
};

/* The form of a file that begins with `size` bytes: FORM_BYTES of them, or the whole file. A mark identifies UTF-16 and
 * UTF-32; without a mark, clear Latin text does. */
struct form form_of(const char *bytes, size_t size);

/* The likely encoding of a line that is not UTF-8, by iconv's name; NULL when the line looks like damaged UTF-8. */
const char *form_encoding(const char *line, size_t size);

#endif
