/* message.h - the messages of a coordinator and its workers, and of a translation queue, its workers and its clients,
 * as C structs.
 *
 * PROTOCOL.md is the norm; this is its C form. A message is frame 1 {v, type}, frame 2 the body, then bulk frames: raw
 * little-endian arrays that the body describes. Every value is validated before use: sizes, ranges, UTF-8, counted
 * containers, frame counts. Unknown fields are ignored.
 *
 * A received struct message owns its frames. Its strings and arrays point into them until message_close. Sockets belong
 * to one thread, and so do messages. */
#ifndef LSTMQ_PROTO_WIRE_MESSAGE_H
#define LSTMQ_PROTO_WIRE_MESSAGE_H

#include "proto/base/err.h"
#include "proto/base/rows.h"
#include "proto/base/step_result.h"

#include <stddef.h>
#include <stdint.h>

enum { PROTOCOL_MAJOR = 1, PROTOCOL_MINOR = 0 };

/* The sender: c = coordinator, w = worker. Of a translation queue: q = queue, t = translation worker, a = client. */
enum message_type {
    MESSAGE_HELLO = 1,       /* w: a worker introduces itself */
    MESSAGE_WELCOME = 2,     /* c: the worker's id, the run's configuration */
    MESSAGE_GENERATION = 3,  /* c: a fixed set of ranks begins; source of the state */
    MESSAGE_STATE = 4,       /* both: a piece of a state file */
    MESSAGE_READY = 5,       /* w: it holds the state of this step */
    MESSAGE_CREDIT = 6,      /* w: it accepts this many more units of work */
    MESSAGE_SPAN = 7,        /* c: rows of the worker's shards for consecutive steps */
    MESSAGE_REPORT = 8,      /* w: the results of a span */
    MESSAGE_VALIDATE = 9,    /* c: rows to score */
    MESSAGE_SCORED = 10,     /* w: their scores */
    MESSAGE_SAVE = 11,       /* c: request the worker's state */
    MESSAGE_DISMISS = 12,    /* c: the run is over for this worker */
    MESSAGE_LEAVE = 13,      /* w: it disconnects, the answer to DISMISS */
    MESSAGE_ERROR = 14,      /* both: the sender has failed, and why */
    MESSAGE_PING = 15,       /* c: heartbeat */
    MESSAGE_PONG = 16,       /* w: the answer to PING */
    MESSAGE_STOP = 17,       /* c: the generation is over; stop its work */
    MESSAGE_STOPPED = 18,    /* w: its work has stopped; its step and last results */
    MESSAGE_ENDPOINT = 19,   /* w: where the previous rank connects */
    MESSAGE_PEERS = 20,      /* c: the endpoints of all ranks */
    MESSAGE_RESIGN = 21,     /* w: request to leave at the next step boundary */
    MESSAGE_ASK = 22,        /* any permitted peer: request the status */
    MESSAGE_STATUS = 23,     /* c, q: the run's or the queue's status */
    MESSAGE_TRANSLATE = 24,  /* a: texts to translate */
    MESSAGE_TRANSLATED = 25, /* q: their translations */
    MESSAGE_REJECTED = 26,   /* q: why there are none, and when to try again */
    MESSAGE_CANCEL = 27,     /* a: the request is withdrawn */
    MESSAGE_JOIN = 28,       /* t: a translation worker introduces itself */
    MESSAGE_JOINED = 29,     /* q: the worker's id, the queue's times */
    MESSAGE_MODEL = 30,      /* q: load this checkpoint */
    MESSAGE_LOADED = 31,     /* t: it is loaded and has answered a probe, or why not */
    MESSAGE_RETIRE = 32,     /* q: no batch with this checkpoint follows */
    MESSAGE_FETCH = 33,      /* t: request a piece of a file by the hash of its content */
    MESSAGE_PIECE = 34,      /* q: that piece */
    MESSAGE_BATCH = 35,      /* q: texts to translate together */
    MESSAGE_RESULT = 36,     /* t: their translations */
    MESSAGE_GOODBYE = 37,    /* t: it leaves; what it still holds is unfinished */
    MESSAGE_TYPES
};

