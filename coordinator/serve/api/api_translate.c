/* api_translate.c - POST /translate: checks, runs and parts of a job, and its end; see api_inside.h. */
#include "coordinator/serve/api/api_inside.h"
#include "coordinator/serve/api/text/api_language.h"
#include "coordinator/serve/api/text/markup.h"
#include "proto/text/unicode.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A job with more memory than this does not keep it. */
enum { JOB_KEPT = 1 << 18 };

static struct api_job *job_new(struct api *api)
{
    struct api_job *job = api->idle;
    if (job) {
        api->idle = job->next;
        return job;
    }
    job = calloc(1, sizeof *job);
    if (job) {
        job->all = api->jobs;
        api->jobs = job;
    }
    return job;
}

/* Free what a job holds. */
static void job_clear(struct api_job *job)
{
    api_form_free(&job->form);
    buffer_free(&job->texts);
    buffer_free(&job->runs);
    for (size_t i = 0; i < job->part_capacity; i++)
        api_texts_free(&job->parts[i].texts);
    free(job->parts);
    *job = (struct api_job){.all = job->all};
}

/* Withdraw what the broker still has of a job, and put the job aside. */
static void job_end(struct api *api, struct api_job *job)
{
    for (size_t i = 0; i < job->part_count; i++) {
        struct api_part *part = &job->parts[i];
        if (part->request && part->over)
            broker_release(api->broker, part->request);
        else if (part->request)
            broker_cancel(api->broker, part->request);
        part->request = NULL;
    }
    job->part_count = job->open = 0;
    job->exchange = NULL;
    if (job->form.q.bytes.capacity > JOB_KEPT || job->runs.capacity > JOB_KEPT)
        job_clear(job);
    job->next = api->idle;
    api->idle = job;
}

/* The number that `alternatives` is, as Python's int() takes it: "2", 1.9 as 1, -1 as 0. */
static bool job_alternatives(const struct api_form *form, int64_t most, uint32_t *count, struct api_error *error)
{
    const struct api_value *value = &form->of[API_ALTERNATIVES];
    const char *text = api_field_text(form, API_ALTERNATIVES);
    char *end = NULL;
    double number = 0;
    if (value->kind == API_NUMBER) {
        number = trunc(strtod(text, &end));
    } else if (value->kind == API_TEXT) {
        const char *digits = text + strspn(text, " \t\n\r");
        digits += *digits == '+' || *digits == '-';
        size_t size = strspn(digits, "0123456789");
        bool whole =
            size > 0 && digits[size + strspn(digits + size, " \t\n\r")] == '\0' && strlen(text) == value->text.size;
        number = whole ? strtod(text, &end) : 0;
    }
    if (value->kind != API_ABSENT && !end)
        return api_refuse(error, 400, "Invalid request: alternatives parameter is not a number");
    if (number > (double)most)
        return api_refuse(error, 400, "Invalid request: alternatives parameter must be <= %lld", (long long)most);
    *count = number > 0 ? (uint32_t)number : 0;
    return true;
}

static bool job_details(const struct api_form *form, bool *details, struct api_error *error)
{
    const char *text = api_field_text(form, API_DETAILS);
    enum api_kind kind = form->of[API_DETAILS].kind;
    *details = (kind == API_TEXT || kind == API_BOOL) && (strcasecmp(text, "true") == 0 || strcmp(text, "1") == 0);
    bool known = *details || kind == API_ABSENT || (kind == API_BOOL) ||
                 (kind == API_TEXT && (strcasecmp(text, "false") == 0 || strcmp(text, "0") == 0));
    return known || api_refuse(error, 400, "Invalid request: details must be true or false");
}

/* Seconds of X-Request-Timeout. */
static bool job_deadline(const struct exchange *exchange, int64_t *deadline_ms, struct api_error *error)
{
    const char *header = http_header(exchange, "X-Request-Timeout");
    char *end = NULL;
    *deadline_ms = 0;
    if (!header)
        return true;
    double seconds = strtod(header, &end);
    if (end == header || end[strspn(end, " \t")] != '\0' || !(seconds > 0) || strpbrk(header, "xXpP"))
        return api_refuse(error, 400, "X-Request-Timeout must be a number of seconds above 0");
    *deadline_ms = seconds > 86400 ? 86400000 : (int64_t)ceil(seconds * 1000);
    return true;
}

