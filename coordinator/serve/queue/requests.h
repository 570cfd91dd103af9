/* requests.h - the requests of a queue: memory, lists, and which are repeated.
 *
 * A client that loses its connection repeats its requests. requests_find knows a request by the client's key and its
 * two numbers, while it waits and after its answer was sent. An answer is kept until its deadline would have passed, or
 * until newer ones need the space (REQUESTS_KEPT, REQUESTS_BYTES). Memory of freed requests is used again. Loop
 * thread. */
#ifndef LSTMQ_COORDINATOR_SERVE_QUEUE_REQUESTS_H
#define LSTMQ_COORDINATOR_SERVE_QUEUE_REQUESTS_H

#include "coordinator/serve/queue/sentence.h"
#include "coordinator/serve/request.h"

enum { REQUESTS_KEPT = 16384, REQUESTS_BYTES = 32 << 20 };

struct requests {
    struct request **chains; /* [size], a power of two */
    size_t size;
    struct request_list kept; /* answered, the oldest first */
    size_t kept_bytes;
    struct request_list free;
};

bool requests_open(struct requests *requests, struct err *err);
void requests_close(struct requests *requests);

/* A request with parts for `texts` texts. NULL: no memory. */
struct request *requests_new(struct requests *requests, uint32_t texts);

/* From now on it is found. A request of client 0 never is. */
void requests_enter(struct requests *requests, struct request *request);
struct request *requests_find(const struct requests *requests, uint64_t key, uint64_t client, uint64_t number);

/* Its answer was sent. */
void requests_keep(struct requests *requests, struct request *request, int64_t now_us);

/* A kept request is to be answered again: it is in no list then. */
void requests_unkeep(struct requests *requests, struct request *request);

/* Forget what was kept for long enough. */
void requests_sweep(struct requests *requests, int64_t now_us);

/* Its parts have left their sentences. */
void requests_free(struct requests *requests, struct request *request);

/* Put it at the end of a list, out of the one where it is; NULL = into none. */
void request_move(struct request *request, struct request_list *list);

/* Make request->answers from the sentences of its parts, all done. False: no memory. */
bool request_pack(struct request *request);

#endif
