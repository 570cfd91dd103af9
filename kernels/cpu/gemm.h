/* gemm.h - matrix products through oneDNN; gemm.c is the one file that knows its 2.x and 3.x interfaces.
 *
 * A multiplier holds what oneDNN compiled for the shapes that were asked for, and the memory those need while they run. One
 * thread owns it; a product runs on the multiplier's threads. Born in multiplier_open, given back by multiplier_close. */
#ifndef LSTMQ_GEMM_H
#define LSTMQ_GEMM_H

#include "kernels/backend.h"

struct multiplier;

struct multiplier *multiplier_open(int threads, struct err *err);
void multiplier_close(struct multiplier **multiplier);

/* C (+)= A B (+ bias), see struct gemm. Bits as backend.h promises. An empty product (M or N 0) does nothing. */
bool multiplier_run(struct multiplier *multiplier, const struct gemm *gemm, struct err *err);

/* "oneDNN 2.6.3" of the library that is loaded, written to `text`. */
void multiplier_version(char *text, size_t size);

/* The widest instruction set that oneDNN uses on this machine: "avx512_core_amx". Static. */
const char *multiplier_isa(void);

#endif
