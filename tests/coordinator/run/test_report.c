/* test_report.c - report.html and what it is made from: no text breaks it, no metrics file is too broken for it. */
#include "coordinator/run/html.h"
#include "coordinator/run/metrics.h"
#include "coordinator/run/report.h"
#include "proto/store/file.h"
#include "tests/support/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void write_metrics(const char *run, const char *text)
{
    char path[FILE_PATH];
    struct err err = {0};
    assert_true(path_join(path, run, "metrics.jsonl", &err));
    assert_true(file_write_atomic(path, text, strlen(text), &err));
}

/* A page written from `facts`, which the caller frees; config and what the test left out are filled in. */
static struct buffer page_of(const char *run, struct report_facts facts)
{
    struct config config;
    struct err err = {0};
    struct buffer page = {0};
    char path[FILE_PATH];
    config_defaults(&config);
    facts.config = facts.config ? facts.config : &config;
    facts.title = facts.title ? facts.title : "a run";
    facts.status = facts.status ? facts.status : "training";
    assert_true(report_write(run, &facts, &err));
    assert_true(path_join(path, run, "report.html", &err));
    assert_true(file_read(path, (size_t)1 << 24, &page, &err));
    return page;
}

static void assert_escaped(const char *text, const char *expected)
{
    struct buffer out = {0};
    html_text(&out, text);
    assert_string_equal(out.data ? out.data : "", expected);
    buffer_free(&out);
}

static void text_comes_out_as_text(void **state)
{
    (void)state;
    assert_escaped("", "");
    assert_escaped("où est l'été ?", "où est l&#39;été ?");
    assert_escaped("</td><b a=\"1\">&amp;", "&lt;/td&gt;&lt;b a=&quot;1&quot;&gt;&amp;amp;");
    assert_escaped("tab\tline\nend", "tab\tline\nend");
}

static void bytes_that_are_no_characters_are_replaced(void **state)
{
    (void)state;
    assert_escaped("a\xff"
                   "b",
                   "a\xEF\xBF\xBD"
                   "b");
    assert_escaped("cut \xE2\x82", "cut \xEF\xBF\xBD\xEF\xBF\xBD");
    assert_escaped("\xC0\xBC", "\xEF\xBF\xBD\xEF\xBF\xBD"); /* an overlong '<' */
    assert_escaped("\x1b[31m", "\xEF\xBF\xBD[31m");
    assert_escaped("\xC2\x85", "\xEF\xBF\xBD");
}

static void json_cannot_end_its_script(void **state)
{
    (void)state;
    struct buffer out = {0};
    html_json(&out, "{\"a\":\"</script><!-- & \xE2\x80\xA8\xE2\x80\xA9 é\"}");
    assert_string_equal(out.data, "{\"a\":\"\\u003c/script\\u003e\\u003c!-- \\u0026 \\u2028\\u2029 é\"}");
    buffer_free(&out);
}

static void a_missing_metrics_file_is_a_run_without_epochs(void **state)
{
    struct buffer page = page_of(*state, (struct report_facts){0});
    assert_non_null(strstr(page.data, "No epoch has finished yet"));
    assert_null(strstr(page.data, "<canvas"));
    assert_null(strstr(page.data, "0 parameters"));
    assert_non_null(strstr(page.data, "{\"epoch\":[]"));
    buffer_free(&page);
}

static void an_empty_metrics_file_is_a_run_without_epochs(void **state)
{
    write_metrics(*state, "");
    struct buffer page = page_of(*state, (struct report_facts){.best_epoch = 3});
    assert_non_null(strstr(page.data, "No epoch has finished yet"));
    buffer_free(&page);
}

static void lines_that_do_not_parse_are_left_out(void **state)
{
    char path[FILE_PATH];
    struct err err = {0};
    struct metrics metrics;
    write_metrics(*state, "{\"epoch\": 1, \"val_loss\": 3.5, \"bleu\": null}\n"
                          "not JSON\n[1, 2]\n\n{\"epoch\": \"2\"}\n{\"epoch\": -4}\n{\"val_loss\": 1}\n"
                          "{\"epoch\": 3, \"val_loss\": \"high\"}\n"
                          "{\"epoch\": 4, \"val_lo");
    assert_true(path_join(path, *state, "metrics.jsonl", &err));
    assert_true(metrics_read(&metrics, path, &err));
    assert_int_equal(metrics.count, 2);
    assert_int_equal(metrics.epochs[0].epoch, 1);
    assert_true(metrics.epochs[0].val_loss == 3.5 && isnan(metrics.epochs[0].bleu) &&
                isnan(metrics.epochs[0].train_acc));
    assert_int_equal(metrics.epochs[1].epoch, 3);
    assert_true(isnan(metrics.epochs[1].val_loss));
    assert_null(metrics_of(&metrics, 2));
    assert_ptr_equal(metrics_of(&metrics, 3), metrics.epochs + 1);
    metrics_free(&metrics);
}

