/* report_sample.c - write the report of a made-up run into a folder, for web.report to open in a browser.
 *
 * report_sample FOLDER full|empty|one: fifty epochs with texts that try to break the page, no epoch, or one epoch. */
#include "coordinator/run/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct report_sample report_sample_samples[] = {
    {"where is the station ?", "où est la gare ?", "où est la gare ?"},
    {"this is a small cat .", "c'est un petit chat .", "c'est un petit <b>chat</b> ."},
    {"how are you ?", NULL, "comment allez-vous ?"},
    {"</script><script>document.title = 'broken'</script>", "<img src=x onerror=\"document.title='broken'\">", ""},
    {"i do not know", "je ne sais pas", "je ne sais \xE2\x80\xA8pas & plus \xff\xfe"},
    {"مرحبا بالعالم", "bonjour le monde", "bonjour le monde"},
    {"donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaftsabteilungsvorsteher",
     "une phrase qui est un peu plus longue que les autres, afin que la mise en page doive la couper quelque part",
     "une phrase qui est un peu plus longue"},
};

static bool metrics_write(const char *folder, int epochs)
{
    char path[4096];
    if (snprintf(path, sizeof path, "%s/metrics.jsonl", folder) >= (int)sizeof path)
        return false;
    FILE *file = fopen(path, "w");
    if (!file)
        return false;
    for (int epoch = 1; epoch <= epochs; epoch++) {
        double t = 1 - exp(-epoch / 14.0);
        fprintf(file,
                "{\"epoch\": %d, \"step\": %d, \"train_loss\": %.6f, \"train_acc\": %.6f, \"val_loss\": %.6f, "
                "\"val_acc\": %.6f, \"val_tf_loss\": %.6f, \"bleu\": %.4f, \"bleu_normalised\": %.4f, \"tgt_tokens\": "
                "61234, "
                "\"tgt_tok_per_s\": %.1f, \"seconds\": 12.5}\n",
                epoch, epoch * 113, 6.1 - 4.9 * t, 0.18 + 0.6 * t, 5.6 - 0.9 * t + 0.012 * epoch, 0.2 + 0.18 * t,
                5.1 - 1.7 * t, 7 * t * t, 9 * t * t, 5600 + 240 * sin(epoch));
    }
    fputs(epochs > 1 ? "{\"epoch\": 51, \"train_l" : "", file);
    return fclose(file) == 0;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    int epochs = strcmp(argv[2], "full") == 0 ? 50 : strcmp(argv[2], "one") == 0 ? 1 : 0;
    struct config config;
    struct err err = {0};
    config_defaults(&config);
    config.model_encoder_padding = true;
    config.data_take = 8000;
    config.train_epochs = 50;
    snprintf(config.data_pairs, sizeof config.data_pairs, "/a/rather/long/path/with\"quotes\"/and-<tags>/%s/fra.txt",
             "0123456789012345678901234567890123456789012345678901234567890123456789");
    const struct report_facts facts = {
        .config = &config,
        .title = epochs > 1 ? "notebook </title><script>document.title='broken'</script>" : "notebook",
        .train_pairs = 7200,
        .valid_pairs = 800,
        .src_vocab = 5779,
        .tgt_vocab = 7844,
        .parameters = 4548132,
        .best_epoch = epochs > 1 ? 43 : 0,
        .status = epochs > 1 ? "finished" : "training",
        .samples = report_sample_samples,
        .sample_count = epochs ? sizeof report_sample_samples / sizeof *report_sample_samples : 0,
    };
    if (!metrics_write(argv[1], epochs) || !report_write(argv[1], &facts, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    return 0;
}
