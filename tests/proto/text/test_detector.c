/* test_detector.c - what libexttextcat adds to the tables: texts in languages that no model has, and languages without
 * a table. */
#include "proto/text/detector.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

struct scene {
    struct detector *detector;
    struct detect_table *tables[2]; /* of "en" and "fr" */
};

static const char *const scene_codes[] = {"en", "fr-FR"};
static const char *const scene_texts[] = {
    "The children are playing in the garden, and their mother is reading a book about the history of the town. What do "
    "you think of this house? I would like to have something to eat before we go home with them.",
    "Les enfants jouent dans le jardin, et leur mère lit un livre sur l'histoire de la ville. Que pensez-vous de cette "
    "maison ? Je voudrais manger quelque chose avant que nous rentrions chez nous avec eux."};

static int scene_open(void **state)
{
    static struct scene scene;
    struct err err = {0};
    scene.detector = detector_open(&err);
    for (int i = 0; i < 2; i++) {
        struct detect_counter *counter = detect_counter_new(&err);
        detect_count(counter, scene_texts[i], strlen(scene_texts[i]), &err);
        scene.tables[i] = detect_table_new(counter, &err);
        detect_counter_destroy(&counter);
    }
    *state = &scene;
    return scene.detector != NULL && scene.tables[0] != NULL && scene.tables[1] != NULL ? 0 : -1;
}

static int scene_close(void **state)
{
    struct scene *scene = *state;
    detector_close(&scene->detector);
    detect_table_destroy(&scene->tables[0]);
    detect_table_destroy(&scene->tables[1]);
    return 0;
}

static struct detect_guess first_guess(struct scene *scene, bool with_en, bool with_fr, const char *text)
{
    struct detect_guess guesses[2];
    const struct detect_table *tables[] = {with_en ? scene->tables[0] : NULL, with_fr ? scene->tables[1] : NULL};
    detector_guess(scene->detector, scene_codes, tables, 2, text, strlen(text), guesses);
    assert_int_equal(guesses[0].language + guesses[1].language, 1);
    return guesses[0];
}

static void need_foreign(const struct scene *scene)
{
    if (detector_has_foreign(scene->detector))
        return;
    print_message("skipped: libexttextcat or its data is not installed\n");
    skip();
}

static void the_tables_decide_where_they_know_the_text(void **state)
{
    for (size_t i = 0; i < 2; i++) {
        struct detect_guess guess = first_guess(*state, true, true, scene_texts[i]);
        assert_int_equal(guess.language, i);
        assert_in_range(guess.confidence, 99, 100);
    }
    assert_int_equal(first_guess(*state, true, true, "maison").language, 1);
    assert_int_equal(first_guess(*state, true, true, "history").language, 0);
}

static void a_text_in_no_model_s_language_has_confidence_0(void **state)
{
    need_foreign(*state);
    static const char *const texts[] = {"Der Hund läuft über die Straße und bellt laut, während die Kinder schlafen.",
                                        "Собака бежит по улице и громко лает на детей.",
                                        "Koira juoksee kadun yli ja haukkuu kovaa lapsille."};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct detect_guess guess = first_guess(*state, true, true, texts[i]);
        assert_int_equal(guess.confidence, 0);
        assert_int_equal(guess.language, 0);
    }
}

static void a_language_without_a_table_is_found_too(void **state)
{
    need_foreign(*state);
    for (size_t i = 0; i < 2; i++) {
        struct detect_guess guess = first_guess(*state, i != 0, i != 1, scene_texts[i]);
        assert_int_equal(guess.language, i);
        assert_int_equal(guess.confidence, 50);
        guess = first_guess(*state, false, false, scene_texts[i]);
        assert_int_equal(guess.language, i);
        assert_int_equal(guess.confidence, 50);
    }
}

static void no_bytes_are_too_strange(void **state)
{
    struct scene *scene = *state;
    char text[1200];
    struct detect_guess guesses[2];
    const struct detect_table *tables[] = {NULL, scene->tables[1]};
    for (int first = 0; first < 256; first++) {
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = (char)(i % 3 == 0 ? first : i % 7 == 0 ? ' ' : 'a' + (int)i % 26);
        for (size_t size = sizeof text - 8; size <= sizeof text; size++)
            detector_guess(scene->detector, scene_codes, tables, 2, text, size, guesses);
        assert_int_equal(guesses[0].language + guesses[1].language, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tables_decide_where_they_know_the_text),
        cmocka_unit_test(a_text_in_no_model_s_language_has_confidence_0),
        cmocka_unit_test(a_language_without_a_table_is_found_too),
        cmocka_unit_test(no_bytes_are_too_strange),
    };
    return cmocka_run_group_tests(tests, scene_open, scene_close);
}
