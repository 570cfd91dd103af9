/* config_yaml.c - options from YAML: a mapping of sections or of whole keys. No other YAML is accepted.
 *
 * The text is read as libyaml's stream of events. Anything without a meaning here is an error with its line: sequences
 * for other options than lists, anchors, aliases, tags, a second document. An option that is silently not applied costs
 * a training run. */
#include "proto/base/config.h"

#include "proto/base/typed.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

enum { KEY_LONGEST = 127 };

struct yaml_reading {
    yaml_parser_t parser;
    struct config *config;
    const char *name; /* of the text, for errors */
    const char *yaml;
    size_t size;
    size_t option_line[CONFIG_OPTIONS];  /* line where an option was given; 0 = not yet */
    size_t section_line[CONFIG_OPTIONS]; /* the same for a section, at the index of its first row */
};

static size_t yaml_line(const yaml_event_t *event)
{
    return event->start_mark.line + 1;
}

static bool yaml_fail(const struct yaml_reading *reading, size_t line, struct err *err)
{
    return err_context(err, "%s:%zu", reading->name, line);
}

static bool yaml_parser_failure(const struct yaml_reading *reading, struct err *err)
{
    const yaml_parser_t *parser = &reading->parser;
    if (parser->error == YAML_MEMORY_ERROR)
        return err_set(err, ERR_MEMORY, "%s: out of memory", reading->name);
    size_t line = parser->problem_mark.line + 1;
    if (parser->error == YAML_READER_ERROR) {
        line = 1;
        for (size_t i = 0; i < parser->problem_offset && i < reading->size; i++)
            line += reading->yaml[i] == '\n';
    }
    err_set(err, ERR_USAGE, "not YAML: %s", parser->problem != NULL ? parser->problem : "cannot be read");
    return yaml_fail(reading, line, err);
}

/* What has no meaning here; NULL = nothing. `list`: a sequence has one. */
static const char *yaml_not_taken(const yaml_event_t *event, bool list)
{
    switch (event->type) {
    case YAML_ALIAS_EVENT:
        return "an alias";
    case YAML_SEQUENCE_START_EVENT:
        return !list                                       ? "a sequence"
               : event->data.sequence_start.anchor != NULL ? "an anchor"
               : event->data.sequence_start.tag != NULL    ? "a tag"
                                                           : NULL;
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor != NULL ? "an anchor" : event->data.scalar.tag != NULL ? "a tag" : NULL;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor != NULL ? "an anchor"
               : event->data.mapping_start.tag != NULL  ? "a tag"
                                                        : NULL;
    default:
        return NULL;
    }
}

/* The next event, which the caller deletes; a sequence only where a `list` may stand. On failure there is nothing to
 * delete. */
static bool yaml_next(struct yaml_reading *reading, bool list, yaml_event_t *event, struct err *err)
{
    if (!yaml_parser_parse(&reading->parser, event))
        return yaml_parser_failure(reading, err);
    const char *what = yaml_not_taken(event, list);
    if (what == NULL)
        return true;
    err_set(err, ERR_USAGE, "%s is not accepted here: options are \"section:\" and, below it, \"name: value\"", what);
    yaml_fail(reading, yaml_line(event), err);
    yaml_event_delete(event);
    return false;
}

/* The text of a scalar, valid as long as the event. NULL: another event, or a text with a NUL. */
static const char *yaml_text(const yaml_event_t *event)
{
    if (event->type != YAML_SCALAR_EVENT)
        return NULL;
    const char *text = (const char *)event->data.scalar.value;
    return strlen(text) == event->data.scalar.length ? text : NULL;
}

static bool yaml_is_empty(const yaml_event_t *event)
{
    return event->type == YAML_SCALAR_EVENT && event->data.scalar.length == 0 && event->data.scalar.plain_implicit;
}

