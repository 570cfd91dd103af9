/* report_asset.h - the files that are part of the program: the report's template and Chart.js.
 *
 * The build puts both into the read-only data of the binary, each followed by a NUL. Constant; any thread. */
#ifndef LSTMQ_COORDINATOR_RUN_REPORT_ASSET_H
#define LSTMQ_COORDINATOR_RUN_REPORT_ASSET_H

/* coordinator/run/report.html.in: a page with {{slots}}. */
extern const char report_template[];

/* The Chart.js of the system the program was built on, minified; it defines the global `Chart`. */
extern const char report_chart_js[];

#endif
