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

/* By name, for options and ?dialect=; NULL if there is none. */
const struct chi_dialect *chi_dialect_find(struct chi_span name);

#endif