enum { MESSAGE_STATE_MODEL = 0, MESSAGE_STATE_OPTIMIZER = 1 };

/* Limits, in bytes except SPAN_STEPS, SHARDS_MOST, ROW_LENGTH and RANKS_MOST. */
enum {
    MESSAGE_NAME = 128,       /* of a name in HELLO */
    MESSAGE_LINE = 1024,      /* of a reason or an error's text */
    MESSAGE_CONFIG = 32768,   /* of WELCOME's configuration */
    MESSAGE_JSON = 60000,     /* of STATUS's text */
    MESSAGE_MAP = 65536,      /* of a header or body frame */
    MESSAGE_BYTES = 64 << 20, /* of a whole message; ZMQ_MAXMSGSIZE of network sockets */
    SPAN_STEPS = 1024,        /* steps in a span */
    SHARDS_MOST = 4096,       /* shards of a batch */
    ROW_LENGTH = 1002,        /* ids in one side of a row */
    RANKS_MOST = 4096,        /* workers in a generation */
    PEERS_BYTES = 1 << 20,    /* of PEERS' bulk frame */
    STATE_PIECE = 1 << 20,    /* of a STATE's bulk frame, and of a PIECE's */
    MESSAGE_LANGUAGE = 35,    /* of a language's code */
    MESSAGE_FOLDER = 4095,    /* of a checkpoint's folder */
    TEXTS_MOST = 4096,        /* texts of a request or a batch */
    TEXTS_BYTES = 16 << 20,   /* of their bytes together */
    ALTERNATIVES_MOST = 16,   /* translations of a text besides the first */
};

/* A string inside a frame, or anywhere when sending. Not NUL-terminated. */
struct text {
    const char *data;
    size_t size;
};

struct hello {
    struct text build, backend, backend_version, isa, arithmetic; /* at most MESSAGE_NAME bytes each */
    uint32_t threads;
    struct text host; /* name of the machine, for people; at most MESSAGE_NAME bytes */
    uint32_t pid;
    uint64_t run, worker; /* of the previous WELCOME; 0 = none */
    uint32_t held;        /* 1: it holds the state after `step` steps of that run */
    uint64_t step;
    uint64_t branch;                   /* the last generation that began with this state or computed it */
    uint32_t steps;                    /* number of `results`, of the steps before `step` */
    const struct step_result *results; /* bulk: [steps] */
};

struct welcome {
    uint64_t run;                  /* identity of the run, drawn when it began; not 0 */
    uint64_t worker;               /* member id, never reused within a run */
    struct text config;            /* YAML, as config_dump writes it; at most 32 KiB */
    uint32_t src_vocab, tgt_vocab; /* entries */
};

enum generation_source {
    SOURCE_SEED,  /* initial parameters, from the configuration's seed */
    SOURCE_STATE, /* STATE messages follow */
    SOURCE_PEER,  /* the root's broadcast */
    SOURCE_HELD,  /* the state that the worker holds */
};

struct generation {
    uint64_t generation;
    uint32_t rank, size;
    uint64_t step; /* steps already done */
    enum generation_source source;
    uint32_t broadcast; /* 1: the root sends its state to all ranks before the first step */
    uint32_t root;      /* rank */
};

struct state {
    uint64_t step;
    uint32_t file;          /* MESSAGE_STATE_MODEL or _OPTIMIZER */
    uint64_t offset, total; /* bytes: offset of this piece, and the file's size */
    const void *bytes;      /* bulk frame, 1..STATE_PIECE bytes */
    size_t size;
};

struct ready {
    uint64_t generation, step;
};

struct credit {
    uint32_t units; /* 1..1024 additional spans or validation requests */
};

/* One step of a span. The distinct ids are those of the batch's shards together, rising, first of sources, then of
 * targets, so that every rank reduces the same rows of the embeddings. */
