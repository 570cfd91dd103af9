/* lstmq.h - translations from a queue (`lstmq serve`), for programs in C and C++.
 *
 *     struct lstmq_error error;
 *     struct lstmq_result *result;
 *     struct lstmq_client *client = lstmq_open("tcp://127.0.0.1:5758", NULL, &error);
 *     const char *texts[] = {"i am happy ."};
 *     if (client != NULL && lstmq_translate(client, "en", "fr", texts, 1, NULL, &result, &error) == LSTMQ_OK)
 *         puts(result->translations[0].text);
 *     lstmq_free(result);
 *     lstmq_close(client);
 *
 * A client is one connection to one queue. It connects in the background and connects again after a loss. The client
 * sends a request again, with the same number, when the queue was busy or its process was restarted. It does so until
 * the request's deadline. The queue recognises the number and computes each request once.
 *
 * lstmq_translate waits for its answer. A program that must not wait, or that wants many requests in flight, calls
 * lstmq_submit, then lstmq_take whenever lstmq_fd can be read; or lstmq_wait.
 *
 * Threads: a client belongs to one thread at a time, and different clients to any threads. A client does not survive
 * fork(). The library keeps no global state, prints nothing, and sets no signal handler.
 *
 * Texts are UTF-8. Build with `pkg-config --cflags --libs lstmq-client`. */
#ifndef LSTMQ_PROTO_CLIENT_LSTMQ_H
#define LSTMQ_PROTO_CLIENT_LSTMQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define LSTMQ_API __attribute__((visibility("default")))
#else
#define LSTMQ_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct lstmq_client;

enum lstmq_status {
    LSTMQ_OK = 0,
    LSTMQ_BUSY = 1,       /* the queue is full; error.retry_ms says when to try again               */
    LSTMQ_EXPIRED = 2,    /* the deadline passed                                                    */
    LSTMQ_INVALID = 3,    /* no model for these languages, or above a limit of this queue           */
    LSTMQ_NO_WORKER = 4,  /* no translation worker has loaded the model                             */
    LSTMQ_ENDING = 5,     /* the queue is about to end                                              */
    LSTMQ_FAILED = 6,     /* no text of the request could be translated                             */
    LSTMQ_CONNECTION = 7, /* the queue cannot be reached, refuses the key, or breaks the protocol   */
    LSTMQ_USAGE = 8,      /* the call is wrong: a bad endpoint, key file, language, text or number  */
    LSTMQ_MEMORY = 9      /* out of memory                                                          */
};

enum {
    LSTMQ_TEXTS_MOST = 4096,      /* texts of a request                        */
    LSTMQ_BYTES_MOST = 8388608,   /* of all texts of a request                 */
    LSTMQ_ALTERNATIVES_MOST = 16, /* of a text                                 */
    LSTMQ_DEADLINE_MS = 30000,    /* of a request that names none              */
    LSTMQ_DEADLINE_MOST = 86400000,
    LSTMQ_CONNECT_MS = 5000 /* for the first connection, by default      */
};

/* What went wrong: one line for people, in English, UTF-8. */
struct lstmq_error {
    enum lstmq_status status;
    int64_t retry_ms; /* try again after this time; 0 = do not */
    char text[1024];
};

/* How to connect. A struct of zeroes is a connection without keys. */
struct lstmq_settings {
    const char *key_file;    /* own key pair, NAME.key of `lstmq keygen NAME --role client`; NULL = no keys */
    const char *server_file; /* the queue's public key, its NAME.pub; needed with key_file                  */
    int64_t connect_ms;      /* a request fails after this time if the client was never connected;
                              * 0 = LSTMQ_CONNECT_MS                                                        */
};

/* How to translate. A struct of zeroes, or NULL, has the defaults. */
struct lstmq_options {
    int64_t deadline_ms;   /* for the answer, all tries included; 0 = LSTMQ_DEADLINE_MS                    */
    unsigned alternatives; /* further translations of each text; a queue may have fewer                    */
    bool details;          /* with the unknown words                                                       */
    bool once;             /* try once: busy, or a lost connection, is an error at once                    */
    const size_t *sizes;   /* [count] bytes of each text, which may then hold NULs; NULL = they end in NUL */
};

