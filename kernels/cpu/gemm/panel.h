/* panel.h - oneDNN, as far as this project uses it; onednn.h is the one file that knows its 2.x and 3.x interfaces.
 *
 * A panel is everything about blocks B [K, N] of one shape and one way of lying in memory: the order that oneDNN reads
 * them fastest in, how to pack them into it, and the compiled tiles, which multiply some rows of A by a packed B. A
 * tile has a fixed number of rows, a multiple of `unit` up to `most`, and runs on one thread. Where oneDNN has no
 * brgemm for the machine it may compute a row by its place among few or many: there is one size of tile only (unit =
 * most), and a large B is left as it is.
 *
 * Panels are compiled when they are first asked for; the one unused for longest makes room when there are too many. The
 * thread that opened a `struct panels` makes all calls; only panel_pack and panel_tile are for any thread of a team,
 * each under its number. Every thread that calls has called panels_single_thread before. */
#ifndef LSTMQ_KERNELS_CPU_GEMM_PANEL_H
#define LSTMQ_KERNELS_CPU_GEMM_PANEL_H

#include "proto/base/config.h"
#include "proto/base/err.h"

#include <stddef.h>

struct panels;

struct panels *panels_open(int threads, struct err *err);
void panels_close(struct panels **panels);

enum { PANEL_UNIT = 8, PANEL_MOST = 64, PANEL_SIZES = PANEL_MOST / PANEL_UNIT };

/* Which blocks. B is fp32 as stored; with `type` bf16 it is rounded when packed, and A is given as bf16. */
struct panel_shape {
    int N, K;
    int ldb;             /* floats from a stored row of B to the next           */
    bool transposed;     /* B is stored [N, K]                                  */
    bool large;          /* a block of a large B: see above                     */
    enum precision type; /* of A and of the packed B                            */
};

/* Its fields are for reading. */
struct panel {
    struct panel_shape shape;
    int unit, most; /* rows of the smallest and the largest tile               */
    size_t size;    /* bytes of a packed B, a multiple of 4096; 0 = left as is */
    size_t scratch; /* bytes that the tiles compiled so far want while running */
    struct panel_code *code;
    struct panel *next;
};

/* The panel of a shape; it lives until panels_close or until PANELS others were asked for. */
enum { PANELS = 512 };
struct panel *panels_get(struct panels *panels, const struct panel_shape *shape, struct err *err);

/* Pack the block at `b` into `packed` (panel->size bytes, 4096-byte aligned). Nothing to do where size is 0: panel_tile
 * then takes the block where it lies. False when oneDNN failed. */
bool panel_pack(const struct panels *panels, const struct panel *panel, int thread, const float *b, void *packed);

/* Have the tiles of up to `rows` rows, and the smallest, compiled for one way of adding. */
bool panel_prepare(struct panels *panels, struct panel *panel, int rows, bool bias, bool accumulate, struct err *err);

/* C (+)= A B (+ bias) for one tile of `rows` rows; a is of the panel's type, a and c are dense, bias [N] may be NULL.
 * `scratch` is panel->scratch bytes of the thread's own, 4096-byte aligned. False when oneDNN failed. */
bool panel_tile(const struct panels *panels, const struct panel *panel, int thread, int rows, const void *a,
                const void *packed, const float *bias, bool accumulate, float *c, void *scratch);

/* Keep oneDNN, whenever the calling thread calls it, from starting threads of its own. */
void panels_single_thread(void);

/* Let oneDNN take so many, for what matmul.h measures. */
void panels_threads(int threads);

/* Whether oneDNN multiplies bf16 on this machine by instructions made for it. */
bool panels_have_bf16(void);

/* "oneDNN 2.6.3" of the library that is loaded, written to `text`. */
void panels_version(char *text, size_t size);

/* The widest instruction set that oneDNN uses on this machine: "avx512_core_amx". Static. */
const char *panels_isa(void);

#endif
