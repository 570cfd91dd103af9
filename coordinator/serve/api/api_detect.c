/* api_detect.c - the languages of the loaded models, and which of them a text is in. */
#include "coordinator/serve/api/api_inside.h"
#include "coordinator/serve/api/text/api_json.h"
#include "coordinator/serve/api/text/api_language.h"

#include <string.h>

enum {
    DETECT_SURE = 90,     /* at this confidence there is no second guess: clients exist that take only one */
    DETECT_LOOKED = 2048, /* of a text that are looked at, so that no request holds up the loop */
};

/* The index of a language, added if it is new. False: there are too many. */
static bool detect_add(struct api_languages *languages, const char *code, const struct detect_table *table,
                       size_t *index)
{
    for (*index = 0; *index < languages->count; ++*index)
        if (api_language_same(languages->code[*index], code))
            break;
    if (*index == API_LANGUAGES)
        return false;
    if (*index == languages->count) {
        strncpy(languages->code[*index], code, MESSAGE_LANGUAGE);
        languages->codes[*index] = languages->code[*index];
        languages->tables[*index] = NULL;
        languages->count++;
    }
    if (!languages->tables[*index])
        languages->tables[*index] = table;
    return true;
}

void api_languages_read(struct api_languages *languages, const struct catalog *catalog)
{
    languages->model_count = 0;
    memset(languages->tables, 0, sizeof languages->tables);
    for (size_t i = 0; i < catalog_count(catalog) && languages->model_count < API_LANGUAGES; i++) {
        struct catalog_view view = catalog_at(catalog, i);
        struct api_model *model = &languages->models[languages->model_count];
        if (view.source[0] && detect_add(languages, view.source, view.src_trigrams, &model->source) &&
            detect_add(languages, view.target, view.tgt_trigrams, &model->target))
            languages->model_count++;
    }
}

bool api_languages_find(const struct api_languages *languages, const char *code, size_t *index)
{
    for (*index = 0; *index < languages->count; ++*index)
        if (api_language_same(languages->code[*index], code))
            return true;
    return false;
}

bool api_languages_reach(const struct api_languages *languages, size_t source, size_t target)
{
    if (source == target)
        return true;
    for (size_t i = 0; i < languages->model_count; i++)
        if (languages->models[i].source == source && languages->models[i].target == target)
            return true;
    return false;
}

static void detect_guess(struct api *api, const char *text, size_t size, struct detect_guess guesses[API_LANGUAGES])
{
    const struct api_languages *languages = &api->languages;
    if (size > DETECT_LOOKED)
        for (size = DETECT_LOOKED; size > 0 && ((unsigned char)text[size] & 0xC0) == 0x80;)
            size--;
    detector_guess(api->detector, languages->codes, languages->tables, languages->count, text, size, guesses);
}

size_t api_detect(struct api *api, const char *text, size_t size, size_t target, unsigned *confidence)
{
    const struct api_languages *languages = &api->languages;
    struct detect_guess guesses[API_LANGUAGES];
    detect_guess(api, text, size, guesses);
    *confidence = guesses[0].confidence;
    if (*confidence > 0)
        return guesses[0].language;
    for (size_t i = 0; i < languages->model_count; i++)
        if (languages->models[i].target == target)
            return languages->models[i].source;
    return languages->models[0].source;
}

static void detect_append(struct buffer *out, const char *before, unsigned confidence, const char *code)
{
    buffer_format(out, "%s{\"confidence\":%u,\"language\":", before, confidence);
    api_json_text(out, api_language_code(code));
    buffer_text(out, "}");
}

static void detect_guesses(struct api *api, const char *text, size_t size)
{
    const struct api_languages *languages = &api->languages;
    struct detect_guess guesses[API_LANGUAGES];
    detect_guess(api, text, size, guesses);
    size_t sure = guesses[0].confidence > 0 ? guesses[0].language : languages->models[0].source;
    detect_append(&api->out, "[", guesses[0].confidence, languages->code[sure]);
    for (size_t i = 1; i < languages->count && guesses[0].confidence < DETECT_SURE && guesses[i].confidence > 0; i++)
        detect_append(&api->out, ",", guesses[i].confidence, languages->code[guesses[i].language]);
    buffer_text(&api->out, "]");
}

void api_detect_answer(struct api *api, struct exchange *exchange)
{
    const struct api_form *form = &api->form;
    struct api_caller caller;
    struct api_error error = {0};
    if (!api_admit(api, exchange, &api->form, &caller))
        return;
    enum api_outcome outcome = API_INVALID;
    if (api_check_texts(form, &error) && form->shape != API_ONE)
        api_refuse(&error, 400, "Invalid request: q must be a string");
    if (error.status == 0 && api_check_lengths(api, form, caller.characters, &error) &&
        api->languages.model_count == 0) {
        outcome = API_NO_WORKER;
        http_set_header(exchange, "Retry-After", "5");
        api_refuse(&error, 503, "No model is loaded");
    }
    if (error.status) {
        api_count(api, exchange, outcome);
        api_answer_error(api, exchange, error.status, error.text);
        return;
    }
    buffer_clear(&api->out);
    detect_guesses(api, form->q.bytes.data, form->q.bytes.size);
    api_count(api, exchange, API_OK);
    api_answer(api, exchange, 200);
}
