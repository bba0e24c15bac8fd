/* An entry: one fact in a room's log. A draft is an entry that no log has committed yet. */
#ifndef CHI_CORE_ENTRY_H
#define CHI_CORE_ENTRY_H

#include <stdatomic.h>
#include <stdint.h>

#include "util/text.h"

/* Written to files and wires: numbers are never reused, unknown ones are passed over. */
enum chi_entry_type {
    CHI_ENTRY_CHAT = 1,
};

/* One allocation: this head and, behind it, the bytes of its texts. A log fills position, prev
 * and time before anybody else sees the entry; from then on it never changes. References may be
 * dropped on any thread. */
struct chi_entry {
    atomic_uint refs; /* freed when it reaches 0 */
    uint16_t type;    /* enum chi_entry_type */
    uint16_t sender_len;
    uint16_t user_len;
    uint16_t cid_len; /* 0: the post had none */
    uint32_t content_len;
    uint32_t data_len; /* 0: the post had none */
    uint64_t position; /* 0 while a draft */
    uint64_t prev;     /* position before it in its room, 0 for the first */
    uint64_t time;     /* Unix time in ms, when it was committed */
    char bytes[];      /* sender, user, cid, content, data, in this order, no NULs between */
};

struct chi_entry_parts {
    struct chi_span sender; /* display name */
    struct chi_span user;   /* public id of who posted; with room and cid it makes a post unique */
    struct chi_span cid;
    struct chi_span content;
    struct chi_span data; /* a JSON object as it came, on one line */
};

/* A draft with one reference; NULL if there is no memory. Copies the parts, whose lengths the
 * caller has bounded. */
struct chi_entry *chi_entry_new(uint16_t type, const struct chi_entry_parts *parts);
struct chi_entry *chi_entry_ref(struct chi_entry *entry);
void chi_entry_unref(struct chi_entry *entry);                        /* NULL is allowed */
struct chi_entry_parts chi_entry_read(const struct chi_entry *entry); /* spans into the entry */
size_t chi_entry_size(const struct chi_entry *entry);                 /* bytes it occupies */

#endif
