/* ring_speed RANKS BYTES f32|bf16|i64 BIND [keys] - the ring's all-reduce between processes of this host.
 *
 * For each line of standard input, the number of sums in a burst, a line of JSON. Driven by scripts/bench_gloo.py. */
#include "worker/bench/bench_ring.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool ring_speed_run(struct bench_ring *bench, struct err *err)
{
    char line[64];
    while (fgets(line, sizeof line, stdin) != NULL) {
        struct bench_ring_result result;
        if (!bench_ring_burst(bench, (uint32_t)strtoul(line, NULL, 10), &result, err))
            return false;
        printf("{\"ms\": %.3f, \"cpu_ms\": %.3f}\n", result.ms, result.cpu_ms);
        fflush(stdout);
    }
    return true;
}

int main(int argc, char **argv)
{
    static const char *const elements[] = {[ELEMENT_F32] = "f32", [ELEMENT_F32_BF16] = "bf16", [ELEMENT_I64] = "i64"};
    struct bench_ring_options options = {0};
    struct err err = {0};
    int element = 0;
    while (argc >= 5 && element < 3 && strcmp(argv[3], elements[element]) != 0)
        element++;
    if (argc < 5 || element == 3) {
        fprintf(stderr, "usage: ring_speed RANKS BYTES f32|bf16|i64 BIND [keys]\n");
        return 2;
    }
    options.element = (enum collective_element)element;
    options.ranks = (uint32_t)strtoul(argv[1], NULL, 10);
    options.count = strtoul(argv[2], NULL, 10) / (element == ELEMENT_I64 ? sizeof(int64_t) : sizeof(float));
    options.bind = argv[4];
    options.keys = argc > 5 && strcmp(argv[5], "keys") == 0;
    struct bench_ring *bench = bench_ring_open(&options, &err);
    bool ok = bench != NULL && ring_speed_run(bench, &err);
    bench_ring_close(&bench);
    if (!ok)
        fprintf(stderr, "ring_speed: %s\n", err.text);
    return ok ? 0 : 1;
}
