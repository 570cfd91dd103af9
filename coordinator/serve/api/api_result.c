/* api_result.c - the answer of a translated job as JSON. Members are in the order of their names. */
#include "coordinator/serve/api/api_inside.h"
#include "coordinator/serve/api/text/api_json.h"
#include "coordinator/serve/api/text/api_language.h"
#include "coordinator/serve/api/text/markup.h"

#include <string.h>

static const struct api_text *result_text(const struct api_job *job, size_t index)
{
    return (const struct api_text *)(const void *)job->texts.data + index;
}

static struct api_run *result_runs(const struct api_job *job, const struct api_text *text)
{
    return (struct api_run *)(void *)job->runs.data + text->runs;
}

static size_t result_count(const struct api_job *job)
{
    return job->texts.size / sizeof(struct api_text);
}

/* Find each run's answer. The runs of a part are in the order of its request. False: a text failed. */
static bool result_locate(const struct api_job *job, size_t part, struct api_error *error)
{
    const struct answers *answers = &job->parts[part].request->answers;
    const struct answer *answer = answers->of;
    const struct hypothesis *hypothesis = answers->hypotheses;
    const char *bytes = answers->bytes, *notes = answers->notes;
    for (size_t i = 0; i < result_count(job); i++) {
        const struct api_text *text = result_text(job, i);
        for (size_t j = 0; j < text->run_count; j++) {
            struct api_run *run = &result_runs(job, text)[j];
            if (run->part != (int)part)
                continue;
            if (answer->status == ANSWER_FAILED || answer->hypotheses == 0)
                return api_refuse(error, 500, "Text %zu could not be translated: the workers that tried it failed",
                                  i + 1);
            run->answer = answer;
            run->hypotheses = hypothesis;
            run->bytes = bytes;
            run->notes = notes;
            for (uint32_t k = 0; k < answer->hypotheses; k++)
                bytes += hypothesis[k].size;
            hypothesis += answer->hypotheses;
            notes += answer->notes;
            answer++;
        }
    }
    return true;
}

/* A run of HTML: its translation with the white space of the run around it. */
static void result_escape(struct api *api, const struct api_job *job, const struct api_run *run)
{
    size_t size;
    struct buffer *plain = &api->plain;
    buffer_clear(plain);
    markup_unescape(job->form.q.bytes.data + run->at, run->size, plain);
    size_t begin = markup_core(plain->data, plain->size, &size);
    markup_escape(plain->data, begin, &api->found);
    markup_escape(run->bytes, run->hypotheses->size, &api->found);
    markup_escape(plain->data + begin + size, plain->size - begin - size, &api->found);
    api->found.failed |= plain->failed;
}

static void result_translation(struct api *api, const struct api_job *job, const struct api_text *text,
                               struct buffer *out)
{
    const char *bytes = job->form.q.bytes.data;
    const struct api_run *runs = result_runs(job, text);
    if (!job->html) {
        if (runs->part == API_COPIED)
            api_json_string(out, bytes + text->at, text->size);
        else
            api_json_string(out, runs->bytes, runs->hypotheses->size);
        return;
    }
    size_t at = text->at, end = text->at + text->size;
    buffer_clear(&api->found);
    for (size_t i = 0; i < text->run_count; i++) {
        if (runs[i].part == API_COPIED)
            continue;
        buffer_append(&api->found, bytes + at, runs[i].at - at);
        result_escape(api, job, &runs[i]);
        at = runs[i].at + runs[i].size;
    }
    buffer_append(&api->found, bytes + at, end - at);
    out->failed |= api->found.failed;
    api_json_string(out, api->found.data, api->found.size);
}

/* The hypotheses besides the best one, without repetitions and empty ones. */
static void result_alternatives(struct api *api, const struct api_job *job, const struct api_text *text)
{
    struct buffer *out = &api->out;
    const struct api_run *run = result_runs(job, text);
    bool none = job->html || run->part == API_COPIED;
    const char *at = none ? NULL : run->bytes;
    buffer_text(out, "[");
    bool first = true;
    for (uint32_t i = 0; !none && i < run->answer->hypotheses; at += run->hypotheses[i++].size) {
        uint32_t size = run->hypotheses[i].size;
        const char *other = run->bytes;
        bool repeated = i == 0 || size == 0;
        for (uint32_t j = 0; j < i && !repeated; other += run->hypotheses[j++].size)
            repeated = run->hypotheses[j].size == size && memcmp(other, at, size) == 0;
        if (repeated)
            continue;
        buffer_text(out, first ? "" : ",");
        api_json_string(out, at, size);
        first = false;
    }
    buffer_text(out, "]");
}

static void result_detected(struct api *api, const struct api_job *job, const struct api_text *text)
{
    (void)job;
    buffer_format(&api->out, "{\"confidence\":%u,\"language\":", text->confidence);
    api_json_text(&api->out, api_language_code(api->languages.code[text->language]));
    buffer_text(&api->out, "}");
}

