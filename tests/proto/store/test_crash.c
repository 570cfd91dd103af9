/* test_crash.c - kill -9 at each system call of a checkpoint.
 *
 * A child does what a training run does at a checkpoint; this process follows it with ptrace and kills it at the n-th
 * stop, for n = 1, 2, ... until it gets through. There is a stop on the way into each system call and one on the way
 * out; calls for memory do not count. After each kill the run must hold the old or the new checkpoint, whole, and take
 * the next one. */
#include "tests/support/fixture.h"

#include "proto/base/log.h"
#include "proto/store/checkpoint_links.h"
#include "proto/store/steps.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { NOT_PERMITTED = 77, SYSCALL_STOP = SIGTRAP | 0x80, STOPS_MOST = 100000 };

/* A checkpoint that is in the run before (letter 0: none), and the one being written when the kill comes. */
struct scene {
    uint64_t old_step;
    char old_letter;
    uint64_t new_step;
    char new_letter;
};

static bool crash_checkpoint(const char *run, const struct scene *scene)
{
    return fixture_write(run, scene->new_step, scene->new_letter, NULL) &&
           checkpoint_mark_best(run, scene->new_step, NULL) && checkpoint_sweep(run, 1, NULL);
}

/* What --resume does first in a copy of a run. */
static bool crash_settle(const char *run, const struct scene *scene)
{
    (void)scene;
    return links_settle(run, NULL) && links_restore(run, 2, 1, NULL);
}

typedef bool action(const char *run, const struct scene *scene);

static void crash_child(action *act, const char *run, const struct scene *scene)
{
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0)
        _exit(NOT_PERMITTED);
    raise(SIGSTOP);
    _exit(act(run, scene) ? 0 : 1);
}

/* Calls for memory, and AddressSanitizer's, which gives memory back from time to time, come at other places in each
 * run. They change no file. */
static bool crash_is_memory(uint64_t call)
{
    static const uint64_t calls[] = {SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_brk, SYS_futex};
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (calls[i] == call)
            return true;
    return false;
}

/* Whether the child has stopped on the way into a call that counts, or out of it. `call` is the last one entered. */
static bool crash_counts(pid_t child, int status, uint64_t *call)
{
    struct __ptrace_syscall_info info;
    if (WSTOPSIG(status) != SYSCALL_STOP)
        return false;
    assert_true(ptrace(PTRACE_GET_SYSCALL_INFO, child, (void *)sizeof info, &info) > 0);
    if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
        *call = info.entry.nr;
    return !crash_is_memory(*call);
}

/* Run the child up to its n-th stop. False when it ended before, which it must do well. */
static bool crash_kill_at(action *act, const char *run, const struct scene *scene, int n)
{
    int status;
    uint64_t call = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        crash_child(act, run, scene);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_PERMITTED) {
        print_message("skipped: ptrace is not permitted here\n");
        skip();
    }
    assert_true(WIFSTOPPED(status));
    assert_int_equal(ptrace(PTRACE_SETOPTIONS, child, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)), 0);
    for (int stop = 0; stop < n;) {
        assert_int_equal(ptrace(PTRACE_SYSCALL, child, NULL, NULL), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        if (WIFEXITED(status)) {
            assert_int_equal(WEXITSTATUS(status), 0);
            return false;
        }
        assert_true(WIFSTOPPED(status));
        stop += crash_counts(child, status, &call);
    }
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    return true;
}

/* Names that a crash may leave and a checkpoint must clear away. */
static int crash_leftovers(const char *run)
{
    DIR *folder = opendir(run);
    int count = 0;
    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
        count += strstr(entry->d_name, ".partial") != NULL || strstr(entry->d_name, ".replaced") != NULL;
    closedir(folder);
    return count;
}

/* Nothing that has the name of a checkpoint is less than one. */
static void crash_all_whole(const char *run)
{
    static struct checkpoint checkpoint;
    struct step_folder *folders;
    size_t count;
    struct err err = {0};
    char path[FILE_PATH];
    assert_ok(steps_list(run, &folders, &count, &err), err);
    for (size_t i = 0; i < count; i++) {
        if (folders[i].kind == STEP_PARTIAL)
            continue;
        assert_true(path_join(path, run, folders[i].name, NULL));
        assert_ok(checkpoint_open(&checkpoint, path, "latest", &err), err);
        checkpoint_close(&checkpoint);
    }
    free(folders);
}

