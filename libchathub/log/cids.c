#include "log/cids.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "chathub.h"
#include "util/siphash.h"

static struct chi_span key_of(const void *ctx, uint32_t place)
{
    const struct chi_cids *cids = ctx;
    return (struct chi_span){(const char *)cids->ring[place].key, sizeof(cids->ring[place].key)};
}

void chi_cids_init(struct chi_cids *cids, const uint8_t secrets[48])
{
    *cids = (struct chi_cids){0};
    memcpy(cids->secret, secrets, sizeof(cids->secret));
    memcpy(cids->index.secret, secrets + sizeof(cids->secret), sizeof(cids->index.secret));
    cids->index.hashed = true;
    cids->index.text = key_of;
    cids->index.ctx = cids;
}

void chi_cids_fini(struct chi_cids *cids)
{
    chi_index_fini(&cids->index);
    free(cids->ring);
    cids->ring = NULL;
    cids->first = cids->count = cids->cap = 0;
}

/* Texts are hashed one by one, then together: no separator between them could be forged. */
struct chi_cid chi_cids_of(const struct chi_cids *cids, struct chi_span room,
                           const struct chi_entry *draft)
{
    struct chi_entry_parts parts = chi_entry_read(draft);
    const uint8_t *one = cids->secret[0], *other = cids->secret[1];
    uint64_t who[3] = {chi_siphash(one, room.at, room.len),
                       chi_siphash(one, parts.user.at, parts.user.len),
                       chi_siphash(one, parts.cid.at, parts.cid.len)};
    uint64_t said = chi_siphash(other, parts.content.at, parts.content.len);
    if (parts.data.len) {
        uint64_t both[2] = {said, chi_siphash(other, parts.data.at, parts.data.len)};
        said = chi_siphash(other, both, sizeof(both));
    }
    return (struct chi_cid){
        .key = {chi_siphash(one, who, sizeof(who)), chi_siphash(other, who, sizeof(who))},
        .content = (uint32_t)said,
    };
}

const struct chi_cid *chi_cids_find(const struct chi_cids *cids, const struct chi_cid *like)
{
    if (!cids->count)
        return NULL;
    struct chi_span key = {(const char *)like->key, sizeof(like->key)};
    uint32_t place = chi_index_find(&cids->index, key);
    return place == CHI_INDEX_NONE ? NULL : &cids->ring[place];
}

static uint32_t place_of(const struct chi_cids *cids, uint32_t n)
{
    return (uint32_t)(((uint64_t)cids->first + n) % cids->cap);
}

/* Places change, so the index is made anew, without those that are forgotten. */
static int spread(struct chi_cids *cids, uint32_t cap)
{
    struct chi_cids larger = *cids;
    larger.cap = cap;
    larger.first = 0;
    larger.index.cells = NULL;
    larger.index.size = larger.index.count = 0;
    larger.index.ctx = &larger;
    larger.ring = malloc(larger.cap * sizeof(*larger.ring));
    int error = larger.ring ? 0 : CHATHUB_ENOMEM;
    for (uint32_t i = 0; !error && i < cids->count; i++) {
        larger.ring[i] = cids->ring[place_of(cids, i)];
        error = chi_index_reserve(&larger.index);
        if (!error && larger.ring[i].position)
            chi_index_put(&larger.index, i);
    }
    struct chi_cids *old = error ? &larger : cids;
    chi_index_fini(&old->index);
    free(old->ring);
    if (!error) {
        *cids = larger;
        cids->index.ctx = cids;
    }
    return error;
}

/* By a quarter: there are many of them, and they are all there is. Places stay as they are where
 * the oldest is at the first. */
static int grow(struct chi_cids *cids)
{
    uint32_t cap = cids->cap + cids->cap / 4 + 64;
    if (cids->first)
        return spread(cids, cap);
    struct chi_cid *ring = realloc(cids->ring, cap * sizeof(*ring));
    if (!ring)
        return CHATHUB_ENOMEM;
    cids->ring = ring;
    cids->cap = cap;
    return 0;
}

int chi_cids_add(struct chi_cids *cids, const struct chi_cid *cid)
{
    if (cids->count == cids->cap && grow(cids))
        return CHATHUB_ENOMEM;
    if (chi_index_reserve(&cids->index))
        return CHATHUB_ENOMEM;
    uint32_t place = place_of(cids, cids->count++);
    cids->ring[place] = *cid;
    chi_index_put(&cids->index, place);
    return 0;
}

void chi_cids_undo(struct chi_cids *cids, uint32_t n)
{
    assert(n <= cids->count);
    for (; n; n--)
        chi_index_remove(&cids->index, place_of(cids, --cids->count));
}

static void drop_oldest(struct chi_cids *cids)
{
    chi_index_remove(&cids->index, cids->first);
    cids->first = place_of(cids, 1);
    cids->count--;
}

void chi_cids_expire(struct chi_cids *cids, uint32_t since)
{
    while (cids->count && cids->ring[cids->first].since < since)
        drop_oldest(cids);
    if (!cids->count)
        chi_cids_fini(cids);
}

void chi_cids_drop(struct chi_cids *cids, uint32_t n)
{
    assert(n <= cids->count);
    for (; n; n--)
        drop_oldest(cids);
    if (!cids->count)
        chi_cids_fini(cids);
}

void chi_cids_forget(struct chi_cids *cids, const struct chi_cid *like)
{
    struct chi_span key = {(const char *)like->key, sizeof(like->key)};
    uint32_t place = chi_index_find(&cids->index, key);
    if (place == CHI_INDEX_NONE)
        return;
    chi_index_remove(&cids->index, place);
    cids->ring[place].position = 0;
}

const struct chi_cid *chi_cids_at(const struct chi_cids *cids, uint32_t n)
{
    assert(n < cids->count);
    return &cids->ring[place_of(cids, n)];
}

void chi_cids_move(struct chi_cids *from, struct chi_cids *to)
{
    assert(!to->ring && !to->index.cells);
    *to = *from;
    to->index.ctx = to;
    from->ring = NULL;
    from->first = from->count = from->cap = 0;
    from->index.cells = NULL;
    from->index.size = from->index.count = 0;
}

size_t chi_cids_memory(const struct chi_cids *cids)
{
    return cids->cap * sizeof(*cids->ring) + cids->index.size * sizeof(*cids->index.cells);
}
