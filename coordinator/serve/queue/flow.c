/* flow.c - a table of flows, and the ring in which they take turns; see flow.h. */
#include "coordinator/serve/queue/flow.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum {
    QUANTUM = 32,      /* tokens of a turn: a few sentences */
    COST_MOST = 16384, /* tokens that a longer sentence counts for */
    MUCH = 16,         /* a flow with more sentences than this sends much ... */
    MUCH_SWEEPS = 2,   /* ... and is still counted so after fewer sweeps than these */
};

struct flow *flows_get(struct flows *flows, struct schedule *schedule, const char *name, int64_t now_ms)
{
    uint64_t hash = XXH3_64bits_withSeed(name, strlen(name), (uint64_t)(uintptr_t)schedule);
    struct flow **chain = &flows->chains[hash % FLOW_CHAINS], *flow = *chain;
    while (flow != NULL && (flow->hash != hash || flow->schedule != schedule || strcmp(flow->name, name) != 0))
        flow = flow->same;
    if (flow == NULL) {
        flow = calloc(1, sizeof *flow);
        if (flow == NULL)
            return NULL;
        strncpy(flow->name, name, sizeof flow->name - 1);
        flow->hash = hash;
        flow->schedule = schedule;
        flow->same = *chain;
        *chain = flow;
        flows->count++;
        schedule->known++;
    }
    flow->used_ms = now_ms;
    return flow;
}

void flows_sweep(struct flows *flows, int64_t now_ms)
{
    for (size_t i = 0; i < FLOW_CHAINS; i++) {
        for (struct flow **at = &flows->chains[i]; *at != NULL;) {
            struct flow *flow = *at;
            if (flow->much > 0 && flow->waiting <= MUCH && --flow->much == 0)
                flow->schedule->much--;
            if (flow->waiting > 0 || flow->requests > 0 || now_ms - flow->used_ms < FLOW_IDLE_MS) {
                at = &flow->same;
                continue;
            }
            *at = flow->same;
            flow->schedule->known--;
            flow->schedule->much -= flow->much > 0;
            free(flow);
            flows->count--;
        }
    }
}

void flows_close(struct flows *flows)
{
    for (size_t i = 0; i < FLOW_CHAINS; i++) {
        for (struct flow *at = flows->chains[i], *next; at != NULL; at = next) {
            next = at->same;
            free(at);
        }
    }
    *flows = (struct flows){0};
}

/* Up to 4 tokens, 8, 16 ... */
static uint32_t flow_class(const struct sentence *sentence)
{
    uint32_t of = 0;
    for (uint32_t tokens = (sentence->tokens - 1) / 4; tokens > 0 && of < FLOW_CLASSES - 1; tokens /= 2)
        of++;
    return of;
}

static int64_t flow_cost(const struct sentence *sentence)
{
    return sentence->tokens < COST_MOST ? sentence->tokens : COST_MOST;
}

static void flow_count(struct flow *flow, int sign)
{
    struct schedule *schedule = flow->schedule;
    flow->waiting += (uint32_t)sign;
    schedule->waiting += (uint32_t)sign;
    if (flow->waiting > MUCH) {
        schedule->much += flow->much == 0;
        flow->much = MUCH_SWEEPS;
    }
}

/* Join the ring at its end, which is before the flow whose turn it is. */
static void flow_enter(struct flow *flow)
{
    struct schedule *schedule = flow->schedule;
    struct flow *turn = schedule->turn;
    flow->deficit = flow->deficit < 0 ? flow->deficit : 0; /* a debt stays */
    flow->next = flow->before = flow;
    schedule->flows++;
    if (turn == NULL) {
        schedule->turn = flow;
        return;
    }
    flow->next = turn;
    flow->before = turn->before;
    flow->before->next = turn->before = flow;
}

