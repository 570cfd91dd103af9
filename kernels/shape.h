/* shape.h - the letters used in every shape comment of kernels/ and worker/.
 *
 *   B  rows of a batch (sentences)
 *   T  steps of a sequence; S source, T target where both appear
 *   N  positions of a packed sequence: the sum over t of the rows still running at t
 *   U  distinct ids in a batch's positions
 *   E  width of an embedding
 *   H  width of a recurrent state
 *   G  gates: 4H for LSTM (order i f g o), H for the plain cell
 *   V  entries of a vocabulary
 *
 * Matrices are row-major; [N, H] has N rows of H floats. */
#ifndef LSTMQ_SHAPE_H
#define LSTMQ_SHAPE_H

#include <stdint.h>

/* A packed sequence, time-major: rows are sorted by falling length, so the rows running at step t are 0..rows[t]-1, and
 * position (t, r) is offset[t] + r. Plain memory of the caller's; read-only to operations. */
struct sequence {
    int B;                 /* rows at step 0                          */
    int T;                 /* steps                                   */
    int N;                 /* positions                               */
    const int32_t *rows;   /* [T], never rising, each at least 1      */
    const int32_t *offset; /* [T], offset[0] = 0                      */
};

#endif
