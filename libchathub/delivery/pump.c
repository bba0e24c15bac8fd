/* The pump: from each cursor to the head, one write per client and visit.
 *
 * Happy path: a room got entries and is visited; its members stand at the same place, so one
 * span goes to 64 of them by write_many, and their cursors move. Everyone else (several rooms,
 * replies waiting, signals, behind the window) is pumped alone: what goes first, then each
 * room's entries, then its signals, gathered into one send. Failure modes: a transport that
 * takes less leaves its client blocked, with the rest of at most one frame held, until it says
 * that it is writable; a broken transport is left alone until it reports its end; no memory
 * fails the client. */
#include "delivery/internal.h"

#include <string.h>

#include "chathub.h"

/* Members of a room that are visited before another room has its turn. */
#define VISIT 64u
/* Clients pumped alone before the clock is looked at. */
#define READY_BATCH 16u
#define MAX_PIECES  96u

enum piece_kind { PIECE_HELD, PIECE_ENTRIES, PIECE_GAP, PIECE_SIGNAL };

/* A run of bytes for one client, and what it means for a cursor once it was taken. */
struct piece {
    enum piece_kind kind;
    struct chi_span bytes;
    struct chi_cursor *member;         /* all but held */
    const struct chi_segment *segment; /* entries: frames [first, end) of it */
    uint32_t first, end;
    uint64_t position; /* gap: the cursor afterwards */
    uint32_t signal;   /* signal: the member's last one afterwards */
    size_t gap_at;     /* gap: offset in d->gaps, which may move while pieces are gathered */
};

struct gather {
    struct chi_delivery *d;
    struct chi_receiver *client;
    struct piece pieces[MAX_PIECES];
    uint32_t count;
    size_t total; /* bytes of all pieces */
    bool paged;   /* it came from a page of the log, in part */
    bool left;    /* something was left for another visit */
};

/* ------------------------------------------------------------------------------------ gathering */

static struct piece *piece_add(struct gather *g, enum piece_kind kind, struct chi_span bytes)
{
    if (g->count == MAX_PIECES) {
        g->left = true;
        return NULL;
    }
    struct piece *piece = &g->pieces[g->count++];
    *piece = (struct piece){.kind = kind, .bytes = bytes};
    g->total += bytes.len;
    return piece;
}