/* Its one BLEU was of normalised references. */
static void an_older_metrics_file_has_a_normalised_bleu_only(void **state)
{
    char path[FILE_PATH];
    struct err err = {0};
    struct metrics metrics;
    write_metrics(*state, "{\"epoch\": 1, \"bleu\": 20}\n{\"epoch\": 2, \"bleu\": 3, \"bleu_normalised\": null}\n");
    assert_true(path_join(path, *state, "metrics.jsonl", &err));
    assert_true(metrics_read(&metrics, path, &err));
    assert_true(isnan(metrics.epochs[0].bleu) && metrics.epochs[0].bleu_normalised == 20);
    assert_true(metrics.epochs[1].bleu == 3 && isnan(metrics.epochs[1].bleu_normalised));
    metrics_free(&metrics);
}

static void an_epoch_done_again_after_a_resume_counts_once(void **state)
{
    char path[FILE_PATH];
    struct err err = {0};
    struct metrics metrics;
    struct buffer text = {0};
    for (int epoch = 1; epoch <= 100; epoch++)
        buffer_format(&text, "{\"epoch\": %d, \"bleu\": 1, \"bleu_normalised\": 1}\n", epoch);
    buffer_text(&text, "{\"epoch\": 60, \"bleu\": 2, \"bleu_normalised\": 3}\n{\"epoch\": 101}\n");
    write_metrics(*state, text.data);
    assert_true(path_join(path, *state, "metrics.jsonl", &err));
    assert_true(metrics_read(&metrics, path, &err));
    assert_int_equal(metrics.count, 101);
    for (size_t i = 0; i < metrics.count; i++)
        assert_int_equal(metrics.epochs[i].epoch, i + 1);
    assert_true(metrics_of(&metrics, 60)->bleu == 2 && metrics_of(&metrics, 60)->bleu_normalised == 3);
    metrics_free(&metrics);
    buffer_free(&text);
}

static void hostile_texts_do_not_reach_the_page_as_markup(void **state)
{
    static const char evil[] = "</script><img src=x onerror=\"evil()\">";
    const struct report_sample samples[] = {{evil, evil, evil}, {evil, NULL, ""}};
    struct config config;
    config_defaults(&config);
    snprintf(config.data_pairs, sizeof config.data_pairs, "%s", evil);
    snprintf(config.data_src_lang, sizeof config.data_src_lang, "%s", "qq\"><b>");
    write_metrics(*state, "{\"epoch\": 1, \"val_loss\": 3.5}\n");
    struct buffer page = page_of(*state, (struct report_facts){.config = &config,
                                                               .title = evil,
                                                               .status = "stopped early\"><b>",
                                                               .best_epoch = 1,
                                                               .samples = samples,
                                                               .sample_count = 2});
    assert_null(strstr(page.data, "<img"));
    assert_null(strstr(page.data, "qq\">"));
    assert_null(strstr(page.data, "early\">"));
    assert_non_null(strstr(page.data, "class=\"status stopped\""));
    assert_non_null(strstr(page.data, "&lt;img src=x onerror=&quot;evil()&quot;&gt;"));
    buffer_free(&page);
}

static void settings_that_differ_from_the_defaults_come_first(void **state)
{
    struct config config;
    config_defaults(&config);
    config.train_batch = 77;
    struct buffer page = page_of(*state, (struct report_facts){.config = &config});
    const char *changed = strstr(page.data, "<td>train.batch</td><td>77</td>");
    const char *folded = strstr(page.data, "settings at their defaults");
    const char *usual = strstr(page.data, "<td>train.lr</td>");
    assert_true(changed && folded && usual && changed < folded && folded < usual);
    assert_null(strstr(page.data, "bench.seconds")); /* no setting of training */
    buffer_free(&page);
}

