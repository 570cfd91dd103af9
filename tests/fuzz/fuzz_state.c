/* fuzz_state.c - bytes into checkpoint_state_read: refused with ERR_DATA, or a state whose text is a fixed point:
 * written, read and written again it is the same. */
#include "tests/fuzz/fuzz.h"

#include "proto/store/checkpoint.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct checkpoint_state state, again;
    struct err err = {0};
    char *text = fuzz_copy(data, size);
    if (!checkpoint_state_read(text, size, "state.json", &state, &err)) {
        must_refuse(&err, ERR_DATA);
    } else {
        struct buffer first = {0}, second = {0};
        checkpoint_state_write(&state, &first);
        must(checkpoint_state_read(first.data, first.size, "state.json", &again, &err));
        checkpoint_state_write(&again, &second);
        must(first.size == second.size && memcmp(first.data, second.data, first.size) == 0);
        must(memcmp(&state.config, &again.config, sizeof state.config) == 0);
        buffer_free(&first);
        buffer_free(&second);
    }
    free(text);
    return 0;
}
