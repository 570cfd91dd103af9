/* test_fault.c - a disk that is full or broken, at each call of a checkpoint in turn.
 *
 * The linker hands the store's calls to the functions __wrap_* below (see CMakeLists.txt), which pass them on and, at
 * the n-th, let them fail, from then on or once, or kill the process. They also write down what was done in which
 * order. */
#include "tests/support/fixture.h"

#include "proto/base/log.h"
#include "proto/store/checkpoint_links.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { CALLS_MOST = 100000, TRACE_MOST = 1000, TRACE_TEXT = 512 };

enum fault { FAULT_NONE, FAULT_ONCE, FAULT_FULL, FAULT_KILL };

static struct {
    enum fault fault;
    int error; /* errno of a failing call                                     */
    int at;    /* the call that fails, counted from 1                         */
    int calls; /* so far                                                      */
    bool hit;
    bool hit_data;    /* the failing call was one that bytes depend on               */
    bool no_exchange; /* renameat2 is not there, as on some network file systems     */
    bool tracing;
    char trace[TRACE_MOST][TRACE_TEXT]; /* "fsync /tmp/...", in order                */
    int traced;
} fault_disk;

/* Whether the call at hand is to fail. `grows`: it needs room, so a full disk refuses it. */
static bool fault_fails(bool grows)
{
    if (fault_disk.fault == FAULT_NONE)
        return false;
    bool due = ++fault_disk.calls == fault_disk.at;
    if (fault_disk.fault == FAULT_KILL && due)
        raise(SIGKILL);
    bool full = fault_disk.fault == FAULT_FULL && grows && fault_disk.calls >= fault_disk.at;
    bool fails = full || (fault_disk.fault == FAULT_ONCE && due);
    fault_disk.hit = fault_disk.hit || fails;
    if (fails)
        errno = fault_disk.error;
    return fails;
}

static void fault_trace(const char *call, const char *path)
{
    if (fault_disk.tracing && fault_disk.traced < TRACE_MOST)
        snprintf(fault_disk.trace[fault_disk.traced++], TRACE_TEXT, "%s %s", call, path);
}

static void fault_trace_fd(const char *call, int fd)
{
    char link[64], path[TRACE_TEXT / 2];
    if (!fault_disk.tracing)
        return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length < 0 ? 0 : length] = '\0';
    fault_trace(call, path);
}

int __real_open(const char *path, int flags, ...);
ssize_t __real_write(int fd, const void *bytes, size_t size);
int __real_fsync(int fd);
int __real_close(int fd);
int __real_mkdir(const char *path, mode_t mode);
int __real_rename(const char *from, const char *to);
int __real_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int __real_symlink(const char *target, const char *path);
int __real_unlink(const char *path);
int __real_unlinkat(int fd, const char *path, int flags);
int __real_rmdir(const char *path);

int __wrap_open(const char *path, int flags, ...);
ssize_t __wrap_write(int fd, const void *bytes, size_t size);
int __wrap_fsync(int fd);
int __wrap_close(int fd);
int __wrap_mkdir(const char *path, mode_t mode);
int __wrap_rename(const char *from, const char *to);
int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int __wrap_symlink(const char *target, const char *path);
int __wrap_unlink(const char *path);
int __wrap_unlinkat(int fd, const char *path, int flags);
int __wrap_rmdir(const char *path);

int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
    va_end(args);
    return fault_fails((flags & O_CREAT) != 0) ? -1 : __real_open(path, flags, mode);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t size)
{
    if (fault_fails(true)) {
        /* A disk fills up in the middle of a write: part of it gets there, the next call fails. */
        fault_disk.hit_data = true;
        if (fault_disk.fault != FAULT_FULL || size < 2 || fault_disk.calls != fault_disk.at)
            return -1;
        size /= 2;
    }
    fault_trace_fd("write", fd);
    return __real_write(fd, bytes, size);
}

int __wrap_fsync(int fd)
{
    fault_trace_fd("fsync", fd);
    if (!fault_fails(true))
        return __real_fsync(fd);
    fault_disk.hit_data = true;
    return -1;
}

