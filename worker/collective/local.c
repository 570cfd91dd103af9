/* local.c - ranks that are threads of one process: they add in each other's memory.
 *
 * The threads of a generation share a group, which the hub keeps. An operation runs when its owner waits for it. The
 * owner publishes its memory to the group and arrives at a meeting. When all have arrived, each rank adds up one slice
 * over all memories, rank by rank, and writes it back into all. After a second meeting the operation is done. So others
 * touch a rank's memory only between its two meetings.
 *
 * A rank that stops (abort, timeout) ends the group. It then waits until the ranks that are adding have left, which is
 * soon, because they check after each block; then no rank touches its memory again. A waiting rank spins for a moment
 * first, since all arrive at about the same time, and then sleeps. */
#include "worker/collective/local.h"

#include "proto/base/clock.h"
#include "worker/collective/element.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SPIN_NS = 20 * 1000, BLOCK_BYTES = 32 * 1024, KIND_BYTES = -1 };

/* A rank's arguments of an operation. */
struct brought {
    int kind; /* enum collective_element, or KIND_BYTES                     */
    uint32_t root;
    uint8_t *data;
    size_t count;
    float *result; /* of all_reduce_scaled; else NULL                                       */
    float scale;
};

struct group {
    struct group *next; /* in the hub                                                         */
    uint64_t generation;
    uint32_t size, joined, left;
    struct brought *brought;  /* [size] each written by its rank before it arrives                     */
    bool *present;            /* [size] ranks that joined                                                  */
    uint32_t inside;          /* ranks that may touch other ranks' memory                                       */
    _Atomic uint64_t arrived; /* at all meetings so far: meeting m is complete at m size             */
    atomic_bool over;         /* ended: no rank enters any more                                  */
};

struct local_hub {
    pthread_mutex_t lock; /* guards the groups and all their fields, except the atomic ones and `brought`        */
    pthread_cond_t moved; /* a meeting is complete, a group is over, or a rank has left                */
    struct group *groups;
    uint64_t over; /* generations below this one were aborted                                       */
};

struct local {
    struct collective base;
    struct local_hub *hub;
    struct group *group; /* NULL = not connected                                                  */
    uint64_t generation; /* of the last listen                                              */
    bool listened;
    uint32_t rank;
    int64_t timeout_ms;
    uint64_t meetings; /* that this rank arrived at in this group                                             */
    uint64_t done, started;
    struct brought operations[COLLECTIVE_OPERATIONS]; /* by handle modulo length                */
    struct err failure;
};

static struct local *local_of(struct collective *self)
{
    return (struct local *)(void *)self;
}

/* ---- the hub ---- */

struct local_hub *local_hub_new(struct err *err)
{
    struct local_hub *hub = calloc(1, sizeof *hub);
    if (hub == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a hub");
        return NULL;
    }
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&hub->lock, NULL);
    pthread_cond_init(&hub->moved, &clock);
    pthread_condattr_destroy(&clock);
    return hub;
}

void local_hub_destroy(struct local_hub **hub)
{
    struct local_hub *gone = *hub;
    *hub = NULL;
    if (gone == NULL)
        return;
    pthread_cond_destroy(&gone->moved);
    pthread_mutex_destroy(&gone->lock);
    free(gone);
}

static void local_free_group(struct group *group)
{
    free(group->brought);
    free(group->present);
    free(group);
}

static struct group *local_new_group(const struct collective_group *about)
{
    struct group *group = calloc(1, sizeof *group);
    if (group == NULL)
        return NULL;
    group->generation = about->generation;
    group->size = about->size;
    group->brought = calloc(about->size, sizeof *group->brought);
    group->present = calloc(about->size, sizeof *group->present);
    if (group->brought != NULL && group->present != NULL)
        return group;
    local_free_group(group);
    return NULL;
}

/* The group of a generation; the first rank makes it. Under the hub's lock. */
static struct group *local_find_group(struct local_hub *hub, const struct collective_group *about, struct err *err)
{
    struct group *group = hub->groups;
    while (group != NULL && group->generation != about->generation)
        group = group->next;
    if (group == NULL && (group = local_new_group(about)) == NULL) {
        err_set(err, ERR_MEMORY, "no memory for %u ranks", about->size);
        return NULL;
    }
    if (group->joined == 0) {
        group->next = hub->groups;
        hub->groups = group;
        atomic_store(&group->over, about->generation < hub->over);
    }
    if (group->size == about->size && !group->present[about->rank])
        return group;
    err_set(err, ERR_PROTOCOL, "generation %" PRIu64 " has %u ranks, and its rank %u is %s", about->generation,
            group->size, about->rank, about->rank < group->size && group->present[about->rank] ? "taken" : "free");
    return NULL;
}

