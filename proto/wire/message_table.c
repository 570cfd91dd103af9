/* message_table.c - the table of messages. PROTOCOL.md has the same in prose; change both. */
#include "proto/wire/message_table.h"

#include <stddef.h>
#include <string.h>

/* These structs are sent as they are in memory. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "bulk frames are little-endian arrays");
_Static_assert(sizeof(struct span_shard) == 12 && offsetof(struct span_shard, shard) == 4 &&
                   offsetof(struct span_shard, rows) == 8,
               "span_shard is three u32 without padding");
_Static_assert(sizeof(struct span_step) == 12 && offsetof(struct span_step, src_distinct) == 4 &&
                   offsetof(struct span_step, tgt_distinct) == 8,
               "span_step is three u32 without padding");
_Static_assert(sizeof(struct step_result) == 24 && offsetof(struct step_result, grad_norm) == 8 &&
                   offsetof(struct step_result, tokens) == 16 && offsetof(struct step_result, correct) == 20,
               "step_result is two f64 and two u32 without padding");
_Static_assert(sizeof(struct answer) == 28 && offsetof(struct answer, src_tokens) == 8 &&
                   offsetof(struct answer, notes) == 24,
               "answer is seven u32 without padding");
_Static_assert(sizeof(struct hypothesis) == 8 && offsetof(struct hypothesis, score) == 4,
               "hypothesis is a u32 and an f32 without padding");
_Static_assert(sizeof(enum generation_source) == sizeof(uint32_t), "an enum is read and written as a u32");

/* Counters fit a signed 64-bit integer: sums with small numbers do not wrap, and every language has the type. */
#define COUNTER_MOST ((uint64_t)INT64_MAX)
#define FILE_MOST    ((uint64_t)1 << 40)
#define ROWS_MOST    ((uint64_t)1 << 24)
#define IDS_MOST     ((uint64_t)1 << 25)

#define AT(place) offsetof(struct message, place)
#define U32(name, place, least, most)                                                                                  \
    {                                                                                                                  \
        name, FIELD_U32, AT(place), least, most                                                                        \
    }
#define U64(name, place, least, most)                                                                                  \
    {                                                                                                                  \
        name, FIELD_U64, AT(place), least, most                                                                        \
    }
#define COUNTER(name, place)                                                                                           \
    {                                                                                                                  \
        name, FIELD_U64, AT(place), 0, COUNTER_MOST                                                                    \
    }
#define REAL(name, place)                                                                                              \
    {                                                                                                                  \
        name, FIELD_REAL, AT(place), 0, 0                                                                              \
    }
#define LINE(name, place, most)                                                                                        \
    {                                                                                                                  \
        name, FIELD_LINE, AT(place), 0, most                                                                           \
    }
#define BULK(name, type, c_type, place, count)                                                                         \
    {                                                                                                                  \
        name, type, sizeof(c_type), _Alignof(c_type), AT(place), count                                                 \
    }

static const struct field message_hello[] = {
    LINE("build", hello.build, MESSAGE_NAME),
    LINE("backend", hello.backend, MESSAGE_NAME),
    LINE("backend_version", hello.backend_version, MESSAGE_NAME),
    LINE("isa", hello.isa, MESSAGE_NAME),
    LINE("arithmetic", hello.arithmetic, MESSAGE_NAME),
    U32("threads", hello.threads, 1, 65536),
    LINE("host", hello.host, MESSAGE_NAME),
    U32("pid", hello.pid, 0, UINT32_MAX),
    COUNTER("run", hello.run),
    COUNTER("worker", hello.worker),
    U32("held", hello.held, 0, 1),
    COUNTER("step", hello.step),
    COUNTER("branch", hello.branch),
    U32("steps", hello.steps, 0, SPAN_STEPS),
};
static const struct bulk message_hello_bulk[] = {
    BULK("results", "step_result", struct step_result, hello.results, "steps"),
};

static const struct field message_welcome[] = {
    U64("run", welcome.run, 1, COUNTER_MOST),
    U64("worker", welcome.worker, 1, COUNTER_MOST),
    {"config", FIELD_TEXT, AT(welcome.config), 0, MESSAGE_CONFIG},
    U32("src_vocab", welcome.src_vocab, 1, 65535),
    U32("tgt_vocab", welcome.tgt_vocab, 1, 65535),
};

