/* Names: which are allowed, their normal form, and the key by which they are compared (RFC 8265,
 * 8266). */
#ifndef CHI_AUTH_FOLD_H
#define CHI_AUTH_FOLD_H

#include "core/env.h"

/* As chi_env_ops.fold. ascii_only: nothing beyond ASCII is a name (always so without utf8proc). */
int chi_fold(bool ascii_only, enum chi_fold_kind kind, struct chi_span text, struct chi_buf *shown,
             struct chi_buf *key);

#endif
