/* checkpoint_state.c - state.json: struct checkpoint_state as text, and back.
 *
 *   {"format": 1, "version": .., "created": .., "step": .., ...,
 *    "best": null or {"score": .., "epoch": .., "step": ..},
 *    "config": {"data.pairs": "..", "train.lr": 0.0005, "train.batch": 64, "train.bleu": true, ..}}
 * A list of texts is an array; a string is read as its only entry.
 *
 * Reals have 17 digits, so a reader gets the same bits. Values that JSON cannot express are the strings "nan", "inf"
 * and "-inf". All text is UTF-8: config_set refuses anything else. */
#include "proto/store/checkpoint.h"
#include "proto/store/file.h"
#include "proto/store/json_print.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATE_FORMAT = 1 };

static const size_t checkpoint_state_most = (size_t)1 << 24; /* bytes of a state.json that are read, at most */

enum field_type { FIELD_COUNT, FIELD_REAL, FIELD_BOOL, FIELD_TEXT };

struct state_field {
    const char *key;
    enum field_type type;
    size_t offset;
    size_t size; /* of TEXT, its NUL included */
};

#define FIELD(key, type, member)                                                                                       \
    {                                                                                                                  \
#key, type, offsetof(struct checkpoint_state, member), 0                                                       \
    }
#define TEXT_FIELD(key)                                                                                                \
    {                                                                                                                  \
#key, FIELD_TEXT, offsetof(struct checkpoint_state, key), sizeof((struct checkpoint_state *)0)->key            \
    }

static const struct state_field checkpoint_fields[] = {
    TEXT_FIELD(version),
    TEXT_FIELD(created),
    FIELD(step, FIELD_COUNT, step),
    FIELD(epoch, FIELD_COUNT, epoch),
    FIELD(epoch_step, FIELD_COUNT, epoch_step),
    FIELD(shuffles, FIELD_COUNT, shuffles),
    FIELD(loss_sum, FIELD_REAL, loss_sum),
    FIELD(batch_loss_sum, FIELD_REAL, batch_loss_sum),
    FIELD(tokens, FIELD_COUNT, tokens),
    FIELD(correct, FIELD_COUNT, correct),
    FIELD(train_seconds, FIELD_REAL, train_seconds),
    FIELD(stale_epochs, FIELD_COUNT, stale_epochs),
    FIELD(finished, FIELD_BOOL, finished),
    TEXT_FIELD(dataset),
};

static const struct state_field checkpoint_best_fields[] = {
    FIELD(score, FIELD_REAL, best_score),
    FIELD(epoch, FIELD_COUNT, best_epoch),
    FIELD(step, FIELD_COUNT, best_step),
};

enum {
    FIELDS = sizeof checkpoint_fields / sizeof *checkpoint_fields,
    BEST_FIELDS = sizeof checkpoint_best_fields / sizeof *checkpoint_best_fields,
};

static json_t *checkpoint_real_json(double value)
{
    if (isnan(value))
        return json_string("nan");
    if (isinf(value))
        return json_string(value > 0 ? "inf" : "-inf");
    return json_real(value);
}

static json_t *checkpoint_field_json(const struct checkpoint_state *state, const struct state_field *field)
{
    const char *at = (const char *)state + field->offset;
    switch (field->type) {
    case FIELD_COUNT:
        return json_integer((json_int_t) * (const uint64_t *)(const void *)at);
    case FIELD_REAL:
        return checkpoint_real_json(*(const double *)(const void *)at);
    case FIELD_BOOL:
        return json_boolean(*(const bool *)(const void *)at);
    case FIELD_TEXT:
        return json_stringn(at, strnlen(at, field->size - 1));
    }
    return NULL;
}