static const struct field message_generation[] = {
    COUNTER("generation", generation.generation),
    U32("rank", generation.rank, 0, RANKS_MOST - 1),
    U32("size", generation.size, 1, RANKS_MOST),
    COUNTER("step", generation.step),
    U32("source", generation.source, SOURCE_SEED, SOURCE_HELD),
    U32("broadcast", generation.broadcast, 0, 1),
    U32("root", generation.root, 0, RANKS_MOST - 1),
};

static const struct field message_state[] = {
    COUNTER("step", state.step),
    U32("file", state.file, MESSAGE_STATE_MODEL, MESSAGE_STATE_OPTIMIZER),
    U64("offset", state.offset, 0, FILE_MOST),
    U64("total", state.total, 1, FILE_MOST),
    {"size", FIELD_SIZE, AT(state.size), 1, STATE_PIECE},
};
static const struct bulk message_state_bulk[] = {
    BULK("bytes", "u8", uint8_t, state.bytes, "size"),
};

static const struct field message_ready[] = {
    COUNTER("generation", ready.generation),
    COUNTER("step", ready.step),
};

static const struct field message_credit[] = {
    U32("units", credit.units, 1, 1024),
};

static const struct field message_span[] = {
    COUNTER("generation", span.generation),
    COUNTER("span", span.span),
    COUNTER("first_step", span.first_step),
    U32("steps", span.steps, 1, SPAN_STEPS),
    U32("shard_count", span.shard_count, 0, (uint64_t)SPAN_STEPS *SHARDS_MOST),
    U32("row_count", span.rows.count, 0, ROWS_MOST),
    {"id_count", FIELD_SIZE, AT(span.rows.id_count), 0, IDS_MOST},
    {"distinct_count", FIELD_SIZE, AT(span.distinct_count), 0, IDS_MOST},
};
static const struct bulk message_span_bulk[] = {
    BULK("of", "span_step", struct span_step, span.of, "steps"),
    BULK("shards", "span_shard", struct span_shard, span.shards, "shard_count"),
    BULK("src_lengths", "u16", uint16_t, span.rows.src_lengths, "row_count"),
    BULK("tgt_lengths", "u16", uint16_t, span.rows.tgt_lengths, "row_count"),
    BULK("ids", "u16", uint16_t, span.rows.ids, "id_count"),
    BULK("distinct", "u16", uint16_t, span.distinct, "distinct_count"),
};

static const struct field message_report[] = {
    COUNTER("generation", report.generation),  COUNTER("span", report.span),           COUNTER("rows", report.rows),
    COUNTER("busy_ns", report.busy_ns),        COUNTER("waited_ns", report.waited_ns), COUNTER("hash", report.hash),
    U32("steps", report.steps, 1, SPAN_STEPS),
};
static const struct bulk message_report_bulk[] = {
    BULK("results", "step_result", struct step_result, report.results, "steps"),
};

static const struct field message_validate[] = {
    COUNTER("generation", validate.generation),
    COUNTER("request", validate.request),
    U32("what", validate.what, 1, VALIDATE_FORCED | VALIDATE_FREE | VALIDATE_TRANSLATE),
    U32("row_count", validate.rows.count, 0, ROWS_MOST),
    {"id_count", FIELD_SIZE, AT(validate.rows.id_count), 0, IDS_MOST},
};
static const struct bulk message_validate_bulk[] = {
    BULK("src_lengths", "u16", uint16_t, validate.rows.src_lengths, "row_count"),
    BULK("tgt_lengths", "u16", uint16_t, validate.rows.tgt_lengths, "row_count"),
    BULK("ids", "u16", uint16_t, validate.rows.ids, "id_count"),
};

static const struct field message_scored[] = {
    COUNTER("request", scored.request),
    COUNTER("tokens", scored.tokens),
    REAL("forced_loss_sum", scored.forced_loss_sum),
    REAL("free_loss_sum", scored.free_loss_sum),
    COUNTER("forced_correct", scored.forced_correct),
    COUNTER("free_correct", scored.free_correct),
    U32("row_count", scored.rows, 0, ROWS_MOST),
    {"id_count", FIELD_SIZE, AT(scored.id_count), 0, IDS_MOST},
};
static const struct bulk message_scored_bulk[] = {
    BULK("lengths", "u16", uint16_t, scored.lengths, "row_count"),
    BULK("ids", "u16", uint16_t, scored.ids, "id_count"),
};

