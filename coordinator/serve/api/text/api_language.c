/* api_language.c - see api_language.h. */
#include "coordinator/serve/api/text/api_language.h"

#include <stddef.h>
#include <strings.h>

struct language {
    const char *code, *name;
};

/* clang-format off */
static const struct language languages[] = {
    {"af", "Afrikaans"}, {"am", "Amharic"}, {"ar", "Arabic"}, {"az", "Azerbaijani"}, {"be", "Belarusian"},
    {"bg", "Bulgarian"}, {"bn", "Bengali"}, {"br", "Breton"}, {"bs", "Bosnian"}, {"ca", "Catalan"},
    {"ceb", "Cebuano"}, {"cs", "Czech"}, {"cy", "Welsh"}, {"da", "Danish"}, {"de", "German"}, {"el", "Greek"},
    {"en", "English"}, {"eo", "Esperanto"}, {"es", "Spanish"}, {"et", "Estonian"}, {"eu", "Basque"},
    {"fa", "Persian"}, {"fi", "Finnish"}, {"fr", "French"}, {"ga", "Irish"}, {"gl", "Galician"}, {"gu", "Gujarati"},
    {"he", "Hebrew"}, {"hi", "Hindi"}, {"hr", "Croatian"}, {"ht", "Haitian Creole"}, {"hu", "Hungarian"},
    {"hy", "Armenian"}, {"id", "Indonesian"}, {"is", "Icelandic"}, {"it", "Italian"}, {"ja", "Japanese"},
    {"ka", "Georgian"}, {"kab", "Kabyle"}, {"kk", "Kazakh"}, {"km", "Khmer"}, {"kn", "Kannada"}, {"ko", "Korean"},
    {"ku", "Kurdish"}, {"ky", "Kyrgyz"}, {"la", "Latin"}, {"lb", "Luxembourgish"}, {"lo", "Lao"},
    {"lt", "Lithuanian"}, {"lv", "Latvian"}, {"mg", "Malagasy"}, {"mk", "Macedonian"}, {"ml", "Malayalam"},
    {"mn", "Mongolian"}, {"mr", "Marathi"}, {"ms", "Malay"}, {"mt", "Maltese"}, {"my", "Burmese"},
    {"nb", "Norwegian"}, {"ne", "Nepali"}, {"nl", "Dutch"}, {"nn", "Norwegian Nynorsk"}, {"no", "Norwegian"},
    {"oc", "Occitan"}, {"pa", "Punjabi"}, {"pl", "Polish"}, {"pt", "Portuguese"}, {"pt-BR", "Portuguese (Brazil)"},
    {"ro", "Romanian"}, {"ru", "Russian"}, {"si", "Sinhala"}, {"sk", "Slovak"}, {"sl", "Slovenian"}, {"so", "Somali"},
    {"sq", "Albanian"}, {"sr", "Serbian"}, {"sv", "Swedish"}, {"sw", "Swahili"}, {"ta", "Tamil"}, {"te", "Telugu"},
    {"tg", "Tajik"}, {"th", "Thai"}, {"tl", "Tagalog"}, {"tr", "Turkish"}, {"tt", "Tatar"}, {"ug", "Uyghur"},
    {"uk", "Ukrainian"}, {"ur", "Urdu"}, {"uz", "Uzbek"}, {"vi", "Vietnamese"}, {"xh", "Xhosa"}, {"yi", "Yiddish"},
    {"yo", "Yoruba"}, {"zh-Hans", "Chinese"}, {"zh-Hant", "Chinese (traditional)"}, {"zu", "Zulu"},
};
/* clang-format on */

static const struct language language_aliases[] = {{"pb", "pt-BR"}, {"zh", "zh-Hans"}, {"zt", "zh-Hant"}};

const char *api_language_code(const char *code)
{
    for (size_t i = 0; i < sizeof language_aliases / sizeof *language_aliases; i++)
        if (strcasecmp(code, language_aliases[i].code) == 0)
            return language_aliases[i].name;
    return code;
}

const char *api_language_name(const char *code)
{
    for (size_t i = 0; i < sizeof languages / sizeof *languages; i++)
        if (api_language_same(code, languages[i].code))
            return languages[i].name;
    return code;
}

bool api_language_same(const char *one, const char *other)
{
    return strcasecmp(api_language_code(one), api_language_code(other)) == 0;
}
