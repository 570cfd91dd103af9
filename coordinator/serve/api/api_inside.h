/* api_inside.h - what the files of the API share; for api*.c only.
 *
 * A job is one POST /translate from its arrival to its answer. Its texts are cut into runs: for plain text a run is the
 * whole text, for HTML what stands between tags. Runs of one source language form a part, which is one request to the
 * broker. Runs that need no translation belong to no part and are copied. Jobs that are not in use are kept with their
 * memory. */
#ifndef LSTMQ_COORDINATOR_SERVE_API_API_INSIDE_H
#define LSTMQ_COORDINATOR_SERVE_API_API_INSIDE_H

#include "coordinator/http/histogram.h"
#include "coordinator/serve/api/api.h"
#include "coordinator/serve/api/api_form.h"
#include "coordinator/serve/api/api_keys.h"
#include "coordinator/serve/api/api_window.h"
#include "proto/text/detector.h"

enum { API_LANGUAGES = 128, API_FLOW = 96 };

/* The languages of all models that were loaded, and the models of now, as the broker's catalog has them. Indexes of
 * languages stay as they are, because jobs keep them. */
struct api_languages {
    size_t count;
    char code[API_LANGUAGES][MESSAGE_LANGUAGE + 1];
    const char *codes[API_LANGUAGES];
    const struct detect_table *tables[API_LANGUAGES];
    size_t model_count;
    struct api_model {
        size_t source, target; /* indexes of languages */
    } models[API_LANGUAGES];
};

/* What became of a request, for the metrics. */
enum api_outcome {
    API_OK,
    API_BUSY,
    API_EXPIRED,
    API_CANCELLED,
    API_INVALID,
    API_UNAUTHORIZED,
    API_LIMITED,
    API_NO_WORKER,
    API_FAILED,
    API_OUTCOMES
};

struct api_text {
    size_t at, size;     /* in form.q.bytes */
    size_t language;     /* of the source */
    unsigned confidence; /* of the detection */
    size_t runs;         /* index of the first */
    size_t run_count;
};

enum { API_COPIED = -1 };

struct api_run {
    size_t at, size; /* in form.q.bytes */
    int part;        /* or API_COPIED */
    /* Where the answer is, once it has arrived. */
    const struct answer *answer;
    const struct hypothesis *hypotheses;
    const char *bytes, *notes;
};

struct api_part {
    size_t language; /* of the source */
    struct api_texts texts;
    struct request *request; /* NULL = not submitted */
    bool over;
};

struct api_job {
    struct exchange *exchange;
    struct api_form form;
    size_t target; /* language */
    bool automatic, html, details;
    uint32_t alternatives;
    int64_t deadline_ms; /* 0 = the queue's default */
    char flow[API_FLOW];
    struct buffer texts; /* struct api_text each */
    struct buffer runs;  /* struct api_run each, text after text */
    struct api_part *parts;
    size_t part_count, part_capacity;
    size_t open;          /* parts that are not over */
    struct api_job *next; /* of api->idle   */
    struct api_job *all;  /* of api->jobs   */
};

struct api {
    struct http *http;
    struct broker *broker;
    const struct config *config;
    struct detector *detector;
    struct api_keys *keys; /* NULL = there are none */
    struct api_windows *windows;
    uint64_t seed;
    struct buffer token; /* of the metrics; empty = none */
    struct api_languages languages;
    struct api_job *jobs, *idle;     /* all of them; those that are not in use */
    struct buffer out, plain, found; /* an answer, a text, runs: within one call */
    struct api_form form;            /* of a detection */
    uint64_t outcomes[API_OUTCOMES];
    struct histogram duration; /* of requests, s */
};

/* api_common.c: answers. */

/* Headers by which pages of other origins may call the API. */
void api_set_cors(struct exchange *exchange);

/* Answer with api->out; 500 if there was no memory for it. */
void api_answer_as(struct api *api, struct exchange *exchange, unsigned status, const char *content_type);

/* The same with api->out as JSON and a line end. */
void api_answer(struct api *api, struct exchange *exchange, unsigned status);
void api_answer_error(struct api *api, struct exchange *exchange, unsigned status, const char *text);
void api_count(struct api *api, const struct exchange *exchange, enum api_outcome outcome);

/* Who sends a request, and what it may: the key's limits or those without a key. */
struct api_caller {
    int64_t characters; /* of a text; 0 = no limit */
    char flow[API_FLOW];
};

/* Read the form, and check the key and the limit of requests, in which each text counts. False: the request is
 * answered. */
bool api_admit(struct api *api, struct exchange *exchange, struct api_form *form, struct api_caller *caller);

/* Check q: there, of the right type, within the limits of texts and characters. */
bool api_check_texts(const struct api_form *form, struct api_error *error);
bool api_check_lengths(const struct api *api, const struct api_form *form, int64_t characters, struct api_error *error);

/* A field as text; "" if it is absent. */
const char *api_field_text(const struct api_form *form, enum api_field field);

/* api_detect.c: languages. */
void api_languages_read(struct api_languages *languages, const struct catalog *catalog);

/* The index of a code; false: unknown. */
bool api_languages_find(const struct api_languages *languages, const char *code, size_t *index);

/* Whether texts of `source` can be translated to `target`; they can if the two are the same. */
bool api_languages_reach(const struct api_languages *languages, size_t source, size_t target);

/* The language of a text. With confidence 0 it is the first one that reaches `target`. */
size_t api_detect(struct api *api, const char *text, size_t size, size_t target, unsigned *confidence);

/* POST /detect */
void api_detect_answer(struct api *api, struct exchange *exchange);

/* api_translate.c: POST /translate. */
void api_translate(struct api *api, struct exchange *exchange);

/* A broker's request of a job is over. */
void api_finished(struct api *api, struct request *request);

/* The client of a job has left: withdraw its requests. */
void api_abandon(struct api *api, struct api_job *job);

/* Free all jobs. */
void api_jobs_free(struct api *api);

/* api_result.c: append the answer of a job whose parts are all translated, to api->out. False: a text failed. */
bool api_result(struct api *api, struct api_job *job, struct api_error *error);

/* api_page.c: what describes the server. Each answers the exchange. */
void api_answer_languages(struct api *api, struct exchange *exchange);
void api_answer_settings(struct api *api, struct exchange *exchange);
void api_answer_spec(struct api *api, struct exchange *exchange);
void api_answer_docs(struct api *api, struct exchange *exchange);

/* api_live.c: the page, and what only it asks for. */
void api_answer_page(struct api *api, struct exchange *exchange);
void api_answer_status(struct api *api, struct exchange *exchange);
void api_answer_curves(struct api *api, struct exchange *exchange);

/* api_metrics.c */

/* Whether the request has the metrics' token, or none is needed. */
bool api_is_operator(const struct api *api, const struct exchange *exchange);
void api_answer_metrics(struct api *api, struct exchange *exchange);

#endif
