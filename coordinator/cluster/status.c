/* status.c - facts into JSON; see status.h. */
#include "coordinator/cluster/status.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Most members that are listed. Where names are long they are fewer, since a STATUS has MESSAGE_JSON bytes. */
enum { LISTED = 100 };

static json_t *status_integer(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static json_t *status_member(const struct member *member)
{
    static const char *const phases[] = {"waiting", "entering", "syncing", "working", "stopping", "leaving"};
    json_t *object = json_object();
    json_object_set_new(object, "worker", status_integer(member->id));
    json_object_set_new(object, "phase", json_string(phases[member->state]));
    json_object_set_new(object, "rank", member_is_in(member) ? status_integer(member->rank) : json_null());
    json_object_set_new(object, "host", json_string(member->host));
    json_object_set_new(object, "pid", status_integer(member->pid));
    json_object_set_new(object, "backend", json_string(member->backend));
    json_object_set_new(object, "threads", status_integer(member->threads));
    json_object_set_new(object, "steps", status_integer(member->steps));
    json_object_set_new(object, "rows", status_integer(member->rows));
    json_object_set_new(object, "busy_seconds", json_real((double)member->busy_ns / 1e9));
    json_object_set_new(object, "waited_seconds", json_real((double)member->waited_ns / 1e9));
    return object;
}

static json_t *status_members(const struct fleet *fleet, size_t most)
{
    json_t *list = json_array();
    for (size_t i = 0; i < fleet->count && i < most; i++)
        json_array_append_new(list, status_member(fleet->members[i]));
    return list;
}

static void status_run(json_t *object, const struct status_facts *facts)
{
    const struct checkpoint_state *state = facts->state;
    double speed = state->tokens > 0 ? (double)state->tokens / facts->train_seconds : (double)NAN;
    json_object_set_new(object, "phase", json_string(facts->phase));
    json_object_set_new(object, "run", json_string(facts->dir));
    json_object_set_new(object, "step", status_integer(state->step));
    json_object_set_new(object, "epoch", status_integer(state->epoch));
    json_object_set_new(object, "epochs_done", status_integer(state->epoch - 1));
    json_object_set_new(object, "epoch_step", status_integer(state->epoch_step));
    json_object_set_new(object, "epoch_steps", status_integer(facts->epoch_steps));
    json_object_set_new(object, "epochs", status_integer((uint64_t)facts->fleet->config->train_epochs));
    json_object_set_new(object, "saved_step", status_integer(facts->saved_step));
    json_object_set_new(object, "tgt_tok_per_s", isfinite(speed) ? json_real(speed) : json_null());
    json_object_set_new(object, "best_metric", json_string(facts->metric));
    json_object_set_new(object, "best_score",
                        state->has_best && isfinite(state->best_score) ? json_real(state->best_score) : json_null());
    json_object_set_new(object, "best_epoch", state->has_best ? status_integer(state->best_epoch) : json_null());
}

static void status_fleet(json_t *object, const struct fleet *fleet)
{
    uint64_t in = 0;
    for (size_t i = 0; i < fleet->count; i++)
        in += member_is_in(fleet->members[i]);
    json_object_set_new(object, "generation", status_integer(fleet->generation));
    json_object_set_new(object, "workers", status_integer(in));
    json_object_set_new(object, "waiting", status_integer(fleet->count - in));
    json_object_set_new(object, "lost", status_integer(fleet->lost));
}

static char *status_dump(const struct status_facts *facts, bool detail, size_t members)
{
    json_t *object = json_object();
    status_run(object, facts);
    status_fleet(object, facts->fleet);
    if (detail)
        json_object_set_new(object, "members", status_members(facts->fleet, members));
    char *text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    return text;
}

void status_write(const struct status_facts *facts, bool detail, struct buffer *out)
{
    size_t listed = LISTED;
    char *text = status_dump(facts, detail, listed);
    while (detail && listed > 0 && text != NULL && strlen(text) > MESSAGE_JSON) {
        listed /= 2;
        free(text);
        text = status_dump(facts, detail, listed);
    }
    buffer_text(out, text != NULL ? text : "{}");
    free(text);
}
