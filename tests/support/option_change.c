/* option_change.c - another value for an option; see option_change.h. */
#include "tests/support/option_change.h"

#include <stdio.h>

void option_change(struct config *config, const struct option_row *row)
{
    void *field = (char *)config + row->offset;
    switch (row->type) {
    case OPTION_TYPE_INT:
        *(int64_t *)field = (int64_t)row->most;
        break;
    case OPTION_TYPE_REAL:
        *(double *)field = row->least + (row->most - row->least) / 3.0;
        break;
    case OPTION_TYPE_BOOL:
        *(bool *)field = !*(bool *)field;
        break;
    case OPTION_TYPE_TEXT:
        snprintf(field, CONFIG_TEXT,
                 "%s \t\r\n\a'\"\\ # : - {}[]&*!|>%% \xc2\x85\xc2\xa0\xe2\x80\xa8\xef\xbb\xbf\xc3\xa9\xf0\x9f\x98\x80 ",
                 row->key);
        break;
    case OPTION_TYPE_CHOICE:
        *(int *)field = *(int *)field == 0;
        break;
    }
}
