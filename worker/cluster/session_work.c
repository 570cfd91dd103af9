/* session_work.c - the work: spans, validation, the state for a checkpoint; see session.h.
 *
 * Each unit of work checks between its parts whether the generation is over, and stops there. The parts are a span's
 * steps, a validation's losses and translations, a state's pieces. */
#include "worker/cluster/session.h"

#include "proto/base/clock.h"
#include "proto/base/fault.h"
#include "worker/train/state.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool session_in_generation(const struct session *session, uint64_t generation, const char *name, struct err *err)
{
    if (!session->ready || generation != session->generation.generation)
        return err_set(err, ERR_PROTOCOL, "%s of generation %" PRIu64 " came in generation %" PRIu64 "%s", name,
                       generation, session->generation.generation, session->ready ? "" : ", which is not ready");
    return true;
}

static bool session_return_credit(struct session *session, struct err *err)
{
    struct message credit = {.type = MESSAGE_CREDIT, .credit = {.units = 1}};
    return session_send(session, &credit, err);
}

/* ---- spans ---- */

/* Read the results of steps until at most `unread` are not. */
static bool session_read_results(struct session *session, uint64_t unread, struct err *err)
{
    struct training *training = &session->training;
    while (training->step - training->read > unread) {
        if (!train_result(training, &session->history[training->read % SESSION_HISTORY], err))
            return false;
        if (session->history_count < SESSION_HISTORY)
            session->history_count++;
        atomic_store(&session->shared->step, training->read);
    }
    return true;
}

/* Do the steps, until the last or the generation's end. Steps already done stay done. While the backend is at a step,
 * the result of the one before is read. */
static bool session_steps(struct session *session, const struct span *span, struct err *err)
{
    struct step step = step_before(span);
    while (!session_is_over(session) && step_next(&step)) {
        struct err earlier;
        if (!train_step(&session->training, &step, err)) {
            if (!session_read_results(session, 0, &earlier)) {
                *err = earlier;
                session->training.reducer.failed = false; /* the earlier step is to blame, not the collective */
            }
            return false;
        }
        if (!session_read_results(session, 1, err))
            return false;
        fault_point("step");
    }
    return session_read_results(session, 0, err);
}

void session_unpack(struct session *session)
{
    if (session->packed)
        decoder_unpack(&session->decoder);
    session->packed = false;
}

bool session_span(struct session *session, const struct span *span, struct err *err)
{
    struct training *training = &session->training;
    if (!session_in_generation(session, span->generation, "SPAN", err))
        return false;
    if (span->first_step != training->step)
        return err_set(err, ERR_PROTOCOL, "SPAN begins at step %" PRIu64 ", this worker is at %" PRIu64,
                       span->first_step, training->step);
    session_unpack(session);
    int64_t began = clock_ns();
    uint64_t waited = training->reducer.waited_ns;
    if (!session_steps(session, span, err))
        return session_give_up(session, err);
    if (training->step != span->first_step + span->steps)
        return true;
    session_history(session, span->steps);
    bool compared = training->config.train_reduce == REDUCE_EXACT && session->generation.size > 1;
    struct message report = {
        .type = MESSAGE_REPORT,
        .report = {.generation = span->generation,
                   .span = span->span,
                   .rows = span->rows.count,
                   .busy_ns = (uint64_t)(clock_ns() - began),
                   .waited_ns = training->reducer.waited_ns - waited,
                   .hash = compared ? state_hash(training) : 0,
                   .results = session->results,
                   .steps = span->steps},
    };
    return session_send(session, &report, err) && session_return_credit(session, err);
}

/* ---- validation ---- */

static bool session_reserve_translations(struct session *session, size_t rows, size_t limit, struct err *err)
{
    if (rows * limit > session->id_capacity) {
        free(session->ids);
        session->ids = malloc(rows * limit * sizeof *session->ids);
        session->id_capacity = session->ids != NULL ? rows * limit : 0;
    }
    if (rows > session->length_capacity) {
        free(session->lengths);
        session->lengths = malloc(rows * sizeof *session->lengths);
        session->length_capacity = session->lengths != NULL ? rows : 0;
    }
    if (session->id_capacity < rows * limit || session->length_capacity < rows)
        return err_set(err, ERR_MEMORY, "no memory for %zu translations", rows);
    return true;
}

