/* fault.h - places where a test can kill the program.
 *
 * A process that is killed between any two instructions must lose no step and break no promise. fault_point("NAME")
 * marks the places where this is hardest. In lstmq it does nothing. The tests link a second program, lstmq-faults, from
 * the same objects with another fault_point (tests/fault.c). With LSTMQ_FAULT=NAME[:N] in its environment, that program
 * kills itself with SIGKILL when it passes the point for the N-th time. Any thread.
 *
 *   all-reduce            a step's gradient is on its way between ranks
 *   rendezvous-listen     a rank listens, but no other rank knows its endpoint
 *   rendezvous-connect    a rank is connected to the others
 *   sync                  parameters are broadcast, moments are not
 *   upload                a piece of a state is sent
 *   step                  a step is done and not yet reported
 *   journal               before and after each write of a coordinator's journal
 *   validate              a validation request is answered
 *   save                  a piece of a state has arrived
 *   commit                a checkpoint is complete, but nothing refers to it yet
 *   dismiss               the workers are dismissed
 *
 * fault_text marks a place where text is about to be worked on. With LSTMQ_FAULT=NAME=TEXT the program kills itself
 * when it passes with that text among the bytes. It stands for input on which a program crashes.
 *
 *   translate             a batch of a translation worker */
#ifndef LSTMQ_PROTO_BASE_FAULT_H
#define LSTMQ_PROTO_BASE_FAULT_H

#include <stddef.h>

void fault_point(const char *name);
void fault_text(const char *name, const char *bytes, size_t size);

#endif
