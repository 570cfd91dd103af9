/* markup_entity.c - character references and escapes, see markup.h. Named are those of HTML 4, and apos. */
#include "coordinator/serve/api/text/markup.h"

#include <string.h>

enum { ENTITY_NAME = 8 };

/* In the order of strcmp. */
/* clang-format off */
static const struct entity {
    char name[ENTITY_NAME + 1];
    uint16_t code;
} entities[] = {
    {"AElig", 198}, {"AMP", 38}, {"Aacute", 193}, {"Acirc", 194}, {"Agrave", 192}, {"Alpha", 913}, {"Aring", 197},
    {"Atilde", 195}, {"Auml", 196}, {"Beta", 914}, {"COPY", 169}, {"Ccedil", 199}, {"Chi", 935}, {"Dagger", 8225},
    {"Delta", 916}, {"ETH", 208}, {"Eacute", 201}, {"Ecirc", 202}, {"Egrave", 200}, {"Epsilon", 917}, {"Eta", 919},
    {"Euml", 203}, {"GT", 62}, {"Gamma", 915}, {"Iacute", 205}, {"Icirc", 206}, {"Igrave", 204}, {"Iota", 921},
    {"Iuml", 207}, {"Kappa", 922}, {"LT", 60}, {"Lambda", 923}, {"Mu", 924}, {"Ntilde", 209}, {"Nu", 925},
    {"OElig", 338}, {"Oacute", 211}, {"Ocirc", 212}, {"Ograve", 210}, {"Omega", 937}, {"Omicron", 927},
    {"Oslash", 216}, {"Otilde", 213}, {"Ouml", 214}, {"Phi", 934}, {"Pi", 928}, {"Prime", 8243}, {"Psi", 936},
    {"QUOT", 34}, {"REG", 174}, {"Rho", 929}, {"Scaron", 352}, {"Sigma", 931}, {"THORN", 222}, {"Tau", 932},
    {"Theta", 920}, {"Uacute", 218}, {"Ucirc", 219}, {"Ugrave", 217}, {"Upsilon", 933}, {"Uuml", 220}, {"Xi", 926},
    {"Yacute", 221}, {"Yuml", 376}, {"Zeta", 918}, {"aacute", 225}, {"acirc", 226}, {"acute", 180}, {"aelig", 230},
    {"agrave", 224}, {"alefsym", 8501}, {"alpha", 945}, {"amp", 38}, {"and", 8743}, {"ang", 8736}, {"apos", 39},
    {"aring", 229}, {"asymp", 8776}, {"atilde", 227}, {"auml", 228}, {"bdquo", 8222}, {"beta", 946}, {"brvbar", 166},
    {"bull", 8226}, {"cap", 8745}, {"ccedil", 231}, {"cedil", 184}, {"cent", 162}, {"chi", 967}, {"circ", 710},
    {"clubs", 9827}, {"cong", 8773}, {"copy", 169}, {"crarr", 8629}, {"cup", 8746}, {"curren", 164}, {"dArr", 8659},
    {"dagger", 8224}, {"darr", 8595}, {"deg", 176}, {"delta", 948}, {"diams", 9830}, {"divide", 247}, {"eacute", 233},
    {"ecirc", 234}, {"egrave", 232}, {"empty", 8709}, {"emsp", 8195}, {"ensp", 8194}, {"epsilon", 949},
    {"equiv", 8801}, {"eta", 951}, {"eth", 240}, {"euml", 235}, {"euro", 8364}, {"exist", 8707}, {"fnof", 402},
    {"forall", 8704}, {"frac12", 189}, {"frac14", 188}, {"frac34", 190}, {"frasl", 8260}, {"gamma", 947},
    {"ge", 8805}, {"gt", 62}, {"hArr", 8660}, {"harr", 8596}, {"hearts", 9829}, {"hellip", 8230}, {"iacute", 237},
    {"icirc", 238}, {"iexcl", 161}, {"igrave", 236}, {"image", 8465}, {"infin", 8734}, {"int", 8747}, {"iota", 953},
    {"iquest", 191}, {"isin", 8712}, {"iuml", 239}, {"kappa", 954}, {"lArr", 8656}, {"lambda", 955}, {"lang", 9001},
    {"laquo", 171}, {"larr", 8592}, {"lceil", 8968}, {"ldquo", 8220}, {"le", 8804}, {"lfloor", 8970},
    {"lowast", 8727}, {"loz", 9674}, {"lrm", 8206}, {"lsaquo", 8249}, {"lsquo", 8216}, {"lt", 60}, {"macr", 175},
    {"mdash", 8212}, {"micro", 181}, {"middot", 183}, {"minus", 8722}, {"mu", 956}, {"nabla", 8711}, {"nbsp", 160},
    {"ndash", 8211}, {"ne", 8800}, {"ni", 8715}, {"not", 172}, {"notin", 8713}, {"nsub", 8836}, {"ntilde", 241},
    {"nu", 957}, {"oacute", 243}, {"ocirc", 244}, {"oelig", 339}, {"ograve", 242}, {"oline", 8254}, {"omega", 969},
    {"omicron", 959}, {"oplus", 8853}, {"or", 8744}, {"ordf", 170}, {"ordm", 186}, {"oslash", 248}, {"otilde", 245},
    {"otimes", 8855}, {"ouml", 246}, {"para", 182}, {"part", 8706}, {"permil", 8240}, {"perp", 8869}, {"phi", 966},
    {"pi", 960}, {"piv", 982}, {"plusmn", 177}, {"pound", 163}, {"prime", 8242}, {"prod", 8719}, {"prop", 8733},
    {"psi", 968}, {"quot", 34}, {"rArr", 8658}, {"radic", 8730}, {"rang", 9002}, {"raquo", 187}, {"rarr", 8594},
    {"rceil", 8969}, {"rdquo", 8221}, {"real", 8476}, {"reg", 174}, {"rfloor", 8971}, {"rho", 961}, {"rlm", 8207},
    {"rsaquo", 8250}, {"rsquo", 8217}, {"sbquo", 8218}, {"scaron", 353}, {"sdot", 8901}, {"sect", 167}, {"shy", 173},
    {"sigma", 963}, {"sigmaf", 962}, {"sim", 8764}, {"spades", 9824}, {"sub", 8834}, {"sube", 8838}, {"sum", 8721},
    {"sup", 8835}, {"sup1", 185}, {"sup2", 178}, {"sup3", 179}, {"supe", 8839}, {"szlig", 223}, {"tau", 964},
    {"there4", 8756}, {"theta", 952}, {"thetasym", 977}, {"thinsp", 8201}, {"thorn", 254}, {"tilde", 732},
    {"times", 215}, {"trade", 8482}, {"uArr", 8657}, {"uacute", 250}, {"uarr", 8593}, {"ucirc", 251}, {"ugrave", 249},
    {"uml", 168}, {"upsih", 978}, {"upsilon", 965}, {"uuml", 252}, {"weierp", 8472}, {"xi", 958}, {"yacute", 253},
    {"yen", 165}, {"yuml", 255}, {"zeta", 950}, {"zwj", 8205}, {"zwnj", 8204},
};
/* clang-format on */