static void the_page_names_overfitting_and_underfitting(void **state)
{
    write_metrics(*state, "{\"epoch\": 1, \"train_loss\": 4, \"val_tf_loss\": 4}\n"
                          "{\"epoch\": 2, \"train_loss\": 3, \"val_tf_loss\": 3}\n"
                          "{\"epoch\": 3, \"train_loss\": 2, \"val_tf_loss\": 3.5}\n");
    struct buffer page = page_of(*state, (struct report_facts){0});
    assert_non_null(strstr(page.data, "Overfitting since epoch 2"));
    assert_non_null(strstr(page.data, "not finished when written"));
    assert_non_null(strstr(page.data, ": epoch 3 of "));
    buffer_free(&page);
    write_metrics(*state, "{\"epoch\": 1, \"train_loss\": 4, \"val_tf_loss\": 4}\n"
                          "{\"epoch\": 2, \"train_loss\": 3, \"val_tf_loss\": 3}\n"
                          "{\"epoch\": 3, \"train_loss\": 2, \"val_tf_loss\": 2.5}\n");
    page = page_of(*state, (struct report_facts){0});
    assert_non_null(strstr(page.data, "Underfitting: the validation loss still falls"));
    buffer_free(&page);
}

/* The sentence on losses of three epochs, each twice: of training, of validation. */
static void assert_fit(const char *run, const double losses[6], const char *sentence)
{
    struct buffer text = {0};
    for (int i = 0; i < 3; i++)
        buffer_format(&text, "{\"epoch\": %d, \"train_loss\": %g, \"val_tf_loss\": %g}\n", i + 1, losses[2 * i],
                      losses[2 * i + 1]);
    write_metrics(run, text.data);
    buffer_free(&text);
    struct buffer page = page_of(run, (struct report_facts){0});
    if (strstr(page.data, sentence) == NULL)
        fail_msg("no \"%s\"", sentence);
    buffer_free(&page);
}

static void a_rise_of_both_losses_is_no_overfitting(void **state)
{
    assert_fit(*state, (const double[]){4, 4, 3, 3, 3.5, 3.5}, "Underfitting: training and validation loss are level");
    assert_fit(*state, (const double[]){4, 4, 0.5, 3, 0.6, 3.5}, "No overfitting: ");
    assert_fit(*state, (const double[]){4, 4, 3, 3, 2, 3.03}, "No overfitting: ");
}

static void the_page_loads_nothing_from_outside(void **state)
{
    write_metrics(*state, "{\"epoch\": 1, \"val_loss\": 3.5}\n");
    struct buffer page = page_of(*state, (struct report_facts){0});
    assert_non_null(strstr(page.data, "default-src 'none'"));
    assert_null(strstr(page.data, "sourceMappingURL"));
    assert_null(strstr(page.data, " src="));
    assert_null(strstr(page.data, "{{"));
    buffer_free(&page);
}

static void a_folder_that_is_not_there_is_an_error(void **state)
{
    char run[FILE_PATH];
    struct err err = {0};
    struct config config;
    config_defaults(&config);
    assert_true(path_join(run, *state, "nowhere", &err));
    assert_false(report_write(run, &(struct report_facts){.config = &config, .title = "", .status = ""}, &err));
    assert_non_null(strstr(err.text, "nowhere"));
    assert_int_equal(err.code, ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_comes_out_as_text),
        cmocka_unit_test(bytes_that_are_no_characters_are_replaced),
        cmocka_unit_test(json_cannot_end_its_script),
#define ON_FOLDER(test) cmocka_unit_test_setup_teardown(test, scratch_make, scratch_remove)
        ON_FOLDER(a_missing_metrics_file_is_a_run_without_epochs),
        ON_FOLDER(an_empty_metrics_file_is_a_run_without_epochs),
        ON_FOLDER(lines_that_do_not_parse_are_left_out),
        ON_FOLDER(an_epoch_done_again_after_a_resume_counts_once),
        ON_FOLDER(an_older_metrics_file_has_a_normalised_bleu_only),
        ON_FOLDER(hostile_texts_do_not_reach_the_page_as_markup),
        ON_FOLDER(settings_that_differ_from_the_defaults_come_first),
        ON_FOLDER(the_page_names_overfitting_and_underfitting),
        ON_FOLDER(a_rise_of_both_losses_is_no_overfitting),
        ON_FOLDER(the_page_loads_nothing_from_outside),
        ON_FOLDER(a_folder_that_is_not_there_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
