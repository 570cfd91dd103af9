/* main.c - the table of commands, and the worker that train embeds.
 *
 * Each command lives in its folder and returns its failure. main.c prints the failure and turns it into the exit
 * status. */
#include "coordinator/run/resume.h"
#include "coordinator/train.h"
#include "kernels/backend.h"
#include "kernels/collective.h"
#include "proto/base/log.h"
#include "proto/base/version.h"
#include "proto/cli/commands.h"
#include "proto/cli/help.h"
#include "proto/cli/start.h"
#include "worker/cluster/worker.h"
#include "worker/collective/local.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static bool main_train(const struct command_call *call, struct err *err);
static bool main_help(const struct command_call *call, struct err *err);

static const struct command main_commands[] = {
    {.name = "train",
     .bit = COMMAND_TRAIN,
     .synopsis = "[--config FILE] --data.pairs FILE [options]",
     .summary = "train a model on sentence pairs, on this machine",
     .description = "Reads the pairs, builds the vocabularies and trains. run.dir receives the checkpoints, one line "
                    "of figures for each epoch (metrics.jsonl) and a page with the curves (report.html). RUN/best is "
                    "the checkpoint with the best score, RUN/latest the newest one. An interrupted run writes a "
                    "checkpoint first; `lstmq train --run.dir RUN --resume` continues from it.\n\n"
                    "--config takes a file or the name of a recipe: notebook, notebook-rnn, default.\n\n"
                    "  lstmq train --config notebook --data.pairs pairs.tsv --run.dir runs/first\n"
                    "  lstmq train --data.src corpus.en.gz --data.tgt corpus.fr.gz --epochs 10",
     .lasts = true,
     .complete = resume_config,
     .run = main_train},
    {.name = "translate",
     .bit = COMMAND_TRANSLATE,
     .synopsis = "--model RUN_OR_CHECKPOINT | --connect ENDPOINT [options] < SOURCES > TRANSLATIONS",
     .summary = "translate standard input, line by line",
     .description =
         "Writes one line of output for each line of input, in order; an empty line stays empty. Standard error names "
         "what normalisation removes, words that the model does not know, and lines that are too long.\n\n"
         "--connect sends the lines to a queue (lstmq serve), many at a time. When the queue is busy or was "
         "restarted, they are sent again, for five minutes at most. A line that no worker could translate is an empty "
         "line and an error.\n\n"
         "  echo 'i am happy .' | lstmq translate --model runs/first\n"
         "  lstmq translate --connect tcp://127.0.0.1:5758 < lines.en > lines.fr",
     .run = cmd_translate},
    {.name = "evaluate",
     .bit = COMMAND_EVALUATE,
     .synopsis = "--model RUN_OR_CHECKPOINT --data.pairs FILE [options]",
     .summary = "score a model on sentence pairs: loss, accuracy, BLEU, chrF",
     .description =
         "Token accuracy, loss and perplexity use the reference as decoder input (teacher forcing). BLEU and chrF "
         "compare the model's own translations with the references as written, as sacreBLEU does, and are printed with "
         "its signature. The same scores against normalised references stand beside them. Pairs with an empty side and "
         "skipped lines are counted, not scored; --output.translations writes a line for each of them too.\n\n"
         "  lstmq evaluate --model runs/first --data.pairs test.tsv --json",
     .run = cmd_evaluate},
    {.name = "inspect",
     .bit = COMMAND_INSPECT,
     .synopsis = "RUN_OR_CHECKPOINT [--json]",
     .summary = "show what a checkpoint holds, and whether it is valid",
     .description = "Prints configuration, step, scores, each tensor with its shape, and the verdict on the checksum "
                    "of each file. A damaged checkpoint is an error that names the file.\n\n"
                    "  lstmq inspect runs/first",
     .words = 1,
     .run = cmd_inspect},
    {.name = "bench",
     .bit = COMMAND_BENCH,
     .synopsis = "[kernels|train|translate|cluster|serve] [PART] [options]",
     .summary = "measure the speed of kernels, training and translation here",
     .description =
         "kernels: each operation of a training step. train: steps, their time by phase, and the time of the matrix "
         "products alone. translate: greedy decoding at batches of 1, 64 and translate.batch, with the weights and "
         "vocabularies of --model if it is given. cluster: the cost of 8, 64 and 512 workers, computed from pieces "
         "that are measured here. Without a word it measures all of these. Pairs are drawn with the lengths of the "
         "notebook's; with --model, translate reads data.pairs. --config gives another model's sizes. serve: queues "
         "(`lstmq serve`) under load, against targets; PART is queue, http, start, rest, overload, model or fair, and "
         "the last two need --model and data.pairs. The exit status is 1 if a target is missed.\n\n"
         "  lstmq bench train --config notebook --threads 2 --json\n"
         "  lstmq bench serve --model RUN --data.pairs FILE",
     .words = 2,
     .run = cmd_bench},
    {.name = "coordinator",
     .bit = COMMAND_COORDINATOR,
     .synopsis = "--data.pairs FILE --run.dir FOLDER [--bind tcp://HOST:PORT] [options]",
     .summary = "train a model on workers that connect over the network",
     .description = "Owns the data and the run, and sends work to workers (`lstmq worker --connect`). They may join, "
                    "leave and die at any time. If the coordinator itself is killed, `lstmq coordinator --run.dir RUN "
                    "--resume` continues from the workers' state. On Ctrl-C, SIGTERM or a closed terminal it saves and "
                    "ends. It listens to other machines only with keys (lstmq help keygen), or with --insecure.\n\n"
                    "  lstmq coordinator --config default --data.pairs pairs.tsv --run.dir runs/first",
     .lasts = true,
     .complete = resume_config,
     .run = cmd_coordinator},
    {.name = "serve",
     .bit = COMMAND_SERVE,
     .synopsis = "--model RUN_OR_CHECKPOINT [--http HOST:PORT] [--bind tcp://HOST:PORT] [--workers N] [options]",
     .summary = "answer translation requests from a pool of workers",
     .description =
         "Accepts requests of client libraries and of `lstmq translate --connect` at --bind, and HTTP at --http, where "
         "it also has a page for browsers. It gives them in batches to translation workers: --workers N of its own, "
         "and others that connect (`lstmq translate-worker`). A new checkpoint of a run is loaded beside the old one, "
         "and no request fails. On Ctrl-C, SIGTERM or a closed terminal it answers what it accepted and ends; a second "
         "signal ends it at once. It listens to other machines only with keys (lstmq help keygen), or with "
         "--insecure.\n\n"
         "  lstmq serve --model runs/first --http 127.0.0.1:5000\n"
         "  lstmq serve --model runs/en-fr --model runs/fr-en --workers 0",
     .lasts = true,
     .run = cmd_serve},
    {.name = "status",
     .bit = COMMAND_STATUS,
     .synopsis = "[--connect tcp://HOST:PORT] [--watch] [--json]",
     .summary = "show the status of a coordinator's run, or of a translation queue",
     .description =
         "Without --connect it looks for a coordinator; a queue has another port, 5758. With keys, it needs one "
         "of role admin; a coordinator also accepts the role train, and a queue the role client. If nothing "
         "listens, it fails at once.\n\n"
         "  lstmq status --connect tcp://train.example:5757\n"
         "  lstmq status --connect tcp://127.0.0.1:5758 --watch --every 5",
     .run = cmd_status},
    {.name = "worker",
     .bit = COMMAND_WORKER,
     .synopsis = "--connect ENDPOINT [options]",
     .summary = "compute gradients for a coordinator",
     .description =
         "Joins the coordinator's run at the next step boundary, receives the state from the other workers, and sums "
         "gradients with them. It needs no files. It may be killed at any time, and another may be started in its "
         "place. On Ctrl-C, SIGTERM or a closed terminal it leaves after the steps in flight; a second signal ends it "
         "at once. Without a coordinator it keeps the state and waits worker.reconnect_timeout seconds.\n\n"
         "  lstmq worker --connect tcp://192.0.2.1:5757 --threads 8",
     .lasts = true,
     .run = cmd_worker},
    {.name = "translate-worker",
     .bit = COMMAND_TRANSLATE_WORKER,
     .synopsis = "--connect ENDPOINT [options]",
     .summary = "translate for a translation queue",
     .description =
         "Joins the queue of `lstmq serve`, loads the checkpoints that the queue names, and translates batches. A "
         "checkpoint whose folder it does not see is fetched from the queue and kept in serve.cache. If the connection "
         "breaks, it connects again. On Ctrl-C or SIGTERM it finishes the batches that it has and leaves; a second "
         "signal ends it at once.\n\n"
         "  lstmq translate-worker --connect tcp://queue.example:5758",
     .lasts = true,
     .run = cmd_translate_worker},
    {.name = "keygen",
     .bit = COMMAND_KEYGEN,
     .synopsis = "NAME [--role train|serve|client|admin] [--out FOLDER]",
     .summary = "make a key pair for connections between machines",
     .description =
         "Writes NAME.key, which is secret and stays with the process that uses it, and NAME.pub. Each process has its "
         "own pair. A server gets the public keys that it accepts, as a folder of .pub files; its peers get the "
         "server's. The role of a key in the server's folder says what the key may do.\n\n"
         "  lstmq keygen coordinator --out keys\n"
         "  lstmq keygen worker-1 --role train --out keys\n"
         "  lstmq keygen app --role client --out keys",
     .words = 1,
     .run = cmd_keygen},
    {.name = "or-gate",
     .bit = COMMAND_OR_GATE,
     .synopsis = "",
     .summary = "train the smallest possible network, as a check of the kernels",
     .description = "A network of 2, 3 and 1 units with sigmoids learns OR in 1,000 epochs: binary cross-entropy, SGD, "
                    "learning rate 5. It fails if the loss does not fall below 0.001 or an answer is wrong.",
     .run = cmd_or_gate},
    {.name = "help",
     .bit = COMMAND_HELP,
     .synopsis = "[COMMAND] [--man] [--completion bash|zsh|fish]",
     .summary = "explain a command and all its options",
     .description = "Without a word it lists the commands. --man prints the manual page:\n\n"
                    "  lstmq help --man | man -l -\n\n"
                    "--completion prints a script for a shell. An installed lstmq has all three where the shells look "
                    "for them. Without an installation, for this bash only:\n\n"
                    "  source <(lstmq help --completion bash)",
     .words = 1,
     .run = main_help},
};

