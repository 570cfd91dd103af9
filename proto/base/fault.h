/* fault.h - places in the program where a test may let it die.
 *
 * A process that is killed between any two instructions must cost no step and no promise. Where that is hardest to keep
 * stands fault_point("NAME"). In lstmq itself it does nothing. The tests link a second program, lstmq-faults, from the
 * same objects with another fault_point (tests/fault.c): with LSTMQ_FAULT=NAME[:N] in its environment it kills itself
 * with SIGKILL when it passes that point for the N-th time. Any thread.
 *
 *   all-reduce            a step's gradient is on its way between ranks
 *   rendezvous-listen     a rank can be reached, and has told nobody
 *   rendezvous-connect    it is connected to the others
 *   sync                  parameters are broadcast, moments are not
 *   upload                a piece of a state is sent
 *   step                  a step is done and not yet reported
 *
 *   journal               before and after each write of a coordinator's journal
 *   validate              a request of the validation is answered
 *   save                  a piece of a state has come
 *   commit                a checkpoint is whole, and nothing else knows of it
 *   dismiss               the workers are told to go */
#ifndef LSTMQ_PROTO_BASE_FAULT_H
#define LSTMQ_PROTO_BASE_FAULT_H

void fault_point(const char *name);

#endif