/* How many frames from `first` on fit into `budget` bytes; at least one. */
static uint32_t frames_within(const struct chi_segment *segment, uint32_t first, size_t budget)
{
    size_t start = chi_frame_start(segment, first);
    if (segment->len - start <= budget)
        return segment->count;
    uint32_t low = first + 1, high = segment->count;
    while (low < high) {
        uint32_t middle = low + (high - low + 1) / 2;
        if (chi_mark_at(segment, middle - 1)->end - start <= budget)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* Adds the frames of a segment from `first` on; answers the cursor behind them. */
static uint64_t gather_frames(struct gather *g, struct chi_cursor *member,
                              const struct chi_segment *segment, uint32_t first, size_t budget)
{
    uint32_t end = frames_within(segment, first, budget);
    size_t start = chi_frame_start(segment, first);
    struct chi_span bytes = {segment->bytes + start, chi_mark_at(segment, end - 1)->end - start};
    struct piece *piece = piece_add(g, PIECE_ENTRIES, bytes);
    if (!piece)
        return member->position;
    piece->member = member;
    piece->segment = segment;
    piece->first = first;
    piece->end = end;
    return chi_mark_at(segment, end - 1)->position;
}

/* Tells that (from, to] is lost; answers the cursor behind it. */
static uint64_t gather_gap(struct gather *g, struct chi_feed *room, struct chi_cursor *member,
                           uint64_t from, uint64_t to)
{
    struct chi_delivery *d = g->d;
    const struct chi_encoding *how = &d->encodings[g->client->encoding];
    struct chi_reply gap = {.type = CHI_REPLY_GAP,
                            .room = chi_name_shown(room->name),
                            .epoch = d->log->epoch(d->log),
                            .from = from,
                            .to = to,
                            .time = d->env.ops->wall(d->env.self)};
    size_t start = d->gaps.len;
    how->dialect->encode_reply(&d->gaps, &gap);
    chi_frame_texts(how, &d->gaps, start);
    struct piece *piece =
        d->gaps.failed ? NULL
                       : piece_add(g, PIECE_GAP, (struct chi_span){NULL, d->gaps.len - start});
    if (d->gaps.failed)
        chi_receiver_fail(d, g->client);
    if (!piece)
        return from;
    piece->gap_at = start;
    piece->member = member;
    piece->position = to;
    return to;
}

/* One step of a cursor that stands before the window. Answers where it stands then: the same
 * place if it must wait. */
static uint64_t gather_page(struct gather *g, uint32_t number, struct chi_cursor *member,
                            uint64_t at, size_t budget)
{
    struct chi_delivery *d = g->d;
    struct chi_feed *room = chi_feed_at(d, number);
    struct chi_page *page =
        chi_page_need(d, number, at, g->client->slot, member->flags & CHI_CURSOR_FRESH);
    if (!page) {
        member->flags |= CHI_CURSOR_WAITS;
        return at;
    }
    g->paged = true;
    if (!page->count)
        return gather_gap(g, room, member, at, page->to);
    if (at < page->entries[0]->prev)
        return gather_gap(g, room, member, at, page->entries[0]->prev);
    struct chi_segment *segment = chi_page_segment(d, page, g->client->encoding);
    if (!segment) {
        chi_receiver_fail(d, g->client);
        return at;
    }
    return gather_frames(g, member, segment, chi_segment_find(segment, at), budget);
}

static void gather_signals(struct gather *g, uint32_t number, struct chi_feed *room,
                           struct chi_cursor *member)
{
    uint32_t at = member->signal, next;
    struct chi_span bytes;
    bool failed;
    while (chi_ring_next(g->d, number, room, g->client->encoding, at, &next, &bytes, &failed)) {
        struct piece *piece = piece_add(g, PIECE_SIGNAL, bytes);
        if (!piece)
            return;
        piece->member = member;
        piece->signal = at = next;
    }
    if (failed)
        chi_receiver_fail(g->d, g->client);
}

static void gather_room(struct gather *g, const struct chi_place *place)
{
    struct chi_delivery *d = g->d;
    struct chi_feed *room = chi_feed_at(d, place->room);
    struct chi_cursor *member = &chi_cursors(room)[place->member];
    uint64_t at = member->position;
    size_t began = g->total;
    while (at < room->top && !(member->flags & CHI_CURSOR_WAITS)) {
        size_t taken = g->total - began;
        if (taken >= d->settings->room_turn || g->total >= d->settings->client_turn) {
            g->left = true;
            return;
        }
        size_t budget = d->settings->room_turn - taken;
        struct chi_window *window = room->hot ? room->hot->windows[g->client->encoding] : NULL;
        uint32_t index;
        struct chi_segment *segment = window ? chi_window_find(window, at, &index) : NULL;
        uint64_t next = segment ? gather_frames(g, member, segment, index, budget)
                                : gather_page(g, place->room, member, at, budget);
        if (next == at)
            return;
        at = next;
    }
    if (at == room->top && (member->flags & CHI_CURSOR_SIGNALS))
        gather_signals(g, place->room, room, member);
}

/* -------------------------------------------------------------------------------- after a write */

static void cursor_move(struct chi_cursor *member, uint64_t position, const struct chi_feed *room)
{
    member->position = position;
    if (position == room->top)
        member->flags &= (uint8_t)~CHI_CURSOR_FRESH;
}

/* Keeps what is left of a frame that was cut. */
static void hold_rest(struct chi_delivery *d, struct chi_receiver *client, const char *at,
                      size_t len)
{
    struct chi_buf *held = chi_receiver_held(d, client);
    if (held)
        chi_buf_add(held, at, len);
    if (!held || held->failed) {
        client->flags |= CHI_RECEIVER_TORN;
        chi_receiver_fail(d, client);
        return;
    }
    d->counts.held_bytes += len;
}

/* `taken` bytes of the frames [first, end) were taken: the cursor's new place, the rest of a cut
 * frame held. Answers how many frames count as sent. */
static uint32_t entries_taken(struct chi_delivery *d, struct chi_receiver *client,
                              struct chi_cursor *member, const struct chi_segment *segment,
                              uint32_t first, uint32_t end, size_t taken)
{
    size_t start = chi_frame_start(segment, first);
    uint32_t n = first;
    while (n < end && chi_mark_at(segment, n)->end - start <= taken)
        n++;
    if (n < end && taken > chi_frame_start(segment, n) - start) {
        hold_rest(d, client, segment->bytes + start + taken,
                  chi_mark_at(segment, n)->end - start - taken);
        n++;
    }
    if (n > first)
        member->position = chi_mark_at(segment, n - 1)->position;
    d->counts.deliveries += n - first;
    return n - first;
}

static struct chi_feed *room_of(struct gather *g, const struct chi_cursor *member)
{
    return chi_feed_at(g->d, chi_places(g->client)[member->place].room);
}

/* Settles one piece of which `taken` bytes went out. */
static void piece_taken(struct gather *g, struct piece *piece, size_t taken)
{
    struct chi_delivery *d = g->d;
    bool whole = taken == piece->bytes.len;
    if (piece->kind == PIECE_HELD) {
        chi_buf_consume(g->client->held, taken);
        d->counts.held_bytes -= taken;
    } else if (piece->kind == PIECE_ENTRIES) {
        entries_taken(d, g->client, piece->member, piece->segment, piece->first, piece->end, taken);
        cursor_move(piece->member, piece->member->position, room_of(g, piece->member));
    } else if (whole || taken) {
        if (!whole)
            hold_rest(d, g->client, piece->bytes.at + taken, piece->bytes.len - taken);
        if (piece->kind == PIECE_SIGNAL) {
            piece->member->signal = piece->signal;
        } else {
            cursor_move(piece->member, piece->position, room_of(g, piece->member));
            d->counts.gaps++;
        }
    }
}

static void settle(struct gather *g, size_t taken)
{
    for (uint32_t i = 0; i < g->count; i++) {
        struct piece *piece = &g->pieces[i];
        size_t part = taken < piece->bytes.len ? taken : piece->bytes.len;
        piece_taken(g, piece, part);
        if (part < piece->bytes.len)
            return;
        taken -= part;
    }
}

/* Frees the pages that only this client needed and has behind it. */
static void leave_pages(struct gather *g)
{
    for (uint32_t i = 0; i < g->client->count; i++) {
        struct chi_place *place = &chi_places(g->client)[i];
        struct chi_feed *room = chi_feed_at(g->d, place->room);
        if (!room->hot)
            continue;
        for (struct chi_link *link = room->hot->pages.next, *next; link != &room->hot->pages;
             link = next) {
            struct chi_page *page = CHI_CONTAINER(link, struct chi_page, in_room);
            next = link->next;
            if (page->to <= chi_cursor_at(room, place->member)->position)
                chi_page_done(g->d, page);
        }
    }
}

static void client_sent(struct chi_delivery *d, struct chi_receiver *client, ptrdiff_t taken,
                        size_t len)
{
    d->counts.writes++;
    d->counts.bytes += taken > 0 ? (uint64_t)taken : 0;
    if (taken < 0)
        chi_receiver_break(d, client);
    else if ((size_t)taken < len)
        client->flags |= CHI_RECEIVER_BLOCKED;
    chi_receiver_plain(d, client);
}

/* ----------------------------------------------------------------------------------- one client */

/* All pieces as one span: the only one as it is, several copied together. */
static struct chi_span gather_span(struct gather *g)
{
    struct chi_delivery *d = g->d;
    for (uint32_t i = 0; i < g->count; i++)
        if (g->pieces[i].kind == PIECE_GAP)
            g->pieces[i].bytes.at = d->gaps.at + g->pieces[i].gap_at;
    if (g->count == 1)
        return g->pieces[0].bytes;
    chi_buf_reset(&d->scratch, SIZE_MAX);
    for (uint32_t i = 0; i < g->count; i++)
        chi_buf_add(&d->scratch, g->pieces[i].bytes.at, g->pieces[i].bytes.len);
    if (!d->scratch.failed)
        return (struct chi_span){d->scratch.at, d->scratch.len};
    g->count = 1; /* no memory to put them together: the first alone */
    g->left = true;
    return g->pieces[0].bytes;
}

static void gather_all(struct gather *g)
{
    struct chi_receiver *client = g->client;
    const struct chi_transport *transport = chi_transport_of(g->d, client);
    chi_buf_truncate(&g->d->gaps, 0);
    if ((client->flags & CHI_RECEIVER_POKED) && transport->take_control) {
        struct chi_buf *held = chi_receiver_held(g->d, client);
        size_t before = held ? held->len : 0;
        if (held)
            transport->take_control(transport->self, client->conn, held);
        if (!held || held->failed) {
            if (held)
                chi_buf_truncate(held, before);
            chi_receiver_fail(g->d, client);
            return;
        }
        g->d->counts.held_bytes += held->len - before;
    }
    client->flags &= (uint8_t)~CHI_RECEIVER_POKED;
    chi_receiver_plain(g->d, client);
    if (client->held && client->held->len)
        piece_add(g, PIECE_HELD, (struct chi_span){client->held->at, client->held->len});
    uint32_t start = client->count ? g->d->turn++ % client->count : 0;
    for (uint32_t i = 0; i < client->count && !(client->flags & CHI_RECEIVER_FAILED); i++)
        gather_room(g, &chi_places(client)[(start + i) % client->count]);
}

void chi_pump_client(struct chi_delivery *d, struct chi_receiver *client)
{
    if ((client->flags & (CHI_RECEIVER_OPEN | CHI_RECEIVER_BLOCKED | CHI_RECEIVER_BROKEN |
                          CHI_RECEIVER_FAILED)) != CHI_RECEIVER_OPEN)
        return;
    struct gather g;
    g.d = d;
    g.client = client;
    g.count = 0;
    g.total = 0;
    g.left = false;
    g.paged = false;
    gather_all(&g);
    if (client->flags & CHI_RECEIVER_FAILED)
        return;
    if (g.count) {
        struct chi_span all = gather_span(&g);
        ptrdiff_t taken = 0;
        if (all.len) {
            const struct chi_transport *transport = chi_transport_of(d, client);
            taken = transport->send(transport->self, client->conn, all.at, all.len);
            client_sent(d, client, taken, all.len);
        }
        if (taken >= 0)
            settle(&g, (size_t)taken);
    }
    if (g.paged)
        leave_pages(&g);
    chi_receiver_held_less(d, client);
    if (g.left)
        chi_receiver_ready(d, client);
}

/* ------------------------------------------------------------------------------------- one room */

/* Members of one room that stand at the same place and are sent the same span. */
struct batch {
    struct chi_feed *room;
    uint32_t encoding;
    uint64_t position; /* where all of them stand */
    const struct chi_segment *segment;
    uint32_t first, end;
    struct chi_span bytes;
    bool rest; /* a member was visited that may not be at the top */
    uint32_t n;
    uint32_t members[VISIT]; /* indices in the room */
    uint32_t conns[VISIT];
    int32_t taken[VISIT];
};

/* One whose transport did not take all. */
static void batch_cut(struct chi_delivery *d, struct batch *b, struct chi_cursor *member,
                      ptrdiff_t taken)
{
    struct chi_receiver *client = chi_receiver_at(d, member->client);
    client_sent(d, client, taken, b->bytes.len);
    b->rest = true;
    if (taken < 0)
        return;
    entries_taken(d, client, member, b->segment, b->first, b->end, (size_t)taken);
    cursor_move(member, member->position, b->room); /* pumped again when it can take more */
}

/* Nothing of a member that took all is looked at but its cursor. */
static void batch_settle(struct chi_delivery *d, struct batch *b)
{
    struct chi_cursor *members = chi_cursors(b->room);
    uint64_t position = chi_mark_at(b->segment, b->end - 1)->position;
    bool top = position == b->room->top;
    uint8_t keep = top ? (uint8_t)~CHI_CURSOR_FRESH : UINT8_MAX;
    uint32_t cut = 0;

    for (uint32_t i = 0; i < b->n; i++) {
        struct chi_cursor *member = &members[b->members[i]];
        if ((size_t)b->taken[i] != b->bytes.len) {
            cut++;
            batch_cut(d, b, member, b->taken[i]);
            continue;
        }
        member->position = position;
        member->flags &= keep;
    }
    uint32_t whole = b->n - cut;
    d->counts.writes += whole;
    d->counts.bytes += whole * b->bytes.len;
    d->counts.deliveries += (uint64_t)whole * (b->end - b->first);
    if (!top)
        b->rest = true;
    if (!top && whole)
        b->room->again = true;
}

static void batch_send(struct chi_delivery *d, struct batch *b)
{
    if (!b->n)
        return;
    const struct chi_transport *transport = d->transports[b->encoding];
    if (!b->bytes.len) {
        for (uint32_t i = 0; i < b->n; i++)
            b->taken[i] = 0;
    } else if (b->n == 1) {
        ptrdiff_t taken = transport->send(transport->self, b->conns[0], b->bytes.at, b->bytes.len);
        b->taken[0] = (int32_t)taken;
    } else {
        transport->write_many(transport->self, b->bytes.at, b->bytes.len, b->conns, b->n, b->taken);
    }
    batch_settle(d, b);
    b->n = 0;
}

static bool batch_begin(struct chi_delivery *d, struct batch *b, const struct chi_cursor *member)
{
    struct chi_window *window = b->room->hot ? b->room->hot->windows[member->encoding] : NULL;
    uint32_t first;
    struct chi_segment *segment = window ? chi_window_find(window, member->position, &first) : NULL;
    if (!segment)
        return false;
    b->encoding = member->encoding;
    b->position = member->position;
    b->segment = segment;
    b->first = first;
    b->end = frames_within(segment, first, d->settings->room_turn);
    size_t start = chi_frame_start(segment, first);
    b->bytes =
        (struct chi_span){segment->bytes + start, chi_mark_at(segment, b->end - 1)->end - start};
    return true;
}

/* A member to whom more is to be said than the room's entries, or from elsewhere. */
static void visit_alone(struct chi_delivery *d, struct batch *b, const struct chi_cursor *member)
{
    b->rest = true;
    chi_pump_client(d, chi_receiver_at(d, member->client));
}

static void visit_member(struct chi_delivery *d, struct batch *b, uint32_t index)
{
    struct chi_cursor *member = &chi_cursors(b->room)[index];
    bool told = !(member->flags & CHI_CURSOR_SIGNALS) || member->signal == b->room->last_signal;
    if (member->position == b->room->top && told)
        return;
    if (!(member->flags & CHI_CURSOR_PLAIN) || !told) {
        visit_alone(d, b, member);
        return;
    }
    if (b->n && (b->position != member->position || b->encoding != member->encoding))
        batch_send(d, b);
    if (!b->n && !batch_begin(d, b, member)) {
        visit_alone(d, b, member);
        return;
    }
    b->members[b->n] = index;
    b->conns[b->n++] = member->conn;
}

/* The lowest cursor among those visited that still want something of a window. */
static void note_lowest(struct chi_delivery *d, struct chi_feed *room, uint32_t index)
{
    const struct chi_cursor *member = chi_cursor_at(room, index);
    if (member->position >= room->hot->pass_min)
        return;
    const struct chi_receiver *client = chi_receiver_at(d, member->client);
    const struct chi_window *window = room->hot->windows[client->encoding];
    if (!(client->flags & (CHI_RECEIVER_BLOCKED | CHI_RECEIVER_BROKEN)) && window &&
        member->position >= window->from)
        room->hot->pass_min = member->position;
}

/* Bytes of frames behind `position` in the fullest window. */
static uint64_t bytes_behind(const struct chi_delivery *d, const struct chi_hot *hot,
                             uint64_t position)
{
    uint64_t most = 0;
    for (uint32_t i = 0; i < d->encoding_count; i++) {
        uint64_t sum = 0;
        const struct chi_segment *s = hot->windows[i] ? hot->windows[i]->oldest : NULL;
        for (; s; s = s->next)
            if (s->to > position)
                sum += s->len - chi_frame_start(s, chi_segment_find(s, position));
        most = sum > most ? sum : most;
    }
    return most;
}

/* Each member was visited, and got its share, or up to the end of a segment. */
static void note_caught_up(struct chi_delivery *d, struct chi_hot *hot, bool again)
{
    hot->came = again ? bytes_behind(d, hot, hot->pass_min) : 0;
    if (!hot->awaited || hot->came > d->settings->room_turn)
        return;
    hot->awaited = false;
    d->up.caught_up(d->up.hub, hot->room);
}

static void pass_end(struct chi_delivery *d, uint32_t number)
{
    struct chi_feed *room = chi_feed_at(d, number);
    struct chi_hot *hot = room->hot;
    if (hot) {
        note_caught_up(d, hot, room->again);
        for (uint32_t i = 0; i < d->encoding_count; i++)
            if (hot->windows[i])
                chi_window_trim(d, hot->windows[i], hot->pass_min);
        hot->pass_min = UINT64_MAX;
    }
    if (room->again)
        room->pass = room->count;
    else
        chi_round_remove(d, number);
    room->again = false;
}

void chi_pump_room(struct chi_delivery *d, uint32_t number)
{
    struct chi_feed *room = chi_feed_at(d, number);
    struct batch b;
    b.room = room;
    b.n = 0;
    b.rest = false;
    uint32_t to = room->pass, from = to > VISIT ? to - VISIT : 0;
    for (uint32_t i = to; i-- > from;)
        visit_member(d, &b, i);
    batch_send(d, &b);
    if (room->hot && room->hot->pass_min > room->top) /* what comes next is for all of them */
        room->hot->pass_min = room->top;
    for (uint32_t i = from; b.rest && room->hot && i < to; i++)
        note_lowest(d, room, i);
    room->pass = from;
    if (!from)
        pass_end(d, number);
}

/* ------------------------------------------------------------------------------------ the flush */

static void report_failed(struct chi_delivery *d)
{
    struct chi_link *link;
    while ((link = chi_list_take(&d->failed))) {
        struct chi_receiver *client = CHI_CONTAINER(link, struct chi_receiver, ready);
        d->up.failed(d->up.hub, client->slot, CHATHUB_ENOMEM);
    }
}

/* Clients that are ready now; those that become ready meanwhile wait for the next round. */
static void pump_ready(struct chi_delivery *d)
{
    for (uint32_t i = 0; i < READY_BATCH; i++) {
        struct chi_link *link = chi_list_take(&d->ready);
        if (!link)
            return;
        chi_pump_client(d, CHI_CONTAINER(link, struct chi_receiver, ready));
    }
}

/* Whether a flush that began at these counts has written its share. Of the three bounds this is
 * the one that is the same in each run, and that does not depend on how fast the machine is. */
static bool slice_written(const struct chi_delivery *d, uint64_t writes, uint64_t bytes)
{
    return d->counts.writes - writes >= d->settings->slice_writes ||
           d->counts.bytes - bytes >= d->settings->slice_bytes;
}

static bool is_done(const struct chi_delivery *d)
{
    return chi_list_empty(&d->ready) && !d->dirty;
}

bool chi_delivery_flush(struct chi_delivery *d, uint64_t (*clock)(void *ctx), void *ctx)
{
    uint64_t began = clock && !is_done(d) ? clock(ctx) : 0;
    uint64_t writes = d->counts.writes, bytes = d->counts.bytes;
    while (!is_done(d)) {
        pump_ready(d);
        if (d->dirty)
            chi_pump_room(d, chi_round_next(d));
        if (is_done(d) || slice_written(d, writes, bytes) ||
            (clock && clock(ctx) - began >= d->settings->slice_us))
            break;
    }
    chi_budget_keep(d);
    report_failed(d);
    return !is_done(d);
}
