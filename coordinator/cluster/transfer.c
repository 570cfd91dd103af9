/* transfer.c - state in pieces; see transfer.h. */
#include "coordinator/cluster/transfer.h"

#include "proto/text/detect.h"

#include <inttypes.h>
#include <string.h>

static const char *const transfer_files[TRANSFER_FILES] = {
    [MESSAGE_STATE_MODEL] = "model.safetensors",
    [MESSAGE_STATE_OPTIMIZER] = "optimizer.safetensors",
};

void upload_open(struct upload *upload, const struct checkpoint *checkpoint)
{
    *upload = (struct upload){.checkpoint = checkpoint, .ahead = UPLOAD_LEAST};
    if (checkpoint == NULL)
        upload->file = TRANSFER_FILES;
}

void upload_close(struct upload *upload)
{
    buffer_free(&upload->bytes);
    upload->file = TRANSFER_FILES;
}

bool upload_piece(struct upload *upload, struct state *piece, bool *more, struct err *err)
{
    *more = upload->file < TRANSFER_FILES;
    if (!*more)
        return true;
    if (upload->bytes.size == 0 &&
        !checkpoint_file(upload->checkpoint, transfer_files[upload->file], &upload->bytes, err))
        return false;
    if (upload->bytes.size == 0)
        return err_set(err, ERR_DATA, "%s/%s is empty", upload->checkpoint->path, transfer_files[upload->file]);
    size_t left = upload->bytes.size - upload->offset, most = STATE_PIECE;
    if (upload->ahead < most)
        most = upload->ahead;
    upload->piece = left < most ? left : most;
    *piece = (struct state){.step = upload->checkpoint->state.step,
                            .file = upload->file,
                            .offset = upload->offset,
                            .total = upload->bytes.size,
                            .bytes = upload->bytes.data + upload->offset,
                            .size = upload->piece};
    return true;
}

void upload_sent(struct upload *upload)
{
    upload->offset += upload->piece;
    upload->way += upload->piece;
    if (upload->offset < upload->bytes.size)
        return;
    buffer_free(&upload->bytes);
    upload->offset = 0;
    upload->file++;
}

bool upload_may_send(const struct upload *upload)
{
    return upload->way < upload->ahead;
}

void upload_arrived(struct upload *upload, uint64_t ns)
{
    const uint64_t ms = 1000000;
    upload->way = 0;
    upload->ping_ns = 0;
    if (ns < UPLOAD_SOON_MS * ms && upload->ahead < UPLOAD_MOST)
        upload->ahead *= 2;
    else if (ns > UPLOAD_LATE_MS * ms && upload->ahead > UPLOAD_LEAST)
        upload->ahead /= 2;
}

static bool transfer_write_text(struct download *download, const char *file, const struct buffer *text, struct err *err)
{
    return buffer_ok(text, err) && checkpoint_write(download->writer, file, text->data, text->size, err);
}

static bool transfer_write_texts(struct download *download, const struct checkpoint_state *state,
                                 const struct dataset *dataset, struct err *err)
{
    struct buffer text = {0};
    checkpoint_state_write(state, &text);
    bool done = transfer_write_text(download, "state.json", &text, err);
    buffer_clear(&text);
    vocab_write(dataset->src, &text);
    done = done && transfer_write_text(download, "src.vocab", &text, err);
    buffer_clear(&text);
    vocab_write(dataset->tgt, &text);
    done = done && transfer_write_text(download, "tgt.vocab", &text, err) &&
           transfer_write_text(download, DETECT_FILE, &dataset->trigrams, err);
    buffer_free(&text);
    return done;
}

bool download_open(struct download *download, const char *run, const struct checkpoint_state *state,
                   const struct dataset *dataset, struct err *err)
{
    *download = (struct download){.step = state->step};
    download->writer = checkpoint_begin(run, state->step, err);
    if (download->writer == NULL)
        return false;
    if (transfer_write_texts(download, state, dataset, err))
        return true;
    checkpoint_abandon(&download->writer);
    return false;
}

/* float32 parameters follow the header of the model file. */
static uint64_t transfer_parameters(const struct state *piece)
{
    uint64_t header = piece->size < SAFETENSORS_LENGTH ? UINT64_MAX : safetensors_header_size(piece->bytes);
    return header < piece->total ? (piece->total - header) / sizeof(float) : 0;
}

bool download_piece(struct download *download, const struct state *piece, struct err *err)
{
    if (piece->file >= TRANSFER_FILES || piece->step != download->step || piece->offset != download->got[piece->file] ||
        piece->size == 0 || piece->size > piece->total - piece->offset ||
        (download->total[piece->file] != 0 && piece->total != download->total[piece->file]))
        return err_set(err, ERR_PROTOCOL,
                       "STATE of step %" PRIu64 ", file %u, offset %" PRIu64 " does not continue the pieces before",
                       piece->step, piece->file, piece->offset);
    if (piece->file == MESSAGE_STATE_MODEL && piece->offset == 0)
        download->parameters = transfer_parameters(piece);
    download->got[piece->file] += piece->size;
    download->total[piece->file] = piece->total;
    if (download->writer != NULL &&
        !checkpoint_write(download->writer, transfer_files[piece->file], piece->bytes, piece->size, &download->failure))
        checkpoint_abandon(&download->writer);
    return true;
}

bool download_whole(const struct download *download)
{
    for (int file = 0; file < TRANSFER_FILES; file++)
        if (download->total[file] == 0 || download->got[file] != download->total[file])
            return false;
    return true;
}

bool download_commit(struct download *download, struct err *err)
{
    if (download->writer == NULL) {
        *err = download->failure;
        return false;
    }
    return checkpoint_commit(&download->writer, err);
}

void download_abandon(struct download *download)
{
    if (download->writer != NULL)
        checkpoint_abandon(&download->writer);
    *download = (struct download){0};
}