static const struct field message_save[] = {
    COUNTER("generation", save.generation),
    COUNTER("step", save.step),
};

static const struct field message_dismiss[] = {
    LINE("reason", dismiss.reason, MESSAGE_LINE),
};

static const struct field message_leave[] = {
    COUNTER("step", leave.step),
};

static const struct field message_error[] = {
    U32("code", error.code, ERR_FAILED, ERR_DIVERGED),
    LINE("text", error.text, MESSAGE_LINE),
};

static const struct field message_ping[] = {
    COUNTER("time", ping.time),
};

static const struct field message_pong[] = {
    COUNTER("time", pong.time),
};

static const struct field message_stop[] = {
    COUNTER("generation", stop.generation),
};

static const struct field message_stopped[] = {
    COUNTER("generation", stopped.generation),
    U32("held", stopped.held, 0, 1),
    COUNTER("step", stopped.step),
    COUNTER("branch", stopped.branch),
    U32("steps", stopped.steps, 0, SPAN_STEPS),
};
static const struct bulk message_stopped_bulk[] = {
    BULK("results", "step_result", struct step_result, stopped.results, "steps"),
};

static const struct field message_endpoint[] = {
    COUNTER("generation", endpoint.generation),
    LINE("address", endpoint.address, MESSAGE_LINE),
};

static const struct field message_peers[] = {
    COUNTER("generation", peers.generation),
    {"size", FIELD_SIZE, AT(peers.size), 1, PEERS_BYTES},
};
static const struct bulk message_peers_bulk[] = {
    BULK("lines", "u8", char, peers.lines, "size"),
};

static const struct field message_resign[] = {
    COUNTER("step", resign.step),
};

static const struct field message_ask[] = {
    U32("detail", ask.detail, 0, 1),
};

static const struct field message_status[] = {
    {"json", FIELD_TEXT, AT(status.json), 0, MESSAGE_JSON},
};

#define TEXTS(place)                                                                                                   \
    U32("text_count", place.count, 1, TEXTS_MOST),                                                                     \
    {                                                                                                                  \
        "size", FIELD_SIZE, AT(place.size), 0, TEXTS_BYTES                                                             \
    }
#define TEXTS_BULK(place)                                                                                              \
    BULK("lengths", "u32", uint32_t, place.lengths, "text_count"), BULK("bytes", "u8", char, place.bytes, "size")
#define ANSWERS(place)                                                                                                 \
    U32("text_count", place.count, 1, TEXTS_MOST),                                                                     \
        U32("hypothesis_count", place.hypothesis_count, 0, (uint64_t)TEXTS_MOST *(ALTERNATIVES_MOST + 1)),             \
        {"size", FIELD_SIZE, AT(place.size), 0, TEXTS_BYTES},                                                          \
    {                                                                                                                  \
        "notes_size", FIELD_SIZE, AT(place.notes_size), 0, TEXTS_BYTES                                                 \
    }
#define ANSWERS_BULK(place)                                                                                            \
    BULK("answers", "answer", struct answer, place.of, "text_count"),                                                  \
        BULK("hypotheses", "hypothesis", struct hypothesis, place.hypotheses, "hypothesis_count"),                     \
        BULK("bytes", "u8", char, place.bytes, "size"), BULK("notes", "u8", char, place.notes, "notes_size")

static const struct field message_translate[] = {
    U64("client", translate.client, 1, COUNTER_MOST),
    COUNTER("request", translate.request),
    LINE("source", translate.source, MESSAGE_LANGUAGE),
    LINE("target", translate.target, MESSAGE_LANGUAGE),
    U32("deadline_ms", translate.deadline_ms, 0, 86400000),
    U32("alternatives", translate.alternatives, 0, ALTERNATIVES_MOST),
    U32("details", translate.details, 0, 1),
    TEXTS(translate.texts),
};
static const struct bulk message_translate_bulk[] = {TEXTS_BULK(translate.texts)};

static const struct field message_translated[] = {
    COUNTER("request", translated.request),
    LINE("model", translated.model, MESSAGE_LINE),
    COUNTER("step", translated.step),
    COUNTER("queued_us", translated.queued_us),
    COUNTER("computed_us", translated.computed_us),
    ANSWERS(translated.answers),
};
static const struct bulk message_translated_bulk[] = {ANSWERS_BULK(translated.answers)};