int __wrap_close(int fd)
{
    bool written = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY;
    if (!fault_fails(false))
        return __real_close(fd);
    fault_disk.hit_data = fault_disk.hit_data || written;
    __real_close(fd);
    errno = fault_disk.error;
    return -1;
}

int __wrap_mkdir(const char *path, mode_t mode)
{
    return fault_fails(true) ? -1 : __real_mkdir(path, mode);
}

int __wrap_rename(const char *from, const char *to)
{
    fault_trace("rename", to);
    return fault_fails(false) ? -1 : __real_rename(from, to);
}

int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    if (fault_disk.no_exchange) {
        errno = EINVAL;
        return -1;
    }
    return fault_fails(false) ? -1 : __real_renameat2(from_fd, from, to_fd, to, flags);
}

int __wrap_symlink(const char *target, const char *path)
{
    return fault_fails(true) ? -1 : __real_symlink(target, path);
}

int __wrap_unlink(const char *path)
{
    return fault_fails(false) ? -1 : __real_unlink(path);
}

int __wrap_unlinkat(int fd, const char *path, int flags)
{
    return fault_fails(false) ? -1 : __real_unlinkat(fd, path, flags);
}

int __wrap_rmdir(const char *path)
{
    return fault_fails(false) ? -1 : __real_rmdir(path);
}

static void fault_arm(enum fault fault, int error, int at)
{
    fault_disk.fault = fault;
    fault_disk.error = error;
    fault_disk.at = at;
    fault_disk.calls = 0;
    fault_disk.hit = false;
    fault_disk.hit_data = false;
}

static int fault_partials(const char *run)
{
    DIR *folder = opendir(run);
    int count = 0;
    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
        count += strstr(entry->d_name, ".partial") != NULL;
    closedir(folder);
    return count;
}

static void fault_prepare(char run[FILE_PATH], const char *folder, bool again)
{
    struct err err = {0};
    assert_true(path_join(run, folder, "run", NULL));
    assert_ok(folder_remove(run, &err), err);
    assert_ok(fixture_write(run, 1, 'a', &err), err);
    if (again)
        assert_ok(fixture_write(run, 2, 'b', &err), err);
}

/* Let each call in turn fail while step 2 is written (again, in place of letter b). */
static void fault_fail_each(const char *folder, enum fault fault, int error, bool again)
{
    char run[FILE_PATH];
    int failures = 0;
    for (int n = 1; n < CALLS_MOST; n++) {
        struct err err = {0};
        fault_prepare(run, folder, again);
        fault_arm(fault, error, n);
        bool ok = fixture_write(run, 2, 'c', &err);
        bool hit = fault_disk.hit, hit_data = fault_disk.hit_data;
        fault_arm(FAULT_NONE, 0, 0);
        failures += !ok;
        assert_false(ok && hit_data);
        if (!ok && (strstr(err.text, run) == NULL || strstr(err.text, strerror(error)) == NULL || err.code != ERR_IO))
            fail_msg("call %d fails, and the error is \"%s\"", n, err.text);
        bool is_new = fixture_latest_is(run, 2, 'c');
        if (ok ? !is_new : !is_new && !fixture_latest_is(run, again ? 2 : 1, again ? 'b' : 'a'))
            fail_msg("call %d fails (%s): the last good checkpoint is gone", n, err.text);
        if (fault == FAULT_FULL && !ok && fault_partials(run) != 0 && !is_new)
            fail_msg("call %d fails (%s): something partial is left", n, err.text);
        assert_ok(fixture_write(run, 3, 'd', &err), err);
        assert_true(fixture_latest_is(run, 3, 'd'));
        assert_int_equal(fault_partials(run), 0);
        if (!hit) {
            assert_true(ok);
            break;
        }
    }
    /* Each of six files is opened, written, made durable and closed; then come folders, renames and the link. */
    assert_true(failures > 20);
    print_message("%d calls failed the checkpoint\n", failures);
}

static void a_full_disk_fails_a_checkpoint_and_keeps_the_last_good(void **state)
{
    fault_fail_each(*state, FAULT_FULL, ENOSPC, false);
    fault_fail_each(*state, FAULT_FULL, ENOSPC, true);
}

static void a_broken_disk_fails_a_checkpoint_and_keeps_the_last_good(void **state)
{
    fault_fail_each(*state, FAULT_ONCE, EIO, false);
    fault_fail_each(*state, FAULT_ONCE, EIO, true);
}

