/* api_asset.c - see api_asset.h. API_ASSET_FOLDER comes from CMakeLists.txt. */
#include "coordinator/serve/api/api_asset.h"

/* .incbin includes the bytes at no cost to the compiler; C has no such feature before #embed. */
#define API_ASSET(symbol, name)                                                                                        \
    __asm__(".pushsection .rodata\n"                                                                                   \
            ".global " #symbol "\n"                                                                                    \
            ".hidden " #symbol "\n" #symbol ":\n"                                                                      \
            ".incbin \"" API_ASSET_FOLDER "/" name "\"\n"                                                              \
            ".byte 0\n"                                                                                                \
            ".popsection\n")

API_ASSET(api_asset_spec, "openapi.json.in");
API_ASSET(api_asset_docs, "docs.html");