static void result_text_details(struct api *api, const struct api_job *job, const struct api_text *text)
{
    struct buffer *out = &api->out;
    uint64_t cut = 0, source = 0, target = 0;
    const struct api_run *runs = result_runs(job, text);
    for (size_t i = 0; i < text->run_count; i++)
        if (runs[i].part != API_COPIED) {
            cut += runs[i].answer->cut;
            source += runs[i].answer->src_tokens;
            target += runs[i].answer->tgt_tokens;
        }
    buffer_format(out, "{\"cut_words\":%llu,\"source_tokens\":%llu,\"target_tokens\":%llu,\"unknown_words\":[",
                  (unsigned long long)cut, (unsigned long long)source, (unsigned long long)target);
    const char *comma = "";
    for (size_t i = 0; i < text->run_count; i++) {
        const char *word = runs[i].notes, *line;
        const char *end = runs[i].part == API_COPIED ? word : word + runs[i].answer->notes;
        for (; word < end && (line = memchr(word, '\n', (size_t)(end - word))) != NULL; word = line + 1) {
            buffer_text(out, comma);
            api_json_string(out, word, (size_t)(line - word));
            comma = ",";
        }
    }
    buffer_text(out, "]}");
}

static void result_details(struct api *api, const struct api_job *job)
{
    struct buffer *out = &api->out;
    uint64_t queued = 0, computed = 0;
    for (size_t i = 0; i < job->part_count; i++) {
        const struct request *request = job->parts[i].request;
        queued = request->queued_us > queued ? request->queued_us : queued;
        computed = request->computed_us > computed ? request->computed_us : computed;
    }
    buffer_format(out, "\"lstmq\":{\"compute_ms\":%.3f,\"models\":[", (double)computed / 1000);
    for (size_t i = 0; i < job->part_count; i++)
        if (i == 0 || strcmp(job->parts[i].request->model, job->parts[i - 1].request->model) != 0) {
            buffer_text(out, i > 0 ? "," : "");
            api_json_text(out, job->parts[i].request->model);
        }
    buffer_format(out, "],\"queue_ms\":%.3f,\"texts\":[", (double)queued / 1000);
    for (size_t i = 0; i < result_count(job); i++) {
        buffer_text(out, i > 0 ? "," : "");
        result_text_details(api, job, result_text(job, i));
    }
    buffer_text(out, "]},");
}

/* A member with one value for each text: a list, unless the request had one text only. */
static void result_each(struct api *api, const struct api_job *job, const char *name,
                        void (*append)(struct api *, const struct api_job *, const struct api_text *))
{
    bool one = job->form.shape == API_ONE;
    buffer_format(&api->out, "\"%s\":%s", name, one ? "" : "[");
    for (size_t i = 0; i < result_count(job); i++) {
        buffer_text(&api->out, i > 0 ? "," : "");
        append(api, job, result_text(job, i));
    }
    buffer_text(&api->out, one ? "," : "],");
}

/* Translations as they were requested: one, a list, or a list as URL-encoded JSON. */
static void result_translations(struct api *api, const struct api_job *job, struct buffer *out)
{
    bool one = job->form.shape == API_ONE;
    buffer_text(out, one ? "" : "[");
    for (size_t i = 0; i < result_count(job); i++) {
        buffer_text(out, i > 0 ? "," : "");
        result_translation(api, job, result_text(job, i), out);
    }
    buffer_text(out, one ? "" : "]");
}

static void result_wrapped(struct api *api, const struct api_job *job)
{
    struct buffer list = {0};
    result_translations(api, job, &list);
    buffer_text(&api->out, "\"");
    for (size_t i = 0; i < list.size; i++) {
        char byte = list.data[i];
        if ((byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z'))
            buffer_append(&api->out, &byte, 1);
        else
            buffer_format(&api->out, "%%%02X", (unsigned)(unsigned char)byte);
    }
    buffer_text(&api->out, "\"");
    api->out.failed |= list.failed;
    buffer_free(&list);
}

bool api_result(struct api *api, struct api_job *job, struct api_error *error)
{
    for (size_t i = 0; i < job->part_count; i++)
        if (!result_locate(job, i, error))
            return false;
    buffer_text(&api->out, "{");
    if (job->alternatives > 0)
        result_each(api, job, "alternatives", result_alternatives);
    if (job->automatic)
        result_each(api, job, "detectedLanguage", result_detected);
    if (job->details)
        result_details(api, job);
    buffer_text(&api->out, "\"translatedText\":");
    if (job->form.shape == API_WRAPPED)
        result_wrapped(api, job);
    else
        result_translations(api, job, &api->out);
    buffer_text(&api->out, "}");
    return true;
}
