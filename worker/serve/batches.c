/* batches.c - answer batches; see batches.h. */
#include "worker/serve/batches.h"

#include "proto/base/clock.h"
#include "proto/base/fault.h"

#include <inttypes.h>

static bool batches_answer(struct batches *batches, const struct batch_order *order, struct loaded_model *model,
                           struct err *err)
{
    struct message message = {.type = MESSAGE_RESULT, .result = {.batch = order->batch}};
    struct answers *answers = &message.result.answers;
    int64_t begun = clock_ns();
    fault_text("translate", order->texts.bytes, order->texts.size);
    if (!model->echo) /* the loader opened it */
        model->translator.backend->op->take_over(model->translator.backend);
    bool ok = model->echo ? passage_echo(&batches->passage, &order->texts, answers, err)
                          : passage_translate(&batches->passage, &model->translator, &order->texts, order->details == 1,
                                              answers, err);
    message.result.computed_us = (uint64_t)((clock_ns() - begun) / 1000);
    return ok && lane_answer(batches->lane, &message, err);
}

bool batches_handle(void *context, const struct message *message, struct err *err)
{
    struct batches *batches = context;
    if (message == NULL)
        return true;
    if (message->type == MESSAGE_RETIRE) {
        models_retire(batches->models, message->retire.version);
        return true;
    }
    struct loaded_model *model = models_take(batches->models, message->batch.version);
    if (model == NULL)
        return err_set(err, ERR_PROTOCOL, "BATCH: version %" PRIu64 " is not loaded", message->batch.version);
    bool ok = batches_answer(batches, &message->batch, model, err);
    models_give_back(batches->models, model);
    return ok;
}

void batches_close(struct batches *batches)
{
    passage_close(&batches->passage);
}
