/* Pages of history, read from the log for one client at a time.
 *
 * Happy path: the log is asked, the page comes, the client has its answer. Failures: the log's
 * error is told; a client that goes leaves a reading behind that ends by itself; a page that was
 * read before an entry of the room lost its texts is thrown away and read again. */
#include "core/internal.h"

#include <stdlib.h>
#include <string.h>

static void answer(struct chi_hub *hub, const struct chi_reading *reading,
                   const struct chi_log_page *page)
{
    struct chi_client *client = reading->client;
    struct chi_reply reply = {
        .type = CHI_REPLY_HISTORY,
        .ref = {reading->ref_len ? reading->ref : NULL, reading->ref_len},
        .room = chi_name_shown(reading->room->name),
    };
    reply.code = page->status ? chi_core_unreadable(hub) : 0;
    if (page->status == 0 && !chi_core_member(hub, client->session, reading->room))
        reply.code = CHATHUB_ENOTMEMBER; /* it left meanwhile */
    if (reply.code) {
        chi_core_error(hub, client, &reply);
        return;
    }
    reply.epoch = hub->parts.log->epoch(hub->parts.log);
    reply.entries = page->entries;
    reply.entry_count = page->count;
    reply.more = page->more;
    chi_core_reply(hub, client, &reply);
}

static void end(struct chi_hub *hub, struct chi_reading *reading, const struct chi_log_page *page)
{
    if (reading->client) {
        answer(hub, reading, page);
        reading->client->reading = NULL;
    }
    reading->room->holds--;
    chi_core_room_idle(hub, reading->room);
    chi_list_remove(&reading->all);
    free(reading);
}

static void page_came(struct chi_log_reader *reader, const struct chi_log_page *page)
{
    struct chi_reading *reading = CHI_CONTAINER(reader, struct chi_reading, reader);

    if (reading->stale && reading->client && page->status == 0)
        reading->again = true;
    else
        end(reading->hub, reading, page);
}

void chi_core_history_stale(struct chi_hub *hub, const struct chi_room *room)
{
    for (struct chi_link *link = hub->readings.next; link != &hub->readings; link = link->next) {
        struct chi_reading *reading = CHI_CONTAINER(link, struct chi_reading, all);
        reading->stale |= reading->room == room;
    }
}

void chi_core_work_readings(struct chi_hub *hub)
{
    struct chi_log *log = hub->parts.log;

    for (struct chi_link *link = hub->readings.next, *next; link != &hub->readings; link = next) {
        struct chi_reading *reading = CHI_CONTAINER(link, struct chi_reading, all);
        next = link->next;
        if (!reading->again)
            continue;
        reading->stale = reading->again = false;
        int r = log->read(log, reading->room->handle, &reading->read);
        if (r < 0)
            end(hub, reading, &(struct chi_log_page){.status = r});
    }
}

static int check_positions(const struct chi_request *history)
{
    if ((history->has_before && history->before > CHI_POSITION_MAX) ||
        (history->has_after && history->after > CHI_POSITION_MAX))
        return CHATHUB_EPOSITION;
    return 0;
}

static int read_page(struct chi_hub *hub, struct chi_client *client, struct chi_room *room,
                     const struct chi_request *history)
{
    const struct chi_settings *settings = hub->parts.settings;
    struct chi_reading *reading = malloc(sizeof *reading + history->ref.len);
    if (!reading)
        return CHATHUB_ENOMEM;
    *reading = (struct chi_reading){.reader = {page_came},
                                    .hub = hub,
                                    .client = client,
                                    .room = room,
                                    .ref_len = history->ref.len};
    if (history->ref.len)
        memcpy(reading->ref, history->ref.at, history->ref.len);
    uint32_t limit = history->limit && history->limit < settings->history_page
                         ? history->limit
                         : settings->history_page;
    reading->read =
        (struct chi_log_read){.after = history->has_after ? history->after : 0,
                              .before = history->has_before ? history->before : UINT64_MAX,
                              .limit = limit,
                              .bytes = settings->page_bytes,
                              .backward = !history->has_after,
                              .reader = &reading->reader};
    int r = hub->parts.log->read(hub->parts.log, room->handle, &reading->read);
    if (r < 0) {
        free(reading);
        return r;
    }
    client->reading = reading;
    room->holds++;
    chi_list_append(&hub->readings, &reading->all);
    return 0;
}

int chi_core_history(struct chi_hub *hub, struct chi_job *job)
{
    struct chi_member *member;

    int r = check_positions(job->request);
    if (r == 0 && job->client->reading)
        r = CHATHUB_EBUSY;
    if (r == 0)
        r = chi_core_member_needed(hub, job, &member);
    if (r == 0 && job->client->drafts) { /* it sees what its client said before */
        job->wait = CHI_WAIT_DRAFTS;
        return CHI_STEP_WAIT;
    }
    if (r == 0)
        r = chi_core_decide(hub, job, CHATHUB_HISTORY, (struct chi_span){NULL, 0},
                            chi_name_shown(member->room->name), (struct chi_span){"", 0});
    return r ? r : read_page(hub, job->client, member->room, job->request);
}
