/* Entries as lines of JSON, as they leave a log and come into one: `chat` objects of the native
 * protocol (chi_native_encode_entry writes them). */
#ifndef CHI_DIALECT_RECORD_H
#define CHI_DIALECT_RECORD_H

#include "core/ports.h"

struct chi_record {
    uint16_t type;                /* enum chi_entry_type */
    bool redacted;                /* its texts were taken away: it has none */
    struct chi_span room;         /* its name as it stands there */
    struct chi_entry_parts parts; /* unbounded, but for the line's length */
    uint64_t time;                /* Unix ms */
};

/* Reads one line of valid UTF-8. Its spans stay valid as long as `line`, and until the next one is read
 * with the same `scratch`. Fields
 * that it does not know are passed over, position, prev and epoch among them. 1; 0: an empty line;
 * negative: the error, which says what is wrong and what to do. */
int chi_record_decode(struct chi_buf *scratch, struct chi_span line, struct chi_record *out,
                      struct chi_decode_error *error);

#endif
