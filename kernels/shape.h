/* shape.h - the letters of every shape comment in kernels/ and worker/.
 *
 *   B  rows of a batch (sentences)
 *   T  steps of a sequence; S source, T target where both appear
 *   N  positions of a packed sequence: the sum over t of the rows that run at t
 *   U  distinct ids among a batch's positions
 *   E  width of an embedding
 *   H  width of a recurrent state
 *   G  gates: 4H for LSTM (order i f g o), H for the plain cell
 *   V  entries of a vocabulary
 *
 * Matrices are row-major; [N, H] has N rows of H floats. */
#ifndef LSTMQ_KERNELS_SHAPE_H
#define LSTMQ_KERNELS_SHAPE_H

#include <stdint.h>

/* A packed sequence, time-major. Rows are sorted by falling length, so rows 0..rows[t]-1 run at step t, and position
 * (t, r) is offset[t] + r. Operations only read it. The host arrays are the caller's plain memory. `device` holds the
 * same numbers in backend memory, so that a device's kernels take the same arguments for every batch. */
struct sequence {
    int B;                 /* rows at step 0                                                         */
    int T;                 /* steps                                                                  */
    int N;                 /* positions                                                              */
    const int32_t *rows;   /* [T] host, never rising, each at least 1                                */
    const int32_t *offset; /* [T] host, offset[0] = 0                                                */
    const int32_t *device; /* [2 T] rows, then offset; NULL in decoding, which runs one step at a time */
};

/* N positions in U groups: group u has the positions index[first[u]] to index[first[u + 1] - 1], rising. Backend
 * memory. */
struct segments {
    int N, U;
    const int32_t *first; /* [U + 1] */
    const int32_t *index; /* [N]     */
};

#endif
