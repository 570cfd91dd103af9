/* zip.h - the one text file in a zip archive, as its bytes.
 *
 * Archives of sentence pairs hold the pairs and a page about them. Passed over are folders, files named _about.txt,
 * files whose name begins with a dot, and __MACOSX; of what is left there must be one. The archive's directory is at
 * its end, so the file must be a regular one. Sizes and checksum are verified: a cut or damaged archive is an error,
 * never a shorter text. Born in zip_open, ended by zip_close; one thread at a time. */
#ifndef LSTMQ_PROTO_TEXT_ZIP_H
#define LSTMQ_PROTO_TEXT_ZIP_H

#include "proto/base/err.h"

#include <stddef.h>

struct zip;

/* The text file in the archive that `fd` reads; its position is left alone. `fd` and `path`, which errors name, are the
 * caller's and must outlive the result. ERR_DATA: a pipe, none or several files, encrypted, zip64, another compression,
 * or damaged. ERR_IO: cannot read. */
struct zip *zip_open(int fd, const char *path, struct err *err);
void zip_close(struct zip **zip);

/* The next 1 to `size` bytes; *got is 0 at the end, once the checksum is known to be right. ERR_DATA: damaged. */
bool zip_read(struct zip *zip, void *bytes, size_t size, size_t *got, struct err *err);

#endif
