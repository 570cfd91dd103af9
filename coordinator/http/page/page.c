/* page.c - the page's files by their names; see page.h. PAGE_FOLDER comes from CMakeLists.txt. */
#include "coordinator/http/page/page.h"

#include "coordinator/run/report_asset.h"
#include "proto/store/file.h"

#include <string.h>

enum { CURVES_MOST = 16 << 20 }; /* bytes; about 50,000 epochs */

/* .incbin includes the bytes at no cost to the compiler; C has no such feature before #embed. */
#define PAGE_FILE(symbol, name)                                                                                        \
    __asm__(".pushsection .rodata\n" #symbol ":\n"                                                                     \
            ".incbin \"" PAGE_FOLDER "/" name "\"\n"                                                                   \
            ".byte 0\n"                                                                                                \
            ".popsection\n");                                                                                          \
    extern const char symbol[] __attribute__((visibility("hidden")))

PAGE_FILE(page_html, "page.html");
PAGE_FILE(page_css, "page.css");
PAGE_FILE(page_js, "page.js");
PAGE_FILE(page_common_js, "common.js");
PAGE_FILE(page_translate_js, "translate.js");
PAGE_FILE(page_live_js, "live.js");
PAGE_FILE(page_curves_js, "curves.js");
PAGE_FILE(page_icon_svg, "icon.svg");

#define PAGE_SCRIPT "text/javascript; charset=utf-8"

static const struct page_file {
    const char *path, *type, *text;
} page_files[] = {
    {"/", "text/html; charset=utf-8", page_html},
    {"/page/page.css", "text/css; charset=utf-8", page_css},
    {"/page/page.js", PAGE_SCRIPT, page_js},
    {"/page/common.js", PAGE_SCRIPT, page_common_js},
    {"/page/translate.js", PAGE_SCRIPT, page_translate_js},
    {"/page/live.js", PAGE_SCRIPT, page_live_js},
    {"/page/curves.js", PAGE_SCRIPT, page_curves_js},
    {"/page/chart.js", PAGE_SCRIPT, report_chart_js},
    {"/page/icon.svg", "image/svg+xml", page_icon_svg},
};

bool page_answer(struct exchange *exchange)
{
    for (size_t i = 0; i < sizeof page_files / sizeof *page_files; i++) {
        const struct page_file *file = &page_files[i];
        if (strcmp(exchange->path, file->path) != 0)
            continue;
        http_answer_static(exchange, file->type, file->text, strlen(file->text));
        return true;
    }
    return false;
}

void page_answer_curves(struct exchange *exchange, const char *run)
{
    char path[FILE_PATH];
    struct buffer lines = {0};
    http_set_header(exchange, "Cache-Control", "no-store");
    if (path_join(path, run, "metrics.jsonl", NULL) && file_read(path, CURVES_MOST, &lines, NULL))
        http_answer(exchange, 200, "application/x-ndjson", lines.data != NULL ? lines.data : "", lines.size);
    else
        http_answer_error(exchange, 404, "The run has no metrics.jsonl");
    buffer_free(&lines);
}

void page_answer_status(struct exchange *exchange, const struct buffer *status)
{
    http_set_header(exchange, "Cache-Control", "no-store");
    if (status->failed)
        http_answer_error(exchange, 500, "There is no memory for the status");
    else
        http_answer(exchange, 200, "application/json", status->data, status->size);
}