/* Translate, and with VALIDATE_FREE score free running. Compacts the ids for SCORED. */
static bool session_validate_free(struct session *session, const struct validate *validate, struct scored *scored,
                                  struct err *err)
{
    size_t limit = (size_t)session->training.config.data_length, rows = validate->rows.count, used = 0;
    if (!session_reserve_translations(session, rows, limit, err))
        return false;
    struct decode_result result = {.ids = session->ids, .lengths = session->lengths};
    bool score = (validate->what & VALIDATE_FREE) != 0;
    session->packed = session->packed || decoder_pack(&session->decoder, err);
    if (!session->packed || !decode_greedy(&session->decoder, &session->batch, (int)limit, score, &result, err))
        return false;
    scored->free_loss_sum = result.loss_sum;
    scored->free_correct = result.correct;
    if ((validate->what & VALIDATE_FREE) != 0)
        scored->tokens = result.tokens;
    if ((validate->what & VALIDATE_TRANSLATE) == 0)
        return true;
    for (size_t r = 0; r < rows; r++) {
        memmove(session->ids + used, session->ids + r * limit, session->lengths[r] * sizeof *session->ids);
        used += session->lengths[r];
    }
    scored->rows = (uint32_t)rows;
    scored->lengths = session->lengths;
    scored->ids = session->ids;
    scored->id_count = used;
    return true;
}

static bool session_score(struct session *session, const struct validate *validate, struct scored *scored,
                          struct err *err)
{
    struct training *training = &session->training;
    const struct model_shape *shape = &training->model->shape;
    if (!batch_pack(&session->batch, &validate->rows, batch_padding(&training->config), shape->src_vocab,
                    shape->tgt_vocab, err))
        return err_context(err, "validation");
    if ((validate->what & VALIDATE_FORCED) != 0) {
        struct figures figures;
        if (!network_evaluate(&training->network, &session->batch, &figures, err))
            return false;
        scored->tokens = (uint64_t)figures.tokens;
        scored->forced_loss_sum = figures.loss_sum;
        scored->forced_correct = (uint64_t)figures.correct;
    }
    if ((validate->what & (VALIDATE_FREE | VALIDATE_TRANSLATE)) == 0)
        return true;
    if (session_is_over(session))
        return err_set(err, ERR_ABORTED, "the generation is over");
    return session_validate_free(session, validate, scored, err);
}

/* SCORED carries finite numbers only. The coordinator adds the epoch to the error. */
static bool session_is_finite(const struct scored *scored, struct err *err)
{
    return (isfinite(scored->forced_loss_sum) && isfinite(scored->free_loss_sum)) ||
           err_set(err, ERR_DIVERGED, "validation loss is not finite; lower train.lr or set train.clip");
}

bool session_validate(struct session *session, const struct validate *validate, struct err *err)
{
    if (!session_in_generation(session, validate->generation, "VALIDATE", err))
        return false;
    struct message message = {.type = MESSAGE_SCORED, .scored = {.request = validate->request}};
    if (validate->rows.count > 0 &&
        (!session_score(session, validate, &message.scored, err) || !session_is_finite(&message.scored, err)))
        return session_give_up(session, err);
    return session_send(session, &message, err) && session_return_credit(session, err);
}

/* ---- a checkpoint's state ---- */

static bool session_send_piece(void *context, int file, uint64_t offset, uint64_t total, const void *bytes, size_t size,
                               struct err *err)
{
    struct session *session = context;
    struct message piece = {
        .type = MESSAGE_STATE,
        .state = {.step = session->training.step,
                  .file = (uint32_t)file,
                  .offset = offset,
                  .total = total,
                  .bytes = bytes,
                  .size = size},
    };
    if (session_is_over(session))
        return err_set(err, ERR_ABORTED, "the generation is over");
    bool sent = session_send(session, &piece, err);
    fault_point("upload");
    return sent;
}

bool session_save(struct session *session, const struct save *save, struct err *err)
{
    if (!session_in_generation(session, save->generation, "SAVE", err))
        return false;
    if (save->step != session->training.step)
        return err_set(err, ERR_PROTOCOL, "SAVE of step %" PRIu64 ", this worker is at %" PRIu64, save->step,
                       session->training.step);
    return (state_check(&session->training, err) && state_save(&session->training, session_send_piece, session, err)) ||
           session_give_up(session, err);
}
