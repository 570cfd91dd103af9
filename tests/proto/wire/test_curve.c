/* test_curve.c - key files: what is written is read back, what is not a key pair is refused by name. */
#include "proto/wire/auth/curve.h"
#include "tests/support/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void curve_file(const char *name, const char *text, mode_t mode)
{
    scratch_write_text(scratch_path(name), text);
    chmod(scratch_path(name), mode);
}

static void curve_made(struct curve_keys *keys, const char *name, enum curve_role role)
{
    struct err err = {0};
    if (!curve_generate(keys, name, role, &err) || !curve_write(keys, scratch_folder, true, &err))
        fail_msg("%s", err.text);
}

static void curve_same(const struct curve_keys *a, const struct curve_keys *b)
{
    assert_string_equal(a->public.key, b->public.key);
    assert_string_equal(a->public.name, b->public.name);
    assert_int_equal(a->public.role, b->public.role);
    assert_string_equal(a->secret, b->secret);
}

static void a_pair_is_read_back(void **state)
{
    (void)state;
    for (int role = 0; role < ROLES; role++) {
        struct curve_keys made, got;
        struct curve_public public;
        struct err err = {0};
        curve_made(&made, "worker-1.a_b", (enum curve_role)role);
        assert_true(curve_read(scratch_path("worker-1.a_b.key"), &got, &err));
        curve_same(&made, &got);
        assert_true(curve_read_public(scratch_path("worker-1.a_b.pub"), &public, &err));
        got.public = public;
        curve_same(&made, &got);
    }
}

static void a_file_with_cr_line_ends_is_read(void **state)
{
    (void)state;
    static const char *const ends[] = {"\r", "\r\n"};
    for (size_t i = 0; i < 2; i++) {
        struct curve_keys made, got;
        struct curve_public public;
        struct err err = {0};
        char text[512];
        curve_made(&made, "w", ROLE_TRAIN);
        int size = snprintf(text, sizeof text, "# a comment%strain %s w%ssecret %s%s", ends[i], made.public.key,
                            ends[i], made.secret, ends[i]);
        FILE *file = fopen(scratch_path("w.key"), "wb");
        assert_non_null(file);
        assert_int_equal(fwrite(text, 1, (size_t)size, file), size);
        fclose(file);
        assert_true(curve_read(scratch_path("w.key"), &got, &err));
        curve_same(&made, &got);
        *strstr(text, "secret") = '\0';
        file = fopen(scratch_path("w.pub"), "wb");
        assert_non_null(file);
        fputs(text, file);
        fclose(file);
        assert_true(curve_read_public(scratch_path("w.pub"), &public, &err));
        assert_string_equal(public.key, made.public.key);
    }
}

