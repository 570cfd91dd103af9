/* report_asset.c - see report_asset.h. The paths come from coordinator/CMakeLists.txt. */
#include "coordinator/run/report_asset.h"

/* .incbin includes the bytes at no cost to the compiler; C has no such feature before #embed. */
#define ASSET(symbol, path)                                                                                            \
    __asm__(".pushsection .rodata\n"                                                                                   \
            ".global " #symbol "\n"                                                                                    \
            ".hidden " #symbol "\n" #symbol ":\n"                                                                      \
            ".incbin \"" path "\"\n"                                                                                   \
            ".byte 0\n"                                                                                                \
            ".popsection\n")

ASSET(report_template, REPORT_TEMPLATE_PATH);
ASSET(report_chart_js, REPORT_CHART_JS_PATH);