/* The index of a section's first row; CONFIG_OPTIONS = no such section. */
static size_t yaml_section(const char *name)
{
    size_t count, size = strlen(name), i = 0;
    const struct option_row *rows = config_options(&count);
    while (i < count && (strncmp(rows[i].key, name, size) != 0 || rows[i].key[size] != '.'))
        i++;
    return i;
}

static bool yaml_unknown_section(const char *name, struct err *err)
{
    if (config_option(name) != NULL)
        return err_set(err, ERR_USAGE, "%s takes one value, not a mapping", name);
    static const char *const sections[] = {
#define OPTION_INT(section, ...)    #section,
#define OPTION_REAL(section, ...)   #section,
#define OPTION_BOOL(section, ...)   #section,
#define OPTION_TEXT(section, ...)   #section,
#define OPTION_LIST(section, ...)   #section,
#define OPTION_CHOICE(section, ...) #section,
#include "proto/base/config.def"
#undef OPTION_INT
#undef OPTION_REAL
#undef OPTION_BOOL
#undef OPTION_TEXT
#undef OPTION_LIST
#undef OPTION_CHOICE
    };
    struct suggest suggest = suggest_begin(name);
    for (size_t i = 0; i < CONFIG_OPTIONS; i++)
        suggest_offer(&suggest, sections[i], sections[i]);
    if (suggest_best(&suggest) == NULL)
        return err_set(err, ERR_USAGE, "unknown section \"%s\"", typed_show(name).shown);
    return err_set(err, ERR_USAGE, "unknown section \"%s\"; did you mean \"%s\"?", typed_show(name).shown,
                   suggest_best(&suggest));
}

/* Remember that `what` is on `line`; false if it was on another line before. */
static bool yaml_first_time(size_t *seen, size_t line, const char *what, struct err *err)
{
    if (*seen != 0)
        return err_set(err, ERR_USAGE, "%s is given again (first on line %zu)", what, *seen);
    *seen = line;
    return true;
}

static bool yaml_value(struct yaml_reading *reading, const char *key, size_t key_line, const yaml_event_t *event,
                       struct err *err)
{
    const char *text = yaml_text(event);
    const struct option_row *row = config_option(key);
    size_t count;
    if (row == NULL && yaml_section(key) < CONFIG_OPTIONS)
        err_set(err, ERR_USAGE, "%s is a section: its options stand below it, one on a line, indented", key);
    else if (row != NULL && text == NULL)
        err_set(err, ERR_USAGE, "%s: a NUL stands in the value", key);
    else if (row != NULL && !yaml_first_time(&reading->option_line[row - config_options(&count)], key_line, key, err))
        ;
    else if (config_set(reading->config, key, text == NULL ? "" : text, err))
        return true;
    return yaml_fail(reading, key_line, err);
}

/* Read the entries of a list up to its end. */
static bool yaml_list(struct yaml_reading *reading, const char *key, struct err *err)
{
    bool more = true, ok = true;
    while (ok && more) {
        yaml_event_t event;
        if (!yaml_next(reading, false, &event, err))
            return false;
        const char *text = yaml_text(&event);
        more = event.type != YAML_SEQUENCE_END_EVENT;
        if (more && text == NULL)
            ok = err_set(err, ERR_USAGE, "%s: an entry is one text without a NUL", key);
        else if (more)
            ok = config_add(reading->config, key, text, err);
        if (!ok)
            yaml_fail(reading, yaml_line(&event), err);
        yaml_event_delete(&event);
    }
    return ok;
}

/* Read the pairs of a mapping up to its end. `section` is NULL at the top. */
static bool yaml_mapping(struct yaml_reading *reading, const char *section, struct err *err);