/* What must hold after a crash; true when the new checkpoint is the one to go on from. */
static bool crash_survives(const char *run, const struct scene *scene, int n)
{
    static struct checkpoint checkpoint;
    bool found;
    struct err err = {0};
    assert_ok(checkpoint_latest(&checkpoint, run, &found, &err), err);
    crash_all_whole(run);
    bool is_new = found && fixture_is(&checkpoint, scene->new_step, scene->new_letter);
    bool is_old = found && fixture_is(&checkpoint, scene->old_step, scene->old_letter);
    if (found)
        checkpoint_close(&checkpoint);
    if (!is_new && !is_old && (found || scene->old_letter != 0))
        fail_msg("killed at stop %d: neither the old checkpoint nor the new one", n);
    static const char *const links[] = {"latest", "best"};
    for (int i = 0; found && i < 2; i++) {
        assert_ok(checkpoint_open(&checkpoint, run, links[i], &err), err);
        checkpoint_close(&checkpoint);
    }
    assert_ok(fixture_write(run, 9, 'z', &err), err);
    assert_true(fixture_latest_is(run, 9, 'z'));
    assert_ok(checkpoint_sweep(run, 2, &err), err);
    assert_int_equal(crash_leftovers(run), 0);
    return is_new;
}

static void crash_play(const char *folder, const struct scene *scene)
{
    char run[FILE_PATH];
    struct err err = {0};
    bool alive = true, was_new = false;
    int n = 0;
    assert_true(path_join(run, folder, "run", NULL));
    while (alive) {
        assert_true(++n < STOPS_MOST);
        assert_ok(folder_remove(run, &err), err);
        if (scene->old_letter != 0) {
            assert_ok(fixture_write(run, scene->old_step, scene->old_letter, &err), err);
            assert_ok(checkpoint_mark_best(run, scene->old_step, &err), err);
        }
        alive = crash_kill_at(crash_checkpoint, run, scene, n);
        bool is_new = crash_survives(run, scene, n);
        assert_true(is_new || !was_new); /* there is one moment at which the new one counts */
        was_new = is_new;
    }
    assert_true(was_new);
    print_message("killed at %d stops\n", n - 1);
}

static void a_killed_first_checkpoint_is_whole_or_absent(void **state)
{
    crash_play(*state, &(struct scene){0, 0, 1, 'a'});
}

static void a_killed_checkpoint_leaves_the_one_before(void **state)
{
    crash_play(*state, &(struct scene){1, 'a', 2, 'b'});
}

static void a_killed_save_of_the_same_step_leaves_one_of_the_two(void **state)
{
    crash_play(*state, &(struct scene){2, 'b', 2, 'c'});
}

/* A copy of a run with checkpoints 1 (best) and 2 (latest), killed at each stop while its links are made again. */
static void crash_play_copy(const char *folder, const char *without)
{
    char run[FILE_PATH], gone[FILE_PATH];
    struct err err = {0};
    int n = 0;
    assert_true(path_join(run, folder, "run", NULL));
    for (bool alive = true; alive;) {
        assert_true(++n < STOPS_MOST);
        fixture_copy(run);
        assert_true(path_join(gone, run, without, NULL));
        assert_ok(folder_remove(gone, &err), err);
        alive = crash_kill_at(crash_settle, run, NULL, n);
        static struct checkpoint checkpoint;
        assert_ok(checkpoint_open(&checkpoint, run, "best", &err), err); /* a reader, meanwhile */
        checkpoint_close(&checkpoint);
        assert_ok(links_settle(run, &err), err);
        assert_true(fixture_latest_is(run, 2, 'b'));
        assert_ok(links_restore(run, 2, 1, &err), err);
        assert_ok(checkpoint_sweep(run, 1, &err), err);
        assert_int_equal(crash_leftovers(run), 0);
        crash_all_whole(run);
        fixture_links_are(run, 2, 'b', 1, 'a');
    }
    print_message("killed at %d stops\n", n - 1);
}

static void a_killed_settling_of_a_copy_loses_no_checkpoint(void **state)
{
    static const char *const without[] = {"nothing", "step-00000001"};
    for (size_t i = 0; i < sizeof without / sizeof *without; i++)
        crash_play_copy(*state, without[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, scratch_make, scratch_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_killed_first_checkpoint_is_whole_or_absent),
        TEST(a_killed_checkpoint_leaves_the_one_before),
        TEST(a_killed_save_of_the_same_step_leaves_one_of_the_two),
        TEST(a_killed_settling_of_a_copy_loses_no_checkpoint),
    };
    log_open("test", LOG_OFF);
    return cmocka_run_group_tests_name("crash", tests, NULL, NULL);
}
