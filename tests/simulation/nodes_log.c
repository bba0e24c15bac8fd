/* One log that all nodes share, as each of them sees it; and the bus between them.
 *
 * A post is published when its time has come, and has its position from then on. Each node shows
 * the entries in the order of their positions, each some time after it was published. */
#include <string.h>

#include "nodes_sim.h"

static struct ns_node *node_of(struct chi_log *log)
{
    return (struct ns_node *)(void *)log;
}

static void ns_bind(struct chi_log *log, const struct chi_log_up *up)
{
    node_of(log)->up = *up;
}

static struct chi_span ns_epoch(struct chi_log *log)
{
    struct ns_node *node = node_of(log);
    return (struct chi_span){node->world->epochs[node->backs], CHI_EPOCH_LEN};
}

static bool ns_holds(struct chi_log *log, struct chi_span epoch, uint64_t position)
{
    struct ns_node *node = node_of(log);
    struct ns_world *w = node->world;
    uint64_t last = CHI_POSITION_MAX;

    if (!epoch.len)
        return true;
    for (uint32_t i = node->backs + 1; i-- > 0;) {
        if (chi_span_equal(epoch, (struct chi_span){w->epochs[i], CHI_EPOCH_LEN}))
            return position <= last;
        last = w->epoch_from[i] < last ? w->epoch_from[i] : last;
    }
    return false;
}

static uint64_t ns_horizon(struct chi_log *log)
{
    (void)log;
    return 3600000;
}

static int ns_open(struct chi_log *log, uint32_t number, struct chi_name *name)
{
    struct ns_node *node = node_of(log);
    int room = ns_room_of(chi_name_shown(name));

    if (room < 0)
        return CHATHUB_ELOG;
    struct ns_view_room *r = &node->rooms[room];
    *r = (struct ns_view_room){.node = node, .room = room, .opening = true, .number = number};
    r->due = ns_now(node->world) + ns_below(node->world, 40);
    return 0;
}

static void ns_close(struct chi_log *log, void *handle)
{
    (void)log;
    ((struct ns_view_room *)handle)->open = false;
}

static int ns_append(struct chi_log *log, void *handle, struct chi_entry *draft, void *token)
{
    struct ns_node *node = node_of(log);
    struct ns_world *w = node->world;
    const struct ns_view_room *room = handle;
    struct chi_entry_parts parts = chi_entry_read(draft);
    struct ns_draft *d = sim_alloc(sizeof *d);

    d->entry = chi_entry_ref(draft);
    d->room = room->room;
    d->user = sim_intern(w->base, parts.user);
    d->cid = sim_intern(w->base, parts.cid);
    d->departs = ns_user_of(w, d->user)->departs[d->room];
    d->token = token;
    d->due = ns_now(w);
    if (ns_faulty(w, NS_SLOW) && ns_one_in(w, 3))
        d->due += ns_below(w, 1500);
    d->unknown = ns_faulty(w, NS_UNKNOWN) && ns_one_in(w, 10);
    if (d->unknown) /* nobody waits for it */
        d->departs = UINT32_MAX;
    *node->drafts_end = d;
    node->drafts_end = &d->next;
    return 0;
}

static int ns_read(struct chi_log *log, void *handle, const struct chi_log_read *read)
{
    struct ns_node *node = node_of(log);
    struct ns_page *page = sim_alloc(sizeof *page), **at = &node->pages;

    *page = (struct ns_page){.read = *read, .room = ((struct ns_view_room *)handle)->room};
    page->due = ns_now(node->world) + ns_below(node->world, 20);
    while (*at)
        at = &(*at)->next;
    *at = page;
    return 0;
}

static int ns_redact(struct chi_log *log, void *handle, uint64_t position, void *token)
{
    (void)log, (void)handle, (void)position, (void)token;
    return CHATHUB_ELOG;
}

/* ------------------------------------------------------------------------------------ publishing */

static void answer(struct ns_node *node, const struct ns_answer *as)
{
    struct ns_answer *a = sim_alloc(sizeof *a);
    *a = *as;
    a->next = NULL;
    *node->answers_end = a;
    node->answers_end = &a->next;
}

static const struct ns_entry *repeated(const struct ns_world *w, const struct ns_draft *d)
{
    for (uint32_t i = 0; i < w->entry_count && d->cid; i++) {
        const struct ns_entry *e = &w->entries[i];
        if (e->room == d->room && e->user == d->user && e->cid == d->cid)
            return e;
    }
    return NULL;
}

static uint64_t last_of(const struct ns_world *w, int room, uint32_t count)
{
    for (uint32_t i = count; i-- > 0;)
        if (w->entries[i].room == room)
            return w->entries[i].entry->position;
    return 0;
}