static void local_remove_group(struct local_hub *hub, struct group *gone)
{
    struct group **at = &hub->groups;
    while (*at != gone)
        at = &(*at)->next;
    *at = gone->next;
    local_free_group(gone);
}

/* ---- meetings ---- */

static bool local_is_complete(const struct group *group, uint64_t meeting)
{
    return atomic_load_explicit(&group->arrived, memory_order_acquire) >= meeting * group->size;
}

static bool local_over(struct local *local, struct err *err)
{
    return err_set(err, ERR_ABORTED, "generation %" PRIu64 " was ended", local->generation);
}

static bool local_spin(const struct group *group, uint64_t meeting)
{
    int64_t end = clock_ns() + SPIN_NS;
    do {
        for (int i = 0; i < 16; i++)
            if (local_is_complete(group, meeting) || atomic_load(&group->over))
                return true;
    } while (clock_ns() < end);
    return false;
}

/* Wait until something in the hub changes. False and err at the timeout. Under the lock. */
static bool local_sleep(struct local *local, const struct timespec *end, struct err *err)
{
    struct local_hub *hub = local->hub;
    if (local->timeout_ms <= 0) {
        pthread_cond_wait(&hub->moved, &hub->lock);
        return true;
    }
    return pthread_cond_timedwait(&hub->moved, &hub->lock, end) != ETIMEDOUT ||
           err_set(err, ERR_FAILED, "a rank did not start the operation within %" PRId64 " ms", local->timeout_ms);
}

/* Arrive at the next meeting and wait for all ranks. All of them see what each rank wrote before. */
static bool local_meet(struct local *local, struct err *err)
{
    struct local_hub *hub = local->hub;
    struct group *group = local->group;
    uint64_t meeting = ++local->meetings;
    bool last = atomic_fetch_add_explicit(&group->arrived, 1, memory_order_acq_rel) + 1 == meeting * group->size;
    if (!last && local_spin(group, meeting))
        return local_is_complete(group, meeting) || local_over(local, err);

    int64_t end_ns = clock_ns() + local->timeout_ms * 1000000;
    struct timespec end = {.tv_sec = end_ns / 1000000000, .tv_nsec = end_ns % 1000000000};
    bool ok = true;
    pthread_mutex_lock(&hub->lock);
    if (last)
        pthread_cond_broadcast(&hub->moved);
    while (ok && !local_is_complete(group, meeting))
        ok = atomic_load(&group->over) ? local_over(local, err) : local_sleep(local, &end, err);
    pthread_mutex_unlock(&hub->lock);
    return ok;
}

/* ---- adding ---- */

/* Between local_enter and local_leave a rank may touch other ranks' memory. */
static bool local_enter(struct local *local, struct err *err)
{
    struct group *group = local->group;
    pthread_mutex_lock(&local->hub->lock);
    bool over = atomic_load(&group->over);
    group->inside += !over;
    pthread_mutex_unlock(&local->hub->lock);
    return !over || local_over(local, err);
}

static void local_leave(struct local *local)
{
    pthread_mutex_lock(&local->hub->lock);
    if (--local->group->inside == 0 && atomic_load(&local->group->over))
        pthread_cond_broadcast(&local->hub->moved);
    pthread_mutex_unlock(&local->hub->lock);
}

/* All ranks compare the same arguments, so all refuse. */
static bool local_agree(const struct group *group, struct err *err)
{
    const struct brought *first = group->brought;
    for (uint32_t rank = 1; rank < group->size; rank++) {
        const struct brought *other = &group->brought[rank];
        if (other->kind != first->kind || other->count != first->count || other->root != first->root)
            return err_set(err, ERR_PROTOCOL,
                           "rank %u started an operation of kind %d with %zu elements, rank 0 one of kind %d with %zu",
                           rank, other->kind, other->count, first->kind, first->count);
    }
    return true;
}