static void flow_exit(struct flow *flow)
{
    struct schedule *schedule = flow->schedule;
    schedule->flows--;
    if (schedule->turn == flow)
        schedule->turn = flow->next == flow ? NULL : flow->next;
    flow->before->next = flow->next;
    flow->next->before = flow->before;
    flow->next = flow->before = NULL;
}

/* Insert the sentence before `behind`, NULL = at the end. */
static void flow_insert(struct flow *flow, struct sentence *sentence, struct sentence *behind)
{
    uint32_t of = sentence->size_class;
    if (flow->waiting == 0)
        flow_enter(flow);
    sentence->flow = flow;
    sentence->state = SENTENCE_WAITS;
    sentence->next = behind;
    sentence->before = behind != NULL ? behind->before : flow->lines[of].last;
    *(sentence->before != NULL ? &sentence->before->next : &flow->lines[of].first) = sentence;
    *(behind != NULL ? &behind->before : &flow->lines[of].last) = sentence;
    flow_count(flow, 1);
}

void flow_add(struct flow *flow, struct sentence *sentence)
{
    sentence->size_class = flow_class(sentence);
    flow_insert(flow, sentence, NULL);
}

void flow_return(struct flow *flow, struct sentence *sentence)
{
    struct sentence *behind = flow->lines[sentence->size_class].first;
    while (behind != NULL && behind->number < sentence->number)
        behind = behind->next;
    flow_insert(flow, sentence, behind);
}

/* The flow stays in the ring, even if none is left. */
static void flow_unlink(struct sentence *sentence)
{
    struct flow *flow = sentence->flow;
    uint32_t of = sentence->size_class;
    *(sentence->before != NULL ? &sentence->before->next : &flow->lines[of].first) = sentence->next;
    *(sentence->next != NULL ? &sentence->next->before : &flow->lines[of].last) = sentence->before;
    sentence->next = sentence->before = NULL;
    sentence->state = SENTENCE_NEW;
    flow_count(flow, -1);
}

void flow_remove(struct sentence *sentence)
{
    flow_unlink(sentence);
    if (sentence->flow->waiting == 0)
        flow_exit(sentence->flow);
}

/* ---- picking ---- */

struct pick {
    struct sentence **sentences;
    uint32_t count, most;
    const struct sentence *first;
};

static bool pick_fits(const struct pick *pick, const struct sentence *sentence)
{
    const struct sentence_kind *a = &pick->first->kind, *b = &sentence->kind;
    return pick->first->most == sentence->most && a->version == b->version && a->alternatives == b->alternatives &&
           a->details == b->details;
}

static struct sentence *flow_oldest(const struct flow *flow)
{
    struct sentence *oldest = NULL;
    for (uint32_t i = 0; i < FLOW_CLASSES; i++) {
        struct sentence *first = flow->lines[i].first;
        if (first != NULL && (oldest == NULL || first->number < oldest->number))
            oldest = first;
    }
    return oldest;
}

/* The flow's next sentence that fits: one at most `distance` classes away from the batch's first. */
static struct sentence *flow_next(const struct flow *flow, const struct pick *pick, uint32_t distance)
{
    uint32_t of = pick->first->size_class;
    for (uint32_t away = 0; away <= distance; away++) {
        struct sentence *below = of >= away ? flow->lines[of - away].first : NULL;
        struct sentence *above = of + away < FLOW_CLASSES ? flow->lines[of + away].first : NULL;
        if (below != NULL && pick_fits(pick, below))
            return below;
        if (above != NULL && pick_fits(pick, above))
            return above;
    }
    return NULL;
}

static void pick_take(struct pick *pick, struct sentence *sentence)
{
    flow_unlink(sentence);
    sentence->flow->deficit -= flow_cost(sentence);
    pick->sentences[pick->count++] = sentence;
}

/* A flow gives sentences of QUANTUM tokens, if it has as many that fit. */
static void flow_give(const struct flow *flow, struct pick *pick, uint32_t distance)
{
    struct sentence *next = flow_next(flow, pick, distance);
    for (int64_t left = QUANTUM; next != NULL && left > 0 && pick->count < pick->most;) {
        left -= flow_cost(next);
        pick_take(pick, next);
        next = flow_next(flow, pick, distance);
    }
}

