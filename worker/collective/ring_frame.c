/* ring_frame.c - see ring_frame.h, where the bytes are. */
#include "worker/collective/ring_frame.h"

#include <string.h>

static const uint8_t ring_frame_mark[3] = {'L', 'Q', 'R'};

static void ring_frame_put(uint8_t *at, int size, uint64_t value)
{
    for (int i = 0; i < size; i++)
        at[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t ring_frame_get(const uint8_t *at, int size)
{
    uint64_t value = 0;
    for (int i = 0; i < size; i++)
        value |= (uint64_t)at[i] << (8 * i);
    return value;
}

void ring_frame_write(const struct ring_frame *frame, uint8_t bytes[RING_FRAME])
{
    memcpy(bytes, ring_frame_mark, sizeof ring_frame_mark);
    bytes[3] = frame->kind;
    ring_frame_put(bytes + 4, 2, frame->step);
    ring_frame_put(bytes + 6, 2, frame->rank);
    ring_frame_put(bytes + 8, 8, frame->generation);
    ring_frame_put(bytes + 16, 8, frame->count);
    ring_frame_put(bytes + 24, 4, frame->operation);
    ring_frame_put(bytes + 28, 4, frame->chunk);
}

bool ring_frame_read(const void *bytes, size_t size, struct ring_frame *frame)
{
    const uint8_t *at = bytes;
    if (size != RING_FRAME || memcmp(at, ring_frame_mark, sizeof ring_frame_mark) != 0)
        return false;
    *frame = (struct ring_frame){
        .kind = at[3],
        .step = (uint16_t)ring_frame_get(at + 4, 2),
        .rank = (uint16_t)ring_frame_get(at + 6, 2),
        .generation = ring_frame_get(at + 8, 8),
        .count = ring_frame_get(at + 16, 8),
        .operation = (uint32_t)ring_frame_get(at + 24, 4),
        .chunk = (uint32_t)ring_frame_get(at + 28, 4),
    };
    return true;
}

void ring_tray_write(uint32_t tray, uint8_t bytes[RING_TRAY_NUMBER])
{
    ring_frame_put(bytes, RING_TRAY_NUMBER, tray);
}

uint32_t ring_tray_read(const uint8_t bytes[RING_TRAY_NUMBER])
{
    return (uint32_t)ring_frame_get(bytes, RING_TRAY_NUMBER);
}
