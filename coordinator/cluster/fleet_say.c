/* fleet_say.c - what is due, sent where there is space for it; see fleet.h. */
#include "coordinator/cluster/fleet.h"

#include "proto/base/clock.h"
#include "proto/base/fault.h"
#include "proto/base/log.h"

#include <inttypes.h>
#include <string.h>

enum { RETRY_MS = 2 }; /* until a full queue is tried again */

bool fleet_send(struct fleet *fleet, struct member *member, const struct message *message, bool *sent, struct err *err)
{
    struct err failure = {0};
    *sent = message_send(fleet->socket, &member->route, message, &failure);
    if (*sent) {
        member->lost_ms = 0;
        return true;
    }
    if (failure.code == ERR_FULL) {
        member->full = true;
        return true;
    }
    /* Disconnected: the cause is the ERROR that still waits to be read, or the end of the worker's thread. */
    if (failure.code == ERR_FAILED) {
        member->lost_ms = member->lost_ms != 0 ? member->lost_ms : clock_ms();
        return true;
    }
    *err = failure;
    return err_context(err, "worker %" PRIu64, member->id);
}

void fleet_say_error(const struct fleet *fleet, const struct route *to, const struct err *why)
{
    struct err ignored;
    const struct message message = {.type = MESSAGE_ERROR,
                                    .error = {.code = (uint32_t)why->code, .text = {why->text, strlen(why->text)}}};
    message_send(fleet->socket, to, &message, &ignored);
}

static bool fleet_say_welcome(struct fleet *fleet, struct member *member, bool *sent, struct err *err)
{
    struct buffer text = {0};
    config_dump(fleet->config, &text);
    const struct message message = {.type = MESSAGE_WELCOME,
                                    .welcome = {.run = fleet->run,
                                                .worker = member->id,
                                                .config = {text.data, text.size},
                                                .src_vocab = (uint32_t)vocab_size(fleet->dataset->src),
                                                .tgt_vocab = (uint32_t)vocab_size(fleet->dataset->tgt)}};
    bool done = buffer_ok(&text, err) && fleet_send(fleet, member, &message, sent, err);
    buffer_free(&text);
    return done;
}

static bool fleet_say_one(struct fleet *fleet, struct member *member, enum member_due due, bool *sent, struct err *err)
{
    struct message message = {.type = MESSAGE_PEERS};
    switch (due) {
    case DUE_WELCOME:
        return fleet_say_welcome(fleet, member, sent, err);
    case DUE_GENERATION:
        message.type = MESSAGE_GENERATION;
        message.generation = (struct generation){.generation = fleet->generation,
                                                 .rank = member->rank,
                                                 .size = fleet->size,
                                                 .step = fleet->start.step,
                                                 .source = member->source,
                                                 .broadcast = fleet->start.broadcast,
                                                 .root = fleet->start.root};
        break;
    case DUE_PEERS:
        if (!buffer_ok(&fleet->peers, err))
            return false;
        message.peers = (struct peers){fleet->generation, fleet->peers.data, fleet->peers.size};
        break;
    case DUE_SAVE:
        message.type = MESSAGE_SAVE;
        message.save = (struct save){.generation = fleet->generation, .step = fleet->save_step};
        break;
    case DUE_STOP:
        message.type = MESSAGE_STOP;
        message.stop.generation = fleet->generation;
        break;
    case DUE_DISMISS:
        message.type = MESSAGE_DISMISS;
        message.dismiss.reason = (struct text){member->reason, strlen(member->reason)};
        break;
    }
    return fleet_send(fleet, member, &message, sent, err);
}

/* The checkpoint's state to rank 0, as fast as rank 0 takes it. A PING behind what is on its way is answered once that
 * has arrived; where there is no space for it, the next heartbeat does as well. */
static bool fleet_say_state(struct fleet *fleet, struct err *err)
{
    struct upload *upload = &fleet->upload;
    struct member *member = fleet->state == FLEET_SYNC ? fleet_rank(fleet, 0) : NULL;
    if (member != NULL && upload->ping_ns != 0 && member->pong_time >= upload->ping_ns) {
        member->pong_time = 0;
        upload_arrived(upload, (uint64_t)clock_ns() - upload->ping_ns);
    }
    for (bool more = true, sent = true; member != NULL && member->due == 0;) {
        struct message message = {.type = MESSAGE_STATE};
        if (!fleet_is_embedded(fleet) && !upload_may_send(upload)) {
            if (upload->ping_ns != 0)
                return true;
            upload->ping_ns = (uint64_t)clock_ns();
            message = (struct message){.type = MESSAGE_PING, .ping = {.time = upload->ping_ns}};
            return fleet_send(fleet, member, &message, &sent, err);
        }
        if (!upload_piece(upload, &message.state, &more, err))
            return false;
        if (!more)
            return true;
        if (!fleet_send(fleet, member, &message, &sent, err))
            return false;
        if (!sent) {
            loop_wake(fleet->loop, RETRY_MS);
            return true;
        }
        upload_sent(upload);
    }
    return true;
}

/* Numbers go into the journal before a worker learns them; and once all are dismissed, that none is expected back. */
static void fleet_promise(const struct fleet *fleet, uint32_t ranks)
{
    struct journal *journal = fleet->journal;
    if (journal == NULL ||
        (journal->generation == fleet->generation && journal->workers == fleet->ids && journal->ranks == ranks))
        return;
    journal->generation = fleet->generation;
    journal->workers = fleet->ids;
    journal->ranks = ranks;
    journal_numbers(journal);
}

bool fleet_say(struct fleet *fleet, struct err *err)
{
    if (fleet->journal != NULL)
        fleet_promise(fleet, fleet->size > 0 ? fleet->size : fleet->journal->ranks);
    for (size_t i = 0; i < fleet->count; i++) {
        struct member *member = fleet->members[i];
        bool sent = true;
        for (unsigned due = DUE_WELCOME; sent && due <= DUE_DISMISS; due <<= 1) {
            if ((member->due & due) == 0)
                continue;
            if (!fleet_say_one(fleet, member, (enum member_due)due, &sent, err))
                return false;
            member->due &= sent ? ~due : ~0U;
        }
        if (!sent && fleet_is_embedded(fleet))
            loop_wake(fleet->loop, RETRY_MS); /* elsewhere the next heartbeat's turn tries again */
    }
    if (fleet_is_dismissed(fleet)) {
        fault_point("dismiss");
        fleet->size = 0;
        fleet_promise(fleet, 0);
    }
    fleet_forget(fleet);
    return fleet_say_state(fleet, err);
}
