/* markup.c - see markup.h. */
#include "coordinator/serve/api/text/markup.h"

#include "proto/text/unicode.h"

#include <string.h>
#include <strings.h>

/* What a document's bytes are cut into. */
enum markup_kind { MARKUP_TEXT, MARKUP_OPEN, MARKUP_CLOSE, MARKUP_OTHER };

struct markup_token {
    enum markup_kind kind;
    const char *name; /* of a tag */
    size_t name_size;
    bool excluded;    /* translate="no" or class="notranslate" */
    bool self_closed; /* ends with /> */
};

struct markup {
    const char *at, *end;
};

/* The elements with a rule of their own. */
enum markup_rule {
    MARKUP_SKIP = 1 << 0,    /* not translated, up to its end tag */
    MARKUP_RAW = 1 << 1,     /* without tags inside, up to its end tag */
    MARKUP_VOID = 1 << 2,    /* without content */
    MARKUP_FOREIGN = 1 << 3, /* may close itself; script and style inside are not raw */
};

static const struct {
    const char *name;
    unsigned rules;
} markup_elements[] = {
    {"address", MARKUP_SKIP},
    {"applet", MARKUP_SKIP},
    {"area", MARKUP_VOID},
    {"audio", MARKUP_SKIP},
    {"base", MARKUP_VOID},
    {"basefont", MARKUP_VOID},
    {"bgsound", MARKUP_VOID},
    {"br", MARKUP_VOID},
    {"canvas", MARKUP_SKIP},
    {"code", MARKUP_SKIP},
    {"col", MARKUP_VOID},
    {"embed", MARKUP_VOID},
    {"frame", MARKUP_VOID},
    {"hr", MARKUP_VOID},
    {"iframe", MARKUP_SKIP | MARKUP_RAW},
    {"img", MARKUP_VOID},
    {"input", MARKUP_VOID},
    {"kbd", MARKUP_SKIP},
    {"keygen", MARKUP_VOID},
    {"link", MARKUP_VOID},
    {"math", MARKUP_SKIP | MARKUP_FOREIGN},
    {"meta", MARKUP_VOID},
    {"noembed", MARKUP_SKIP | MARKUP_RAW},
    {"noframes", MARKUP_SKIP | MARKUP_RAW},
    {"param", MARKUP_VOID},
    {"plaintext", MARKUP_SKIP | MARKUP_RAW},
    {"pre", MARKUP_SKIP},
    {"samp", MARKUP_SKIP},
    {"script", MARKUP_SKIP | MARKUP_RAW},
    {"source", MARKUP_VOID},
    {"style", MARKUP_SKIP | MARKUP_RAW},
    {"svg", MARKUP_SKIP | MARKUP_FOREIGN},
    {"textarea", MARKUP_SKIP | MARKUP_RAW},
    {"time", MARKUP_SKIP},
    {"title", MARKUP_RAW},
    {"track", MARKUP_VOID},
    {"var", MARKUP_SKIP},
    {"video", MARKUP_SKIP},
    {"wbr", MARKUP_VOID},
    {"xmp", MARKUP_SKIP | MARKUP_RAW},
};

static unsigned markup_rules(const struct markup_token *tag)
{
    for (size_t i = 0; i < sizeof markup_elements / sizeof *markup_elements; i++)
        if (strlen(markup_elements[i].name) == tag->name_size &&
            strncasecmp(markup_elements[i].name, tag->name, tag->name_size) == 0)
            return markup_elements[i].rules;
    return 0;
}

static bool markup_letter(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z');
}

static bool markup_space(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\f' || byte == '\r';
}

/* Move behind the next occurrence of `mark`, or to the end. False: there is no such mark. */
static bool markup_behind(struct markup *in, const char *mark)
{
    size_t size = strlen(mark);
    const char *found = memmem(in->at, (size_t)(in->end - in->at), mark, size);
    in->at = found ? found + size : in->end;
    return found != NULL;
}

static bool markup_starts(const struct markup *in, const char *mark)
{
    size_t size = strlen(mark);
    return (size_t)(in->end - in->at) >= size && strncasecmp(in->at, mark, size) == 0;
}

/* Whether one of the words of a class attribute is notranslate. */
static bool markup_class_excludes(const char *value, size_t size)
{
    for (size_t at = 0; at < size;) {
        while (at < size && markup_space(value[at]))
            at++;
        size_t begin = at;
        while (at < size && !markup_space(value[at]))
            at++;
        if (at - begin == 11 && strncasecmp(value + begin, "notranslate", 11) == 0)
            return true;
    }
    return false;
}

