/* validation.h - an epoch's validation: requests out, scores in, one record at the end.
 *
 * The validation rows are cut into batches of train.batch rows in order, as training is, and a batch into as many parts
 * as it takes for the translations of each to fit what a worker may say at once; a part is a request, and one more has
 * the sample sentences, to be translated. Requests may be answered in any order by anybody: scores are kept for each
 * request, and summed in order when all are there, so the record has the same bits whoever computed it, for how the rows
 * are cut follows from the configuration alone. Life: validation_open once, validation_begin at each epoch's end, then
 * validation_next and validation_scored until
 * validation_done. Coordinator's thread. */
#ifndef LSTMQ_COORDINATOR_CLUSTER_VALIDATION_H
#define LSTMQ_COORDINATOR_CLUSTER_VALIDATION_H

#include "coordinator/data/dataset.h"
#include "coordinator/data/packing.h"
#include "coordinator/run/run.h"
#include "coordinator/run/samples.h"
#include "proto/score/bleu.h"
#include "proto/wire/message.h"

/* What came back for one request. */
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
    uint32_t sent, answered;         /* of this epoch's requests: the next to look at, how many are there */
    bool samples_there;              /* the request with the samples was answered    */
    uint64_t first_request;          /* number of this epoch's first request         */
    struct bleu bleu;                /* against the references as written            */
    struct bleu normalised;          /* against the references normalised as trained */
    struct buffer text;              /* a translation, kept between rows             */
    struct packing packing;          /* rows of the request that was made last       */
};

bool validation_open(struct validation *validation, const struct config *config, const struct dataset *dataset,
                     struct samples *samples, struct err *err);
void validation_close(struct validation *validation);

/* Begin with epoch `epoch`: the scores of the one before are forgotten, and so are answers that are still to come. */
void validation_begin(struct validation *validation, uint64_t epoch);

/* The scores are of a state that is no more: `epoch` is 0, so that the epoch begins again. */
void validation_forget(struct validation *validation);

/* The requests that were sent and not answered are lost: they will be sent once more. */
void validation_again(struct validation *validation);

/* The next request, its generation left to the caller; `rows` lasts until the next call. *more = false when all are
 * out. */
bool validation_next(struct validation *validation, struct validate *request, bool *more, struct err *err);

/* The request that validation_next just gave did not go out: it is the next once more. */
void validation_unsent(struct validation *validation);

/* Take an answer. ERR_PROTOCOL when it answers nothing that is open or does not fit its request. */
bool validation_scored(struct validation *validation, const struct scored *scored, struct err *err);

/* Every request has its answer. */
bool validation_done(const struct validation *validation);

/* Fill val_loss, val_acc, val_tf_loss, bleu and bleu_normalised of `record`; NAN for what was not computed. */
void validation_record(const struct validation *validation, struct epoch_record *record);

#endif
