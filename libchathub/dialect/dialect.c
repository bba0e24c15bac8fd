/* The dialects that a connection may ask for by name, or shows by what it says first. */
#include "dialect/dialect.h"

#include <jansson.h>

static const struct chi_dialect *const DIALECTS[] = {
    &chi_dialect_native, &chi_dialect_human,       &chi_dialect_chatservice, &chi_dialect_minichat,
    &chi_dialect_gochat, &chi_dialect_multiserver, &chi_dialect_realtime,
};
#define DIALECT_COUNT (sizeof(DIALECTS) / sizeof(DIALECTS[0]))

const struct chi_dialect *chi_dialect_find(struct chi_span name)
{
    for (size_t i = 0; i < DIALECT_COUNT; i++) {
        if (chi_span_is(name, DIALECTS[i]->name))
            return DIALECTS[i];
    }
    return NULL;
}

const struct chi_dialect *chi_dialect_by_key(size_t index)
{
    for (size_t i = 0; i < DIALECT_COUNT; i++) {
        if (DIALECTS[i]->name_key && index-- == 0)
            return DIALECTS[i];
    }
    return NULL;
}

const struct chi_dialect *chi_dialect_of_frame(struct chi_span text)
{
    static const struct {
        const char *key;
        const struct chi_dialect *dialect;
    } signs[] = {
        {"action", &chi_dialect_chatservice},
        {"username", &chi_dialect_gochat},
        {"sender", &chi_dialect_realtime},
    };
    const struct chi_dialect *found = &chi_dialect_native;

    json_t *object = json_loadb(text.at, text.len, JSON_DECODE_INT_AS_REAL, NULL);
    for (size_t i = 0; i < sizeof(signs) / sizeof(signs[0]); i++) {
        if (json_object_get(object, signs[i].key)) {
            found = signs[i].dialect;
            break;
        }
    }
    json_decref(object);
    return found;
}
