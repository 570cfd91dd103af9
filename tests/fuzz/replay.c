/* replay.c - a main for a fuzz target where libFuzzer is not: a build with LSTMQ_FUZZ=ON by a compiler other than
 * clang.
 *
 * `fuzz_NAME FILE|FOLDER...` runs the target on each file; a promise that is broken ends the process as it does under
 * libFuzzer, and the last name on stderr is the input that did it. */
#include "tests/fuzz/fuzz.h"

#include <dirent.h>
#include <stdio.h>

enum { INPUT_MOST = 1 << 20, PATH_MOST = 4096 };

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room);

/* Targets with a mutator of their own refer to it; without libFuzzer nothing is mutated. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room)
{
    (void)data;
    return size < room ? size : room;
}

static bool replay_run_file(const char *path)
{
    static uint8_t bytes[INPUT_MOST];
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        perror(path);
        return false;
    }
    size_t size = fread(bytes, 1, sizeof bytes, file);
    bool ok = !ferror(file);
    fclose(file);
    fprintf(stderr, "%s: %zu bytes\n", path, size);
    LLVMFuzzerTestOneInput(bytes, size);
    return ok;
}

static bool replay_run(const char *path)
{
    DIR *folder = opendir(path);
    if (folder == NULL)
        return replay_run_file(path);
    bool ok = true;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char inside[PATH_MOST];
        int length = snprintf(inside, sizeof inside, "%s/%s", path, entry->d_name);
        if (entry->d_name[0] != '.' && length > 0 && length < PATH_MOST)
            ok = replay_run_file(inside) && ok;
    }
    closedir(folder);
    return ok;
}

int main(int argc, char **argv)
{
    bool ok = argc > 1;
    if (argc < 2)
        fprintf(stderr, "%s FILE|FOLDER...: run the fuzz target on each input\n", argv[0]);
    for (int i = 1; i < argc; i++)
        ok = replay_run(argv[i]) && ok;
    return ok ? 0 : 1;
}