static bool markup_excludes(const char *name, size_t name_size, const char *value, size_t size)
{
    if (name_size == 9 && strncasecmp(name, "translate", 9) == 0)
        return size == 2 && strncasecmp(value, "no", 2) == 0;
    return name_size == 5 && strncasecmp(name, "class", 5) == 0 && markup_class_excludes(value, size);
}

/* Take one attribute, at its first byte. */
static void markup_attribute(struct markup *in, struct markup_token *tag)
{
    const char *name = in->at++; /* the first byte belongs to the name, even '=' */
    while (in->at < in->end && !markup_space(*in->at) && *in->at != '/' && *in->at != '>' && *in->at != '=')
        in->at++;
    size_t name_size = (size_t)(in->at - name);
    while (in->at < in->end && markup_space(*in->at))
        in->at++;
    if (in->at == in->end || *in->at != '=')
        return;
    in->at++;
    while (in->at < in->end && markup_space(*in->at))
        in->at++;
    if (in->at == in->end || *in->at == '>')
        return;
    char quote = *in->at == '"' || *in->at == '\'' ? *in->at++ : '\0';
    const char *value = in->at;
    while (in->at < in->end && (quote ? *in->at != quote : !markup_space(*in->at) && *in->at != '>'))
        in->at++;
    tag->excluded |= markup_excludes(name, name_size, value, (size_t)(in->at - value));
    if (quote && in->at < in->end)
        in->at++;
}

/* Take a tag, at the first letter of its name. */
static void markup_tag(struct markup *in, struct markup_token *tag)
{
    tag->name = in->at;
    while (in->at < in->end && !markup_space(*in->at) && *in->at != '/' && *in->at != '>')
        in->at++;
    tag->name_size = (size_t)(in->at - tag->name);
    while (in->at < in->end && *in->at != '>') {
        tag->self_closed = *in->at == '/';
        if (markup_space(*in->at) || *in->at == '/')
            in->at++;
        else
            markup_attribute(in, tag);
    }
    if (in->at < in->end)
        in->at++;
}

/* Take a comment, at its "<!--". */
static void markup_comment(struct markup *in)
{
    in->at += 4;
    if (markup_starts(in, ">") || markup_starts(in, "->")) {
        markup_behind(in, ">");
        return;
    }
    while (markup_behind(in, "--"))
        for (in->at--; in->at < in->end && *in->at == '-';) { /* the second dash may be the first of the end */
            in->at++;
            if (markup_starts(in, ">") || (markup_starts(in, "!>") && in->at[-2] == '-')) {
                markup_behind(in, ">");
                return;
            }
        }
}

/* Take what begins with <! or <? and is no comment. PHP and CDATA sections may hold >; one without an end takes the
 * rest, so that no input is scanned twice. */
static void markup_declaration(struct markup *in)
{
    markup_behind(in, markup_starts(in, "<![CDATA[") ? "]]>" : markup_starts(in, "<?php") ? "?>" : ">");
}

/* Take the next token. */
static struct markup_token markup_next(struct markup *in)
{
    struct markup_token token = {.kind = MARKUP_OTHER};
    const char *at = in->at;
    size_t left = (size_t)(in->end - at);
    if (left >= 2 && at[0] == '<') {
        if (markup_letter(at[1])) {
            token.kind = MARKUP_OPEN;
            in->at++;
            markup_tag(in, &token);
            return token;
        }
        if (at[1] == '/' && left >= 3 && markup_letter(at[2])) {
            token.kind = MARKUP_CLOSE;
            in->at += 2;
            markup_tag(in, &token);
            return token;
        }
        if (markup_starts(in, "<!--")) {
            markup_comment(in);
            return token;
        }
        if (at[1] == '!' || at[1] == '?' || (at[1] == '/' && left >= 3)) {
            markup_declaration(in);
            return token;
        }
    }
    token.kind = MARKUP_TEXT;
    in->at++;
    while (in->at < in->end && *in->at != '<')
        in->at++;
    return token;
}

static bool markup_same(const struct markup_token *one, const struct markup_token *other)
{
    return one->name_size == other->name_size && strncasecmp(one->name, other->name, one->name_size) == 0;
}

/* Whether an end tag (or, with `slash` "", a start tag) of that name begins at in->at. */
static bool markup_is_tag(const struct markup *in, const char *slash, const struct markup_token *tag)
{
    size_t lead = 1 + strlen(slash), size = lead + tag->name_size;
    if (!markup_starts(in, *slash ? "</" : "<") || (size_t)(in->end - in->at) <= size)
        return false;
    char after = in->at[size];
    return strncasecmp(in->at + lead, tag->name, tag->name_size) == 0 &&
           (markup_space(after) || after == '/' || after == '>');
}

