/* fuzz_manifest.c - bytes into manifest_read: refused with ERR_DATA, or exactly what manifest_write makes of the
 * result.
 *
 * The first byte of an input chooses: even, what follows is the whole manifest; odd, it gets the checksum line that
 * belongs to it, which no chain of changes would find. */
#include "tests/fuzz/fuzz.h"

#include "proto/store/manifest.h"

#include <inttypes.h>
#include <xxhash.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    struct manifest manifest;
    struct buffer text = {0}, written = {0};
    bool sealed = fuzz_choice(&data, &size) % 2 == 1;
    buffer_append(&text, data, size);
    if (sealed)
        buffer_format(&text, "\"xxh3\": \"%016" PRIx64 "\"}\n", (uint64_t)XXH3_64bits(data, size));
    char *exact = fuzz_copy((const uint8_t *)text.data, text.size);
    if (!manifest_read(exact, text.size, "manifest.json", &manifest, &err)) {
        must_refuse(&err, ERR_DATA);
    } else {
        manifest_write(&manifest, &written);
        must(written.size == text.size && memcmp(written.data, exact, text.size) == 0);
        for (size_t i = 0; i < manifest.count; i++)
            must(manifest_name_ok(manifest.entries[i].name) &&
                 manifest_find(&manifest, manifest.entries[i].name) == &manifest.entries[i]);
    }
    free(exact);
    buffer_free(&text);
    buffer_free(&written);
    return 0;
}