struct span_step {
    uint32_t tokens;       /* target tokens of the whole batch */
    uint32_t src_distinct; /* ids in `distinct` */
    uint32_t tgt_distinct;
};

/* One shard of one step: `rows` consecutive rows of the span's rows. Shards are ordered by step, then shard. */
struct span_shard {
    uint32_t step;  /* offset from the span's first step */
    uint32_t shard; /* 0..train.shards-1 */
    uint32_t rows;  /* may be 0 */
};

struct span {
    uint64_t generation, span;       /* span: counted from 0 in a generation */
    uint64_t first_step;             /* the first step to do, counted from 0 */
    uint32_t steps;                  /* 1..SPAN_STEPS */
    const struct span_step *of;      /* bulk: [steps] */
    const struct span_shard *shards; /* bulk: [shard_count] */
    uint32_t shard_count;
    const uint16_t *distinct; /* bulk: [distinct_count]; for each step: source ids, then target ids */
    size_t distinct_count;
    struct rows rows; /* bulk: lengths of either side, ids; lengths are 1..ROW_LENGTH */
};

struct report {
    uint64_t generation, span;
    uint64_t rows;                     /* rows this worker computed in the span */
    uint64_t busy_ns;                  /* compute time */
    uint64_t waited_ns;                /* of it, time waiting for other ranks */
    uint64_t hash;                     /* of the parameters after the span; 0 = not taken */
    const struct step_result *results; /* bulk: [steps] */
    uint32_t steps;
};

enum { VALIDATE_FORCED = 1, VALIDATE_FREE = 2, VALIDATE_TRANSLATE = 4 };

struct validate {
    uint64_t generation, request;
    uint32_t what; /* set of VALIDATE_ bits */
    struct rows rows;
};

struct scored {
    uint64_t request;
    uint64_t tokens;                       /* target positions that count */
    double forced_loss_sum, free_loss_sum; /* 0 when not requested */
    uint64_t forced_correct, free_correct;
    const uint16_t *lengths; /* bulk: [rows] ids of each translation, <eos> included if reached */
    const uint16_t *ids;     /* bulk: [id_count] */
    uint32_t rows;           /* 0 unless VALIDATE_TRANSLATE was requested */
    size_t id_count;
};

struct save {
    uint64_t generation, step; /* the worker must be at this step */
};

struct dismiss {
    struct text reason;
};

struct leave {
    uint64_t step;
};

struct ping {
    uint64_t time; /* ns on the coordinator's clock; PONG returns it */
};

struct stop {
    uint64_t generation;
};

struct stopped {
    uint64_t generation;
    uint32_t held;         /* 1: it holds the state after `step` steps */
    uint64_t step, branch; /* as in HELLO */
    uint32_t steps;        /* number of `results`, of the steps before `step` */
    const struct step_result *results;
};

struct endpoint {
    uint64_t generation;
    struct text address; /* a ZeroMQ endpoint; at most MESSAGE_LINE bytes */
};

/* One line for each rank, in order, ended by a newline: its endpoint and, with keys, a space and its public key in
 * Z85. */
struct peers {
    uint64_t generation;
    const char *lines; /* bulk: [size] */
    size_t size;
};

struct resign {
    uint64_t step;
};

struct ask {
    uint32_t detail; /* 0: the run; 1: its members too */
};

struct status {
    struct text json;
};

/* Texts one after another, without separators; text i has lengths[i] bytes. A text is UTF-8; it may be empty and may
 * hold any character, U+0000 and newlines too. */
struct texts {
    uint32_t count;
    const uint32_t *lengths; /* bulk: [count] bytes */
    const char *bytes;       /* bulk: [size] */
    size_t size;
};

enum answer_status {
    ANSWER_OK,
    ANSWER_FAILED, /* the workers that tried this text died; it has no hypothesis */
};

/* What became of one text. Its hypotheses follow those of the texts before it, the best first. Its notes are the
 * unknown words, each ended by a newline; only with `details`. */
