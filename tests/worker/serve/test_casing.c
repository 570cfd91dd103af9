/* test_casing.c - case and final punctuation follow the source, where the model cannot know them. */
#include "proto/base/log.h"
#include "tests/support/fixture.h"
#include "worker/serve/casing.h"

static void casing_check(enum normalise rule, const char *source, const char *translated, const char *wanted)
{
    struct buffer out = {0};
    buffer_text(&out, ">");
    casing_append(rule, source, strlen(source), translated, &out);
    if (strcmp(out.data + 1, wanted) != 0)
        fail_msg("\"%s\" with \"%s\" gives \"%s\", not \"%s\"", source, translated, out.data + 1, wanted);
    buffer_free(&out);
}

static void case_follows_the_source(void **state)
{
    static const char *const cases[][3] = {
        {"hello there", "bonjour", "bonjour"},
        {"Hello there", "bonjour à tous", "Bonjour à tous"},
        {"HELLO THERE", "été là", "ÉTÉ LÀ"},
        {"I am", "je suis", "Je suis"},
        {"I", "je", "Je"},
        {"iPhone here", "l'iphone", "l'iphone"},
        {"\"Hello there\"", "état", "État"},
        {"Éric dort", "eric sleeps", "Eric sleeps"},
        {"3 Dogs", "chiens", "Chiens"},
        {"Go", "", ""},
        {"OK 3", "ça va", "ÇA VA"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        casing_check(NORMALISE_NOTEBOOK, cases[i][0], cases[i][1], cases[i][2]);
}

static void final_punctuation_is_the_source_s_or_absent(void **state)
{
    static const char *const cases[][3] = {
        {"go on .", "va .", "va ."}, {"go on !", "va .", "va!"},   {"go on", "va .", "va"},
        {"go on", "va !", "va"},     {"go on?", "va ?", "va ?"},   {"go on,", "va", "va,"},
        {"go on;", "va ...", "va;"}, {"go on...", "va .", "va ."}, {"go on\"", "va .", "va ."},
        {"go on:", "va .", "va ."},  {"go on。", "va .", "va。"},  {"are you 3", "ok ?", "ok"},
        {"go on .", "", "."},        {"go on )", "va", "va"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        casing_check(NORMALISE_NOTEBOOK, cases[i][0], cases[i][1], cases[i][2]);
}

static void a_model_with_case_keeps_what_it_wrote(void **state)
{
    (void)state;
    casing_check(NORMALISE_NFC, "HELLO THERE!", "bonjour .", "bonjour .");
    casing_check(NORMALISE_NONE, "hello there", "Bonjour !", "Bonjour !");
}

static void one_word_that_comes_back_repeated_is_cut_to_one(void **state)
{
    static const char *const cases[][3] = {
        {"yes", "oui oui oui", "oui"},
        {"yes.", "oui oui.", "oui."},
        {"yes", "oui non", "oui non"},
        {"yes", "oui ouioui", "oui ouioui"},
        {"yes yes", "oui oui", "oui oui"},
        {"yes", "ou oui", "ou oui"},
        {"yes", ". .", ". ."},
        {"yes", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        casing_check(NORMALISE_NFC, cases[i][0], cases[i][1], cases[i][2]);
    casing_check(NORMALISE_NOTEBOOK, "Yes!", "oui oui .", "Oui!");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(case_follows_the_source),
        cmocka_unit_test(final_punctuation_is_the_source_s_or_absent),
        cmocka_unit_test(a_model_with_case_keeps_what_it_wrote),
        cmocka_unit_test(one_word_that_comes_back_repeated_is_cut_to_one),
    };
    log_open("test", LOG_OFF);
    return cmocka_run_group_tests_name("casing", tests, NULL, NULL);
}