/* Read what follows a key: an option's value, or at the top a section's mapping. */
static bool yaml_behind_key(struct yaml_reading *reading, const char *section, const char *key, size_t line,
                            struct err *err)
{
    yaml_event_t event;
    const struct option_row *row = config_option(key);
    if (!yaml_next(reading, row != NULL && row->type == OPTION_TYPE_LIST, &event, err))
        return false;
    bool ok;
    size_t place = section == NULL ? yaml_section(key) : CONFIG_OPTIONS;
    if (place < CONFIG_OPTIONS && (event.type == YAML_MAPPING_START_EVENT || yaml_is_empty(&event))) {
        ok = yaml_first_time(&reading->section_line[place], line, key, err) || yaml_fail(reading, line, err);
        ok = ok && (yaml_is_empty(&event) || yaml_mapping(reading, key, err));
    } else if (event.type == YAML_MAPPING_START_EVENT) {
        ok = yaml_unknown_section(key, err) || yaml_fail(reading, line, err);
    } else if (event.type == YAML_SEQUENCE_START_EVENT) {
        size_t count;
        ok = yaml_first_time(&reading->option_line[row - config_options(&count)], line, key, err) ||
             yaml_fail(reading, line, err);
        ok = ok && config_set(reading->config, key, "", err) && yaml_list(reading, key, err);
    } else {
        ok = yaml_value(reading, key, line, &event, err);
    }
    yaml_event_delete(&event);
    return ok;
}

static bool yaml_mapping(struct yaml_reading *reading, const char *section, struct err *err)
{
    for (;;) {
        yaml_event_t event;
        char key[KEY_LONGEST + 1];
        if (!yaml_next(reading, false, &event, err))
            return false;
        size_t line = yaml_line(&event);
        const char *text = yaml_text(&event);
        bool end = event.type == YAML_MAPPING_END_EVENT;
        if (text != NULL)
            snprintf(key, sizeof key, "%s%s%s", section == NULL ? "" : section, section == NULL ? "" : ".", text);
        yaml_event_delete(&event);
        if (end)
            return true;
        if (text == NULL) {
            err_set(err, ERR_USAGE, "a key is plain text");
            return yaml_fail(reading, line, err);
        }
        if (!yaml_behind_key(reading, section, key, line, err))
            return false;
    }
}

/* Read the stream: its start, at most one document, which is empty or one mapping, and its end. */
static bool yaml_stream(struct yaml_reading *reading, struct err *err)
{
    unsigned documents = 0;
    for (;;) {
        yaml_event_t event;
        if (!yaml_next(reading, false, &event, err))
            return false;
        bool ok = true, end = event.type == YAML_STREAM_END_EVENT;
        if (event.type == YAML_DOCUMENT_START_EVENT && documents++ > 0) {
            err_set(err, ERR_USAGE, "a second document");
            ok = yaml_fail(reading, yaml_line(&event), err);
        } else if (event.type == YAML_MAPPING_START_EVENT) {
            ok = yaml_mapping(reading, NULL, err);
        } else if (event.type == YAML_SCALAR_EVENT && !yaml_is_empty(&event)) {
            err_set(err, ERR_USAGE, "options are expected, as \"section:\" and, below it, \"name: value\"");
            ok = yaml_fail(reading, yaml_line(&event), err);
        }
        yaml_event_delete(&event);
        if (!ok || end)
            return ok;
    }
}

bool config_parse(struct config *config, const char *yaml, size_t size, const char *name, struct config_given *given,
                  struct err *err)
{
    struct config filled = *config;
    struct yaml_reading reading = {.config = &filled, .name = name, .yaml = yaml, .size = size};
    if (!yaml_parser_initialize(&reading.parser))
        return err_set(err, ERR_MEMORY, "%s: out of memory", name);
    yaml_parser_set_input_string(&reading.parser, (const unsigned char *)yaml, size);
    bool ok = yaml_stream(&reading, err);
    yaml_parser_delete(&reading.parser);
    if (ok)
        memcpy(config, &filled, sizeof filled);
    for (size_t i = 0; ok && given != NULL && i < CONFIG_OPTIONS; i++)
        given->row[i] = given->row[i] || reading.option_line[i] != 0;
    return ok;
}
