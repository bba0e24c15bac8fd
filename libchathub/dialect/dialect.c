/* The dialects that a connection may ask for by name. */
#include "dialect/dialect.h"

static const struct chi_dialect *const DIALECTS[] = {
    &chi_dialect_native,
    &chi_dialect_human,
};

const struct chi_dialect *chi_dialect_find(struct chi_span name)
{
    for (size_t i = 0; i < sizeof(DIALECTS) / sizeof(DIALECTS[0]); i++) {
        if (chi_span_is(name, DIALECTS[i]->name))
            return DIALECTS[i];
    }
    return NULL;
}
