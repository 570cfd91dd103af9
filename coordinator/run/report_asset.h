/* report_asset.h - files inside the program: the report's template and Chart.js.
 *
 * The build puts both into the binary's read-only data, each followed by a NUL. Constant; any thread. */
#ifndef LSTMQ_COORDINATOR_RUN_REPORT_ASSET_H
#define LSTMQ_COORDINATOR_RUN_REPORT_ASSET_H

/* coordinator/run/report.html.in: a page with {{slots}}. */
extern const char report_template[];

/* The minified Chart.js of the system that built the program; it defines the global `Chart`. */
extern const char report_chart_js[];

#endif
