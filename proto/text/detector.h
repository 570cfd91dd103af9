/* detector.h - which of a server's languages a text is in.
 *
 * Mostly the tables of trigrams decide (detect.h). libexttextcat knows many languages, but errs on short texts. So it
 * is used in two cases only. It may say that a text which the tables know badly is in none of the server's languages.
 * And it decides for a language without a table, of a checkpoint that an older lstmq wrote. Built without
 * libexttextcat, or without its data, a detector has the tables only.
 *
 * The server opens one when it starts, which takes about 15 ms, and closes it at the end. One thread. */
#ifndef LSTMQ_PROTO_TEXT_DETECTOR_H
#define LSTMQ_PROTO_TEXT_DETECTOR_H

#include "proto/text/detect.h"

struct detector;

struct detector *detector_open(struct err *err);
void detector_close(struct detector **detector);

/* Whether libexttextcat and its data are there. */
bool detector_has_foreign(const struct detector *detector);

/* The guesses for a text, best first, into guesses[count], of `count` languages with their codes ("en", "pt-BR") and
 * their tables; NULL = it has none. When all confidences are 0, the text has no letters or is in another language, and
 * the languages keep their order. Any bytes are legal. */
void detector_guess(struct detector *detector, const char *const *codes, const struct detect_table *const *tables,
                    size_t count, const char *text, size_t size, struct detect_guess *guesses);

#endif
