/* example.c - translate the words of the command line, then standard input's lines as they come.
 *
 *     cc example.c $(pkg-config --cflags --libs lstmq-client) -o example
 *     ./example tcp://127.0.0.1:5758 'i am happy .' < lines.txt
 *
 * The first part waits for its answer. The second part keeps many requests in flight and prints each answer when it
 * arrives, so lines may change places. */
#include <lstmq.h>
#include <stdio.h>
#include <string.h>

enum { IN_FLIGHT = 64 };

static int example_fail(const struct lstmq_error *error)
{
    fprintf(stderr, "%s: %s\n", lstmq_status_name(error->status), error->text);
    return 1;
}

static int example_wait(struct lstmq_client *client, const char *const *texts, size_t count)
{
    const struct lstmq_options options = {.details = true, .deadline_ms = 10000};
    struct lstmq_error error;
    struct lstmq_result *result;
    if (lstmq_translate(client, NULL, NULL, texts, count, &options, &result, &error) != LSTMQ_OK)
        return example_fail(&error);
    for (size_t i = 0; i < result->count; i++) {
        const struct lstmq_translation *one = &result->translations[i];
        printf("%s\n", one->text != NULL ? one->text : "(failed)");
        for (size_t word = 0; word < one->unknown_word_count; word++)
            fprintf(stderr, "unknown: %s\n", one->unknown_words[word]);
    }
    lstmq_free(result);
    return 0;
}

static int example_print(struct lstmq_client *client)
{
    struct lstmq_done done;
    int failures = 0;
    while (lstmq_take(client, &done)) {
        if (done.error.status != LSTMQ_OK)
            failures += example_fail(&done.error);
        else
            printf("%llu: %s\n", (unsigned long long)done.request, done.result->translations[0].text);
        lstmq_free(done.result);
    }
    return failures;
}

static int example_stream(struct lstmq_client *client)
{
    char line[4096];
    int failures = 0;
    while (fgets(line, sizeof line, stdin) != NULL) {
        struct lstmq_error error;
        const char *text = line;
        line[strcspn(line, "\n")] = '\0';
        if (lstmq_submit(client, NULL, NULL, &text, 1, NULL, &error) == 0)
            failures += example_fail(&error);
        while (lstmq_pending(client) >= IN_FLIGHT && lstmq_wait(client, -1))
            failures += example_print(client);
    }
    while (lstmq_wait(client, -1))
        failures += example_print(client);
    return failures;
}

int main(int argc, char **argv)
{
    struct lstmq_error error;
    if (argc < 2) {
        fprintf(stderr, "usage: %s ENDPOINT [TEXT...] < LINES\n", argv[0]);
        return 2;
    }
    struct lstmq_client *client = lstmq_open(argv[1], NULL, &error);
    if (client == NULL)
        return example_fail(&error);
    int failures = argc > 2 ? example_wait(client, (const char *const *)(argv + 2), (size_t)argc - 2) : 0;
    failures += example_stream(client);
    lstmq_close(client);
    return failures == 0 ? 0 : 1;
}
