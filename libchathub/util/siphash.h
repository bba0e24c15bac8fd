/* SipHash-1-3 (Aumasson, Bernstein 2012): a keyed hash, so that nobody outside can find keys that
 * collide. */
#ifndef CHI_UTIL_SIPHASH_H
#define CHI_UTIL_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t chi_siphash(const uint8_t secret[16], const void *bytes, size_t len);

#endif