/* One more translation of a text. */
struct lstmq_alternative {
    const char *text; /* ends in NUL                                        */
    size_t size;      /* bytes                                              */
    float score;      /* log-probability; 0 = the queue does not compute it */
};

/* What became of one text. */
struct lstmq_translation {
    const char *text; /* ends in NUL; NULL: this text failed, the others did not      */
    size_t size;      /* bytes                                                        */
    float score;      /* log-probability; 0 = the queue does not compute it           */
    uint32_t source_tokens, target_tokens;
    uint32_t unknown; /* words that the model does not know                           */
    uint32_t cut;     /* words that were not translated: a sentence was too long      */
    size_t alternative_count;
    const struct lstmq_alternative *alternatives; /* the best first                   */
    size_t unknown_word_count;
    const char *const *unknown_words; /* only with details                */
};

/* The answer to a request. Everything in it lives until lstmq_free. */
struct lstmq_result {
    size_t count; /* as many as texts, in their order */
    const struct lstmq_translation *translations;
    const char *model; /* languages, step and hash of the checkpoint: "en-fr step-5650 0123456789abcdef" */
    uint64_t step;
    uint64_t queued_us, computed_us;
};

/* A request that is over. */
struct lstmq_done {
    uint64_t request;            /* as lstmq_submit returned it */
    struct lstmq_result *result; /* NULL unless LSTMQ_OK; release it with lstmq_free */
    struct lstmq_error error;    /* error.status is the request's */
};

/* Begin to connect to tcp://HOST:PORT or ipc://PATH. Does not wait: the queue may start later. NULL and `error`:
 * LSTMQ_USAGE or LSTMQ_MEMORY. `settings` and `error` may be NULL, here and below. */
LSTMQ_API struct lstmq_client *lstmq_open(const char *endpoint, const struct lstmq_settings *settings,
                                          struct lstmq_error *error);

/* Withdraw what is in flight and release the client; NULL is ignored. Results stay valid. */
LSTMQ_API void lstmq_close(struct lstmq_client *client);

/* Translate `count` texts from `source` to `target`, codes such as "en"; both NULL = the queue's first model. Waits for
 * the answer, until the deadline at most. Sets *result, to NULL unless it returns LSTMQ_OK. */
LSTMQ_API enum lstmq_status lstmq_translate(struct lstmq_client *client, const char *source, const char *target,
                                            const char *const *texts, size_t count, const struct lstmq_options *options,
                                            struct lstmq_result **result, struct lstmq_error *error);

/* The same without waiting: everything is copied, and the answer comes from lstmq_take. Returns the request's number,
 * or 0 and `error`: LSTMQ_USAGE or LSTMQ_MEMORY. */
LSTMQ_API uint64_t lstmq_submit(struct lstmq_client *client, const char *source, const char *target,
                                const char *const *texts, size_t count, const struct lstmq_options *options,
                                struct lstmq_error *error);

/* Do what is due, and take the next request that is over, in the order of their ends. False: none is over now. Never
 * waits. */
LSTMQ_API bool lstmq_take(struct lstmq_client *client, struct lstmq_done *done);

/* Wait until a request is over, for `timeout_ms` at most; -1 = without limit. False: none is over. Returns at once if
 * none is in flight. */
LSTMQ_API bool lstmq_wait(struct lstmq_client *client, int timeout_ms);

/* Withdraw a request: lstmq_take will not return it. An unknown number is ignored. */
LSTMQ_API void lstmq_cancel(struct lstmq_client *client, uint64_t request);

/* A descriptor for poll, select or epoll. Whenever it can be read, call lstmq_take until it returns false. That call
 * also sends messages and watches the deadlines. The client owns it. */
LSTMQ_API int lstmq_fd(const struct lstmq_client *client);

/* Requests that were submitted and not taken yet. */
LSTMQ_API size_t lstmq_pending(const struct lstmq_client *client);

/* NULL is ignored. */
LSTMQ_API void lstmq_free(struct lstmq_result *result);

/* "busy", "expired", ... */
LSTMQ_API const char *lstmq_status_name(enum lstmq_status status);

#ifdef __cplusplus
}
#endif

#endif
