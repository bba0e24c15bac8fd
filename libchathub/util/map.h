/* A map from bytes to pointers, keyed with a secret so that no peer can choose colliding keys. */
#ifndef CHI_UTIL_MAP_H
#define CHI_UTIL_MAP_H

#include <stddef.h>
#include <stdint.h>

struct chi_map;

/* `secret`: 16 random bytes, copied. NULL if there is no memory. */
struct chi_map *chi_map_new(const uint8_t secret[16]);
/* Frees the map, not what its values point to. NULL is allowed. */
void chi_map_free(struct chi_map *map);
size_t chi_map_count(const struct chi_map *map);
void *chi_map_get(const struct chi_map *map, const void *key, size_t len);
/* Copies the key; replaces an earlier value of it. 0, or CHATHUB_ENOMEM with the map as it was. */
int chi_map_put(struct chi_map *map, const void *key, size_t len, void *value);
/* Returns the value that was there, or NULL. */
void *chi_map_remove(struct chi_map *map, const void *key, size_t len);
/* Calls `each` for every entry, in order of insertion; `each` may remove the entry it is called
 * for. */
void chi_map_each(struct chi_map *map,
                  void (*each)(void *ctx, const void *key, size_t len, void *value), void *ctx);

#endif
