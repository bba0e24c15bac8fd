#include "util/map.h"

#include <stdlib.h>
#include <string.h>

#include "chathub.h"
#include "util/siphash.h"

/* Out of memory leaves the element out of the table; its handle's tbl is NULL then. */
#define HASH_NONFATAL_OOM          1
#define uthash_nonfatal_oom(added) ((added)->oom = true)
#include <stdbool.h>
#include <uthash.h>

struct item {
    UT_hash_handle hh;
    void *value; /* the caller's */
    size_t len;  /* of the key */
    bool oom;    /* set by uthash when it could not take the item */
    char key[];  /* a copy */
};

struct chi_map {
    struct item *items; /* uthash's head, also the first inserted */
    uint8_t secret[16]; /* SipHash's key */
};

static unsigned hash_of(const struct chi_map *map, const void *key, size_t len)
{
    uint64_t hash = chi_siphash(map->secret, key, len);
    return (unsigned)(hash ^ (hash >> 32));
}

/* uthash's macros are not written for these warnings. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
#pragma GCC diagnostic ignored "-Wshadow"

static struct item *find(const struct chi_map *map, const void *key, size_t len, unsigned hash)
{
    struct item *item = NULL;
    HASH_FIND_BYHASHVALUE(hh, map->items, key, len, hash, item);
    return item;
}

static bool add(struct chi_map *map, struct item *item, unsigned hash)
{
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, map->items, item->key, item->len, hash, item);
    return !item->oom;
}

static void cut(struct chi_map *map, struct item *item)
{
    HASH_DELETE(hh, map->items, item);
}

#pragma GCC diagnostic pop

struct chi_map *chi_map_new(const uint8_t secret[16])
{
    struct chi_map *map = calloc(1, sizeof *map);
    if (!map)
        return NULL;
    memcpy(map->secret, secret, sizeof(map->secret));
    return map;
}

void chi_map_free(struct chi_map *map)
{
    if (!map)
        return;
    while (map->items) {
        struct item *item = map->items;
        cut(map, item);
        free(item);
    }
    free(map);
}

size_t chi_map_count(const struct chi_map *map)
{
    return HASH_COUNT(map->items);
}

void *chi_map_get(const struct chi_map *map, const void *key, size_t len)
{
    struct item *item = find(map, key, len, hash_of(map, key, len));
    return item ? item->value : NULL;
}

int chi_map_put(struct chi_map *map, const void *key, size_t len, void *value)
{
    unsigned hash = hash_of(map, key, len);
    struct item *item = find(map, key, len, hash);
    if (item) {
        item->value = value;
        return 0;
    }
    if (len > UINT32_MAX)
        return CHATHUB_ENOMEM;
    item = malloc(sizeof *item + len);
    if (!item)
        return CHATHUB_ENOMEM;
    *item = (struct item){.value = value, .len = len};
    if (len)
        memcpy(item->key, key, len);
    if (!add(map, item, hash)) {
        free(item);
        return CHATHUB_ENOMEM;
    }
    return 0;
}

void *chi_map_remove(struct chi_map *map, const void *key, size_t len)
{
    struct item *item = find(map, key, len, hash_of(map, key, len));
    if (!item)
        return NULL;
    void *value = item->value;
    cut(map, item);
    free(item);
    return value;
}

void chi_map_each(struct chi_map *map,
                  void (*each)(void *ctx, const void *key, size_t len, void *value), void *ctx)
{
    struct item *next;
    for (struct item *item = map->items; item; item = next) {
        next = item->hh.next;
        each(ctx, item->key, item->len, item->value);
    }
}
