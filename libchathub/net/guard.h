/* The guard of raw HTTP heads: what no parser behind it shall ever see.
 *
 * llhttp differs from version to version in what it lets pass (CVE-2021-22959, CVE-2023-30589,
 * CVE-2024-27982, CVE-2025-23167), and no version of it has bounds. So the bytes are looked at
 * here first, by rules so narrow that a head which passes can be read in one way only. */
#ifndef CHI_NET_GUARD_H
#define CHI_NET_GUARD_H

#include <stdbool.h>
#include <stddef.h>

struct chi_guard {
    int status;      /* 0, or the HTTP status that refuses the head */
    const char *why; /* what is wrong with it, a constant */
};

/* Looks at bytes [from, len) of a head that begins at `head`; what is before `from` was looked
 * at already. Answers the head's length once its end is there, else 0. guard->status is set
 * where the bytes can be no head. */
size_t chi_guard_scan(struct chi_guard *guard, const char *head, size_t from, size_t len);

/* Looks at a whole head, the empty line at its end included. */
void chi_guard_check(struct chi_guard *guard, const char *head, size_t len);

#endif
