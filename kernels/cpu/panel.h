/* panel.h - oneDNN, as far as this project uses it; panel.c is the one file that knows its 2.x and 3.x interfaces.
 *
 * A panel is everything about matrices B [K, N] of one shape and one way of lying in memory: the order that oneDNN
 * reads them fastest in, how to pack them into it, and the compiled tiles, which multiply some rows of A by a packed B.
 * A tile has a fixed number of rows, a multiple of `unit` up to `most`, and runs on one thread. Where oneDNN has no
 * brgemm for the machine it may compute a row by its place among few or many: there is one size of tile only (unit =
 * most), and a large B is left as it is.
 *
 * Panels are compiled when they are first asked for; the one unused for longest makes room when there are too many. The
 * thread that opened a `struct panels` makes all calls; only panel_tile is for any thread of a parallel region, each
 * under its number. */
#ifndef LSTMQ_PANEL_H
#define LSTMQ_PANEL_H

#include "proto/base/err.h"

#include <stddef.h>

struct panels;

struct panels *panels_open(int threads, struct err *err);
void panels_close(struct panels **panels);

enum { PANEL_UNIT = 8, PANEL_MOST = 64, PANEL_SIZES = PANEL_MOST / PANEL_UNIT };

/* Its fields are for reading. */
struct panel {
    int N, K;
    bool transposed; /* B is stored [N, K]                                      */
    int unit, most;  /* rows of the smallest and the largest tile               */
    size_t size;     /* bytes of a packed B, a multiple of 4096; 0 = left as is */
    size_t scratch;  /* bytes that the tiles compiled so far want while running */
    struct panel_code *code;
    struct panel *next;
};

/* The panel of a shape; it lives until panels_close or until PANELS others were asked for. */
enum { PANELS = 256 };
struct panel *panels_get(struct panels *panels, int N, int K, bool transposed, struct err *err);

/* What panel_tile takes for `b`: `packed` (panel->size bytes, 4096-byte aligned), into which it was packed, or `b`
 * itself where size is 0. NULL and err on failure. */
const void *panel_pack(struct panels *panels, struct panel *panel, const float *b, void *packed, struct err *err);

/* Have the tiles of up to `rows` rows, and the smallest, compiled for one way of adding. */
bool panel_prepare(struct panels *panels, struct panel *panel, int rows, bool bias, bool accumulate, struct err *err);

/* C (+)= A B (+ bias) for one tile of `rows` rows: a [rows, K] and c [rows, N] dense; bias may be NULL. `scratch` is
 * panel->scratch bytes of the thread's own, 4096-byte aligned. False when oneDNN failed. */
bool panel_tile(const struct panels *panels, const struct panel *panel, int thread, int rows, const float *a,
                const void *packed, const float *bias, bool accumulate, float *c, void *scratch);

/* "oneDNN 2.6.3" of the library that is loaded, written to `text`. */
void panels_version(char *text, size_t size);

/* The widest instruction set that oneDNN uses on this machine: "avx512_core_amx". Static. */
const char *panels_isa(void);

#endif
