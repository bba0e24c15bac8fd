/* Happy path: a host's request waits in its client's inbox until the next turn; what the pump
 * sends is a run of records (chi_dialect_local), each told to the host's callback at once and
 * whole, or copied to the hub's queue as far as there is room: a client that finds none is blocked
 * until the host has taken what waits there. Then those come first who got nothing the last time.
 * Failure modes: an inbox that is full refuses; a client that the hub closed gets what it was owed
 * and CLOSED in the next turn, beyond the queue's bound; without memory for what it was owed, CLOSED
 * alone; without memory in the queue it is tried again a second later. */
#include "net/inproc.h"

#include <stdlib.h>
#include <string.h>

#include "dialect/dialect.h"
#include "dialect/local.h"
#include "net/framing.h"
#include "net/roster.h"
#include "util/event.h"
#include "util/list.h"

#define INBOX_MAX 64u
/* Blocked clients that go on in one turn: the first of them may fill the queue again. */
#define GO_ON_MAX 64u
/* Until it is tried again where there was no memory. */
#define AGAIN_MS 1000u

struct message {
    struct chi_link link;
    struct chi_request *request; /* owned copy */
};

struct guest {
    struct chi_guest as;
    struct chi_link link; /* among those with something for a turn */
    chathub_event_cb cb;  /* NULL: its events go to the queue */
    void *arg;
    struct chi_link blocked; /* among `fed` or `unfed` while the queue has no room for it */
    struct chi_link inbox;   /* messages not yet handed over */
    uint32_t waiting;        /* their number */
    bool paused;             /* the hub reads nothing of it now */
    bool leaving;            /* the host closed it */
    bool closed;             /* the hub closed it: only its end is to be told */
    int code;                /* of the close */
    struct chi_buf rest;     /* what it was owed then */
};

struct chi_inproc {
    struct chi_inproc_parts parts;
    struct chi_transport transport;
    struct chi_roster guests;
    uint32_t unheard;      /* requests in all inboxes */
    struct chi_link due;   /* guests with something for a turn */
    struct chi_link unfed; /* blocked, and the queue took nothing of theirs … */
    struct chi_link fed;   /* … or something: they come behind the others */
    uint64_t again;        /* without memory for the queue: when it is tried again */
};

static void guest_due(struct chi_inproc *inproc, struct guest *guest)
{
    if (!chi_list_linked(&guest->link))
        chi_list_append(&inproc->due, &guest->link);
    inproc->parts.env.ops->wake(inproc->parts.env.self);
}

static void message_drop(struct chi_inproc *inproc, struct guest *guest)
{
    struct message *message = CHI_CONTAINER(chi_list_take(&guest->inbox), struct message, link);
    free(message->request);
    free(message);
    guest->waiting--;
    inproc->unheard--;
}

static void guest_free(struct chi_inproc *inproc, struct guest *guest)
{
    while (guest->waiting)
        message_drop(inproc, guest);
    chi_list_remove(&guest->link);
    chi_list_remove(&guest->blocked);
    chi_buf_fini(&guest->rest);
    chi_roster_give(&inproc->guests, &guest->as);
}

/* ------------------------------------------------------------------------------------ transport */

/* Tells a run of records, and answers how much of it. `beyond`: though the queue is full. */
static size_t tell_records(struct chi_inproc *inproc, struct guest *guest, const char *at,
                           size_t len, bool beyond)
{
    const char *end = at + len;
    if (!guest->cb)
        return chi_queue_add_records(inproc->parts.queue, guest->as.id, at, len, beyond);
    while (at < end) {
        struct chathub_event event;
        at += chi_local_read(at, &event);
        event.client = guest->as.id;
        guest->cb(inproc->parts.owner, &event, guest->arg);
    }
    return len;
}

static uint64_t now_of(const struct chi_inproc *inproc)
{
    return inproc->parts.env.ops->now(inproc->parts.env.self);
}

/* There was no memory for the queue. */
static void starve(struct chi_inproc *inproc)
{
    inproc->again = now_of(inproc) + AGAIN_MS;
}

static void guest_block(struct chi_inproc *inproc, struct guest *guest, bool fed)
{
    if (chi_queue_is_starved(inproc->parts.queue))
        starve(inproc);
    if (!chi_list_linked(&guest->blocked))
        chi_list_append(fed ? &inproc->fed : &inproc->unfed, &guest->blocked);
}

static ptrdiff_t inproc_send(void *self, uint32_t conn, const void *bytes, size_t len)
{
    struct chi_inproc *inproc = self;
    struct guest *guest = chi_slots_at(&inproc->guests.all, conn);
    size_t told = tell_records(inproc, guest, bytes, len, false);
    if (told < len)
        guest_block(inproc, guest, told > 0);
    return (ptrdiff_t)told;
}

