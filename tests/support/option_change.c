/* option_change.c - another value for an option; see option_change.h. */
#include "tests/support/option_change.h"

#include <stdio.h>

/* A text that is hard to write down. */
static void option_text(char text[CONFIG_TEXT], const char *begin)
{
    snprintf(text, CONFIG_TEXT,
             "%s \t\r\n\a'\"\\ # : - {}[]&*!|>%% \xc2\x85\xc2\xa0\xe2\x80\xa8\xef\xbb\xbf\xc3\xa9\xf0\x9f\x98\x80 ",
             begin);
}

void option_change(struct config *config, const struct option_row *row)
{
    char text[CONFIG_TEXT];
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
        option_text(field, row->key);
        break;
    case OPTION_TYPE_LIST:
        option_text(text, row->key);
        config_set(config, row->key, text, NULL);
        option_text(text, "second");
        config_add(config, row->key, text, NULL);
        break;
    case OPTION_TYPE_CHOICE:
        *(int *)field = *(int *)field == 0;
        break;
    }
}
