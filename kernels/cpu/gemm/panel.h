/* panel.h - oneDNN, as far as this project uses it. onednn.h alone knows its 2.x and 3.x interfaces.
 *
 * A panel describes blocks B [K, N] of one shape and one storage order: the order in which oneDNN reads them fastest,
 * how to pack them, and the compiled tiles, which multiply some rows of A by a packed B. A tile has a fixed number of
 * rows, a multiple of `unit` up to `most`, and runs on one thread. Where oneDNN has no brgemm for the machine, a row's
 * bits may depend on the number of rows. Then there is one size of tile only (unit = most), and a large B is used in
 * place.
 *
 * Panels are compiled at their first use; the one unused for longest is dropped when there are too many. The thread
 * that opened a `struct panels` makes all calls. Only panel_pack and panel_tile are for any thread of a team, each with
 * its own number. Every calling thread calls panels_single_thread first. */
#ifndef LSTMQ_KERNELS_CPU_GEMM_PANEL_H
#define LSTMQ_KERNELS_CPU_GEMM_PANEL_H

#include "proto/base/config.h"
#include "proto/base/err.h"

#include <stddef.h>

struct panels;

struct panels *panels_open(int threads, struct err *err);
void panels_close(struct panels **panels);

enum { PANEL_UNIT = 8, PANEL_MOST = 64, PANEL_SIZES = PANEL_MOST / PANEL_UNIT };

/* The blocks. B is stored as fp32; with `type` bf16 packing rounds it, and A is bf16. */
struct panel_shape {
    int N, K;
    int ldb;             /* floats from a stored row of B to the next           */
    bool transposed;     /* B is stored [N, K]                                  */
    bool large;          /* a block of a large B, see above                     */
    enum precision type; /* of A and of the packed B                            */
};

/* Read-only for callers. */
struct panel {
    struct panel_shape shape;
    int unit, most; /* rows of the smallest and the largest tile               */
    size_t size;    /* bytes of a packed B, a multiple of 4096; 0 = used in place */
    size_t scratch; /* bytes of scratch for the tiles compiled so far */
    struct panel_code *code;
    struct panel *next;
};

/* The panel of a shape, valid until panels_close, or until PANELS other shapes were used. */
enum { PANELS = 512 };
struct panel *panels_get(struct panels *panels, const struct panel_shape *shape, struct err *err);

/* Pack the block at `b` into `packed` (panel->size bytes, 4096-byte aligned). With size 0 it does nothing: panel_tile
 * then takes the block in place. False when oneDNN failed. */
bool panel_pack(const struct panels *panels, const struct panel *panel, int thread, const float *b, void *packed);

/* Compile the tiles of up to `rows` rows, and the smallest, for this bias and accumulate. */
bool panel_prepare(struct panels *panels, struct panel *panel, int rows, bool bias, bool accumulate, struct err *err);

/* C (+)= A B (+ bias) for one tile of `rows` rows; a is of the panel's type, a and c are dense, bias [N] may be NULL.
 * `scratch` is panel->scratch bytes of the calling thread, 4096-byte aligned. False when oneDNN failed. */
bool panel_tile(const struct panels *panels, const struct panel *panel, int thread, int rows, const void *a,
                const void *packed, const float *bias, bool accumulate, float *c, void *scratch);

/* Let oneDNN use one thread only when the calling thread calls it. */
void panels_single_thread(void);

/* Let oneDNN use so many, for matmul.h. */
void panels_threads(int threads);

/* Whether this machine has instructions for bf16 that oneDNN uses. */
bool panels_have_bf16(void);

/* Write the loaded library's "oneDNN 2.6.3" to `text`. */
void panels_version(char *text, size_t size);

/* The widest instruction set that oneDNN uses on this machine: "avx512_core_amx". Static. */
const char *panels_isa(void);

#endif
