/* zip.h - the one text file in a zip archive, as its bytes.
 *
 * Archives of sentence pairs hold the pairs and a page about them. Folders, files named _about.txt, files whose name
 * begins with a dot, and __MACOSX are skipped; exactly one file must remain. The archive's directory is at its end, so
 * the file must be a regular one. Sizes and checksum are verified: a truncated or damaged archive is an error, never a
 * shorter text.
 *
 * Begins with zip_open, ends with zip_close; the caller owns it. One thread at a time. */
#ifndef LSTMQ_PROTO_TEXT_ZIP_H
#define LSTMQ_PROTO_TEXT_ZIP_H

#include "proto/base/err.h"

#include <stddef.h>

struct zip;

/* The text file in the archive that `fd` reads; leaves the position of `fd` unchanged. The caller owns `fd` and `path`,
 * which errors name; both must outlive the result. ERR_DATA: a pipe, no or several files, encrypted, zip64, another
 * compression, or damaged. ERR_IO: cannot read. */
struct zip *zip_open(int fd, const char *path, struct err *err);
void zip_close(struct zip **zip);

/* The next 1 to `size` bytes; *got is 0 at the end, once the checksum has been verified. ERR_DATA: damaged. */
bool zip_read(struct zip *zip, void *bytes, size_t size, size_t *got, struct err *err);

#endif
