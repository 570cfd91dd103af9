/* fuzz_config.c - bytes into config_parse as a YAML file: refused with ERR_USAGE and the configuration as it was, or a
 * configuration that its own dump gives back to the bit. */
#include "tests/fuzz/fuzz.h"

#include "proto/base/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config before, parsed, again;
    struct err err = {0};
    struct buffer dump = {0};
    char *yaml = fuzz_copy(data, size);
    config_defaults(&before);
    config_defaults(&parsed);
    config_defaults(&again);
    if (!config_parse(&parsed, yaml, size, "fuzz.yaml", NULL, &err)) {
        must_refuse(&err, ERR_USAGE);
        must(memcmp(&parsed, &before, sizeof before) == 0);
    } else {
        config_dump(&parsed, &dump);
        must(config_parse(&again, dump.data, dump.size, "dump.yaml", NULL, &err));
        must(memcmp(&parsed, &again, sizeof again) == 0);
    }
    buffer_free(&dump);
    free(yaml);
    return 0;
}
