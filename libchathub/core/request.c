#include "core/request.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define TEXTS 10

static void texts_of(struct chi_request *request, struct chi_span *texts[TEXTS])
{
    texts[0] = &request->ref;
    texts[1] = &request->room;
    texts[2] = &request->name;
    texts[3] = &request->session;
    texts[4] = &request->content;
    texts[5] = &request->cid;
    texts[6] = &request->data;
    texts[7] = &request->start.epoch;
    texts[8] = &request->to;
    texts[9] = &request->id;
}

static size_t size_of_texts(const struct chi_request *r)
{
    size_t len = r->ref.len + r->room.len + r->name.len + r->session.len + r->content.len +
                 r->cid.len + r->data.len + r->start.epoch.len + r->to.len + r->id.len;
    for (uint32_t i = 0; i < r->resume_count; i++)
        len += r->resume[i].room.len + r->resume[i].start.epoch.len;
    return len;
}

/* Moves a span's text to `at`. A text that is there but empty stays told from one that is
 * absent. */
static char *move(char *at, struct chi_span *span)
{
    if (!span->at)
        return at;
    if (span->len)
        memcpy(at, span->at, span->len);
    span->at = at;
    return at + span->len;
}

struct chi_request *chi_request_copy(const struct chi_request *request)
{
    /* of the array of rooms only what is set: its rest is never looked at */
    size_t head = offsetof(struct chi_request, resume) +
                  (size_t)request->resume_count * sizeof request->resume[0];
    char *copied = malloc(head + size_of_texts(request) + 1);
    if (!copied)
        return NULL;
    memcpy(copied, request, head);

    struct chi_request *copy = (struct chi_request *)(void *)copied;
    char *at = copied + head;
    struct chi_span *texts[TEXTS];
    texts_of(copy, texts);
    for (size_t i = 0; i < TEXTS; i++)
        at = move(at, texts[i]);
    for (uint32_t i = 0; i < copy->resume_count; i++) {
        at = move(at, &copy->resume[i].room);
        at = move(at, &copy->resume[i].start.epoch);
    }
    return copy;
}
