/* validation.h - an epoch's validation: requests out, scores in, one record at the end.
 *
 * The validation rows are cut into batches of train.batch rows in order, as training rows are. A batch is cut into
 * parts, so small that the translations of each fit into one answer. A part is a request; one more request has the
 * sample sentences, to be translated. Members may answer requests in any order. Scores are kept for each request and
 * summed in order when all are there. The cut depends on the configuration alone, so the record has the same bits
 * whichever workers computed it.
 *
 * The trainer owns it. Life: validation_open once; for each epoch validation_begin, then validation_next and
 * validation_scored until validation_done, then validation_record. Coordinator's thread. */
#ifndef LSTMQ_COORDINATOR_CLUSTER_VALIDATION_H
#define LSTMQ_COORDINATOR_CLUSTER_VALIDATION_H

#include "coordinator/data/dataset.h"
#include "coordinator/data/packing.h"
#include "coordinator/run/run.h"
#include "coordinator/run/samples.h"
#include "proto/score/bleu.h"
#include "proto/wire/message.h"

/* The answer to one request. */
struct validation_score {
    bool there;
    uint64_t tokens;
    double forced_loss_sum, free_loss_sum;
    uint64_t forced_correct, free_correct;
};

struct validation {
    uint64_t epoch; /* whose scores these are, also before all are there; 0 = none */
    const struct config *config;
    const struct dataset *dataset;
    struct samples *samples;
    struct validation_score *scores; /* [parts]                                      */
    uint32_t part_rows;              /* rows of a part, at most                      */
    uint32_t batch_parts;            /* parts of a whole batch; the last has fewer   */
    uint32_t parts;                  /* requests with validation rows                */
    uint32_t requests;               /* parts, and 1 where there are samples         */
    uint32_t sent, answered;         /* of this epoch's requests: the next to look at, the number answered */
    bool samples_there;              /* the request with the samples was answered    */
    uint64_t first_request;          /* number of this epoch's first request         */
    struct bleu bleu;                /* against the references as written            */
    struct bleu normalised;          /* against the references normalised as trained */
    struct buffer text;              /* a translation, kept between rows             */
    struct packing packing;          /* rows of the last request                     */
};

bool validation_open(struct validation *validation, const struct config *config, const struct dataset *dataset,
                     struct samples *samples, struct err *err);
void validation_close(struct validation *validation);

/* Begin with epoch `epoch`: the scores of the one before are forgotten, and so are answers that are still to come. */
void validation_begin(struct validation *validation, uint64_t epoch);

/* The scores are of a state that is no more: `epoch` is 0, so that the epoch begins again. */
void validation_forget(struct validation *validation);

/* Requests that were sent and not answered are lost: send them again. */
void validation_again(struct validation *validation);

/* The next request; the caller fills in its generation. `rows` is valid until the next call. *more = false when all
 * were sent. */
bool validation_next(struct validation *validation, struct validate *request, bool *more, struct err *err);

/* The last request of validation_next was not sent: it is the next again. */
void validation_unsent(struct validation *validation);

/* Take an answer. ERR_PROTOCOL when its request is not open or the answer does not fit it. */
bool validation_scored(struct validation *validation, const struct scored *scored, struct err *err);

/* Every request has its answer. */
bool validation_done(const struct validation *validation);

/* Fill val_loss, val_acc, val_tf_loss, bleu and bleu_normalised of `record`; NAN for what was not computed. */
void validation_record(const struct validation *validation, struct epoch_record *record);

#endif
