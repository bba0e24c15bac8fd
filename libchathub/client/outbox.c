#include "client/outbox.h"

#include <stdlib.h>
#include <string.h>

#include "chathub.h"

/* What a hub takes of one client before it reads no further (its option client-drafts). */
#define UNDER_WAY_MAX 64u

static struct chi_post *post_of(struct chi_link *link)
{
    return CHI_CONTAINER(link, struct chi_post, link);
}

void chi_outbox_init(struct chi_outbox *outbox, uint32_t max, size_t max_bytes)
{
    chi_list_init(&outbox->posts);
    outbox->max = max;
    outbox->max_bytes = max_bytes;
}

void chi_outbox_fini(struct chi_outbox *outbox)
{
    struct chi_link *link;

    while ((link = chi_list_take(&outbox->posts)))
        free(post_of(link));
    outbox->count = 0;
    outbox->bytes = 0;
}

int chi_outbox_add(struct chi_outbox *outbox, struct chi_span cid, struct chi_span frame)
{
    if (outbox->count >= outbox->max || frame.len > outbox->max_bytes - outbox->bytes)
        return CHATHUB_EAGAIN;
    struct chi_post *post = calloc(1, sizeof(*post) + frame.len);
    if (!post)
        return CHATHUB_ENOMEM;
    memcpy(post->cid, cid.at, cid.len);
    if (chi_outbox_find(outbox, post->cid)) {
        free(post);
        return CHATHUB_ECIDREUSED;
    }
    memcpy(post->frame, frame.at, frame.len);
    post->len = frame.len;
    post->number = ++outbox->made;
    chi_list_append(&outbox->posts, &post->link);
    outbox->count++;
    outbox->bytes += frame.len;
    return 0;
}

struct chi_post *chi_outbox_find(const struct chi_outbox *outbox, const char *cid)
{
    /* acks come in order, so that it is among the first */
    for (struct chi_link *link = outbox->posts.next; link != &outbox->posts; link = link->next)
        if (strcmp(post_of(link)->cid, cid) == 0)
            return post_of(link);
    return NULL;
}

struct chi_post *chi_outbox_first(const struct chi_outbox *outbox)
{
    return chi_list_empty(&outbox->posts) ? NULL : post_of(outbox->posts.next);
}

void chi_outbox_remove(struct chi_outbox *outbox, struct chi_post *post)
{
    outbox->count--;
    outbox->bytes -= post->len;
    chi_list_remove(&post->link);
    free(post);
}

void chi_outbox_restart(struct chi_outbox *outbox)
{
    for (struct chi_link *link = outbox->posts.next; link != &outbox->posts; link = link->next) {
        post_of(link)->sent = false;
        post_of(link)->due = 0;
    }
}

struct chi_post *chi_outbox_next(const struct chi_outbox *outbox)
{
    uint32_t under_way = 0;

    for (struct chi_link *link = outbox->posts.next; link != &outbox->posts; link = link->next) {
        if (!post_of(link)->sent)
            return post_of(link);
        if (++under_way == UNDER_WAY_MAX)
            return NULL;
    }
    return NULL;
}
