/* option_change.h - another value for an option: one that is hard to write down and to read back. */
#ifndef LSTMQ_TESTS_SUPPORT_OPTION_CHANGE_H
#define LSTMQ_TESTS_SUPPORT_OPTION_CHANGE_H

#include "proto/base/config.h"

/* Set the option of `row`, which has its default, to another value that is valid, where it has one. */
void option_change(struct config *config, const struct option_row *row);

#endif
