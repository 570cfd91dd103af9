/* capture.c - outputs as text; see capture.h. */
#include "tests/support/capture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static FILE *capture_file;
static int capture_stderr;

void capture_begin(void)
{
    capture_file = tmpfile();
    assert_non_null(capture_file);
    fflush(stderr);
    capture_stderr = dup(STDERR_FILENO);
    dup2(fileno(capture_file), STDERR_FILENO);
}

/* All that can be read, as text. */
static void capture_read(FILE *file, struct buffer *text)
{
    char chunk[4096];
    for (size_t got; (got = fread(chunk, 1, sizeof chunk, file)) > 0;)
        buffer_append(text, chunk, got);
    buffer_text(text, "");
    assert_true(buffer_ok(text, NULL));
}

char *capture_end(void)
{
    struct buffer text = {0};
    fflush(stderr);
    dup2(capture_stderr, STDERR_FILENO);
    close(capture_stderr);
    rewind(capture_file);
    capture_read(capture_file, &text);
    fclose(capture_file);
    return text.data;
}

int capture_lstmq(struct buffer *out, const char *format, ...)
{
    struct buffer command = {0};
    char arguments[8192];
    va_list list;
    va_start(list, format);
    assert_in_range(vsnprintf(arguments, sizeof arguments, format, list), 0, sizeof arguments - 1);
    va_end(list);
    buffer_format(&command, "'%s' 2>&1 < /dev/null %s", LSTMQ_BINARY, arguments); /* redirections in it win */
    FILE *pipe = popen(command.data, "r");
    assert_non_null(pipe);
    buffer_free(&command);
    buffer_clear(out);
    capture_read(pipe, out);
    int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}