/* Elements [begin, end) of all ranks. */
static void local_add_block(const struct group *group, size_t begin, size_t end)
{
    const struct brought *first = group->brought;
    enum collective_element element = (enum collective_element)first->kind;
    size_t width = element_size(element), offset = begin * width;
    for (uint32_t rank = 1; rank < group->size; rank++)
        element_add(element, first->data + offset, group->brought[rank].data + offset, end - begin);
    if (element == ELEMENT_I64_F32) {
        element_scale(first->result + begin, (const int64_t *)(const void *)(first->data + offset), NULL, first->scale,
                      end - begin);
        for (uint32_t rank = 1; rank < group->size; rank++)
            memcpy(group->brought[rank].result + begin, first->result + begin, (end - begin) * sizeof(float));
        return;
    }
    for (uint32_t rank = 1; rank < group->size; rank++)
        memcpy(group->brought[rank].data + offset, first->data + offset, (end - begin) * width);
}

static void local_copy_block(const struct group *group, uint32_t to, size_t begin, size_t end)
{
    const struct brought *root = &group->brought[group->brought[to].root];
    if (root != &group->brought[to])
        memcpy(group->brought[to].data + begin, root->data + begin, end - begin);
}

/* This rank's part: of a sum, its slice in all memories; of a copy, everything in its own memory. */
static bool local_do_part(struct local *local, struct err *err)
{
    const struct group *group = local->group;
    const struct brought *mine = &group->brought[local->rank];
    bool copy = mine->kind == KIND_BYTES;
    size_t block = BLOCK_BYTES / (copy ? 1 : element_size((enum collective_element)mine->kind));
    size_t blocks = (mine->count + block - 1) / block;
    size_t first = copy ? 0 : blocks * local->rank / group->size;
    size_t last = copy ? blocks : blocks * (local->rank + 1) / group->size;
    for (size_t i = first; i < last; i++) {
        size_t begin = i * block, end = begin + block < mine->count ? begin + block : mine->count;
        if (atomic_load_explicit(&group->over, memory_order_relaxed))
            return local_over(local, err);
        if (copy)
            local_copy_block(group, local->rank, begin, end);
        else
            local_add_block(group, begin, end);
    }
    return true;
}

static bool local_operate(struct local *local, const struct brought *operation, struct err *err)
{
    struct group *group = local->group;
    if (group->size == 1) {
        if (operation->kind == ELEMENT_I64_F32)
            element_scale(operation->result, (const int64_t *)(const void *)operation->data, NULL, operation->scale,
                          operation->count);
        return !atomic_load(&group->over) || local_over(local, err);
    }
    group->brought[local->rank] = *operation;
    if (!local_meet(local, err) || !local_enter(local, err))
        return false;
    bool ok = local_agree(group, err) && local_do_part(local, err);
    local_leave(local);
    return ok && local_meet(local, err);
}

/* ---- the end of a generation ---- */

/* End the group for all ranks, and wait until no rank touches this one's memory. */
static void local_end_group(struct local *local)
{
    struct local_hub *hub = local->hub;
    struct group *group = local->group;
    if (group == NULL)
        return;
    pthread_mutex_lock(&hub->lock);
    atomic_store(&group->over, true);
    pthread_cond_broadcast(&hub->moved);
    while (group->inside > 0)
        pthread_cond_wait(&hub->moved, &hub->lock);
    local->group = NULL;
    if (++group->left == group->joined)
        local_remove_group(hub, group);
    pthread_mutex_unlock(&hub->lock);
}

static bool local_fail(struct local *local, struct err *err)
{
    local->failure = *err;
    local->done = local->started;
    local_end_group(local);
    return false;
}

static void local_abort(struct collective *self, uint64_t generation)
{
    struct local_hub *hub = local_of(self)->hub;
    pthread_mutex_lock(&hub->lock);
    if (hub->over < collective_after(generation))
        hub->over = collective_after(generation);
    for (struct group *group = hub->groups; group != NULL; group = group->next)
        if (group->generation <= generation)
            atomic_store(&group->over, true);
    pthread_cond_broadcast(&hub->moved);
    pthread_mutex_unlock(&hub->lock);
}

/* ---- the table ---- */

