/* What the readers of JSON objects share. jansson judges the JSON and unescapes its texts; what is
 * repeated as it came is cut out of the text itself. */
#ifndef CHI_DIALECT_READING_H
#define CHI_DIALECT_READING_H

#include <jansson.h>

#include "core/ports.h"

struct chi_reading {
    json_t *object;                 /* whose members are read */
    struct chi_span text;           /* the whole object */
    struct chi_buf *scratch;        /* takes every text; has room for all of them from the start */
    struct chi_decode_error *error; /* the first thing that was wrong */
};

/* Parses in->text into in->object, which the caller drops (json_decref; NULL is allowed). `scratch`
 * and `error` are emptied. 1; 0: there is nothing in it but blanks; negative: the error. `hint`:
 * what to do if it is no object. */
int chi_reading_begin(struct chi_reading *in, const char *hint);

/* A whole decode of struct chi_dialect: clears *out, and has `read` fill it from the object. */
int chi_reading_request(struct chi_buf *scratch, struct chi_span text, const char *hint,
                        void (*read)(struct chi_reading *in, struct chi_request *out),
                        struct chi_request *out, struct chi_decode_error *error);

/* The first one counts. */
void chi_reading_fail(struct chi_reading *in, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void chi_reading_wrong_type(struct chi_reading *in, const char *key, const json_t *value,
                            const char *wanted);

/* NULL where there is none; null counts as none. */
json_t *chi_reading_member(const struct chi_reading *in, const char *key);
/* A copy in `scratch`. */
struct chi_span chi_reading_keep(struct chi_reading *in, const char *at, size_t len);
struct chi_span chi_reading_keep_text(struct chi_reading *in, const json_t *text);
/* A member that is a text, copied; without one, a span without bytes. `wanted` says what it has to
 * be. */
struct chi_span chi_reading_text(struct chi_reading *in, const char *key, const char *wanted);
bool chi_reading_switch(struct chi_reading *in, const char *key, bool standard);
/* The value of a member that is there, as it stands in the text, and how deep it nests. */
struct chi_span chi_reading_raw(const struct chi_reading *in, const char *key, size_t *nesting);
/* The member "data", an object: copied as it came, but on one line. */
struct chi_span chi_reading_data(struct chi_reading *in);

#endif