/* Each flow gives once. False: no flow has a sentence that fits. */
static bool schedule_round(const struct schedule *schedule, struct pick *pick, uint32_t distance)
{
    uint32_t before = pick->count;
    const struct flow *flow = schedule->turn;
    for (uint32_t i = 0; i < schedule->flows && pick->count < pick->most; i++, flow = flow->next)
        flow_give(flow, pick, distance);
    return pick->count > before;
}

/* Give the turn to the next flow that owes nothing. Each flow on the way gets QUANTUM tokens of its debt remitted.
 * Rounds in which every flow would still owe are made up for at once. */
static void schedule_turn(struct schedule *schedule)
{
    struct flow *flow = schedule->turn;
    int64_t least = INT64_MAX;
    for (uint32_t i = 0; i < schedule->flows; i++, flow = flow->next)
        least = -flow->deficit < least ? -flow->deficit : least;
    int64_t rounds = least > 0 ? least / QUANTUM : 0;
    for (uint32_t i = 0; i < schedule->flows && rounds > 0; i++, flow = flow->next)
        flow->deficit += rounds * QUANTUM;
    while (flow->deficit <= 0) {
        flow->deficit += QUANTUM;
        if (flow->deficit <= 0)
            flow = flow->next;
    }
    schedule->turn = flow;
}

/* Remove from the ring the flows that have nothing left, and prepare the next turn. */
static void schedule_settle(struct schedule *schedule)
{
    struct flow *flow = schedule->turn;
    schedule->turn = flow->next;
    for (uint32_t i = schedule->flows; i > 0; i--) {
        struct flow *next = flow->next;
        if (flow->waiting == 0)
            flow_exit(flow);
        flow = next;
    }
    if (schedule->turn != NULL)
        schedule_turn(schedule);
}

bool schedule_is_shared(const struct schedule *schedule)
{
    return schedule->much > 0 && schedule->much < schedule->known;
}

const struct sentence *schedule_first(const struct schedule *schedule)
{
    return schedule->turn != NULL ? flow_oldest(schedule->turn) : NULL;
}

uint32_t schedule_pick(struct schedule *schedule, uint32_t most, struct sentence **picked)
{
    if (schedule->turn == NULL || most == 0)
        return 0;
    struct flow *flow = schedule->turn;
    struct sentence *first = flow_oldest(flow);
    struct pick pick = {.sentences = picked, .first = first};
    bool shared = schedule_is_shared(schedule);
    pick.most = first->most > 0 && first->most < most ? first->most : most;
    pick_take(&pick, first);
    /* Other flows that owe nothing give their oldest too, whatever its length: one that sends little must not wait. */
    for (flow = flow->next; flow != schedule->turn && pick.count < pick.most; flow = flow->next) {
        struct sentence *oldest = flow_oldest(flow);
        if (flow->deficit >= 0 && pick_fits(&pick, oldest))
            pick_take(&pick, oldest);
    }
    if (shared)
        schedule_round(schedule, &pick, FLOW_CLASSES);
    for (uint32_t distance = 1; !shared && pick.count < pick.most; distance = FLOW_CLASSES) {
        while (pick.count < pick.most && schedule_round(schedule, &pick, distance))
            continue;
        if (distance == FLOW_CLASSES)
            break;
    }
    schedule_settle(schedule);
    return pick.count;
}

int64_t schedule_oldest_us(const struct schedule *schedule)
{
    int64_t oldest = 0;
    const struct flow *flow = schedule->turn;
    for (uint32_t i = 0; i < schedule->flows; i++, flow = flow->next) {
        const struct sentence *first = flow_oldest(flow);
        if (oldest == 0 || first->arrived_us < oldest)
            oldest = first->arrived_us;
    }
    return oldest;
}