static bool local_listen(struct collective *self, uint64_t generation, char endpoint[COLLECTIVE_ENDPOINT],
                         struct err *err)
{
    struct local *local = local_of(self);
    (void)err;
    local_end_group(local);
    local->failure = (struct err){0};
    local->done = local->started;
    local->generation = generation;
    local->listened = true;
    snprintf(endpoint, COLLECTIVE_ENDPOINT, "local://%ld", (long)getpid());
    return true;
}

static bool local_connect(struct collective *self, const struct collective_group *about, struct err *err)
{
    struct local *local = local_of(self);
    if (!local->listened || about->generation != local->generation)
        return err_set(err, ERR_PROTOCOL,
                       "received the peers of generation %" PRIu64 ", which this rank does not listen for",
                       about->generation);
    if (about->size < 1 || about->size > COLLECTIVE_RANKS_MOST || about->rank >= about->size)
        return err_set(err, ERR_PROTOCOL, "there is no rank %u of %u", about->rank, about->size);
    local->listened = false;
    local->rank = about->rank;
    local->timeout_ms = about->timeout_ms;
    local->meetings = 0;
    pthread_mutex_lock(&local->hub->lock);
    struct group *group = local_find_group(local->hub, about, err);
    if (group != NULL) {
        group->joined++;
        group->present[about->rank] = true;
    }
    pthread_mutex_unlock(&local->hub->lock);
    local->group = group;
    return group != NULL;
}

static bool local_start(struct local *local, const struct brought *operation, uint64_t *handle, struct err *err)
{
    if (local->failure.code != ERR_NONE) {
        *err = local->failure;
        return false;
    }
    if (local->group == NULL)
        return err_set(err, ERR_FAILED, "the collective is not connected");
    if (local->started - local->done >= COLLECTIVE_OPERATIONS)
        return err_set(err, ERR_FULL, "%d operations were started and are not done", COLLECTIVE_OPERATIONS);
    *handle = ++local->started;
    local->operations[*handle % COLLECTIVE_OPERATIONS] = *operation;
    return true;
}

static bool local_all_reduce(struct collective *self, enum collective_element element, void *data, size_t count,
                             uint64_t *handle, struct err *err)
{
    struct brought operation = {.kind = (int)element, .data = data, .count = count};
    if (element == ELEMENT_I64_F32)
        return err_set(err, ERR_PROTOCOL, "int64 sums that become floats are for all_reduce_scaled");
    return local_start(local_of(self), &operation, handle, err);
}

static bool local_all_reduce_scaled(struct collective *self, int64_t *data, size_t count, float scale, float *result,
                                    uint64_t *handle, struct err *err)
{
    struct brought operation = {
        .kind = ELEMENT_I64_F32, .data = (uint8_t *)data, .count = count, .result = result, .scale = scale};
    return local_start(local_of(self), &operation, handle, err);
}

static bool local_broadcast(struct collective *self, void *data, size_t bytes, uint32_t root, uint64_t *handle,
                            struct err *err)
{
    struct local *local = local_of(self);
    struct brought operation = {.kind = KIND_BYTES, .root = root, .data = data, .count = bytes};
    if (local->group != NULL && root >= local->group->size)
        return err_set(err, ERR_PROTOCOL, "rank %u of %u cannot broadcast", root, local->group->size);
    return local_start(local, &operation, handle, err);
}

static bool local_wait(struct collective *self, uint64_t handle, struct err *err)
{
    struct local *local = local_of(self);
    if (local->failure.code != ERR_NONE) {
        *err = local->failure;
        return false;
    }
    while (local->done < handle) {
        if (!local_operate(local, &local->operations[(local->done + 1) % COLLECTIVE_OPERATIONS], err))
            return local_fail(local, err);
        local->done++;
    }
    return true;
}

static void local_close(struct collective *self)
{
    struct local *local = local_of(self);
    local_end_group(local);
    free(local);
}

static const struct collective_table local_table = {
    .name = "local",
    .listen = local_listen,
    .connect = local_connect,
    .all_reduce = local_all_reduce,
    .all_reduce_scaled = local_all_reduce_scaled,
    .broadcast = local_broadcast,
    .wait = local_wait,
    .abort = local_abort,
    .close = local_close,
};

struct collective *local_open(struct local_hub *hub, struct err *err)
{
    struct local *local = calloc(1, sizeof *local);
    if (local == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a rank");
        return NULL;
    }
    local->base.op = &local_table;
    local->hub = hub;
    return &local->base;
}
