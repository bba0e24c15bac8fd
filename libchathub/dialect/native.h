/* The native protocol's reader and writer, for the dialects that are made of them. */
#ifndef CHI_DIALECT_NATIVE_H
#define CHI_DIALECT_NATIVE_H

#include "core/ports.h"

/* The slots of chi_dialect_native; contracts in core/ports.h. */
int chi_native_decode(struct chi_buf *scratch, struct chi_span text, struct chi_request *out,
                      struct chi_decode_error *error);
void chi_native_encode_entry(struct chi_buf *out, struct chi_span room,
                             const struct chi_entry *entry);
void chi_native_encode_reply(struct chi_buf *out, const struct chi_reply *reply);
void chi_native_encode_signal(struct chi_buf *out, const struct chi_signal *signal);

#endif
