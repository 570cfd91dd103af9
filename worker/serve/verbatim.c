/* verbatim.c - look for marks that ordinary words do not have; see verbatim.h. */
#include "worker/serve/verbatim.h"

#include <string.h>
#include <strings.h>

static bool verbatim_is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool verbatim_is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || verbatim_is_digit(c) || (unsigned char)c >= 0x80;
}

/* A printf format at `at`, which is behind the '%': [n$][flags][width][.precision][length]conversion. */
static bool verbatim_is_format(const char *at, const char *end)
{
    static const char flags[] = "-+ #0'", lengths[] = "hlLqjzt", conversions[] = "diouxXeEfFgGaAcsSpn@";
    if (at < end && *at == '(') { /* Python's %(name)s */
        const char *close = memchr(at, ')', (size_t)(end - at));
        return close != NULL && close > at + 1 && close + 1 < end && strchr(conversions, close[1]) != NULL;
    }
    while (at < end && (verbatim_is_digit(*at) || *at == '$' || *at == '*' || *at == '.' ||
                        (*at != '\0' && strchr(flags, *at) != NULL)))
        at++;
    while (at < end && *at != '\0' && strchr(lengths, *at) != NULL)
        at++;
    if (at == end || *at == '\0' || strchr(conversions, *at) == NULL)
        return false;
    return at + 1 == end || !verbatim_is_name(at[1]); /* "100%discount" has no format */
}

/* Something without white space between an opening mark and `close`. */
static bool verbatim_is_enclosed(const char *at, const char *end, char close)
{
    const char *found = memchr(at, close, (size_t)(end - at));
    return found != NULL && found > at;
}

/* An '@' at `at` between a name and a domain. */
static bool verbatim_is_mail(const char *begin, const char *at, const char *end)
{
    if (at == begin || !verbatim_is_name(at[-1]) || at + 1 == end || !verbatim_is_name(at[1]))
        return false;
    const char *dot = memchr(at + 1, '.', (size_t)(end - at - 1));
    return dot != NULL && dot + 1 < end && verbatim_is_name(dot[1]);
}

static bool verbatim_begins(const char *at, const char *end, const char *with)
{
    size_t size = strlen(with);
    return (size_t)(end - at) > size && strncasecmp(at, with, size) == 0;
}

bool verbatim_is(const char *word, size_t size)
{
    const char *end = word + size, *start = word;
    while (start < end && (*start == '(' || *start == '[' || *start == '"' || *start == '\''))
        start++;
    if (verbatim_begins(start, end, "www.") || verbatim_begins(start, end, "mailto:"))
        return true;
    for (const char *at = word; at < end; at++) {
        bool tag = *at == '<' && at + 1 < end && (at[1] == '/' || at[1] == '!' || verbatim_is_name(at[1]));
        if ((*at == '%' && verbatim_is_format(at + 1, end)) || (*at == '{' && verbatim_is_enclosed(at + 1, end, '}')) ||
            (tag && verbatim_is_enclosed(at + 1, end, '>')) || (*at == '@' && verbatim_is_mail(word, at, end)) ||
            (*at == ':' && at > word && verbatim_is_name(at[-1]) && verbatim_begins(at, end, "://")))
            return true;
    }
    return false;
}
