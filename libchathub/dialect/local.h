/* The records of chi_dialect_local, read back into the events of chathub.h. */
#ifndef CHI_DIALECT_LOCAL_H
#define CHI_DIALECT_LOCAL_H

#include "chathub.h"

/* Reads the record at `bytes` (whole, as the dialect wrote it) into *event, whose pointers reach
 * into it, are NUL-terminated, and hold as long as `bytes`. Answers its length. */
size_t chi_local_read(const char *bytes, struct chathub_event *event);

#endif