/* Where folders cannot change places, the old one has another name between two renames. */
static void a_kill_without_renameat2_leaves_one_of_two_checkpoints(void **state)
{
    char run[FILE_PATH];
    bool killed = true, seen_replaced = false;
    for (int n = 1; killed && n < CALLS_MOST; n++) {
        struct err err = {0};
        char replaced[FILE_PATH], committed[FILE_PATH];
        int status;
        fault_prepare(run, *state, true);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            fault_disk.no_exchange = true;
            fault_arm(FAULT_KILL, 0, n);
            _exit(fixture_write(run, 2, 'c', NULL) ? 0 : 1);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        killed = WIFSIGNALED(status);
        assert_true(killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
        assert_true(path_join(replaced, run, "step-00000002.replaced", NULL));
        assert_true(path_join(committed, run, "step-00000002", NULL));
        seen_replaced = seen_replaced || (access(replaced, F_OK) == 0 && access(committed, F_OK) != 0);
        assert_true(fixture_latest_is(run, 2, 'c') || (killed && fixture_latest_is(run, 2, 'b')));
        static struct checkpoint checkpoint;
        assert_ok(checkpoint_open(&checkpoint, run, "latest", &err), err);
        assert_int_equal(checkpoint.state.step, 2);
        checkpoint_close(&checkpoint);
        assert_ok(fixture_write(run, 3, 'd', &err), err);
        assert_true(fixture_latest_is(run, 3, 'd'));
        assert_int_equal(access(committed, F_OK), 0);
    }
    assert_true(seen_replaced);
}

static void settling_a_copy_without_renameat2_survives_a_kill(void **state)
{
    char run[FILE_PATH];
    bool killed = true;
    assert_true(path_join(run, *state, "run", NULL));
    for (int n = 1; killed && n < CALLS_MOST; n++) {
        struct err err = {0};
        int status;
        fixture_copy(run);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            fault_disk.no_exchange = true;
            fault_arm(FAULT_KILL, 0, n);
            _exit(links_settle(run, NULL) && links_restore(run, 2, 1, NULL) ? 0 : 1);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        killed = WIFSIGNALED(status);
        assert_true(killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
        static struct checkpoint checkpoint;
        assert_ok(checkpoint_open(&checkpoint, run, "best", &err), err);
        checkpoint_close(&checkpoint);
        assert_ok(links_settle(run, &err), err);
        assert_true(fixture_latest_is(run, 2, 'b'));
        fixture_links_are(run, 2, 'b', 1, 'a');
        assert_int_equal(fault_partials(run), 0);
    }
}

static void settling_a_copy_on_a_broken_disk_fails_and_loses_nothing(void **state)
{
    char run[FILE_PATH];
    bool hit = true;
    assert_true(path_join(run, *state, "run", NULL));
    for (int n = 1; hit && n < CALLS_MOST; n++) {
        struct err err = {0};
        fixture_copy(run);
        fault_arm(FAULT_ONCE, EIO, n);
        bool ok = links_settle(run, &err);
        hit = fault_disk.hit;
        fault_arm(FAULT_NONE, 0, 0);
        if (!ok && strstr(err.text, strerror(EIO)) == NULL)
            fail_msg("call %d fails, and the error is \"%s\"", n, err.text);
        assert_ok(links_settle(run, &err), err);
        fixture_links_are(run, 2, 'b', 1, 'a');
        assert_int_equal(fault_partials(run), 0);
    }
}

/* The index of the last trace line that is "CALL ...END", from `from` on. -1 = no such line. */
static int fault_last(const char *call, const char *end)
{
    for (int i = fault_disk.traced - 1; i >= 0; i--) {
        size_t length = strlen(fault_disk.trace[i]);
        if (strncmp(fault_disk.trace[i], call, strlen(call)) == 0 && length >= strlen(end) &&
            strcmp(fault_disk.trace[i] + length - strlen(end), end) == 0)
            return i;
    }
    return -1;
}

static void everything_is_durable_before_it_gets_its_name(void **state)
{
    struct err err = {0};
    fault_disk.tracing = true;
    fault_disk.traced = 0;
    assert_ok(fixture_write(*state, 2, 'a', &err), err);
    fault_disk.tracing = false;
    char name[FILE_PATH];
    int manifest = fault_last("write", "/.manifest.json.partial");
    for (int i = 0; i < FIXTURE_FILES; i++) {
        snprintf(name, sizeof name, "/.step-00000002.partial/%s", fixture_files[i]);
        assert_true(fault_last("write", name) >= 0);
        assert_true(fault_last("write", name) < fault_last("fsync", name));
        assert_true(fault_last("fsync", name) < manifest);
    }
    int named = fault_last("rename", "/manifest.json");
    int folder = fault_last("fsync", "/.step-00000002.partial");
    int committed = fault_last("rename", "/step-00000002");
    int latest = fault_last("rename", "/latest");
    assert_true(manifest < fault_last("fsync", "/.manifest.json.partial"));
    assert_true(fault_last("fsync", "/.manifest.json.partial") < named);
    assert_true(named < folder && folder < committed && committed < latest);
    bool between = false;
    for (int i = committed; i < latest; i++)
        between =
            between || (strncmp(fault_disk.trace[i], "fsync", 5) == 0 && strstr(fault_disk.trace[i], *state) != NULL);
    assert_true(between); /* the run's folder, so that the link never names what a power cut can take away */
    assert_true(fault_last("fsync", *state) > latest);
}

static void half_a_line_is_taken_back(void **state)
{
    char path[FILE_PATH];
    struct err err = {0};
    struct buffer text = {0};
    assert_true(path_join(path, *state, "metrics.jsonl", NULL));
    assert_ok(file_append(path, "one\n", 4, &err), err);
    fault_arm(FAULT_FULL, ENOSPC, 2);
    bool ok = file_append(path, "two two two\n", 12, &err);
    fault_arm(FAULT_NONE, 0, 0);
    assert_false(ok);
    assert_non_null(strstr(err.text, "metrics.jsonl: cannot append: No space left on device"));
    assert_ok(file_read(path, 100, &text, &err), err);
    assert_string_equal(text.data, "one\n");
    buffer_free(&text);
}

/* A real file system of 64 KiB, where this process may mount one. */
static void a_real_full_disk_keeps_the_last_good_checkpoint(void **state)
{
    char run[FILE_PATH], filler[FILE_PATH];
    struct err err = {0};
    if (mount("none", *state, "tmpfs", 0, "size=64k") != 0) {
        print_message("skipped: cannot mount a tmpfs here: %s\n", strerror(errno));
        skip();
    }
    assert_true(path_join(run, *state, "run", NULL) && path_join(filler, *state, "filler", NULL));
    bool first = fixture_write(run, 1, 'a', &err);
    int fd = open(filler, O_WRONLY | O_CREAT, 0600);
    char block[4096] = {0};
    while (write(fd, block, sizeof block) > 0)
        ;
    close(fd);
    struct err full = {0}, later = {0};
    bool second = fixture_write(run, 2, 'b', &full);
    bool kept = fixture_latest_is(run, 1, 'a');
    int partials = fault_partials(run);
    unlink(filler);
    bool third = fixture_write(run, 2, 'b', &later) && fixture_latest_is(run, 2, 'b');
    assert_int_equal(umount(*state), 0);
    assert_ok(first, err);
    assert_false(second);
    assert_non_null(strstr(full.text, "No space left on device"));
    assert_non_null(strstr(full.text, "/run/.step-00000002.partial"));
    assert_true(kept);
    assert_int_equal(partials, 0);
    assert_ok(third, later);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_full_disk_fails_a_checkpoint_and_keeps_the_last_good),
        TEST(a_broken_disk_fails_a_checkpoint_and_keeps_the_last_good),
        TEST(a_kill_without_renameat2_leaves_one_of_two_checkpoints),
        TEST(settling_a_copy_without_renameat2_survives_a_kill),
        TEST(settling_a_copy_on_a_broken_disk_fails_and_loses_nothing),
        TEST(everything_is_durable_before_it_gets_its_name),
        TEST(half_a_line_is_taken_back),
        TEST(a_real_full_disk_keeps_the_last_good_checkpoint),
    };
    log_open("test", LOG_OFF);
    return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
