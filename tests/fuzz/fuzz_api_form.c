/* fuzz_api_form.c - bytes as an HTTP request's query and body, in each of the encodings that the API reads.
 *
 * Every text and value that is accepted is UTF-8. The lengths add up, and the shape of q agrees with them. What is
 * refused gets a status and a text. A form is read into again and again, so what the request before left in it must not
 * matter. */
#include "tests/fuzz/fuzz.h"

#include "coordinator/serve/api/api_form.h"

static bool fuzz_api_form_is_utf8(const char *text, size_t size)
{
    uint32_t code;
    for (size_t at = 0, length; at < size; at += length)
        if ((length = utf8_next(text + at, size - at, &code)) == 0)
            return false;
    return true;
}

static void fuzz_api_form_check(const struct api_form *form)
{
    size_t count = api_texts_count(&form->q), at = 0;
    for (size_t i = 0; i < count && form->shape != API_WRONG; i++) {
        size_t length = api_texts_lengths(&form->q)[i];
        must(length <= form->q.bytes.size - at && fuzz_api_form_is_utf8(form->q.bytes.data + at, length));
        at += length;
    }
    must(form->shape == API_WRONG || at == form->q.bytes.size);
    must(form->shape != API_ONE || (count == 1 && at > 0));
    must((form->shape != API_LIST && form->shape != API_WRAPPED) || count > 0);
    for (int field = 0; field < API_FIELDS; field++) {
        const struct api_value *value = &form->of[field];
        must(fuzz_api_form_is_utf8(value->text.data, value->text.size));
        must(value->kind == API_ABSENT || value->kind == API_OTHER || value->text.size > 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const types[] = {"application/json", "application/x-www-form-urlencoded",
                                        "multipart/form-data; boundary=b", "text/plain", NULL};
    static struct api_form form;
    struct api_error error = {0};
    const char *type = types[fuzz_choice(&data, &size) % (sizeof types / sizeof *types)];
    const uint8_t *line = size > 0 ? memchr(data, '\n', size) : NULL;
    size_t query_size = line ? (size_t)(line - data) : 0, skipped = line ? query_size + 1 : 0;
    char *query = malloc(query_size + 1), *body = fuzz_copy(data + skipped, size - skipped);
    must(query != NULL);
    if (query_size > 0)
        memcpy(query, data, query_size);
    query[query_size] = '\0';
    if (api_form_read(&form, type, query, body, size - skipped, &error)) {
        must(error.status == 0);
        fuzz_api_form_check(&form);
    } else {
        must(error.status == 400 || error.status == 415);
        must(is_one_line(error.text, strnlen(error.text, sizeof error.text)));
    }
    free(query);
    free(body);
    return 0;
}