static void publish(struct ns_world *w, struct ns_node *node, struct ns_draft *d)
{
    const struct ns_entry *first = repeated(w, d);
    struct ns_answer as = {
        .room = d->room, .token = d->token, .after = w->entry_count, .status = CHATHUB_EUNKNOWN};
    bool lost = d->unknown && ns_one_in(w, 2);

    if (first && !d->unknown) {
        as.status = CHATHUB_EDUP;
        as.entry = chi_entry_ref(first->entry);
    }
    if (first || d->unknown)
        answer(node, &as);
    if (first || lost || w->entry_count == NS_ENTRIES) {
        chi_entry_unref(d->entry);
        return;
    }
    w->position += 1 + ns_below(w, 3);
    d->entry->prev = last_of(w, d->room, w->entry_count);
    d->entry->position = w->position;
    d->entry->time = ns_now(w);
    w->entries[w->entry_count++] = (struct ns_entry){.entry = d->entry,
                                                     .room = d->room,
                                                     .user = d->user,
                                                     .cid = d->cid,
                                                     .departs = d->departs,
                                                     .at = ns_now(w),
                                                     .node = node->serial,
                                                     .token = d->unknown ? NULL : d->token};
    NS_TRACE(w, "published %s/%llu of %s", w->base->rooms[d->room].name,
             (unsigned long long)w->position, w->base->words[d->user]);
}

static void publish_due(struct ns_node *node, bool all)
{
    while (node->drafts && (all || node->drafts->due <= ns_now(node->world))) {
        struct ns_draft *d = node->drafts;
        node->drafts = d->next;
        if (!node->drafts)
            node->drafts_end = &node->drafts;
        publish(node->world, node, d);
        sim_free(d);
    }
}

/* ------------------------------------------------------------------------------------- reporting */

static void report(struct ns_node *node, int room, struct chi_log_result *result)
{
    struct ns_view_room *r = &node->rooms[room];

    if (!r->open)
        return;
    result->room = r->number;
    node->up.committed(node->up.hub, result, 1);
}

static void answers_due(struct ns_node *node, bool all)
{
    while (node->answers && (all || node->answers->after <= node->shown)) {
        struct ns_answer *a = node->answers;
        node->answers = a->next;
        if (!node->answers)
            node->answers_end = &node->answers;
        report(node, a->room,
               &(struct chi_log_result){.token = a->token, .status = a->status, .entry = a->entry});
        chi_entry_unref(a->entry);
        sim_free(a);
    }
}

static void show(struct ns_node *node)
{
    struct ns_world *w = node->world;

    while (node->shown < w->entry_count) {
        struct ns_entry *e = &w->entries[node->shown];
        answers_due(node, false);
        if (e->at + node->lag > ns_now(w))
            return;
        node->shown++;
        node->newest = e->entry->position;
        void *token = e->node == node->serial ? e->token : NULL;
        e->token = e->node == node->serial ? NULL : e->token;
        report(node, e->room, &(struct chi_log_result){.token = token, .entry = e->entry});
    }
    answers_due(node, false);
}

static void open_due(struct ns_node *node)
{
    for (int i = 0; i < NS_ROOMS; i++) {
        struct ns_view_room *r = &node->rooms[i];
        if (!r->opening || r->due > ns_now(node->world))
            continue;
        r->opening = false;
        r->open = true;
        node->up.opened(node->up.hub, r->number, 0, r, last_of(node->world, i, node->shown));
    }
}

static void read_page(struct ns_node *node, const struct ns_page *page)
{
    struct ns_world *w = node->world;
    struct chi_entry *found[256];
    uint32_t n = 0, bytes = 0, max = page->read.limit < 256 ? page->read.limit : 256;
    bool more = false;

    for (uint32_t i = 0; i < node->shown && !more; i++) {
        const struct ns_entry *e = &w->entries[page->read.backward ? node->shown - 1 - i : i];
        uint64_t at = e->entry->position;
        if (e->room != page->room || at <= page->read.after || at >= page->read.before)
            continue;
        if (n == max || (n && bytes + chi_entry_size(e->entry) > page->read.bytes)) {
            more = true;
            break;
        }
        bytes += (uint32_t)chi_entry_size(e->entry);
        found[n++] = e->entry;
    }
    for (uint32_t i = 0; page->read.backward && i < n / 2; i++) {
        struct chi_entry *swap = found[i];
        found[i] = found[n - 1 - i];
        found[n - 1 - i] = swap;
    }
    page->read.reader->page(page->read.reader,
                            &(struct chi_log_page){.entries = found, .count = n, .more = more});
}

static void pages_due(struct ns_node *node, bool fail)
{
    while (node->pages && (fail || node->pages->due <= ns_now(node->world))) {
        struct ns_page *page = node->pages;
        node->pages = page->next;
        if (fail)
            page->read.reader->page(page->read.reader,
                                    &(struct chi_log_page){.status = CHATHUB_ELOG});
        else
            read_page(node, page);
        sim_free(page);
    }
}

