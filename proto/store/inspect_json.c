/* inspect_json.c - an inspection for programs: one JSON object. "state" and its "config" have the form of state.json,
 * but with the finished epochs instead of the current epoch. */
#include "proto/store/inspect.h"
#include "proto/store/json_print.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

/* Text as JSON; null when it is empty or not UTF-8. */
static json_t *inspect_json_text(const char *text)
{
    json_t *json = text[0] == '\0' ? NULL : json_string(text);
    return json == NULL ? json_null() : json;
}

static json_t *inspect_count(uint64_t count)
{
    return json_integer((json_int_t)count);
}

static json_t *inspect_files(const struct inspection *found)
{
    json_t *files = json_array();
    for (size_t i = 0; i < found->file_count; i++) {
        const struct inspect_file *file = &found->files[i];
        char hash[17];
        snprintf(hash, sizeof hash, "%016" PRIx64, file->entry.xxh3);
        json_array_append_new(files, json_pack("{s:s, s:o, s:s, s:b, s:b, s:o}", "name", file->entry.name, "size",
                                               inspect_count(file->entry.size), "xxh3", hash, "whole",
                                               !file->absent && file->reason[0] == '\0', "absent", file->absent,
                                               "reason", inspect_json_text(file->reason)));
    }
    return files;
}

static json_t *inspect_tensors(const struct inspection *found)
{
    json_t *tensors = json_array();
    for (size_t i = 0; i < found->model.count; i++) {
        const struct tensor_entry *tensor = &found->model.tensors[i];
        json_t *shape = json_array();
        for (int d = 0; d < tensor->dims; d++)
            json_array_append_new(shape, inspect_count(tensor->shape[d]));
        json_array_append_new(tensors,
                              json_pack("{s:s, s:s, s:o, s:o, s:o}", "name", tensor->name, "dtype", tensor->dtype,
                                        "shape", shape, "elements", inspect_count(inspect_elements(tensor)), "bytes",
                                        inspect_count(tensor->size)));
    }
    return tensors;
}

static json_t *inspect_run(const struct inspection *found)
{
    if (found->run[0] == '\0')
        return json_null();
    json_t *rows = json_array();
    for (size_t i = 0; i < found->row_count; i++) {
        const struct inspect_row *row = &found->rows[i];
        bool whole = row->reason[0] == '\0';
        json_array_append_new(rows,
                              json_pack("{s:s, s:o, s:o, s:o, s:b, s:b, s:b, s:o}", "name", row->name, "step",
                                        inspect_count(row->step), "epochs_done",
                                        whole ? inspect_count(row->epoch - 1) : json_null(), "size",
                                        whole ? inspect_count(row->size) : json_null(), "best", row->best, "latest",
                                        row->latest, "whole", whole, "reason", inspect_json_text(row->reason)));
    }
    return json_pack("{s:o, s:o}", "path", inspect_json_text(found->run), "checkpoints", rows);
}

static json_t *inspect_state(const struct inspection *found)
{
    struct buffer text = {0};
    json_t *state = NULL;
    if (found->has_state)
        checkpoint_state_write(&found->state, &text);
    if (text.size > 0)
        state = json_loadb(text.data, text.size, 0, NULL);
    buffer_free(&text);
    json_object_set_new(state, "epochs_done", inspect_count(found->state.epoch - 1));
    json_object_del(state, "epoch");
    return state == NULL ? json_null() : state;
}

void inspect_json(const struct inspection *found, struct buffer *out)
{
    const struct config *config = &found->state.config;
    json_t *languages = json_null(), *words = json_null();
    if (found->has_state) {
        languages = json_pack("{s:o, s:o}", "source", inspect_json_text(config->data_src_lang), "target",
                              inspect_json_text(config->data_tgt_lang));
        words = json_pack("{s:o, s:o}", "source", inspect_count(found->src_words), "target",
                          inspect_count(found->tgt_words));
    }
    json_t *root = json_pack(
        "{s:o, s:b, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "path", inspect_json_text(found->folder), "whole",
        found->reason[0] == '\0', "resumable", found->resumable, "reason", inspect_json_text(found->reason), "run",
        inspect_run(found), "languages", languages, "words", words, "parameters", inspect_count(found->parameters),
        "tensors", inspect_tensors(found), "files", inspect_files(found), "state", inspect_state(found));
    json_print(root, out);
}