static bool job_presence(const struct api_form *form, enum api_field field, const char *name, struct api_error *error)
{
    if (form->of[field].kind == API_ABSENT)
        return api_refuse(error, 400, "Invalid request: missing %s parameter", name);
    if (form->of[field].kind == API_OTHER)
        return api_refuse(error, 400, "Invalid request: %s must be a string", name);
    return true;
}

static bool job_language(const struct api *api, const struct api_form *form, enum api_field field, size_t *index,
                         struct api_error *error)
{
    const char *code = api_field_text(form, field);
    return (strlen(code) == form->of[field].text.size && api_languages_find(&api->languages, code, index)) ||
           api_refuse(error, 400, "%.64s is not supported", code);
}

static bool job_format(const struct api_form *form, bool *html, struct api_error *error)
{
    const char *format = api_field_text(form, API_FORMAT);
    if (form->of[API_FORMAT].kind == API_OTHER)
        return api_refuse(error, 400, "Invalid request: format must be a string");
    *html = strcmp(format, "html") == 0;
    return *html || !*format || strcmp(format, "text") == 0 ||
           api_refuse(error, 400, "%.64s format is not supported", format);
}

static bool job_reach(const struct api_languages *languages, size_t source, size_t target, struct api_error *error)
{
    const char *from = languages->code[source], *to = languages->code[target];
    return api_languages_reach(languages, source, target) ||
           api_refuse(error, 400, "%s (%s) is not available as a target language from %s (%s)", api_language_name(to),
                      api_language_code(to), api_language_name(from), api_language_code(from));
}

/* The order of the checks decides which error a client sees. */
static bool job_check(const struct api *api, struct api_job *job, int64_t characters, size_t *source,
                      struct api_error *error)
{
    const struct api_form *form = &job->form;
    if (!api_check_texts(form, error) || !job_presence(form, API_SOURCE, "source", error) ||
        !job_presence(form, API_TARGET, "target", error) ||
        !job_alternatives(form, api->config->http_alternatives, &job->alternatives, error) ||
        !api_check_lengths(api, form, characters, error))
        return false;
    if (api->languages.model_count == 0) {
        http_set_header(job->exchange, "Retry-After", "5");
        return api_refuse(error, 503, "No model is loaded");
    }
    job->automatic = strcasecmp(api_field_text(form, API_SOURCE), "auto") == 0;
    if (!(job->automatic || job_language(api, form, API_SOURCE, source, error)) ||
        !job_language(api, form, API_TARGET, &job->target, error) || !job_format(form, &job->html, error) ||
        !(job->automatic || job_reach(&api->languages, *source, job->target, error)))
        return false;
    return job_details(form, &job->details, error) && job_deadline(job->exchange, &job->deadline_ms, error);
}

/* The part for runs of a language, which is added unless one has space; NULL: no memory. */
static struct api_part *job_part(struct api_job *job, size_t language)
{
    for (size_t i = job->part_count; i-- > 0;)
        if (job->parts[i].language == language && api_texts_count(&job->parts[i].texts) < TEXTS_MOST)
            return &job->parts[i];
    if (job->part_count == job->part_capacity) {
        size_t capacity = job->part_capacity ? 2 * job->part_capacity : 1;
        struct api_part *parts = realloc(job->parts, capacity * sizeof *parts);
        if (!parts)
            return NULL;
        memset(parts + job->part_capacity, 0, (capacity - job->part_capacity) * sizeof *parts);
        job->parts = parts;
        job->part_capacity = capacity;
    }
    struct api_part *part = &job->parts[job->part_count++];
    part->language = language;
    part->over = false;
    api_texts_clear(&part->texts);
    return part;
}

/* Put what is to be translated of a run into a part. In HTML that is the text without references, and without the
 * white space around it. */
static bool job_send(struct api *api, struct api_job *job, size_t language, struct api_run *run)
{
    const char *text = job->form.q.bytes.data + run->at;
    size_t size = run->size;
    if (job->html) {
        buffer_clear(&api->plain);
        markup_unescape(text, size, &api->plain);
        size_t begin = markup_core(api->plain.data, api->plain.size, &size);
        text = api->plain.data + begin;
        if (size == 0)
            return !api->plain.failed;
    }
    struct api_part *part = job_part(job, language);
    if (!part)
        return false;
    run->part = (int)(part - job->parts);
    api_texts_add(&part->texts, text, size);
    return !api->plain.failed && !part->texts.bytes.failed && !part->texts.lengths.failed;
}