static const struct field message_rejected[] = {
    COUNTER("request", rejected.request),
    U32("reason", rejected.reason, REJECT_BUSY, REJECT_FAILED),
    U32("retry_ms", rejected.retry_ms, 0, 86400000),
    LINE("text", rejected.text, MESSAGE_LINE),
};

static const struct field message_cancel[] = {
    U64("client", cancel.client, 1, COUNTER_MOST),
    COUNTER("request", cancel.request),
};

static const struct field message_join[] = {
    LINE("build", join.build, MESSAGE_NAME), LINE("backend", join.backend, MESSAGE_NAME),
    LINE("isa", join.isa, MESSAGE_NAME),     LINE("host", join.host, MESSAGE_NAME),
    U32("threads", join.threads, 1, 65536),  U32("pid", join.pid, 0, UINT32_MAX),
    COUNTER("worker", join.worker),
};

static const struct field message_joined[] = {
    U64("worker", joined.worker, 1, COUNTER_MOST),     U32("heartbeat_ms", joined.heartbeat_ms, 1, 86400000),
    U32("timeout_ms", joined.timeout_ms, 1, 86400000), U32("lease_ms", joined.lease_ms, 1, 86400000),
    U32("batch", joined.batch, 1, TEXTS_MOST),
};

static const struct field message_model[] = {
    U64("version", model.version, 1, COUNTER_MOST),
    {"manifest", FIELD_U64, AT(model.manifest), 0, UINT64_MAX},
    COUNTER("step", model.step),
    U32("echo", model.echo, 0, 1),
    LINE("source", model.source, MESSAGE_LANGUAGE),
    LINE("target", model.target, MESSAGE_LANGUAGE),
    {"path", FIELD_TEXT, AT(model.path), 0, MESSAGE_FOLDER},
};

static const struct field message_loaded[] = {
    U64("version", loaded.version, 1, COUNTER_MOST),
    U32("ok", loaded.ok, 0, 1),
    COUNTER("load_us", loaded.load_us),
    LINE("text", loaded.text, MESSAGE_LINE),
};

static const struct field message_retire[] = {
    U64("version", retire.version, 1, COUNTER_MOST),
};

static const struct field message_fetch[] = {
    {"hash", FIELD_U64, AT(fetch.hash), 0, UINT64_MAX},
    U64("offset", fetch.offset, 0, FILE_MOST),
};

static const struct field message_piece[] = {
    {"hash", FIELD_U64, AT(piece.hash), 0, UINT64_MAX},
    U64("offset", piece.offset, 0, FILE_MOST),
    U64("total", piece.total, 0, FILE_MOST),
    {"size", FIELD_SIZE, AT(piece.size), 0, STATE_PIECE},
};
static const struct bulk message_piece_bulk[] = {
    BULK("bytes", "u8", uint8_t, piece.bytes, "size"),
};

static const struct field message_batch[] = {
    COUNTER("batch", batch.batch),
    U64("version", batch.version, 1, COUNTER_MOST),
    U32("alternatives", batch.alternatives, 0, ALTERNATIVES_MOST),
    U32("details", batch.details, 0, 1),
    TEXTS(batch.texts),
};
static const struct bulk message_batch_bulk[] = {TEXTS_BULK(batch.texts)};

static const struct field message_result[] = {
    COUNTER("batch", result.batch),
    COUNTER("computed_us", result.computed_us),
    ANSWERS(result.answers),
};
static const struct bulk message_result_bulk[] = {ANSWERS_BULK(result.answers)};

