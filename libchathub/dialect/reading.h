/* What the readers of JSON objects share. A plain object is read in one pass (flat.h); jansson judges
 * all others and unescapes their texts. What is repeated as it came is cut out of the text itself. */
#ifndef CHI_DIALECT_READING_H
#define CHI_DIALECT_READING_H

#include <jansson.h>

#include "core/ports.h"
#include "dialect/flat.h"

struct chi_reading {
    json_t *object;                 /* jansson's; NULL: `flat` has the members */
    struct chi_flat *flat;          /* the caller's memory for it; NULL: jansson reads all */
    struct chi_span text;           /* the whole object, valid UTF-8 */
    struct chi_buf *scratch;        /* takes what is not as it stands in `text` */
    struct chi_decode_error *error; /* the first thing that was wrong */
};

/* A member's value. */
struct chi_value {
    enum chi_value_type type;
    double number;                        /* of a number; exact below 2^53 */
    json_t *tree;                         /* jansson's; NULL: `member` is there */
    const struct chi_flat_member *member; /* in `flat` */
};

/* Parses in->text into in->flat or in->object, which the caller drops (json_decref; NULL is
 * allowed). `scratch` and `error` are emptied. 1; 0: there is nothing in it but blanks; negative:
 * the error. `hint`: what to do if it is no object. */
int chi_reading_begin(struct chi_reading *in, const char *hint);

/* A whole decode of struct chi_dialect: clears *out, and has `read` fill it from the object. */
int chi_reading_request(struct chi_buf *scratch, struct chi_span text, const char *hint,
                        void (*read)(struct chi_reading *in, struct chi_request *out),
                        struct chi_request *out, struct chi_decode_error *error);

/* The first one counts. */
void chi_reading_fail(struct chi_reading *in, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void chi_reading_wrong_type(struct chi_reading *in, const char *key, enum chi_value_type type,
                            const char *wanted);

enum chi_value_type chi_reading_type(const json_t *value);
/* Whether there is such a member, be it null. */
bool chi_reading_has(const struct chi_reading *in, const char *key);
/* false where there is none; null counts as none. */
bool chi_reading_member(const struct chi_reading *in, const char *key, struct chi_value *out);
/* A copy in `scratch`. */
struct chi_span chi_reading_keep(struct chi_reading *in, const char *at, size_t len);
struct chi_span chi_reading_keep_text(struct chi_reading *in, const json_t *text);
/* What a value that is a text says; in `scratch` unless it stands so in `text`. */
struct chi_span chi_reading_said(struct chi_reading *in, const struct chi_value *value);
/* A member that is a text; without one, a span without bytes. `wanted` says what it has to be. */
struct chi_span chi_reading_text(struct chi_reading *in, const char *key, const char *wanted);
bool chi_reading_switch(struct chi_reading *in, const char *key, bool standard);
/* The value of a member that is there, as it stands in the text, and how deep it nests. */
struct chi_span chi_reading_raw(const struct chi_reading *in, const char *key, size_t *nesting);
/* The member "data", an object: as it came, but on one line. */
struct chi_span chi_reading_data(struct chi_reading *in);

#endif
