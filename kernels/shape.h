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
 * (t, r) is offset[t] + r. The caller's plain memory; operations only read it. */
struct sequence {
    int B;                 /* rows at step 0                     */
    int T;                 /* steps                              */
    int N;                 /* positions                          */
    const int32_t *rows;   /* [T], never rising, each at least 1 */
    const int32_t *offset; /* [T], offset[0] = 0                 */
};

#endif
