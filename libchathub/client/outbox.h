/* Posts that have no answer yet, in the order in which they were made. */
#ifndef CHI_CLIENT_OUTBOX_H
#define CHI_CLIENT_OUTBOX_H

#include "util/list.h"
#include "util/text.h"

#define CHI_CID_MAX 64u

struct chi_post {
    struct chi_link link; /* in the outbox */
    uint64_t number;      /* 1, 2, 3 … */
    uint64_t due;         /* it is not to be sent before, in the loop's ms */
    bool sent;            /* on the present connection */
    bool tried;           /* on any: it may have been committed */
    char cid[CHI_CID_MAX + 1];
    size_t len;   /* of the frame */
    char frame[]; /* the request, without a NUL */
};

struct chi_outbox {
    struct chi_link posts;
    uint64_t made;  /* number of the latest */
    uint32_t count; /* posts in it */
    uint32_t max;   /* of them */
    size_t bytes;   /* of their frames */
    size_t max_bytes;
};

void chi_outbox_init(struct chi_outbox *outbox, uint32_t max, size_t max_bytes);
void chi_outbox_fini(struct chi_outbox *outbox);

/* Takes a copy, behind all others. CHATHUB_EAGAIN: it is full; CHATHUB_ECIDREUSED; CHATHUB_ENOMEM. */
int chi_outbox_add(struct chi_outbox *outbox, struct chi_span cid, struct chi_span frame);
struct chi_post *chi_outbox_find(const struct chi_outbox *outbox, const char *cid); /* or NULL */
struct chi_post *chi_outbox_first(const struct chi_outbox *outbox);                 /* or NULL */
void chi_outbox_remove(struct chi_outbox *outbox, struct chi_post *post);

/* A new connection knows of none of them. */
void chi_outbox_restart(struct chi_outbox *outbox);
/* The one to be sent next, not before its `due`: none is sent before an earlier one. NULL: all are,
 * or as many as the hub takes at once wait for their answers. */
struct chi_post *chi_outbox_next(const struct chi_outbox *outbox);

#endif