/* ------------------------------------------------------------------------------------- going back */

static uint64_t newest_of(const struct ns_node *node)
{
    return node->shown ? node->world->entries[node->shown - 1].entry->position : 0;
}

/* All that is under way is answered before it is said. */
static void learn_back(struct ns_node *node)
{
    struct ns_world *w = node->world;

    for (struct ns_draft *d; (d = node->drafts) != NULL; sim_free(d)) {
        node->drafts = d->next;
        chi_entry_unref(d->entry);
        answer(node,
               &(struct ns_answer){.room = d->room, .token = d->token, .status = CHATHUB_EUNKNOWN});
    }
    node->drafts_end = &node->drafts;
    for (uint32_t i = 0; i < w->entry_count; i++) {
        struct ns_entry *e = &w->entries[i];
        if (e->node == node->serial && e->token)
            answer(node, &(struct ns_answer){
                             .room = e->room, .token = e->token, .status = CHATHUB_EUNKNOWN});
        e->token = e->node == node->serial ? NULL : e->token;
    }
    answers_due(node, true);
    pages_due(node, true);
    for (int i = 0; i < NS_ROOMS; i++) {
        if (node->rooms[i].opening)
            node->up.opened(node->up.hub, node->rooms[i].number, CHATHUB_ELOG, NULL, 0);
        node->rooms[i].opening = false;
    }
    while (node->backs < w->backs) {
        node->backs++;
        if (node->shown > w->back_to[node->backs])
            node->shown = w->back_to[node->backs];
    }
    node->newest = newest_of(node);
    NS_TRACE(w, "node %d learns that the log is back", node->index);
    node->up.went_back(node->up.hub);
}

static void forget_acks(struct ns_world *w)
{
    for (int i = 0; i < NS_ACTORS; i++)
        for (uint32_t p = 0; p < w->actors[i].post_count; p++) {
            struct ns_post *post = &w->actors[i].posts[p];
            if (post->state == NS_POST_ACKED && post->position > w->position)
                post->state = NS_POST_GONE;
        }
}

void ns_log_go_back(struct ns_world *w)
{
    uint32_t lost = ns_below(w, 12), keep = lost < w->entry_count ? w->entry_count - lost : 0;

    if (w->backs + 1 == NS_EPOCHS)
        return;
    for (uint32_t i = keep; i < w->entry_count; i++) {
        struct ns_entry *e = &w->entries[i];
        struct ns_node *node = ns_node_of(w, e->node);
        if (node && e->token)
            answer(node, &(struct ns_answer){
                             .room = e->room, .token = e->token, .status = CHATHUB_EUNKNOWN});
        chi_entry_unref(e->entry);
    }
    w->entry_count = keep;
    w->position = keep ? w->entries[keep - 1].entry->position : 0;
    w->backs++;
    w->back_to[w->backs] = keep;
    w->epoch_from[w->backs] = w->position;
    for (int i = 0; i < CHI_EPOCH_LEN; i++)
        w->epochs[w->backs][i] = (char)('a' + ns_below(w, 26));
    forget_acks(w);
    ns_departs_all(w);
    NS_TRACE(w, "the log goes back to %llu", (unsigned long long)w->position);
    for (int i = 0; i < NS_NODES; i++)
        w->nodes[i].woken = true;
}

/* ------------------------------------------------------------------------------------------ poll */

static void hear_due(struct ns_node *node)
{
    struct ns_world *w = node->world;
    struct ns_parcel **at = &w->parcels;

    while (*at) {
        struct ns_parcel *parcel = *at;
        if (parcel->to != node->serial || parcel->due > ns_now(w)) {
            at = &parcel->next;
            continue;
        }
        *at = parcel->next;
        /* A copy of its exact size, so that reading beyond it is seen. */
        char *bytes = sim_alloc(parcel->len);
        memcpy(bytes, parcel->bytes, parcel->len);
        node->bus_up.heard(node->bus_up.hub, (struct chi_span){bytes, parcel->len});
        sim_free(bytes);
        sim_free(parcel);
    }
}