static const struct field message_goodbye[] = {
    COUNTER("worker", goodbye.worker),
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define ROW(name, fields)                                                                                              \
    {                                                                                                                  \
        name, fields, COUNT(fields), NULL, 0                                                                           \
    }
#define BULK_ROW(name, fields, bulk)                                                                                   \
    {                                                                                                                  \
        name, fields, COUNT(fields), bulk, COUNT(bulk)                                                                 \
    }

static const struct message_row message_rows[MESSAGE_TYPES] = {
    [MESSAGE_HELLO] = BULK_ROW("HELLO", message_hello, message_hello_bulk),
    [MESSAGE_WELCOME] = ROW("WELCOME", message_welcome),
    [MESSAGE_GENERATION] = ROW("GENERATION", message_generation),
    [MESSAGE_STATE] = BULK_ROW("STATE", message_state, message_state_bulk),
    [MESSAGE_READY] = ROW("READY", message_ready),
    [MESSAGE_CREDIT] = ROW("CREDIT", message_credit),
    [MESSAGE_SPAN] = BULK_ROW("SPAN", message_span, message_span_bulk),
    [MESSAGE_REPORT] = BULK_ROW("REPORT", message_report, message_report_bulk),
    [MESSAGE_VALIDATE] = BULK_ROW("VALIDATE", message_validate, message_validate_bulk),
    [MESSAGE_SCORED] = BULK_ROW("SCORED", message_scored, message_scored_bulk),
    [MESSAGE_SAVE] = ROW("SAVE", message_save),
    [MESSAGE_DISMISS] = ROW("DISMISS", message_dismiss),
    [MESSAGE_LEAVE] = ROW("LEAVE", message_leave),
    [MESSAGE_ERROR] = ROW("ERROR", message_error),
    [MESSAGE_PING] = ROW("PING", message_ping),
    [MESSAGE_PONG] = ROW("PONG", message_pong),
    [MESSAGE_STOP] = ROW("STOP", message_stop),
    [MESSAGE_STOPPED] = BULK_ROW("STOPPED", message_stopped, message_stopped_bulk),
    [MESSAGE_ENDPOINT] = ROW("ENDPOINT", message_endpoint),
    [MESSAGE_PEERS] = BULK_ROW("PEERS", message_peers, message_peers_bulk),
    [MESSAGE_RESIGN] = ROW("RESIGN", message_resign),
    [MESSAGE_ASK] = ROW("ASK", message_ask),
    [MESSAGE_STATUS] = ROW("STATUS", message_status),
    [MESSAGE_TRANSLATE] = BULK_ROW("TRANSLATE", message_translate, message_translate_bulk),
    [MESSAGE_TRANSLATED] = BULK_ROW("TRANSLATED", message_translated, message_translated_bulk),
    [MESSAGE_REJECTED] = ROW("REJECTED", message_rejected),
    [MESSAGE_CANCEL] = ROW("CANCEL", message_cancel),
    [MESSAGE_JOIN] = ROW("JOIN", message_join),
    [MESSAGE_JOINED] = ROW("JOINED", message_joined),
    [MESSAGE_MODEL] = ROW("MODEL", message_model),
    [MESSAGE_LOADED] = ROW("LOADED", message_loaded),
    [MESSAGE_RETIRE] = ROW("RETIRE", message_retire),
    [MESSAGE_FETCH] = ROW("FETCH", message_fetch),
    [MESSAGE_PIECE] = BULK_ROW("PIECE", message_piece, message_piece_bulk),
    [MESSAGE_BATCH] = BULK_ROW("BATCH", message_batch, message_batch_bulk),
    [MESSAGE_RESULT] = BULK_ROW("RESULT", message_result, message_result_bulk),
    [MESSAGE_GOODBYE] = ROW("GOODBYE", message_goodbye),
};

const struct message_row *message_row(uint64_t type)
{
    return type < MESSAGE_TYPES && message_rows[type].name != NULL ? &message_rows[type] : NULL;
}

const char *message_name(enum message_type type)
{
    const struct message_row *row = message_row((uint64_t)type);
    return row == NULL ? "unknown" : row->name;
}

uint64_t message_field_get(const struct message *message, const struct field *field)
{
    const char *place = (const char *)message + field->offset;
    uint32_t narrow;
    uint64_t wide;
    size_t size;
    switch (field->kind) {
    case FIELD_U32:
        memcpy(&narrow, place, sizeof narrow);
        return narrow;
    case FIELD_U64:
        memcpy(&wide, place, sizeof wide);
        return wide;
    case FIELD_SIZE:
        memcpy(&size, place, sizeof size);
        return size;
    default:
        return 0;
    }
}

uint64_t message_count(const struct message *message, const struct message_row *row, const char *name)
{
    for (size_t i = 0; i < row->field_count; i++)
        if (strcmp(row->fields[i].name, name) == 0)
            return message_field_get(message, &row->fields[i]);
    return 0;
}
