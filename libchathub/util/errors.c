/* The errors of chathub.h as texts and as words on the wire. */
#include "chathub.h"

#include <string.h>

const char *chathub_strerror(int error)
{
    switch (error) {
    case CHATHUB_OK:
        return "no error";
#define X(name, number, word, text)                                                                \
    case CHATHUB_##name:                                                                           \
        return text;
        CHATHUB_ERRORS(X)
#undef X
    default:
        return "unknown error";
    }
}

const char *chathub_errname(int error)
{
    switch (error) {
    case CHATHUB_OK:
        return "ok";
#define X(name, number, word, text)                                                                \
    case CHATHUB_##name:                                                                           \
        return word;
        CHATHUB_ERRORS(X)
#undef X
    default:
        return "unknown_error";
    }
}

const char *chathub_version(void)
{
    return CHATHUB_VERSION;
}

int chathub_has(const char *feature)
{
    if (!feature)
        return 0;
#ifdef HAVE_SQLITE
    if (strcmp(feature, "sqlite") == 0)
        return 1;
#endif
#ifdef HAVE_NATS
    if (strcmp(feature, "nats") == 0)
        return 1;
#endif
#ifdef HAVE_UTF8PROC
    if (strcmp(feature, "unicode") == 0)
        return 1;
#endif
    return 0;
}
