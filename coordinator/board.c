/* board.c - answers what a browser asks about a run; see board.h. */
#include "coordinator/board.h"

#include "coordinator/http/http.h"
#include "coordinator/http/page/page.h"
#include "proto/base/log.h"

#include <stdlib.h>
#include <string.h>

struct board {
    struct http *http;
    const struct trainer *trainer;
    const char *dir;
    struct buffer out;
};

static void board_answer(struct board *board, struct exchange *exchange)
{
    const char *path = exchange->path;
    if (strcmp(exchange->method, "GET") != 0 && strcmp(exchange->method, "HEAD") != 0) {
        http_set_header(exchange, "Allow", "GET, HEAD");
        http_answer_error(exchange, 405, "The method is not allowed for this address");
    } else if (strcmp(path, "/status.json") == 0) {
        buffer_clear(&board->out);
        trainer_status(board->trainer, true, &board->out);
        page_answer_status(exchange, &board->out);
    } else if (strcmp(path, "/metrics.jsonl") == 0) {
        page_answer_curves(exchange, board->dir);
    } else if (strcmp(path, "/health") == 0 || strcmp(path, "/readyz") == 0 || strcmp(path, "/livez") == 0) {
        static const char ok[] = "{\"status\":\"ok\"}\n";
        http_answer(exchange, 200, "application/json", ok, sizeof ok - 1);
    } else if (!page_answer(exchange)) {
        http_answer_error(exchange, 404, "There is no such page");
    }
}

static bool board_turn(void *context, struct err *err)
{
    struct board *board = context;
    struct exchange *exchange;
    (void)err;
    while ((exchange = http_gone(board->http)) != NULL)
        http_drop(exchange);
    while ((exchange = http_take(board->http)) != NULL)
        board_answer(board, exchange);
    http_say(board->http);
    return true;
}

struct board *board_open(const struct config *config, struct loop *loop, const struct trainer *trainer, const char *dir,
                         struct err *err)
{
    struct board *board = calloc(1, sizeof *board);
    if (board == NULL) {
        err_set(err, ERR_MEMORY, "no memory for the run's page");
        return NULL;
    }
    const struct http_options options = {.loop = loop,
                                         .bind = config->http_bind,
                                         .listener = -1,
                                         .body = (size_t)config->http_body,
                                         .connections = (unsigned)config->http_connections,
                                         .timeout_ms = (int64_t)(config->http_timeout * 1000),
                                         .access_log = config->http_access_log};
    *board = (struct board){.http = http_open(&options, err), .trainer = trainer, .dir = dir};
    bool ok = board->http != NULL;
    if (ok && !http_is_local(board->http) && !config->curve_insecure)
        ok = err_set(err, ERR_USAGE,
                     "http.bind %s: every machine that reaches it could see the run; bind it to 127.0.0.1, or accept "
                     "that with --insecure",
                     http_address(board->http));
    if (!ok || loop_add_turn(loop, board_turn, board, err) == 0) {
        board_close(&board);
        return NULL;
    }
    log_event(LOG_INFO, "http_listening", LOG_FIELDS(LOG_TEXT("address", http_address(board->http))),
              "the run's page is at http://%s", http_address(board->http));
    return board;
}

void board_close(struct board **board)
{
    if (*board == NULL)
        return;
    http_close(&(*board)->http);
    buffer_free(&(*board)->out);
    free(*board);
    *board = NULL;
}