static void inproc_write_many(void *self, const void *bytes, size_t len, const uint32_t *conns,
                              size_t n, int32_t *taken)
{
    for (size_t i = 0; i < n; i++)
        taken[i] = (int32_t)inproc_send(self, conns[i], bytes, len);
}

static void inproc_read(void *self, uint32_t conn, bool on)
{
    struct chi_inproc *inproc = self;
    struct guest *guest = chi_slots_at(&inproc->guests.all, conn);
    guest->paused = !on;
    if (on && guest->waiting)
        guest_due(inproc, guest);
}

static void inproc_close(void *self, uint32_t conn, int code, struct chi_span reason,
                         struct chi_span rest)
{
    (void)reason;
    struct chi_inproc *inproc = self;
    struct guest *guest = chi_slots_at(&inproc->guests.all, conn);
    chi_list_remove(&guest->blocked);
    guest->closed = true;
    guest->code = code;
    chi_buf_add(&guest->rest, rest.at, rest.len);
    guest_due(inproc, guest);
}

/* ------------------------------------------------------------------------------------- the turn */

static int error_of_close(int code)
{
    switch (code) {
    case 1000:
        return 0;
    case 1001:
        return CHATHUB_ESHUTDOWN;
    case 1008:
        return CHATHUB_EABUSE;
    case 4001:
        return CHATHUB_EREPLACED;
    default:
        return code > 4001 || code == 4000 ? CHATHUB_EDENIED : CHATHUB_EIO; /* the host's own */
    }
}

static bool tell_code(struct chi_inproc *inproc, struct guest *guest, uint32_t type, int code)
{
    struct chathub_event event = chi_event_of(type);
    event.client = guest->as.id;
    event.code = code;
    event.message = code ? chathub_strerror(code) : "";
    if (!guest->cb)
        return chi_queue_add(inproc->parts.queue, &event, true);
    guest->cb(inproc->parts.owner, &event, guest->arg);
    return true;
}

static bool tell_rest(struct chi_inproc *inproc, struct guest *guest)
{
    size_t len = guest->rest.failed ? 0 : guest->rest.len;
    size_t told = len ? tell_records(inproc, guest, guest->rest.at, len, true) : 0;
    chi_buf_consume(&guest->rest, told);
    return told == len;
}

/* Tells what is left to tell of a guest that was closed, its unheard requests before the end. False:
 * the queue has no memory for it now. */
static bool tell_end(struct chi_inproc *inproc, struct guest *guest)
{
    int code = error_of_close(guest->code);
    if (!tell_rest(inproc, guest))
        return false;
    while (guest->waiting) {
        if (!tell_code(inproc, guest, CHATHUB_EVENT_ERROR, code ? code : CHATHUB_EGONE))
            return false;
        message_drop(inproc, guest);
    }
    return tell_code(inproc, guest, CHATHUB_EVENT_CLOSED, code);
}

/* Tried again in each turn, but that asks for none. */
static void guest_end(struct chi_inproc *inproc, struct guest *guest)
{
    if (tell_end(inproc, guest)) {
        guest_free(inproc, guest);
        return;
    }
    starve(inproc);
    if (!chi_list_linked(&guest->link))
        chi_list_append(&inproc->due, &guest->link);
}

static void guest_turn(struct chi_inproc *inproc, struct guest *guest)
{
    struct chi_link *link;
    while (!guest->closed && !guest->paused && (link = chi_list_take(&guest->inbox))) {
        struct message *message = CHI_CONTAINER(link, struct message, link);
        guest->waiting--;
        inproc->unheard--;
        enum chi_next next = chi_hub_request(inproc->parts.hub, guest->as.id, message->request);
        free(message->request);
        free(message);
        guest->paused |= next == CHI_NEXT_WAIT;
    }
    if (!guest->closed && guest->leaving && !guest->waiting) {
        chi_hub_close_client(inproc->parts.hub, guest->as.id, 1000, CHI_SPAN("left"));
    }
    if (guest->closed)
        guest_end(inproc, guest);
}

static struct guest *next_blocked(struct chi_inproc *inproc)
{
    struct chi_link *link = chi_list_take(&inproc->unfed);
    if (!link)
        link = chi_list_take(&inproc->fed);
    return link ? CHI_CONTAINER(link, struct guest, blocked) : NULL;
}

/* Whether somebody is blocked who need not be. */
static bool may_go_on(struct chi_inproc *inproc)
{
    return now_of(inproc) >= inproc->again &&
           !(chi_list_empty(&inproc->unfed) && chi_list_empty(&inproc->fed)) &&
           chi_queue_has_room(inproc->parts.queue);
}