static json_t *checkpoint_fields_json(const struct checkpoint_state *state, const struct state_field *fields,
                                      size_t count)
{
    json_t *object = json_object();
    for (size_t i = 0; i < count; i++) {
        if (json_object_set_new(object, fields[i].key, checkpoint_field_json(state, &fields[i])) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *checkpoint_list_json(const char *list)
{
    json_t *array = json_array();
    for (const char *entry = NULL; array != NULL && (entry = config_list_next(list, entry)) != NULL;) {
        if (json_array_append_new(array, json_string(entry)) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

static json_t *checkpoint_option_json(const struct config *config, const struct option_row *row)
{
    if (row->type == OPTION_TYPE_LIST)
        return checkpoint_list_json((const char *)config + row->offset);
    struct buffer text = {0};
    config_get(config, row, &text);
    const char *value = text.data == NULL ? "" : text.data;
    json_t *json = NULL;
    if (!text.failed) {
        switch (row->type) {
        case OPTION_TYPE_INT:
            json = json_integer((json_int_t)strtoll(value, NULL, 10));
            break;
        case OPTION_TYPE_REAL:
            json = checkpoint_real_json(strtod(value, NULL));
            break;
        case OPTION_TYPE_BOOL:
            json = json_boolean(strcmp(value, "true") == 0);
            break;
        case OPTION_TYPE_TEXT:
        case OPTION_TYPE_LIST:
        case OPTION_TYPE_CHOICE:
            json = json_string(value);
            break;
        }
    }
    buffer_free(&text);
    return json;
}

static json_t *checkpoint_config_json(const struct config *config)
{
    size_t count;
    const struct option_row *rows = config_options(&count);
    json_t *object = json_object();
    for (size_t i = 0; i < count; i++) {
        if (json_object_set_new(object, rows[i].key, checkpoint_option_json(config, &rows[i])) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *checkpoint_state_json(const struct checkpoint_state *state)
{
    json_t *root = json_object();
    json_t *fields = checkpoint_fields_json(state, checkpoint_fields, FIELDS);
    json_t *best = state->has_best ? checkpoint_fields_json(state, checkpoint_best_fields, BEST_FIELDS) : json_null();
    bool ok = json_object_set_new(root, "format", json_integer(STATE_FORMAT)) == 0;
    ok = ok && json_object_update(root, fields) == 0;
    json_decref(fields);
    if (json_object_set_new(root, "best", best) != 0 || !ok ||
        json_object_set_new(root, "config", checkpoint_config_json(&state->config)) != 0) {
        json_decref(root);
        return NULL;
    }
    return root;
}

void checkpoint_state_write(const struct checkpoint_state *state, struct buffer *out)
{
    json_print(checkpoint_state_json(state), out);
}

static bool checkpoint_real_read(json_t *json, double *value)
{
    if (json_is_real(json)) {
        *value = json_real_value(json);
        return true;
    }
    const char *text = json_string_value(json);
    if (text == NULL)
        return false;
    if (strcmp(text, "nan") == 0)
        *value = NAN;
    else if (strcmp(text, "inf") == 0)
        *value = INFINITY;
    else if (strcmp(text, "-inf") == 0)
        *value = -INFINITY;
    else
        return false;
    return true;
}

static bool checkpoint_field_read(json_t *json, const struct state_field *field, const char *name,
                                  struct checkpoint_state *state, struct err *err)
{
    char *at = (char *)state + field->offset;
    if (json == NULL)
        return err_set(err, ERR_DATA, "%s: \"%s\" is missing", name, field->key);
    switch (field->type) {
    case FIELD_COUNT:
        if (!json_is_integer(json) || json_integer_value(json) < 0)
            return err_set(err, ERR_DATA, "%s: \"%s\" is not a whole number from 0", name, field->key);
        *(uint64_t *)(void *)at = (uint64_t)json_integer_value(json);
        return true;
    case FIELD_REAL:
        if (!checkpoint_real_read(json, (double *)(void *)at))
            return err_set(err, ERR_DATA, "%s: \"%s\" is not a real number", name, field->key);
        return true;
    case FIELD_BOOL:
        if (!json_is_boolean(json))
            return err_set(err, ERR_DATA, "%s: \"%s\" is not true or false", name, field->key);
        *(bool *)(void *)at = json_is_true(json);
        return true;
    case FIELD_TEXT:
        if (!json_is_string(json) || json_string_length(json) >= field->size)
            return err_set(err, ERR_DATA, "%s: \"%s\" is not a string of at most %zu bytes", name, field->key,
                           field->size - 1);
        memcpy(at, json_string_value(json), json_string_length(json) + 1);
        return true;
    }
    return false;
}

static bool checkpoint_fields_read(json_t *object, const struct state_field *fields, size_t count, const char *name,
                                   struct checkpoint_state *state, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        if (!checkpoint_field_read(json_object_get(object, fields[i].key), &fields[i], name, state, err))
            return false;
    }
    return true;
}

static bool checkpoint_is_field(const char *key, const struct state_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(fields[i].key, key) == 0)
            return true;
    }
    return false;
}

static bool checkpoint_unknown(const char *key, const char *name, struct err *err)
{
    return err_set(err, ERR_DATA, "%s: unknown key \"%.80s\" (a newer lstmq may have written this)", name, key);
}

static bool checkpoint_best_read(json_t *best, const char *name, struct checkpoint_state *state, struct err *err)
{
    state->has_best = !json_is_null(best);
    if (best == NULL)
        return err_set(err, ERR_DATA, "%s: \"best\" is missing", name);
    if (!state->has_best)
        return true;
    if (!json_is_object(best))
        return err_set(err, ERR_DATA, "%s: \"best\" is neither null nor an object", name);
    const char *key;
    json_t *value;
    json_object_foreach(best, key, value)
    {
        if (!checkpoint_is_field(key, checkpoint_best_fields, BEST_FIELDS))
            return checkpoint_unknown(key, name, err);
    }
    return checkpoint_fields_read(best, checkpoint_best_fields, BEST_FIELDS, name, state, err);
}

/* The text form of a JSON value, for config_set; false when the JSON has another type. */
static bool checkpoint_option_text(json_t *json, const struct option_row *row, struct buffer *text)
{
    double real;
    buffer_text(text, "");
    switch (row->type) {
    case OPTION_TYPE_INT:
        if (!json_is_integer(json))
            return false;
        buffer_format(text, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
        return true;
    case OPTION_TYPE_REAL:
        if (!checkpoint_real_read(json, &real))
            return false;
        buffer_format(text, "%.*g", JSON_PRINT_DIGITS, real);
        return true;
    case OPTION_TYPE_BOOL:
        buffer_text(text, json_is_true(json) ? "true" : "false");
        return json_is_boolean(json);
    case OPTION_TYPE_TEXT:
    case OPTION_TYPE_LIST:
    case OPTION_TYPE_CHOICE:
        if (json_is_string(json))
            buffer_text(text, json_string_value(json));
        return json_is_string(json);
    }
    return false;
}

static bool checkpoint_list_read(const char *key, json_t *array, const char *name, struct config *config,
                                 struct err *err)
{
    struct err why = {0};
    size_t i;
    json_t *entry;
    bool ok = config_set(config, key, "", &why);
    json_array_foreach(array, i, entry)
    {
        if (!json_is_string(entry))
            return err_set(err, ERR_DATA, "%s: \"%s\" has an entry that is not a string", name, key);
        ok = ok && config_add(config, key, json_string_value(entry), &why);
    }
    return ok || err_set(err, ERR_DATA, "%s: %s", name, why.text);
}

static bool checkpoint_option_read(const char *key, json_t *json, const char *name, struct config *config,
                                   struct err *err)
{
    static const char *const kinds[] = {"a whole number", "a real number",       "true or false",
                                        "a string",       "an array of strings", "a string"};
    const struct option_row *row = config_option(key);
    if (row == NULL)
        return checkpoint_unknown(key, name, err);
    if (row->type == OPTION_TYPE_LIST && json_is_array(json))
        return checkpoint_list_read(key, json, name, config, err);
    struct buffer text = {0};
    struct err why = {0};
    bool ok = checkpoint_option_text(json, row, &text);
    if (!ok)
        err_set(err, ERR_DATA, "%s: \"%s\" is not %s", name, key, kinds[row->type]);
    else if (text.failed)
        ok = err_set(err, ERR_MEMORY, "%s: out of memory for \"%s\"", name, key);
    else if (!config_set(config, key, text.data, &why))
        ok = err_set(err, ERR_DATA, "%s: %s", name, why.text);
    buffer_free(&text);
    return ok;
}

static bool checkpoint_config_read(json_t *object, const char *name, struct config *config, struct err *err)
{
    const char *key;
    json_t *value;
    config_defaults(config);
    if (!json_is_object(object))
        return err_set(err, ERR_DATA, "%s: \"config\" is missing or not an object", name);
    json_object_foreach(object, key, value)
    {
        if (!checkpoint_option_read(key, value, name, config, err))
            return false;
    }
    /* A run from before log.format had one BLEU, against normalised references. */
    if (json_object_get(object, "log.format") == NULL && config->train_keep_best == KEEP_BLEU)
        config->train_keep_best = KEEP_BLEU_NORMALISED;
    return true;
}

/* Refuse values that no writer can have produced, although their types are right. */
static bool checkpoint_sense(const struct checkpoint_state *state, const char *name, struct err *err)
{
    if (state->epoch < 1)
        return err_set(err, ERR_DATA, "%s: \"epoch\" is 0; epochs are counted from 1", name);
    if (state->epoch_step > state->step)
        return err_set(err, ERR_DATA, "%s: \"epoch_step\" is beyond \"step\"", name);
    if (state->correct > state->tokens)
        return err_set(err, ERR_DATA, "%s: more \"correct\" answers than \"tokens\"", name);
    if (state->has_best && state->best_step > state->step)
        return err_set(err, ERR_DATA, "%s: the \"best\" step is beyond \"step\"", name);
    if (state->dataset[0] != '\0' && strspn(state->dataset, "0123456789abcdef") != 16)
        return err_set(err, ERR_DATA, "%s: \"dataset\" is not 16 hexadecimal digits", name);
    return true;
}

static bool checkpoint_state_state_read(json_t *root, const char *name, struct checkpoint_state *state, struct err *err)
{
    if (!json_is_object(root))
        return err_set(err, ERR_DATA, "%s: not a JSON object", name);
    json_t *format = json_object_get(root, "format");
    if (!json_is_integer(format))
        return err_set(err, ERR_DATA, "%s: \"format\" is missing or not a whole number", name);
    if (json_integer_value(format) != STATE_FORMAT)
        return err_set(err, ERR_DATA,
                       "%s: format %" JSON_INTEGER_FORMAT "; this lstmq reads %d (a newer one may have written it)",
                       name, json_integer_value(format), STATE_FORMAT);
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value)
    {
        if (!checkpoint_is_field(key, checkpoint_fields, FIELDS) && strcmp(key, "format") != 0 &&
            strcmp(key, "best") != 0 && strcmp(key, "config") != 0)
            return checkpoint_unknown(key, name, err);
    }
    return checkpoint_fields_read(root, checkpoint_fields, FIELDS, name, state, err) &&
           checkpoint_best_read(json_object_get(root, "best"), name, state, err) &&
           checkpoint_config_read(json_object_get(root, "config"), name, &state->config, err) &&
           checkpoint_sense(state, name, err);
}

bool checkpoint_state_read(const char *text, size_t size, const char *name, struct checkpoint_state *state,
                           struct err *err)
{
    json_error_t error;
    *state = (struct checkpoint_state){0};
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL)
        return err_set(err, ERR_DATA, "%s:%d: %s", name, error.line, error.text);
    bool ok = checkpoint_state_state_read(root, name, state, err);
    json_decref(root);
    return ok;
}

bool checkpoint_state_load(struct checkpoint_state *state, const char *folder, struct err *err)
{
    char path[FILE_PATH];
    struct buffer text = {0};
    bool ok = path_join(path, folder, "state.json", err) && file_read(path, checkpoint_state_most, &text, err) &&
              checkpoint_state_read(text.data == NULL ? "" : text.data, text.size, path, state, err);
    buffer_free(&text);
    return ok;
}
