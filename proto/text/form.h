/* form.h - what a file is that should be text, by its first bytes.
 *
 * Archives and text that is not UTF-8 would otherwise end in an error about one line, or in none. All functions are
 * pure; any thread. */
#ifndef LSTMQ_PROTO_TEXT_FORM_H
#define LSTMQ_PROTO_TEXT_FORM_H

#include <stddef.h>

enum { FORM_BYTES = 1024 }; /* more first bytes say no more */

enum form_kind { FORM_TEXT, FORM_GZIP, FORM_ZIP, FORM_OTHER };

struct form {
    enum form_kind kind;
    const char *name;    /* "xz data"; not of FORM_TEXT                                      */
    const char *command; /* writes it as text to stdout when a file's name is put behind it  */
};

/* The form of a file that begins with `size` bytes: FORM_BYTES of them, or all. UTF-16 and UTF-32 are known by their
 * mark and, where Latin letters leave no doubt, without one. */
struct form form_of(const char *bytes, size_t size);

/* The encoding that a line of invalid UTF-8 looks like, by the name that iconv knows; NULL where it looks like damaged
 * UTF-8. */
const char *form_encoding(const char *line, size_t size);

#endif