static void let_go_on(struct chi_inproc *inproc)
{
    if (!may_go_on(inproc))
        return;
    struct guest *guest;
    for (uint32_t i = 0; i < GO_ON_MAX && (guest = next_blocked(inproc)); i++)
        chi_delivery_writable(inproc->parts.delivery, chi_hub_client_slot(guest->as.id));
}

void chi_inproc_turn(struct chi_inproc *inproc)
{
    if (!chi_queue_turn(inproc->parts.queue, now_of(inproc)))
        starve(inproc);
    let_go_on(inproc);
    struct chi_link now; /* those due now: what callbacks add is for the next turn */
    chi_list_init(&now);
    struct chi_link *link;
    while ((link = chi_list_take(&inproc->due)))
        chi_list_append(&now, link);
    while ((link = chi_list_take(&now)))
        guest_turn(inproc, CHI_CONTAINER(link, struct guest, link));
}

void chi_inproc_flushed(struct chi_inproc *inproc)
{
    chi_queue_tell(inproc->parts.queue);
    if (may_go_on(inproc))
        inproc->parts.env.ops->wake(inproc->parts.env.self);
}

uint64_t chi_inproc_next(const struct chi_inproc *inproc)
{
    return inproc->again > now_of(inproc) ? inproc->again : UINT64_MAX;
}

/* ------------------------------------------------------------------------------------- the face */

int chi_inproc_new(const struct chi_inproc_parts *parts, struct chi_inproc **out)
{
    struct chi_inproc *inproc = calloc(1, sizeof(*inproc));
    if (!inproc)
        return CHATHUB_ENOMEM;
    chi_roster_init(&inproc->guests, sizeof(struct guest), parts->env);
    inproc->parts = *parts;
    inproc->transport = (struct chi_transport){
        .send = inproc_send,
        .write_many = inproc_write_many,
        .read = inproc_read,
        .close = inproc_close,
        .self = inproc,
    };
    chi_list_init(&inproc->due);
    chi_list_init(&inproc->fed);
    chi_list_init(&inproc->unfed);
    *out = inproc;
    return 0;
}

void chi_inproc_free(struct chi_inproc *inproc)
{
    if (!inproc)
        return;
    for (uint32_t i = 0; i < inproc->guests.all.made; i++) {
        struct guest *guest = chi_slots_at(&inproc->guests.all, i);
        if (guest)
            guest_free(inproc, guest);
    }
    chi_roster_fini(&inproc->guests);
    free(inproc);
}

int chi_inproc_open(struct chi_inproc *inproc, chathub_event_cb cb, void *arg, uint64_t *id)
{
    struct chi_client_desc desc = {
        .as = {.transport = &inproc->transport,
               .encoding = {&chi_dialect_local, &chi_framing_none}},
        .address = CHI_SPAN("in-process"),
        .welcome = true,
    };
    struct guest *guest = chi_slots_take(&inproc->guests.all);
    if (!guest)
        return CHATHUB_ENOMEM;
    guest->cb = cb;
    guest->arg = arg;
    chi_list_init(&guest->inbox);
    int error = chi_roster_open(&inproc->guests, inproc->parts.hub, &desc, &guest->as);
    if (!error)
        *id = guest->as.id;
    return error;
}

static struct guest *guest_find(struct chi_inproc *inproc, uint64_t id)
{
    struct guest *guest = chi_roster_find(&inproc->guests, id);
    return guest && !guest->closed && !guest->leaving ? guest : NULL;
}

bool chi_inproc_waiting(const struct chi_inproc *inproc)
{
    return inproc->unheard > 0;
}

int chi_inproc_request(struct chi_inproc *inproc, uint64_t id, const struct chi_request *request)
{
    struct guest *guest = guest_find(inproc, id);
    if (!guest)
        return CHATHUB_EGONE;
    if (guest->waiting >= INBOX_MAX)
        return CHATHUB_EAGAIN;
    struct message *message = calloc(1, sizeof(*message));
    if (message)
        message->request = chi_request_copy(request);
    if (!message || !message->request) {
        free(message);
        return CHATHUB_ENOMEM;
    }
    chi_list_append(&guest->inbox, &message->link);
    guest->waiting++;
    inproc->unheard++;
    guest_due(inproc, guest);
    return 0;
}

void chi_inproc_abort(struct chi_inproc *inproc, uint64_t id)
{
    struct guest *guest = guest_find(inproc, id);
    if (!guest)
        return;
    chi_hub_client_closed(inproc->parts.hub, id, "no memory");
    guest_free(inproc, guest);
}

int chi_inproc_close(struct chi_inproc *inproc, uint64_t id)
{
    struct guest *guest = guest_find(inproc, id);
    if (!guest)
        return CHATHUB_EGONE;
    guest->leaving = true;
    guest_due(inproc, guest);
    return 0;
}
