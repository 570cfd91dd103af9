/* tsan.c - what ThreadSanitizer must know about ZeroMQ, which is not built with it: linked into the C tests of such a
 * build.
 *
 * A receive comes after its send: both threads see the same bytes in memory, but libzmq's own atomics, which order the
 * two threads, are invisible. So the sender's call releases the bytes' address, and the receiver's call acquires it.
 * Lent memory returns to its owner the same way. No other order is added: two threads that touch the same memory
 * without a message, a lock or an atomic between them are still reported. What the libraries do with memory and locks
 * is left out. Called in each thread that uses ZeroMQ. */
#include <sanitizer/tsan_interface.h>
#include <stdlib.h>
#include <zmq.h>

__attribute__((visibility("default"))) const char *__tsan_default_suppressions(void);

const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:libzmq.so\n"
           "called_from_lib:libsodium.so\n";
}

/* Memory that a message was made of, until libzmq gives it back in a thread of its own. */
struct lent {
    zmq_free_fn *give_back;
    void *hint;
};

static void tsan_give_back(void *data, void *hint)
{
    __tsan_acquire(hint);
    const struct lent lent = *(struct lent *)hint;
    free(hint);
    lent.give_back(data, lent.hint);
}

int __real_zmq_msg_init_data(zmq_msg_t *message, void *data, size_t size, zmq_free_fn *give_back, void *hint);
int __wrap_zmq_msg_init_data(zmq_msg_t *message, void *data, size_t size, zmq_free_fn *give_back, void *hint);

int __wrap_zmq_msg_init_data(zmq_msg_t *message, void *data, size_t size, zmq_free_fn *give_back, void *hint)
{
    struct lent *lent = give_back == NULL ? NULL : malloc(sizeof *lent);
    if (lent == NULL)
        return __real_zmq_msg_init_data(message, data, size, give_back, hint);
    *lent = (struct lent){.give_back = give_back, .hint = hint};
    __tsan_release(lent);
    return __real_zmq_msg_init_data(message, data, size, tsan_give_back, lent);
}

int __real_zmq_msg_send(zmq_msg_t *message, void *socket, int flags);
int __wrap_zmq_msg_send(zmq_msg_t *message, void *socket, int flags);

int __wrap_zmq_msg_send(zmq_msg_t *message, void *socket, int flags)
{
    __tsan_release(zmq_msg_data(message));
    return __real_zmq_msg_send(message, socket, flags);
}

int __real_zmq_msg_recv(zmq_msg_t *message, void *socket, int flags);
int __wrap_zmq_msg_recv(zmq_msg_t *message, void *socket, int flags);

int __wrap_zmq_msg_recv(zmq_msg_t *message, void *socket, int flags)
{
    int size = __real_zmq_msg_recv(message, socket, flags);
    if (size >= 0)
        __tsan_acquire(zmq_msg_data(message));
    return size;
}

int __real_zmq_msg_close(zmq_msg_t *message);
int __wrap_zmq_msg_close(zmq_msg_t *message);

/* The bytes may be another's next message. */
int __wrap_zmq_msg_close(zmq_msg_t *message)
{
    __tsan_release(zmq_msg_data(message));
    return __real_zmq_msg_close(message);
}
