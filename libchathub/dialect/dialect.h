/* The dialects there are. The contract is struct chi_dialect in core/ports.h. */
#ifndef CHI_DIALECT_DIALECT_H
#define CHI_DIALECT_DIALECT_H

#include "core/ports.h"

/* JSON objects, the hub's own protocol (docs/protocol.md). */
extern const struct chi_dialect chi_dialect_native;
/* Plain lines for people at nc: what does not begin with `/` is said in the room. */
extern const struct chi_dialect chi_dialect_human;
/* Binary records for in-process clients (local.h reads them); decodes as the native one. */
extern const struct chi_dialect chi_dialect_local;

/* Those of other chat servers, whose clients find themselves at home (docs/dialects.md). */
extern const struct chi_dialect chi_dialect_chatservice;
extern const struct chi_dialect chi_dialect_minichat;
extern const struct chi_dialect chi_dialect_gochat;
extern const struct chi_dialect chi_dialect_multiserver;
extern const struct chi_dialect chi_dialect_realtime;

/* Numbers of those above, but the local one: below 16, for who keeps few bytes. */
unsigned chi_dialect_number(const struct chi_dialect *dialect);
const struct chi_dialect *chi_dialect_at(unsigned number);
/* By name, for options and ?dialect=; NULL if there is none. */
const struct chi_dialect *chi_dialect_find(struct chi_span name);
/* Their names, for messages: "native, human, …". */
#define CHI_DIALECT_NAMES "native, human, chatservice, minichat, gochat, multiserver or realtime"
/* Number `index` of those that a parameter of the query tells (name_key); NULL behind the last. */
const struct chi_dialect *chi_dialect_by_key(size_t index);
/* What the first frame of a connection tells that nothing else told; `scratch` as for a decoder. 0, or
 * CHATHUB_ENOMEM. */
int chi_dialect_of_frame(struct chi_buf *scratch, struct chi_span text,
                         const struct chi_dialect **out);

#endif