static void ns_poll(struct chi_log *log)
{
    struct ns_node *node = node_of(log);

    if (node->backs < node->world->backs)
        learn_back(node);
    publish_due(node, false);
    if (ns_one_in(node->world, 2))
        hear_due(node);
    open_due(node);
    show(node);
    hear_due(node);
    pages_due(node, false);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t ns_next(struct chi_log *log)
{
    struct ns_node *node = node_of(log);
    struct ns_world *w = node->world;
    uint64_t next = node->drafts ? node->drafts->due : UINT64_MAX;

    if (node->backs < w->backs || (node->answers && node->answers->after <= node->shown))
        return ns_now(w);
    if (node->shown < w->entry_count)
        next = earlier(next, w->entries[node->shown].at + node->lag);
    for (int i = 0; i < NS_ROOMS; i++)
        next = earlier(next, node->rooms[i].opening ? node->rooms[i].due : UINT64_MAX);
    if (node->pages)
        next = earlier(next, node->pages->due);
    for (const struct ns_parcel *p = w->parcels; p; p = p->next)
        next = earlier(next, p->to == node->serial ? p->due : UINT64_MAX);
    return next;
}

static void ns_stats(struct chi_log *log, struct chi_log_stats *out)
{
    (void)log;
    *out = (struct chi_log_stats){0};
}

static uint64_t ns_shown(struct chi_log *log)
{
    return node_of(log)->newest;
}

void ns_log_init(struct ns_node *node)
{
    node->log = (struct chi_log){.bind = ns_bind,
                                 .epoch = ns_epoch,
                                 .holds = ns_holds,
                                 .horizon = ns_horizon,
                                 .open = ns_open,
                                 .close = ns_close,
                                 .append = ns_append,
                                 .read = ns_read,
                                 .redact = ns_redact,
                                 .poll = ns_poll,
                                 .next = ns_next,
                                 .stats = ns_stats,
                                 .shown = ns_shown};
    node->drafts_end = &node->drafts;
    node->answers_end = &node->answers;
    node->backs = node->world->backs;
    node->shown = node->world->entry_count;
    node->newest = newest_of(node);
}

/* What it had sent is with the server, or never got there. */
void ns_log_free(struct ns_node *node)
{
    struct ns_world *w = node->world;

    if (ns_one_in(w, 2))
        publish_due(node, true);
    for (struct ns_draft *d; (d = node->drafts) != NULL; sim_free(d)) {
        node->drafts = d->next;
        chi_entry_unref(d->entry);
    }
    for (struct ns_answer *a; (a = node->answers) != NULL; sim_free(a)) {
        node->answers = a->next;
        chi_entry_unref(a->entry);
    }
    for (struct ns_page *p; (p = node->pages) != NULL; sim_free(p))
        node->pages = p->next;
}

/* ------------------------------------------------------------------------------------------- bus */

static struct ns_node *of_bus(struct chi_bus *bus)
{
    return CHI_CONTAINER(bus, struct ns_node, bus);
}

static void bus_bind(struct chi_bus *bus, const struct chi_bus_up *up)
{
    of_bus(bus)->bus_up = *up;
}

static void carry(struct ns_world *w, const struct ns_node *from, const struct ns_node *to,
                  struct chi_span bytes)
{
    uint64_t *due = &w->due[from->index][to->index], now = ns_now(w);
    struct ns_parcel *parcel = sim_alloc(sizeof *parcel + bytes.len), **at = &w->parcels;

    uint64_t then = now + ns_below(w, ns_one_in(w, 10) ? 150 : 10);
    *due = then > *due ? then : *due;
    *parcel =
        (struct ns_parcel){.from = from->serial, .to = to->serial, .due = *due, .len = bytes.len};
    memcpy(parcel->bytes, bytes.at, bytes.len);
    while (*at)
        at = &(*at)->next;
    *at = parcel;
}

static int bus_send(struct chi_bus *bus, uint64_t node, struct chi_span bytes)
{
    struct ns_node *from = of_bus(bus);
    struct ns_world *w = from->world;

    if (bytes.len > bus->most)
        NS_FAIL(w, "a message of %zu bytes is too long for the bus", bytes.len);
    if (ns_faulty(w, NS_REFUSE) && ns_one_in(w, 20))
        return CHATHUB_EAGAIN;
    for (int i = 0; i < NS_NODES; i++) {
        struct ns_node *to = &w->nodes[i];
        if (!to->used || to == from || (node && to->bus.node != node) || w->cut[from->index][i])
            continue;
        if (ns_faulty(w, NS_LOSS) && ns_one_in(w, 8)) {
            NS_TRACE(w, "lost from node %d to %d: kind %d", from->index, i, bytes.at[1]);
            continue;
        }
        carry(w, from, to, bytes);
    }
    return 0;
}

void ns_bus_init(struct ns_node *node)
{
    struct ns_world *w = node->world;

    node->bus = (struct chi_bus){
        .most = ns_faulty(w, NS_SMALL) ? 700 : 8192, .bind = bus_bind, .send = bus_send};
    node->bus.node = sim_next(&w->base->rng) | 1;
}

void ns_bus_drop(struct ns_world *w, const struct ns_node *node)
{
    struct ns_parcel **at = &w->parcels;

    while (*at) {
        struct ns_parcel *parcel = *at;
        if (parcel->to != node->serial) {
            at = &parcel->next;
            continue;
        }
        *at = parcel->next;
        sim_free(parcel);
    }
}
