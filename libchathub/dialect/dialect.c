/* The dialects that a connection may ask for by name, or shows by what it says first. */
#include "dialect/dialect.h"

#include "chathub.h"
#include "dialect/reading.h"

static const struct chi_dialect *const DIALECTS[] = {
    &chi_dialect_native, &chi_dialect_human,       &chi_dialect_chatservice, &chi_dialect_minichat,
    &chi_dialect_gochat, &chi_dialect_multiserver, &chi_dialect_realtime,
};
#define DIALECT_COUNT (sizeof(DIALECTS) / sizeof(DIALECTS[0]))

unsigned chi_dialect_number(const struct chi_dialect *dialect)
{
    unsigned number = 0;

    while (number + 1 < DIALECT_COUNT && DIALECTS[number] != dialect)
        number++;
    return number;
}

const struct chi_dialect *chi_dialect_at(unsigned number)
{
    return DIALECTS[number];
}

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

int chi_dialect_of_frame(struct chi_buf *scratch, struct chi_span text,
                         const struct chi_dialect **out)
{
    static const struct {
        const char *key;
        const struct chi_dialect *dialect;
    } signs[] = {
        {"action", &chi_dialect_chatservice},
        {"username", &chi_dialect_gochat},
        {"sender", &chi_dialect_realtime},
    };
    struct chi_decode_error error;
    struct chi_flat flat;
    struct chi_reading in = {.flat = &flat, .text = text, .scratch = scratch, .error = &error};

    *out = &chi_dialect_native;
    int got = chi_reading_begin(&in, "");
    for (size_t i = sizeof(signs) / sizeof(signs[0]); i > 0 && got > 0; i--) {
        if (chi_reading_has(&in, signs[i - 1].key))
            *out = signs[i - 1].dialect;
    }
    json_decref(in.object);
    return got == CHATHUB_ENOMEM ? got : 0;
}