struct answer {
    uint32_t status; /* enum answer_status */
    uint32_t hypotheses;
    uint32_t src_tokens, tgt_tokens;
    uint32_t unknown; /* source words without an id */
    uint32_t cut;     /* source words that were not translated, although the text was split into sentences */
    uint32_t notes;   /* bytes in `notes` */
};

/* One translation of a text. */
struct hypothesis {
    uint32_t size; /* bytes in `bytes` */
    float score;   /* log-probability; 0 where the worker does not compute it */
};

struct answers {
    uint32_t count;
    const struct answer *of; /* bulk: [count] */
    uint32_t hypothesis_count;
    const struct hypothesis *hypotheses; /* bulk: [hypothesis_count] */
    size_t size;
    const char *bytes; /* bulk: [size], the hypotheses' texts one after another */
    size_t notes_size;
    const char *notes; /* bulk: [notes_size] */
};

/* A client repeats a request with the same numbers after a lost connection; the queue computes it once. */
struct translate {
    uint64_t client;            /* drawn by the client when it starts; not 0. With keys, the key counts too */
    uint64_t request;           /* counted by the client */
    struct text source, target; /* codes of languages, at most MESSAGE_LANGUAGE bytes; both empty = the first model */
    uint32_t deadline_ms;       /* time that remains; 0 = the queue's default */
    uint32_t alternatives;      /* further translations of each text, at most ALTERNATIVES_MOST */
    uint32_t details;           /* 1: notes too */
    struct texts texts;
};

struct translated {
    uint64_t request;
    struct text model; /* "en-fr step-5650 0123456789abcdef", at most MESSAGE_LINE bytes */
    uint64_t step;
    uint64_t queued_us, computed_us;
    struct answers answers;
};

enum reject_reason {
    REJECT_BUSY = 1,      /* the queue is full */
    REJECT_EXPIRED = 2,   /* the deadline passed */
    REJECT_INVALID = 3,   /* no such languages, or above a limit of this queue */
    REJECT_NO_WORKER = 4, /* no worker has the model */
    REJECT_ENDING = 5,    /* the queue is draining */
    REJECT_FAILED = 6,    /* every text of the request failed */
};

struct rejected {
    uint64_t request;
    uint32_t reason;   /* enum reject_reason */
    uint32_t retry_ms; /* try again after this time; 0 = do not */
    struct text text;  /* for people; at most MESSAGE_LINE bytes */
};

struct cancel {
    uint64_t client, request;
};

struct join {
    struct text build, backend, isa, host; /* at most MESSAGE_NAME bytes each */
    uint32_t threads;
    uint32_t pid;
    uint64_t worker; /* of the previous JOINED; 0 = none */
};

struct joined {
    uint64_t worker;       /* never reused while the queue runs */
    uint32_t heartbeat_ms; /* PING comes this often */
    uint32_t timeout_ms;   /* silence after which the worker connects again */
    uint32_t lease_ms;     /* a batch is lent for this time */
    uint32_t batch;        /* texts of a batch at most */
};

struct model_offer {
    uint64_t version;           /* never reused while the queue runs; newer checkpoints of a model have higher ones */
    uint64_t manifest;          /* xxh3 of the checkpoint's manifest.json */
    uint64_t step;              /* of the checkpoint */
    uint32_t echo;              /* 1: no checkpoint; a batch is answered with its own texts */
    struct text source, target; /* codes of its languages */
    struct text path;           /* its folder, as the queue sees it; at most MESSAGE_FOLDER bytes */
};

struct loaded {
    uint64_t version;
    uint32_t ok;
    uint64_t load_us;
    struct text text; /* why not; at most MESSAGE_LINE bytes */
};

struct retire {
    uint64_t version;
};

struct fetch {
    uint64_t hash; /* xxh3 of the whole file */
    uint64_t offset;
};

struct file_piece {
    uint64_t hash, offset, total; /* total 0 = the queue has no such file */
    const void *bytes;            /* bulk frame, at most STATE_PIECE bytes */
    size_t size;
};