/* Move to the end tag of an element without tags inside. A script may hold a comment with a script in it. */
static void markup_raw(struct markup *in, const struct markup_token *open)
{
    bool script = open->name_size == 6 && strncasecmp(open->name, "script", 6) == 0, doubled = false;
    const char *comment = NULL; /* what is inside "<!--" */
    for (; in->at < in->end; in->at++) {
        if (*in->at != '<' && *in->at != '-')
            continue;
        if (script && !comment && markup_starts(in, "<!--")) {
            comment = in->at + 2;
        } else if (comment && in->at >= comment && markup_starts(in, "-->")) {
            comment = NULL;
            doubled = false;
        } else if (comment && !doubled && markup_is_tag(in, "", open)) {
            doubled = true;
        } else if (markup_is_tag(in, "/", open)) {
            if (!doubled)
                return;
            doubled = false;
        }
    }
}

/* Move behind the end of an element that is not translated. */
static void markup_skip(struct markup *in, const struct markup_token *open, unsigned rules)
{
    for (size_t depth = 1; depth > 0 && in->at < in->end;) {
        struct markup_token token = markup_next(in);
        if (token.kind == MARKUP_CLOSE && markup_same(&token, open)) {
            depth--;
        } else if (token.kind == MARKUP_OPEN) {
            unsigned inside = markup_rules(&token);
            if (markup_same(&token, open) && !((inside & MARKUP_FOREIGN) && token.self_closed))
                depth++;
            else if ((inside & MARKUP_RAW) && !(rules & MARKUP_FOREIGN))
                markup_raw(in, &token);
        }
    }
}

size_t markup_core(const char *text, size_t size, size_t *core)
{
    const unsigned char *at = (const unsigned char *)text, *end = at + size, *begin = NULL, *last = at;
    while (at < end) {
        const unsigned char *from = at;
        if (!unicode_space(unicode_next(&at, end))) {
            begin = begin ? begin : from;
            last = at;
        }
    }
    *core = begin ? (size_t)(last - begin) : 0;
    return begin ? (size_t)(begin - (const unsigned char *)text) : size;
}

static void markup_add(struct buffer *runs, const char *html, const char *begin, const char *end)
{
    struct markup_run run = {(size_t)(begin - html), (size_t)(end - begin)};
    size_t core;
    markup_core(begin, run.size, &core);
    if (core > 0)
        buffer_append(runs, &run, sizeof run);
}

/* Add the runs of a text. It is cut at references such as &plus; whose names are not known here: they are copied, so
 * that a browser still finds them. */
static void markup_add_text(struct buffer *runs, const char *html, const char *begin, const char *end)
{
    for (const char *at = begin; (at = memchr(at, '&', (size_t)(end - at))) != NULL; at++) {
        const char *name_end = at + 1;
        size_t used;
        while (name_end < end && (markup_letter(*name_end) || (*name_end >= '0' && *name_end <= '9')))
            name_end++;
        if (name_end == end || *name_end != ';' || !markup_letter(at[1]))
            continue;
        name_end++;
        if (markup_entity(at + 1, (size_t)(end - at - 1), &used) && at + 1 + used == name_end)
            continue;
        markup_add(runs, html, begin, at);
        begin = name_end;
        at = name_end - 1;
    }
    markup_add(runs, html, begin, end);
}

void markup_runs(const char *html, size_t size, struct buffer *runs)
{
    struct markup in = {html, html + size};
    const char *text = html; /* where the run began */
    while (in.at < in.end) {
        const char *begin = in.at;
        struct markup_token token = markup_next(&in);
        if (token.kind == MARKUP_TEXT)
            continue;
        markup_add_text(runs, html, text, begin);
        text = in.at;
        unsigned rules = token.kind == MARKUP_OPEN ? markup_rules(&token) : MARKUP_VOID;
        if ((rules & MARKUP_VOID) || ((rules & MARKUP_FOREIGN) && token.self_closed))
            continue;
        bool excluded = token.excluded || (rules & MARKUP_SKIP);
        if (rules & MARKUP_RAW) {
            markup_raw(&in, &token);
            /* Where no title may be, as in a select, a browser would find tags in it. */
            if (!excluded && memchr(text, '<', (size_t)(in.at - text)) == NULL)
                markup_add_text(runs, html, text, in.at);
            text = in.at;
        } else if (excluded) {
            markup_skip(&in, &token, rules);
            text = in.at;
        }
    }
    markup_add_text(runs, html, text, in.end);
}