/* What a reader sees of a text, to detect its language: of HTML the runs alone. */
static void job_visible(struct api *api, const struct api_job *job, const struct api_text *text, const char **visible,
                        size_t *size)
{
    const char *bytes = job->form.q.bytes.data;
    *visible = bytes + text->at;
    *size = text->size;
    if (!job->html)
        return;
    const struct api_run *runs = (const struct api_run *)(const void *)job->runs.data + text->runs;
    buffer_clear(&api->plain);
    for (size_t i = 0; i < text->run_count; i++) {
        markup_unescape(bytes + runs[i].at, runs[i].size, &api->plain);
        buffer_text(&api->plain, "\n");
    }
    *visible = api->plain.data ? api->plain.data : "";
    *size = api->plain.size;
}

static void job_find_runs(struct api *api, struct api_job *job, const struct api_text *text)
{
    struct api_run run = {.at = text->at, .size = text->size, .part = API_COPIED};
    if (!job->html) {
        buffer_append(&job->runs, &run, sizeof run);
        return;
    }
    buffer_clear(&api->found);
    markup_runs(job->form.q.bytes.data + text->at, text->size, &api->found);
    const struct markup_run *found = (const struct markup_run *)(const void *)api->found.data;
    for (size_t i = 0; i < api->found.size / sizeof *found; i++) {
        run.at = text->at + found[i].at;
        run.size = found[i].size;
        buffer_append(&job->runs, &run, sizeof run);
    }
    job->runs.failed |= api->found.failed;
}

/* Cut the texts into runs, find their languages, and put the runs into parts. */
static bool job_cut(struct api *api, struct api_job *job, size_t source, struct api_error *error)
{
    size_t at = 0;
    buffer_clear(&job->texts);
    buffer_clear(&job->runs);
    for (size_t i = 0; i < api_texts_count(&job->form.q); i++) {
        struct api_text text = {.at = at, .size = api_texts_lengths(&job->form.q)[i], .language = source};
        text.runs = job->runs.size / sizeof(struct api_run);
        job_find_runs(api, job, &text);
        if (job->runs.failed)
            return api_refuse(error, 500, "Out of memory");
        text.run_count = job->runs.size / sizeof(struct api_run) - text.runs;
        if (text.runs + text.run_count > (size_t)api->config->serve_queue)
            return api_refuse(error, 400, "%zu texts are above the %lld that this queue holds: send fewer at a time",
                              text.runs + text.run_count, (long long)api->config->serve_queue);
        if (job->automatic) {
            const char *visible;
            size_t size;
            job_visible(api, job, &text, &visible, &size);
            text.language = api_detect(api, visible, size, job->target, &text.confidence);
            if (!job_reach(&api->languages, text.language, job->target, error))
                return false;
        }
        struct api_run *runs = (struct api_run *)(void *)job->runs.data + text.runs;
        for (size_t run = 0; text.language != job->target && run < text.run_count; run++)
            if (!job_send(api, job, text.language, &runs[run]))
                return api_refuse(error, 500, "Out of memory");
        buffer_append(&job->texts, &text, sizeof text);
        at += text.size;
    }
    return !job->texts.failed || api_refuse(error, 500, "Out of memory");
}

static bool job_submit(struct api *api, struct api_job *job, struct api_error *error)
{
    struct err err = {0};
    for (size_t i = 0; i < job->part_count; i++) {
        struct api_part *part = &job->parts[i];
        const char *source = api->languages.code[part->language], *target = api->languages.code[job->target];
        struct request_terms terms = {
            .source = {source, strlen(source)},
            .target = {target, strlen(target)},
            .texts = {(uint32_t)api_texts_count(&part->texts), api_texts_lengths(&part->texts), part->texts.bytes.data,
                      part->texts.bytes.size},
            .deadline_ms = job->deadline_ms,
            .alternatives = job->html ? 0 : job->alternatives,
            .details = job->details,
            .flow = job->flow,
            .owner = job,
        };
        part->request = broker_submit(api->broker, &terms, &err);
        if (!part->request)
            return api_refuse(error, 500, "%s", err.text);
        job->open++;
    }
    return true;
}

static void job_fail(struct api *api, struct api_job *job, enum api_outcome outcome, const struct api_error *error)
{
    struct exchange *exchange = job->exchange;
    exchange->owner = NULL;
    job_end(api, job);
    api_count(api, exchange, outcome);
    api_answer_error(api, exchange, error->status, error->text);
}

