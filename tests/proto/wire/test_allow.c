/* test_allow.c - what a list of keys sees of changes to its files. */
#include "proto/base/log.h"
#include "proto/wire/auth/allow.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct scene {
    const char *path;
    struct curve_keys one, other;
    struct allow *allow;
};

/* Write over the one file, without another length or another time of its contents. */
static void allow_write(const struct scene *scene, const struct curve_keys *keys)
{
    const struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    char line[160];
    int size = snprintf(line, sizeof line, "train %s name\n", keys->public.key);
    int fd = open(scene->path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, line, (size_t)size), size);
    assert_int_equal(futimens(fd, times), 0);
    close(fd);
}

static int test_allow_open(void **state)
{
    static struct scene scene;
    struct err err = {0};
    if (scratch_make(state) != 0)
        return -1;
    scene = (struct scene){.path = scratch_path("name.pub")};
    assert_true(curve_generate(&scene.one, "one", ROLE_TRAIN, &err));
    assert_true(curve_generate(&scene.other, "other", ROLE_TRAIN, &err));
    allow_write(&scene, &scene.one);
    scene.allow = allow_open(scratch_folder, &err);
    assert_non_null(scene.allow);
    *state = &scene;
    return 0;
}

static int test_allow_close(void **state)
{
    struct scene *scene = *state;
    allow_close(&scene->allow);
    return scratch_remove(state);
}

static void a_key_has_the_role_that_the_list_gives_it(void **state)
{
    struct scene *scene = *state;
    assert_true(allow_has(scene->allow, scene->one.public.key, "train"));
    assert_false(allow_has(scene->allow, scene->one.public.key, "admin"));
    assert_false(allow_has(scene->allow, scene->one.public.key, ""));
    assert_false(allow_has(scene->allow, scene->other.public.key, "train"));
    assert_false(allow_has(scene->allow, "", "train"));
}

/* Changes that follow each other faster than a file system's clock ticks. */
static void a_change_of_the_same_size_and_second_is_seen(void **state)
{
    struct scene *scene = *state;
    for (int i = 0; i < 200; i++) {
        const struct curve_keys *in = i % 2 == 0 ? &scene->other : &scene->one;
        const struct curve_keys *out = i % 2 == 0 ? &scene->one : &scene->other;
        allow_write(scene, in);
        allow_refresh(scene->allow);
        assert_true(allow_has(scene->allow, in->public.key, "train"));
        assert_false(allow_has(scene->allow, out->public.key, "train"));
    }
}

/* Writing to a page that is dirty already changes no time of the file. */
static void a_change_without_another_time_is_seen(void **state)
{
    struct scene *scene = *state;
    size_t size = strlen("train ") + CURVE_KEY - 1;
    int fd = open(scene->path, O_RDWR);
    assert_true(fd >= 0);
    char *text = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(text, MAP_FAILED);
    for (int i = 0; i < 20; i++) {
        const struct curve_keys *in = i % 2 == 0 ? &scene->other : &scene->one;
        memcpy(text + strlen("train "), in->public.key, CURVE_KEY - 1);
        allow_refresh(scene->allow);
        assert_true(allow_has(scene->allow, in->public.key, "train"));
    }
    munmap(text, size);
    close(fd);
}

static void keys_stand_on_lines_that_end_in_any_way(void **state)
{
    struct scene *scene = *state;
    static const char *const ends[] = {"\n", "\r\n", "\r"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        FILE *file = fopen(scene->path, "wb");
        assert_non_null(file);
        fprintf(file, "# two keys%strain %s one%s%strain %s other%s", ends[i], scene->one.public.key, ends[i], ends[i],
                scene->other.public.key, ends[i]);
        assert_int_equal(fclose(file), 0);
        struct err err = {0};
        struct allow *allow = allow_open(scratch_folder, &err);
        assert_non_null(allow);
        assert_int_equal(allow_count(allow), 2);
        assert_true(allow_has(allow, scene->one.public.key, "train"));
        assert_true(allow_has(allow, scene->other.public.key, "train"));
        allow_close(&allow);
    }
}

static void a_list_that_cannot_be_read_stays_as_it_was(void **state)
{
    struct scene *scene = *state;
    char away[96];
    snprintf(away, sizeof away, "%s.away", scratch_folder);
    assert_int_equal(rename(scratch_folder, away), 0);
    allow_refresh(scene->allow);
    allow_refresh(scene->allow);
    assert_true(allow_has(scene->allow, scene->one.public.key, "train"));
    assert_int_equal(rename(away, scratch_folder), 0);
    assert_int_equal(chmod(scene->path, 0602), 0);
    allow_refresh(scene->allow);
    assert_true(allow_has(scene->allow, scene->one.public.key, "train"));
    unlink(scene->path);
    allow_refresh(scene->allow);
    assert_int_equal(allow_count(scene->allow), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_key_has_the_role_that_the_list_gives_it, test_allow_open, test_allow_close),
        cmocka_unit_test_setup_teardown(a_change_of_the_same_size_and_second_is_seen, test_allow_open,
                                        test_allow_close),
        cmocka_unit_test_setup_teardown(a_change_without_another_time_is_seen, test_allow_open, test_allow_close),
        cmocka_unit_test_setup_teardown(keys_stand_on_lines_that_end_in_any_way, test_allow_open, test_allow_close),
        cmocka_unit_test_setup_teardown(a_list_that_cannot_be_read_stays_as_it_was, test_allow_open, test_allow_close),
    };
    log_open("test", LOG_OFF);
    return cmocka_run_group_tests_name("allow", tests, NULL, NULL);
}