enum { COMMAND_COUNT = sizeof main_commands / sizeof main_commands[0] };

static void *main_hub_new(struct err *err)
{
    return local_hub_new(err);
}

static void main_hub_destroy(void *hub)
{
    struct local_hub *gone = hub;
    local_hub_destroy(&gone);
}

static bool main_run_worker(void *zmq_context, const char *endpoint, const struct config *config, void *hub,
                            struct err *err)
{
    const struct worker_options options = {
        .zmq_context = zmq_context, .endpoint = endpoint, .config = config, .hub = hub};
    return worker_run(&options, err);
}

static bool main_train(const struct command_call *call, struct err *err)
{
    static const struct train_worker worker = {
        .check = worker_check, .hub_new = main_hub_new, .hub_destroy = main_hub_destroy, .run = main_run_worker};
    return cmd_train(call, &worker, err);
}

static bool main_help(const struct command_call *call, struct err *err)
{
    return cmd_help(call, main_commands, COMMAND_COUNT, err);
}

static bool main_version(struct err *err)
{
    struct buffer text = {0};
    buffer_format(&text, "lstmq %s (commit %s)\n%s\n", LSTMQ_VERSION, LSTMQ_COMMIT, backend_describe());
    bool ok = command_print(&text, err);
    buffer_free(&text);
    return ok;
}

