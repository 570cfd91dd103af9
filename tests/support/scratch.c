/* scratch.c - a folder that goes away with its test; see scratch.h. */
#include "tests/support/scratch.h"

#include "proto/store/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

char scratch_folder[32];

int scratch_make(void **state)
{
    strcpy(scratch_folder, access("/dev/shm", W_OK) == 0 ? "/dev/shm/lstmq-test-XXXXXX" : "/tmp/lstmq-test-XXXXXX");
    *state = scratch_folder;
    return mkdtemp(scratch_folder) == NULL ? -1 : 0;
}

int scratch_remove(void **state)
{
    (void)state;
    return folder_remove(scratch_folder, NULL) ? 0 : -1;
}

const char *scratch_path(const char *name)
{
    static char paths[8][256];
    static size_t next;
    char *path = paths[next++ % 8];
    assert_in_range(snprintf(path, sizeof *paths, "%s/%s", scratch_folder, name), 0, sizeof *paths - 1);
    return path;
}

void scratch_write(const char *path, const void *bytes, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

void scratch_write_text(const char *path, const char *text)
{
    scratch_write(path, text, strlen(text));
}