/* Name the checkpoints that translated a job. */
static void job_name_models(const struct api_job *job)
{
    char models[512];
    size_t used = 0;
    for (size_t i = 0; i < job->part_count; i++) {
        const char *model = job->parts[i].request->model;
        if (i > 0 && strcmp(model, job->parts[i - 1].request->model) == 0)
            continue;
        int size = snprintf(models + used, sizeof models - used, "%s%s", used ? ", " : "", model);
        if (size < 0 || (size_t)size >= sizeof models - used)
            return;
        used += (size_t)size;
    }
    if (used > 0)
        http_set_header(job->exchange, "X-Lstmq-Model", models);
}

static void job_succeed(struct api *api, struct api_job *job)
{
    struct api_error error;
    buffer_clear(&api->out);
    if (!api_result(api, job, &error)) {
        job_fail(api, job, API_FAILED, &error);
        return;
    }
    struct exchange *exchange = job->exchange;
    job_name_models(job);
    exchange->owner = NULL;
    job_end(api, job);
    api_count(api, exchange, API_OK);
    api_answer(api, exchange, 200);
}

/* The first part that has no translation decides the answer. */
static void job_refuse(struct api *api, struct api_job *job, const struct request *request)
{
    static const struct {
        unsigned status;
        enum api_outcome outcome;
    } answers[REQUEST_OUTCOMES] = {
        [REQUEST_BUSY] = {503, API_BUSY},           [REQUEST_EXPIRED] = {504, API_EXPIRED},
        [REQUEST_INVALID] = {400, API_INVALID},     [REQUEST_NO_WORKER] = {503, API_NO_WORKER},
        [REQUEST_ENDING] = {503, API_NO_WORKER},    [REQUEST_FAILED] = {500, API_FAILED},
        [REQUEST_CANCELLED] = {500, API_CANCELLED},
    };
    struct api_error error = {.status = answers[request->outcome].status ? answers[request->outcome].status : 500};
    enum api_outcome outcome = answers[request->outcome].outcome;
    unsigned seconds = (request->retry_ms + 999) / 1000;
    snprintf(error.text, sizeof error.text, "%s", request->why);
    if (request->outcome == REQUEST_BUSY)
        snprintf(error.text, sizeof error.text, "Server is busy, try again in %u s", seconds ? seconds : 1);
    if (error.status == 503) {
        char number[16];
        snprintf(number, sizeof number, "%u", seconds ? seconds : 1);
        http_set_header(job->exchange, "Retry-After", number);
    }
    job_fail(api, job, outcome, &error);
}

void api_translate(struct api *api, struct exchange *exchange)
{
    struct api_error error = {0};
    struct api_caller caller;
    size_t source = 0;
    struct api_job *job = job_new(api);
    if (!job) {
        api_answer_error(api, exchange, 500, "Out of memory");
        return;
    }
    job->exchange = exchange;
    if (!api_admit(api, exchange, &job->form, &caller)) {
        job_end(api, job);
        return;
    }
    snprintf(job->flow, sizeof job->flow, "%s", caller.flow);
    if (!job_check(api, job, caller.characters, &source, &error) || !job_cut(api, job, source, &error) ||
        !job_submit(api, job, &error)) {
        job_fail(api, job,
                 error.status == 503   ? API_NO_WORKER
                 : error.status == 500 ? API_FAILED
                                       : API_INVALID,
                 &error);
    } else if (job->open == 0) {
        job_succeed(api, job);
    } else {
        exchange->owner = job;
    }
}

void api_finished(struct api *api, struct request *request)
{
    struct api_job *job = request->owner;
    for (size_t i = 0; i < job->part_count; i++)
        if (job->parts[i].request == request) {
            job->parts[i].over = true;
            job->open--;
        }
    if (request->outcome != REQUEST_DONE)
        job_refuse(api, job, request);
    else if (job->open == 0)
        job_succeed(api, job);
}

void api_abandon(struct api *api, struct api_job *job)
{
    api_count(api, job->exchange, API_CANCELLED);
    job_end(api, job);
}

void api_jobs_free(struct api *api)
{
    while (api->jobs) {
        struct api_job *job = api->jobs;
        api->jobs = job->all;
        job_clear(job);
        free(job);
    }
    api->idle = NULL;
}
