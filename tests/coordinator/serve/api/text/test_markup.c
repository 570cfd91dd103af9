/* HTML: only texts change, every other byte stays, and no text becomes markup. */
#include "coordinator/serve/api/text/markup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* The document with each run in brackets, unescaped between | and escaped again. */
static void assert_runs(const char *html, const char *expected)
{
    struct buffer runs = {0}, out = {0};
    size_t size = strlen(html), at = 0;
    markup_runs(html, size, &runs);
    for (size_t i = 0; i < runs.size / sizeof(struct markup_run); i++) {
        struct markup_run run = ((const struct markup_run *)(const void *)runs.data)[i];
        buffer_append(&out, html + at, run.at - at);
        buffer_format(&out, "[%.*s]", (int)run.size, html + run.at);
        at = run.at + run.size;
    }
    buffer_append(&out, html + at, size - at);
    assert_string_equal(out.data, expected);
    buffer_free(&runs);
    buffer_free(&out);
}

static void texts_are_what_stands_between_tags(void **state)
{
    (void)state;
    assert_runs("", "");
    assert_runs("plain", "[plain]");
    assert_runs("<p>a<br>b<br/>c</p> \n<p> d </p>", "<p>[a]<br>[b]<br/>[c]</p> \n<p>[ d ]</p>");
    assert_runs("<a href='x>y' title=\"<b>\">t</a>", "<a href='x>y' title=\"<b>\">[t]</a>");
    assert_runs("1 < 2 & 3 > 2 <", "[1 < 2 & 3 > 2 <]");
    assert_runs("<title>a &lt; c</title>d", "<title>[a &lt; c]</title>[d]");
    assert_runs("<title>a <b> c</title>d", "<title>a <b> c</title>[d]");
    assert_runs("a<b", "[a]<b");
    assert_runs("a</", "[a</]");
    assert_runs("a</>b", "[a]</>[b]");
    assert_runs("<p>\xC2\xA0</p>", "<p>\xC2\xA0</p>");
    assert_runs("a &amp; b &plus;&it; c&T; &copy2; &; &1; d&", "[a &amp; b ]&plus;&it;[ c]&T; &copy2;[ &; &1; d&]");
    assert_runs("<title>a&plus;b</title>", "<title>[a]&plus;[b]</title>");
}

static void comments_and_declarations_are_no_text(void **state)
{
    (void)state;
    assert_runs("<!DOCTYPE html>a<!-- b > --c -->d", "<!DOCTYPE html>[a]<!-- b > --c -->[d]");
    assert_runs("<!-->a<!--->b<!---->c<!--x--!>d<!--y--->e<!--z",
                "<!-->[a]<!--->[b]<!---->[c]<!--x--!>[d]<!--y--->[e]<!--z");
    assert_runs("<?php if ($a > 1) ?>a<? b>c", "<?php if ($a > 1) ?>[a]<? b>[c]");
    assert_runs("<![CDATA[x > y]]>a<!x>b", "<![CDATA[x > y]]>[a]<!x>[b]");
    assert_runs("<?php a", "<?php a");
}

static void some_elements_are_not_translated(void **state)
{
    (void)state;
    assert_runs("<script>a < b; \"<p>x\"</script>c", "<script>a < b; \"<p>x\"</script>[c]");
    assert_runs("<script><!-- <script>a</script> b --></script>c", "<script><!-- <script>a</script> b --></script>[c]");
    assert_runs("<style>a</styles></style >b", "<style>a</styles></style >[b]");
    assert_runs("<CODE>a<code>b</code>c</CODE>d", "<CODE>a<code>b</code>c</CODE>[d]");
    assert_runs("<pre>a<!-- </pre> -->b</pre>c", "<pre>a<!-- </pre> -->b</pre>[c]");
    assert_runs("<svg><style></svg>a", "<svg><style></svg>[a]");
    assert_runs("<svg/>a<math/>b<code/>c", "<svg/>[a]<math/>[b]<code/>c");
    assert_runs("<p translate=no>a</p>b<p translate=\"NO\">c</p>d",
                "<p translate=no>a</p>[b]<p translate=\"NO\">c</p>[d]");
    assert_runs("<p translate=yes>a<img translate=no>b", "<p translate=yes>[a]<img translate=no>[b]");
    assert_runs("<i class='x notranslate'>a</i>b<i class=notranslated>c",
                "<i class='x notranslate'>a</i>[b]<i class=notranslated>[c]");
    assert_runs("<title class=notranslate>a</title>b", "<title class=notranslate>a</title>[b]");
}

static void assert_unescaped(const char *text, const char *expected)
{
    struct buffer out = {0};
    markup_unescape(text, strlen(text), &out);
    assert_string_equal(out.data, expected);
    buffer_free(&out);
}

static void references_become_characters(void **state)
{
    (void)state;
    assert_unescaped("a&amp;b &lt;&gt;&quot;&apos;", "a&b <>\"'");
    assert_unescaped("&eacute;&Eacute;&euro;&thetasym;", "\xC3\xA9\xC3\x89\xE2\x82\xAC\xCF\x91");
    assert_unescaped("&#233;&#xe9;&#XE9&#128;", "\xC3\xA9\xC3\xA9\xC3\xA9\xE2\x82\xAC");
    assert_unescaped("&#0;&#xD800;&#99999999999;", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");
    assert_unescaped("&copy2 &notit; &notin; &euro", "\xC2\xA9"
                                                     "2 \xC2\xACit; \xE2\x88\x89 &euro");
    assert_unescaped("& &; &nosuch; &#; &#x; &#x", "& &; &nosuch; &#; &#x; &#x");
    assert_unescaped("&amp;lt;", "&lt;");
}

static void escaped_text_has_no_markup(void **state)
{
    (void)state;
    struct buffer out = {0};
    const char text[] = "<b>&amp;\xC2\xA0\xC2\xA9\"'";
    markup_escape(text, strlen(text), &out);
    assert_string_equal(out.data, "&lt;b&gt;&amp;amp;&nbsp;\xC2\xA9\"'");
    buffer_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_are_what_stands_between_tags), cmocka_unit_test(comments_and_declarations_are_no_text),
        cmocka_unit_test(some_elements_are_not_translated),   cmocka_unit_test(references_become_characters),
        cmocka_unit_test(escaped_text_has_no_markup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