/* What the numbers 0x80 to 0x9F of old documents mean (windows-1252); 0 = themselves. */
static const uint16_t entity_windows[32] = {
    0x20AC, 0,      0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021, 0x02C6, 0x2030, 0x0160,
    0x2039, 0x0152, 0,      0x017D, 0,      0,      0x2018, 0x2019, 0x201C, 0x201D, 0x2022,
    0x2013, 0x2014, 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0,      0x017E, 0x0178,
};

static uint32_t entity_find(const char *name, size_t size)
{
    size_t low = 0, high = sizeof entities / sizeof *entities;
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strncmp(entities[middle].name, name, size);
        if (order == 0 && entities[middle].name[size] == '\0')
            return entities[middle].code;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return 0;
}

static bool entity_letter(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9');
}

uint32_t markup_entity(const char *text, size_t size, size_t *used)
{
    size_t length = 0;
    while (length < size && length <= ENTITY_NAME && entity_letter(text[length]))
        length++;
    uint32_t code =
        length > 0 && length <= ENTITY_NAME && length < size && text[length] == ';' ? entity_find(text, length) : 0;
    *used = length + 1;
    if (code)
        return code;
    /* Latin 1 and the first four need no ';': &copy2 is the sign and a 2. */
    for (*used = length < ENTITY_NAME ? length : ENTITY_NAME; *used > 1; --*used) {
        code = entity_find(text, *used);
        if (code && code < 0x100 && code != '\'')
            return code;
    }
    return 0;
}