static int main_no_command(void)
{
    struct buffer page = {0};
    help_overview(main_commands, COMMAND_COUNT, (struct help_style){.width = help_style().width}, &page);
    if (buffer_ok(&page, NULL))
        fputs(page.data, stderr);
    buffer_free(&page);
    return err_exit_status(ERR_USAGE);
}

/* Flush the output that a command left in stdout's buffer. */
static bool main_flush(struct err *err)
{
    if (fflush(stdout) != 0 || ferror(stdout))
        return err_errno(err, ERR_IO, "cannot write to standard output");
    return true;
}

/* `what` is the program and the failed command. Returns the exit status. */
static int main_failed(const char *what, const struct err *err)
{
    int status = err_exit_status(err->code);
    const struct log_field *fields = LOG_FIELDS(LOG_TEXT("reason", err->text), LOG_INT("status", status));
    if (err->code == ERR_INTERRUPTED)
        log_say(LOG_ERROR, "interrupted", fields, "%s: %s", what, err->text);
    else
        log_say(LOG_ERROR, "failed", fields, "%s: %s", what, err->text);
    return status;
}

int main(int argc, char **argv)
{
    /* `lstmq help | head` ends silently, even if the parent process ignores the signal. */
    signal(SIGPIPE, SIG_DFL);
    /* A write beyond `ulimit -f` must fail with an error message. Shared memory of workers counts as a file too. */
    signal(SIGXFSZ, SIG_IGN);
    if (argc < 2)
        return main_no_command();
    struct err err = {0};
    const char *name = argv[1];
    bool ok;
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) {
        ok = main_version(&err);
    } else {
        static char help[] = "help";
        bool asks = strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0;
        const struct command *command = command_find(main_commands, COMMAND_COUNT, asks ? "help" : name, &err);
        if (command == NULL) {
            log_use_json(command_wants_json(argc - 1, argv + 1));
            return main_failed("lstmq", &err);
        }
        name = command->name;
        /* start_command answers a command's own --help; `lstmq --help` is `lstmq help`. */
        if (asks)
            argv[1] = help;
        ok = start_command(command, argc - 1, argv + 1, &err);
    }
    ok = ok && main_flush(&err);
    if (ok)
        return 0;
    char what[64];
    snprintf(what, sizeof what, "lstmq %s", name);
    return main_failed(what, &err);
}
