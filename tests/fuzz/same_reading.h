/* Two readings of one text, in one pass and by jansson, that may not differ. */
#ifndef SAME_READING_H
#define SAME_READING_H

#include <stdlib.h>
#include <string.h>

#include "dialect/reading.h"

#define SAME(condition)                                                                            \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

static inline void same_value(struct chi_reading *one, struct chi_reading *other, const char *key)
{
    struct chi_value flat, tree;
    size_t flat_nesting, tree_nesting;
    SAME(chi_reading_has(one, key) && chi_reading_has(other, key));
    bool there = chi_reading_member(one, key, &flat);
    SAME(there == chi_reading_member(other, key, &tree));
    if (!there)
        return;
    SAME(flat.type == tree.type);
    SAME(chi_span_equal(chi_reading_raw(one, key, &flat_nesting),
                        chi_reading_raw(other, key, &tree_nesting)));
    SAME(flat_nesting == tree_nesting);
    if (flat.type == CHI_VALUE_TEXT)
        SAME(chi_span_equal(chi_reading_said(one, &flat), chi_reading_said(other, &tree)));
    else if (flat.type == CHI_VALUE_NUMBER)
        SAME(memcmp(&flat.number, &tree.number, sizeof(flat.number)) == 0);
}

/* Each key of `other` is one of `one`, in the same order. */
static inline void same_members(struct chi_reading *one, struct chi_reading *other)
{
    size_t n = 0;
    for (void *at = json_object_iter(other->object); at;
         at = json_object_iter_next(other->object, at), n++) {
        const char *key = json_object_iter_key(at);
        SAME(n < one->flat->count && chi_span_is(one->flat->members[n].key, key));
        same_value(one, other, key);
    }
    SAME(n == one->flat->count);
}

/* Valid UTF-8. Whether it was read in one pass; aborts if jansson reads it another way. */
static inline bool read_twice(struct chi_span text)
{
    struct chi_buf scratch[2] = {{0}, {0}};
    struct chi_decode_error error[2];
    struct chi_flat flat;
    struct chi_reading one = {
        .flat = &flat, .text = text, .scratch = &scratch[0], .error = &error[0]};
    struct chi_reading other = {.text = text, .scratch = &scratch[1], .error = &error[1]};
    int result = chi_reading_begin(&one, "hint");
    SAME(result == chi_reading_begin(&other, "hint"));
    SAME(error[0].code == error[1].code && strcmp(error[0].message, error[1].message) == 0);
    bool flatly = result > 0 && !one.object;
    if (flatly)
        same_members(&one, &other);
    json_decref(one.object);
    json_decref(other.object);
    chi_buf_fini(&scratch[0]);
    chi_buf_fini(&scratch[1]);
    return flatly;
}

#endif