struct batch_order {
    uint64_t batch, version;
    uint32_t alternatives, details;
    struct texts texts;
};

struct batch_result {
    uint64_t batch;
    uint64_t computed_us;
    struct answers answers;
};

struct goodbye {
    uint64_t worker;
};

struct failure {
    uint32_t code; /* enum err_code */
    struct text text;
};

struct message {
    enum message_type type;
    union {
        struct hello hello;
        struct welcome welcome;
        struct generation generation;
        struct state state;
        struct ready ready;
        struct credit credit;
        struct span span;
        struct report report;
        struct validate validate;
        struct scored scored;
        struct save save;
        struct dismiss dismiss;
        struct leave leave;
        struct failure error;
        struct ping ping, pong;
        struct stop stop;
        struct stopped stopped;
        struct endpoint endpoint;
        struct peers peers;
        struct resign resign;
        struct ask ask;
        struct status status;
        struct translate translate;
        struct translated translated;
        struct rejected rejected;
        struct cancel cancel;
        struct join join;
        struct joined joined;
        struct model_offer model;
        struct loaded loaded;
        struct retire retire;
        struct fetch fetch;
        struct file_piece piece;
        struct batch_order batch;
        struct batch_result result;
        struct goodbye goodbye;
    };
    struct message_frames *frames; /* of a received message; NULL in a message to send */
};

/* The bytes of a frame, not owned. */
struct frame {
    const void *data;
    size_t size;
};

/* The connection's property with its key's role, as the ZAP handler (zap.h) sets it. */
#define ROUTE_ROLE "Role"

/* The peer of a ROUTER's message. To send, id and size are enough. */
struct route {
    uint8_t id[256];
    size_t size;
    char key[41];   /* the peer's public key, Z85; "" = none. Believe it only as zap.h says */
    char role[8];   /* its role on the allow-list; "" = none */
    int fd;         /* of the message's connection, for watch.h; -1 = none */
    uint64_t bytes; /* of the message on that connection */
};

/* Send without blocking. ERR_FULL: the socket's queue is full, nothing was sent, the caller keeps the message. `to` is
 * NULL on a DEALER or PAIR. Bulk data is copied. */
bool message_send(void *socket, const struct route *to, const struct message *message, struct err *err);

/* As message_send, but wait for space in the queue. */
bool message_send_wait(void *socket, const struct route *to, const struct message *message, struct err *err);

/* Receive the next message. `from` is NULL on a DEALER or PAIR. With `wait` false and no message: true and *got =
 * false. ERR_PROTOCOL: the message breaks the protocol. All its frames are consumed, `from` is set, and the socket
 * stays usable. */
bool message_receive(void *socket, struct route *from, bool wait, struct message *message, bool *got, struct err *err);

/* The type in a header frame. Does not look at the rest of the message. */
bool message_peek(const struct frame *header, enum message_type *type, struct err *err);

/* Release a received message's frames. */
void message_close(struct message *message);

/* ZeroMQ's last error as ERR_IO: "WHAT: REASON". Returns false. */
bool socket_error(struct err *err, const char *what);

const char *message_name(enum message_type type);

/* Encode to frames, and decode from frames, without a socket. Used by send and receive, by tests and by fuzzers. */
enum { MESSAGE_FRAMES = 8 };
struct message_frames;
/* The bulk frames point into the message's arrays, which must outlive the list. NULL and ERR_PROTOCOL: the message
 * breaks a rule of PROTOCOL.md. In a reason or an error's text, control characters and broken UTF-8 are sent as '?',
 * and a text that is too long is truncated. */
struct message_frames *message_encode(const struct message *message, struct err *err);
size_t message_frames_list(const struct message_frames *frames, struct frame list[MESSAGE_FRAMES]);
void message_frames_destroy(struct message_frames **frames);
/* The frames must outlive the message. The caller still calls message_close. */
bool message_decode(const struct frame *frames, size_t count, struct message *message, struct err *err);

#endif
