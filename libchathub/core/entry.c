#include "core/entry.h"

#include <stdlib.h>
#include <string.h>

static char *put(char *at, struct chi_span span)
{
    if (span.len)
        memcpy(at, span.at, span.len);
    return at + span.len;
}

struct chi_entry *chi_entry_new(uint16_t type, const struct chi_entry_parts *parts)
{
    size_t len =
        parts->sender.len + parts->user.len + parts->cid.len + parts->content.len + parts->data.len;
    struct chi_entry *entry = malloc(sizeof *entry + len);
    if (!entry)
        return NULL;
    atomic_init(&entry->refs, 1);
    entry->type = type;
    entry->sender_len = (uint16_t)parts->sender.len;
    entry->user_len = (uint16_t)parts->user.len;
    entry->cid_len = (uint16_t)parts->cid.len;
    entry->content_len = (uint32_t)parts->content.len;
    entry->data_len = (uint32_t)parts->data.len;
    entry->position = entry->prev = entry->time = 0;
    char *at = put(entry->bytes, parts->sender);
    at = put(at, parts->user);
    at = put(at, parts->cid);
    at = put(at, parts->content);
    put(at, parts->data);
    return entry;
}

struct chi_entry *chi_entry_ref(struct chi_entry *entry)
{
    atomic_fetch_add_explicit(&entry->refs, 1, memory_order_relaxed);
    return entry;
}

void chi_entry_unref(struct chi_entry *entry)
{
    if (entry && atomic_fetch_sub_explicit(&entry->refs, 1, memory_order_acq_rel) == 1)
        free(entry);
}

static struct chi_span take(const char **at, size_t len)
{
    struct chi_span span = {len ? *at : NULL, len};
    *at += len;
    return span;
}

struct chi_entry_parts chi_entry_read(const struct chi_entry *entry)
{
    struct chi_entry_parts parts;
    const char *at = entry->bytes;
    parts.sender = take(&at, entry->sender_len);
    parts.user = take(&at, entry->user_len);
    parts.cid = take(&at, entry->cid_len);
    parts.content = take(&at, entry->content_len);
    parts.data = take(&at, entry->data_len);
    return parts;
}

size_t chi_entry_size(const struct chi_entry *entry)
{
    return sizeof *entry + entry->sender_len + entry->user_len + entry->cid_len +
           entry->content_len + (size_t)entry->data_len;
}