static void the_secret_is_its_owners_alone(void **state)
{
    (void)state;
    struct curve_keys made, got;
    struct err err = {0};
    struct stat about;
    mode_t before = umask(0);
    curve_made(&made, "own", ROLE_TRAIN);
    umask(before);
    assert_int_equal(stat(scratch_path("own.key"), &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    static const mode_t open_to_others[] = {0640, 0604, 0660, 0601};
    for (size_t i = 0; i < 4; i++) {
        chmod(scratch_path("own.key"), open_to_others[i]);
        assert_false(curve_read(scratch_path("own.key"), &got, &err));
        assert_int_equal(err.code, ERR_USAGE);
        assert_non_null(strstr(err.text, "run: chmod 600 /"));
        assert_int_equal(got.secret[0], '\0');
    }
}

/* Exit status of a process of another user and of root's group that reads the key: 0 = it was read. */
static int curve_read_by_another(const char *path)
{
    pid_t child = fork();
    int status = -1;
    if (child == 0) {
        struct curve_keys got;
        bool changed = setgroups(0, NULL) == 0 && setresgid(0, 0, 0) == 0 && setresuid(65534, 65534, 65534) == 0;
        _exit(!changed ? 2 : curve_read(path, &got, NULL) ? 0 : 1);
    }
    return waitpid(child, &status, 0) == child && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_secret_of_root_may_be_its_groups(void **state)
{
    (void)state;
    struct curve_keys made;
    if (geteuid() != 0)
        skip();
    curve_made(&made, "roots", ROLE_TRAIN);
    assert_int_equal(chmod(scratch_folder, 0755), 0);
    static const struct {
        mode_t mode;
        int status;
    } rows[] = {{0640, 0}, {0440, 0}, {0660, 1}, {0644, 1}, {0600, 1}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        chmod(scratch_path("roots.key"), rows[i].mode);
        assert_int_equal(curve_read_by_another(scratch_path("roots.key")), rows[i].status);
    }
}

static void keys_are_not_written_over(void **state)
{
    (void)state;
    struct curve_keys first, second, got;
    struct err err = {0};
    curve_made(&first, "kept", ROLE_TRAIN);
    assert_true(curve_generate(&second, "kept", ROLE_TRAIN, &err));
    assert_string_not_equal(first.secret, second.secret);
    assert_false(curve_write(&second, scratch_folder, false, &err));
    assert_non_null(strstr(err.text, "kept.key exists; --force writes over it"));
    unlink(scratch_path("kept.key"));
    assert_false(curve_write(&second, scratch_folder, false, &err));
    assert_non_null(strstr(err.text, "kept.pub exists"));
    assert_int_not_equal(access(scratch_path("kept.key"), F_OK), 0);
    assert_true(curve_write(&second, scratch_folder, true, &err));
    assert_true(curve_read(scratch_path("kept.key"), &got, &err));
    curve_same(&second, &got);
}

static void an_invalid_name_is_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"", ".", "..", "../x", "a/b", "-f", ".key", "a b", "a\nb", "\xc3\xa9"};
    struct curve_keys keys;
    char longest[CURVE_NAME + 1];
    memset(longest, 'x', CURVE_NAME);
    longest[CURVE_NAME] = '\0';
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_false(curve_generate(&keys, names[i], ROLE_TRAIN, NULL));
    assert_false(curve_generate(&keys, longest, ROLE_TRAIN, NULL));
    assert_true(curve_generate(&keys, longest + 1, ROLE_TRAIN, NULL));
}

/* The pair in zmq_curve(7), and the secret of another one. */
#define KEY_A "rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf7"
#define KEY_B "JTKVSB%%)wK0E.X)V>+}o?pNmC{O&4W4b!Ni{Lh6"
#define KEY_C "D:)Q[IlAW!ahhC2ac:9*A}h:p?([4%wOTJ%JR%cs"

static void curve_refused(const char *text, const char *why)
{
    struct curve_keys keys;
    struct err err = {0};
    curve_file("bad.key", text, 0600);
    assert_false(curve_read(scratch_path("bad.key"), &keys, &err));
    assert_int_equal(err.code, ERR_DATA);
    assert_memory_equal(err.text, scratch_path("bad.key"), strlen(scratch_path("bad.key")));
    if (strstr(err.text, why) == NULL)
        fail_msg("%s", err.text);
}

static void a_file_that_is_not_a_key_pair_is_refused_by_name(void **state)
{
    (void)state;
    struct curve_keys keys;
    struct err err = {0};
    char text[256];
    assert_true(curve_generate(&keys, "a", ROLE_TRAIN, &err));
    snprintf(text, sizeof text, "\n# a\r\n\ntrain %s a\r\n  secret\t%s\n# b", keys.public.key, keys.secret);
    curve_file("good.key", text, 0600);
    assert_true(curve_read(scratch_path("good.key"), &keys, &err));
    curve_refused("", "not a secret key file");
    curve_refused("secret " KEY_B "\n", "not a secret key file");
    curve_refused("train " KEY_A " a\nsecret " KEY_C "\n", "do not belong together");
    curve_refused("train " KEY_A " a\nsecret " KEY_B "\nmore\n", "not a secret key file");
    curve_refused("train " KEY_A " a\nsecret " KEY_B "x\n", "the second line is not");
    curve_refused("train " KEY_A " a\nsecrets " KEY_B "\n", "the second line is not");
    curve_refused("train " KEY_A "x a\nsecret " KEY_B "\n", "the second word is no public key");
    curve_refused("train ################~####################### a\nsecret " KEY_B "\n",
                  "the second word is no public key");
    curve_refused("train ######################################## a\nsecret " KEY_B "\n",
                  "the second word is no public key");
    curve_refused("root " KEY_A " a\nsecret " KEY_B "\n", "a key begins with its role");
    curve_refused("train " KEY_A "\nsecret " KEY_B "\n", "the third and last word");
    curve_refused("train " KEY_A " a b\nsecret " KEY_B "\n", "the third and last word");
    curve_refused("train " KEY_A " ../a\nsecret " KEY_B "\n", "the third and last word");
    char *large = malloc(100001);
    memset(large, '\n', 100000);
    large[100000] = '\0';
    curve_refused(large, "not a key file");
    free(large);
    assert_false(curve_read(scratch_folder, &keys, &err));
    assert_non_null(strstr(err.text, "not a file"));
    assert_false(curve_read(scratch_path("none.key"), &keys, &err));
    assert_non_null(strstr(err.text, "none.key: cannot open"));
}

/* The error has such a text, and then ends, where `file` is not "", with the path of that file. */
static void curve_named(const struct err *err, const char *text, const char *file)
{
    const char *found = strstr(err->text, text);
    assert_int_equal(err->code, ERR_USAGE);
    if (found == NULL)
        fail_msg("%s", err->text);
    assert_string_equal(found + strlen(text), file[0] == '\0' ? "" : scratch_path(file));
}

static void a_secret_file_is_no_public_one(void **state)
{
    (void)state;
    struct curve_keys made;
    struct curve_public public;
    struct err err = {0};
    curve_made(&made, "mixed", ROLE_CLIENT);
    assert_false(curve_read_public(scratch_path("mixed.key"), &public, &err));
    curve_named(&err, "mixed.key: this is a secret key; give ", "mixed.pub");
    assert_null(strstr(err.text, made.secret));
    curve_file("two.pub", "train " KEY_A " a\ntrain " KEY_B " b\n", 0644);
    assert_false(curve_read_public(scratch_path("two.pub"), &public, &err));
    assert_non_null(strstr(err.text, "two.pub: not a public key file: it has one line"));
}

/* Whatever its mode: a public file is one that others may read. */
static void a_public_file_is_no_secret_one(void **state)
{
    static const mode_t modes[] = {0644, 0600};
    (void)state;
    struct curve_keys made, got;
    struct err err = {0};
    curve_made(&made, "mixed", ROLE_TRAIN);
    for (size_t i = 0; i < 2; i++) {
        chmod(scratch_path("mixed.pub"), modes[i]);
        assert_false(curve_read(scratch_path("mixed.pub"), &got, &err));
        curve_named(&err, "mixed.pub: this is a public key; give ", "mixed.key");
        assert_null(strstr(err.text, "chmod"));
    }
    curve_file("other", "train " KEY_A " a\n", 0644);
    assert_false(curve_read(scratch_path("other"), &got, &err));
    curve_named(&err, "this is a public key; give the .key file of the pair", "");
    curve_file("damaged.pub", "train " KEY_A "\n", 0644);
    assert_false(curve_read(scratch_path("damaged.pub"), &got, &err));
    assert_null(strstr(err.text, "chmod"));
}

static void a_key_is_forty_characters_of_z85(void **state)
{
    (void)state;
    assert_true(curve_is_key(KEY_A));
    assert_false(curve_is_key(""));
    assert_false(curve_is_key(KEY_A "a"));
    assert_false(curve_is_key("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf"));
    assert_false(curve_is_key("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf\x80"));
    assert_false(curve_is_key("rq:rM>}U?@Lns47E1%kR.o@n%FcmmsL/@{H8]yf\""));
    char shown[CURVE_SHOWN];
    curve_show(KEY_A, shown);
    assert_string_equal(shown, "rq:rM>}...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pair_is_read_back),
        cmocka_unit_test(a_file_with_cr_line_ends_is_read),
        cmocka_unit_test(the_secret_is_its_owners_alone),
        cmocka_unit_test(a_secret_of_root_may_be_its_groups),
        cmocka_unit_test(keys_are_not_written_over),
        cmocka_unit_test(an_invalid_name_is_refused),
        cmocka_unit_test(a_file_that_is_not_a_key_pair_is_refused_by_name),
        cmocka_unit_test(a_secret_file_is_no_public_one),
        cmocka_unit_test(a_public_file_is_no_secret_one),
        cmocka_unit_test(a_key_is_forty_characters_of_z85),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
