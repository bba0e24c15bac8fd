/* Where the last N entries of a room begin.
 *
 * Happy path: the log is asked once for all who want to know the same at the same time (many come
 * at once after a restart), and the answer serves until the room has another entry. Failure: all
 * who wait are told; a look whose waiters went ends by itself. */
#include "core/internal.h"

#include <stdlib.h>

/* Bytes that are looked through, in pages. */
#define LOOK_PAGES 16u

struct chi_look {
    struct chi_log_reader reader;
    struct chi_link all; /* in hub->looks */
    struct chi_hub *hub;
    struct chi_room *room; /* held */
    struct chi_link jobs;  /* that wait for it */
    uint64_t top;          /* of the room, when it was asked */
    uint32_t count;        /* N */
};

/* What the log has and did not report yet is among the last N, but no cursor begins beyond the top.
 */
static uint64_t begin_of(const struct chi_room *room, const struct chi_log_page *page)
{
    uint64_t from = page->count ? page->entries[0]->prev : room->top;
    return from < room->top ? from : room->top;
}

static void page_came(struct chi_log_reader *reader, const struct chi_log_page *page)
{
    struct chi_look *look = CHI_CONTAINER(reader, struct chi_look, reader);
    struct chi_hub *hub = look->hub;
    struct chi_room *room = look->room;
    struct chi_busy *busy = room->busy; /* NULL: newer looks came, and it went with them */
    struct chi_link *link;
    uint64_t from = begin_of(room, page);

    if (busy && page->status == 0) {
        busy->look_count = look->count;
        busy->look_top = look->top;
        busy->look_from = from;
    }
    while ((link = chi_list_take(&look->jobs)) != NULL) {
        struct chi_job *job = CHI_CONTAINER(link, struct chi_job, link);
        job->status = page->status;
        job->found = page->status == 0;
        job->from = from;
        chi_core_job_ready(hub, job);
    }
    if (busy && busy->look == look)
        busy->look = NULL;
    room->holds--;
    chi_core_room_idle(hub, room);
    chi_list_remove(&look->all);
    free(look);
}

static int ask(struct chi_hub *hub, struct chi_room *room, uint32_t count, struct chi_look **out)
{
    uint64_t bytes = (uint64_t)hub->parts.settings->page_bytes * LOOK_PAGES;
    struct chi_busy *busy = chi_core_busy(hub, room);
    struct chi_look *look = busy ? malloc(sizeof *look) : NULL;
    if (!look)
        return CHATHUB_ENOMEM;
    *look = (struct chi_look){
        .reader = {page_came}, .hub = hub, .room = room, .top = room->top, .count = count};
    struct chi_log_read read = {.before = UINT64_MAX,
                                .limit = count,
                                .bytes = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX,
                                .backward = true,
                                .reader = &look->reader};
    int r = hub->parts.log->read(hub->parts.log, room->handle, &read);
    if (r < 0) {
        free(look);
        return r;
    }
    chi_list_init(&look->jobs);
    chi_list_append(&hub->looks, &look->all);
    room->holds++;
    busy->look = look;
    *out = look;
    return 0;
}

int chi_core_look(struct chi_hub *hub, struct chi_job *job)
{
    struct chi_room *room = job->room;
    struct chi_look *look = room->busy ? room->busy->look : NULL;

    if (!look || look->count != job->count || look->top != room->top) {
        int r = ask(hub, room, job->count, &look);
        if (r < 0)
            return r;
    }
    chi_list_append(&look->jobs, &job->link);
    return 0;
}

bool chi_core_looked(struct chi_hub *hub, struct chi_room *room, uint32_t count, uint64_t *from)
{
    const struct chi_busy *busy = room->busy;

    if (!busy || busy->look_count != count || busy->look_top != room->top)
        return false;
    *from = busy->look_from;
    chi_core_busy(hub, room);
    return true;
}

uint32_t chi_core_looks(const struct chi_hub *hub)
{
    uint32_t n = 0;
    for (const struct chi_link *link = hub->looks.next; link != &hub->looks; link = link->next)
        n++;
    return n;
}

void chi_core_looks_free(struct chi_hub *hub)
{
    struct chi_link *link;
    while ((link = chi_list_take(&hub->looks)) != NULL)
        free(CHI_CONTAINER(link, struct chi_look, all));
}
