/* JSON objects that need no tree: read in one pass, without an allocation.
 *
 * It is strict, and no second truth beside jansson: what it takes, jansson takes, too, with the same
 * members (the fuzz target `reading` holds it to that); whatever it does not know, or finds wrong, it
 * leaves to jansson, which also finds the words for it. */
#ifndef CHI_DIALECT_FLAT_H
#define CHI_DIALECT_FLAT_H

#include <stdbool.h>
#include <stddef.h>

#include "util/text.h"

enum chi_value_type {
    CHI_VALUE_NULL,
    CHI_VALUE_TRUE,
    CHI_VALUE_FALSE,
    CHI_VALUE_NUMBER,
    CHI_VALUE_TEXT,
    CHI_VALUE_OBJECT,
    CHI_VALUE_LIST,
};

struct chi_flat_member {
    struct chi_span key;      /* without its quotes; has no escapes */
    struct chi_span raw;      /* the value as it stands in the text, a text with its quotes */
    enum chi_value_type type; /* never a list */
    bool escaped;             /* a text that has escapes in it */
    double number;            /* of a number */
    size_t nesting;           /* of an object: 1, and 1 for each level within it */
};

/* Objects with more members are left to jansson. */
#define CHI_FLAT_MEMBERS 16

struct chi_flat {
    struct chi_flat_member members[CHI_FLAT_MEMBERS]; /* `count` are set, in their order */
    size_t count;
};

/* Reads an object that is all of `text` (valid UTF-8) but for blanks around it. false: leave it to
 * jansson; *out is not to be used. */
bool chi_flat_read(struct chi_span text, struct chi_flat *out);
/* NULL: there is none. */
const struct chi_flat_member *chi_flat_find(const struct chi_flat *flat, const char *key);
/* Writes what a text with escapes says to `to`, which has room for raw.len bytes; answers how many
 * it wrote. */
size_t chi_flat_unescape(struct chi_span raw, char *to);

#endif