static void entity_append(struct buffer *out, uint32_t code)
{
    if (code >= 0x80 && code < 0xA0 && entity_windows[code - 0x80])
        code = entity_windows[code - 0x80];
    if (code == 0 || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
        code = 0xFFFD;
    char bytes[4];
    size_t size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = size; i-- > 1; code >>= 6)
        bytes[i] = (char)(0x80 | (code & 0x3F));
    bytes[0] = (char)(leads[size] | code);
    buffer_append(out, bytes, size);
}

static int entity_digit(char digit, int base)
{
    int value = digit >= '0' && digit <= '9'                     ? digit - '0'
                : (digit | 0x20) >= 'a' && (digit | 0x20) <= 'f' ? (digit | 0x20) - 'a' + 10
                                                                 : base;
    return value < base ? value : -1;
}

/* A number after "&#", appended; the bytes that it takes, 0 = there is no number. */
static size_t entity_number(const char *text, size_t size, struct buffer *out)
{
    int base = size > 0 && (text[0] | 0x20) == 'x' ? 16 : 10;
    size_t begin = base == 16, at = begin;
    uint32_t code = 0;
    for (int digit; at < size && (digit = entity_digit(text[at], base)) >= 0; at++)
        code = code > 0x10FFFF ? code : code * (uint32_t)base + (uint32_t)digit;
    if (at == begin)
        return 0;
    entity_append(out, code);
    return at + (at < size && text[at] == ';');
}

void markup_unescape(const char *text, size_t size, struct buffer *out)
{
    size_t begin = 0;
    for (size_t at = 0; at < size;) {
        if (text[at] != '&') {
            at++;
            continue;
        }
        buffer_append(out, text + begin, at - begin);
        begin = at++;
        size_t left = size - at, used;
        if (left > 0 && text[at] == '#') {
            used = entity_number(text + at + 1, left - 1, out);
            at += used ? used + 1 : 0;
            begin = used ? at : begin;
        } else {
            uint32_t code = markup_entity(text + at, left, &used);
            if (code) {
                entity_append(out, code);
                begin = at += used;
            }
        }
    }
    buffer_append(out, text + begin, size - begin);
}

void markup_escape(const char *text, size_t size, struct buffer *out)
{
    size_t begin = 0;
    for (size_t at = 0; at < size; at++) {
        bool space = (unsigned char)text[at] == 0xC2 && at + 1 < size && (unsigned char)text[at + 1] == 0xA0;
        const char *reference = text[at] == '&'   ? "&amp;"
                                : text[at] == '<' ? "&lt;"
                                : text[at] == '>' ? "&gt;"
                                : space           ? "&nbsp;"
                                                  : NULL;
        if (reference) {
            buffer_append(out, text + begin, at - begin);
            buffer_text(out, reference);
            at += space;
            begin = at + 1;
        }
    }
    buffer_append(out, text + begin, size - begin);
}
