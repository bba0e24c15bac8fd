/* People on the wire: carriers of the test's own (chathub_carry), whose other ends are in its
 * hands.
 *
 * Happy path: a line that is sent goes to the hub; what the hub sends gathers in the peer's inbox,
 * is read as far as coming back needs it (session, rooms, positions), and is taken by the test.
 * Failure modes: a peer that is stalled, or whose inbox is full, takes nothing, until the test
 * takes something; one that comes back leaves its old wire behind, on which what is sent is lost,
 * until the hub closes it. */
#include "kit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/frame.h"

#define PEERS_MAX   1024u
#define INBOX_MAX   ((size_t)1 << 20)
#define SESSION_MAX 64u
#define REASON_SIZE 124

/* Where the peer is, and how far it was sent. */
struct place {
    struct place *next;
    uint64_t position;
    char epoch[CHI_EPOCH_MAX + 1];
    char room[]; /* as it is shown */
};

struct kit_peer {
    struct chathub_testing *test;
    uint32_t number;
    struct kit_wire *wire; /* NULL: it is not connected */
    char *url;             /* owned, or NULL */
    struct chi_buf inbox;  /* what it was sent … */
    size_t taken, read;  /* … of which the test took this, and this was looked at, whole lines */
    uint64_t waiting;    /* lines from `taken` on */
    struct chi_buf line; /* the one that the test took last … */
    struct chi_buf scratch;
    struct chi_frame frame; /* … as a frame */
    struct place *places;
    uint64_t client; /* the hub's number */
    int32_t code;
    bool stalled, blocked;
    bool forgot; /* there was no memory for a place */
    char session[SESSION_MAX + 1];
    char *name; /* owned: as it was welcomed; NULL: a guest's */
    char reason[REASON_SIZE];
};

/* One connection. */
struct kit_wire {
    struct kit_wire *next;
    struct chathub_testing *test;
    uint32_t peer; /* its number */
    uint64_t client;
};

static struct kit_peer *peer_at(const struct chathub_testing *test, uint32_t number)
{
    return test && number && number <= test->peers.count ? &test->peers.at[number - 1] : NULL;
}

static int no_peer(struct chathub_testing *test, uint32_t number)
{
    return test ? chi_kit_problem(test, CHATHUB_EGONE, "there is no peer %u", number)
                : CHATHUB_EINVAL;
}

static int no_wire(struct chathub_testing *test, uint32_t number)
{
    return chi_kit_problem(
        test, CHATHUB_EGONE,
        "peer %u is not connected: it was cut off, has left, or was closed by the "
        "hub; chathub_testing_resume brings it back",
        number);
}

static void wire_free(struct kit_wire *wire)
{
    struct kit_wire **at = &wire->test->peers.wires;
    while (*at != wire)
        at = &(*at)->next;
    *at = wire->next;
    free(wire);
}

/* The peer it belongs to, unless that has another one. */
static struct kit_peer *peer_of(const struct kit_wire *wire)
{
    struct kit_peer *peer = peer_at(wire->test, wire->peer);
    return peer->wire == wire ? peer : NULL;
}

/* ------------------------------------------------------------------------------ what it is sent */

static struct place **place_of(struct kit_peer *peer, const char *room)
{
    struct place **at = &peer->places;
    while (*at && strcmp((*at)->room, room) != 0)
        at = &(*at)->next;
    return at;
}

static void place_drop(struct kit_peer *peer, const char *room)
{
    struct place **at = place_of(peer, room), *place = *at;
    if (!place)
        return;
    *at = place->next;
    free(place);
}

static void place_set(struct kit_peer *peer, const char *room, const char *epoch, uint64_t position)
{
    struct place **at = place_of(peer, room), *place = *at;
    if (!place) {
        size_t len = strlen(room) + 1;
        place = calloc(1, sizeof(*place) + len);
        peer->forgot |= !place;
        if (!place)
            return;
        memcpy(place->room, room, len);
        *at = place;
    }
    place->position = position;
    if (epoch)
        snprintf(place->epoch, sizeof(place->epoch), "%s", epoch);
}

/* A guest's name is nobody's to ask for. */
static void note_welcome(struct kit_peer *peer, const struct chathub_event *event)
{
    bool guest = strncmp(event->sender, "guest-", 6) == 0;
    free(peer->name);
    peer->name = guest ? NULL : strdup(event->sender);
    peer->forgot |= !guest && !peer->name;
    snprintf(peer->session, sizeof(peer->session), "%s", event->session);
}

static void note_frame(struct kit_peer *peer, const struct chi_frame *frame)
{
    const struct chathub_event *event = &frame->event;
    if (event->type == CHATHUB_EVENT_WELCOME)
        note_welcome(peer, event);
    else if (event->type == CHATHUB_EVENT_JOINED)
        place_set(peer, event->room, frame->epoch, frame->start);
    else if (event->type == CHATHUB_EVENT_LEFT)
        place_drop(peer, event->room);
    else if (event->type == CHATHUB_EVENT_GAP)
        place_set(peer, event->room, frame->epoch, event->position);
    else if (frame->is_entry && event->room[0])
        place_set(peer, event->room, NULL, event->position);
}

/* One whole line; people's lines say nothing for coming back. */
static void note_line(struct kit_peer *peer, struct chi_span line)
{
    struct chi_frame frame;
    struct chi_buf scratch = {0};
    char problem[128];
    peer->waiting++;
    if (!line.len || line.at[0] != '{')
        return;
    int error = chi_frame_read(line, &scratch, &frame, problem, sizeof(problem));
    if (!error)
        note_frame(peer, &frame);
    peer->forgot |= error == CHATHUB_ENOMEM;
    chi_frame_fini(&frame);
    chi_buf_fini(&scratch);
}

static void note_lines(struct kit_peer *peer)
{
    for (;;) {
        const char *at = peer->inbox.at + peer->read;
        const char *end = memchr(at, '\n', peer->inbox.len - peer->read);
        if (!end)
            return;
        note_line(peer, (struct chi_span){at, (size_t)(end - at)});
        peer->read += (size_t)(end - at) + 1;
    }
}

static int64_t on_send(void *conn, const char *bytes, size_t len)
{
    struct kit_peer *peer = peer_of(conn);
    if (!peer)
        return (int64_t)len;
    size_t have = peer->inbox.len - peer->taken, room = INBOX_MAX - have;
    size_t n = peer->stalled ? 0 : CHI_LESSER(len, room);
    chi_buf_add(&peer->inbox, bytes, n);
    if (peer->inbox.failed) {
        chi_buf_truncate(&peer->inbox, peer->taken + have);
        n = 0;
    }
    peer->blocked = n < len;
    if (n)
        note_lines(peer);
    return (int64_t)n;
}

/* Half a line is nothing. */
static void unplug(struct kit_peer *peer)
{
    if (peer->wire)
        wire_free(peer->wire);
    peer->wire = NULL;
    peer->blocked = false;
    chi_buf_truncate(&peer->inbox, peer->read);
}

static void on_close(void *conn, int code, const char *reason)
{
    struct kit_wire *wire = conn;
    struct kit_peer *peer = peer_of(wire);
    if (!peer) {
        wire_free(wire);
        return;
    }
    peer->code = code;
    snprintf(peer->reason, sizeof(peer->reason), "%s", reason);
    unplug(peer);
}

void chi_kit_peers_lost(struct chathub_testing *test)
{
    for (uint32_t i = 0; i < test->peers.count; i++)
        if (test->peers.at[i].wire)
            unplug(&test->peers.at[i]);
    while (test->peers.wires)
        wire_free(test->peers.wires);
}

void chi_kit_peers_fini(struct chathub_testing *test)
{
    for (uint32_t i = 0; i < test->peers.count; i++) {
        struct kit_peer *peer = &test->peers.at[i];
        while (peer->places)
            place_drop(peer, peer->places->room);
        free(peer->url);
        free(peer->name);
        chi_buf_fini(&peer->inbox);
        chi_buf_fini(&peer->line);
        chi_buf_fini(&peer->scratch);
        chi_frame_fini(&peer->frame);
    }
    free(test->peers.at);
}

/* ----------------------------------------------------------------------------------- connecting */

static const struct chathub_carrier carrier = {
    .size = sizeof(carrier), .send = on_send, .close = on_close};

/* A new connection for the peer; an old one is left behind. */
static int plug(struct kit_peer *peer)
{
    struct chathub_testing *test = peer->test;
    char address[32];
    struct kit_wire *wire = malloc(sizeof(*wire));
    if (!wire)
        return chi_kit_plain(test, CHATHUB_ENOMEM);
    *wire = (struct kit_wire){.next = test->peers.wires, .test = test, .peer = peer->number};
    test->peers.wires = wire;
    snprintf(address, sizeof(address), "peer %u", peer->number);
    int error = chathub_carry(test->hub, &carrier, wire, peer->url, address, &wire->client);
    if (error) {
        wire_free(wire);
        return chi_kit_told(test, error);
    }
    peer->wire = NULL;
    unplug(peer);
    peer->wire = wire;
    peer->client = wire->client;
    peer->code = 0;
    peer->reason[0] = '\0';
    peer->stalled = false;
    return 0;
}

static int check_hub(struct chathub_testing *test)
{
    if (test->hub)
        return 0;
    return chi_kit_problem(test, CHATHUB_ESTOPPED,
                           "no hub lives in this test: chathub_testing_attach, then chathub_start");
}

int chathub_testing_connect(struct chathub_testing *test, const char *url, uint32_t *out)
{
    if (!test || !out)
        return CHATHUB_EINVAL;
    int error = check_hub(test);
    if (error)
        return error;
    if (test->peers.count == PEERS_MAX)
        return chi_kit_problem(test, CHATHUB_EFULL, "%u peers were made: no test has more",
                               PEERS_MAX);
    if (!test->peers.at)
        test->peers.at = calloc(PEERS_MAX, sizeof(*test->peers.at));
    if (!test->peers.at)
        return chi_kit_plain(test, CHATHUB_ENOMEM);
    struct kit_peer *peer = &test->peers.at[test->peers.count++];
    *peer = (struct kit_peer){.test = test, .number = test->peers.count};
    peer->url = url ? strdup(url) : NULL;
    error = url && !peer->url ? chi_kit_plain(test, CHATHUB_ENOMEM) : plug(peer);
    if (!error) {
        *out = peer->number;
        return 0;
    }
    free(peer->url);
    test->peers.count--;
    return error;
}

/* -------------------------------------------------------------------------------- what it sends */

int chathub_testing_send(struct chathub_testing *test, uint32_t number, const char *text,
                         size_t len)
{
    const struct kit_peer *peer = peer_at(test, number);
    if (!peer)
        return no_peer(test, number);
    if (!text)
        return chi_kit_plain(test, CHATHUB_EINVAL);
    if (!peer->wire)
        return no_wire(test, number);
    len = len == CHATHUB_NUL ? strlen(text) : len;
    if (memchr(text, '\n', len))
        return chi_kit_problem(test, CHATHUB_EINVAL, "one line at a time, without its newline");
    int error = chathub_carrier_line(test->hub, peer->client, text, len);
    if (error == CHATHUB_EAGAIN)
        return chi_kit_problem(test, error,
                               "as many lines wait as the hub reads ahead: chathub_testing_settle "
                               "lets it hear them");
    return chi_kit_told(test, error);
}

static void add_text(struct chi_buf *out, const char *key, const char *value)
{
    if (!value)
        return;
    chi_buf_add_text(out, ",\"");
    chi_buf_add_text(out, key);
    chi_buf_add_text(out, "\":");
    chi_buf_add_json(out, value, strlen(value));
}

/* Ends the request and sends it. */
static int send_request(struct chathub_testing *test, uint32_t number, struct chi_buf *request)
{
    chi_buf_add_char(request, '}');
    int error = request->failed ? chi_kit_plain(test, CHATHUB_ENOMEM)
                                : chathub_testing_send(test, number, request->at, request->len);
    chi_buf_fini(request);
    return error;
}

static bool is_text(const char *text)
{
    return !text || chi_utf8_valid(text, strlen(text));
}

int chathub_testing_post(struct chathub_testing *test, uint32_t number, const char *room,
                         const char *content, const char *cid)
{
    struct chi_buf request = {0};
    if (!test || !content)
        return CHATHUB_EINVAL;
    if (!is_text(room) || !is_text(content) || !is_text(cid))
        return chi_kit_problem(test, CHATHUB_ETEXT, "texts have to be UTF-8");
    chi_buf_add_text(&request, "{\"type\":\"post\"");
    add_text(&request, "room", room);
    add_text(&request, "content", content);
    add_text(&request, "cid", cid);
    return send_request(test, number, &request);
}

int chathub_testing_enter(struct chathub_testing *test, const char *name, const char *room,
                          uint32_t *out)
{
    struct chi_buf hello = {0}, join = {0};
    if (!test || !out)
        return CHATHUB_EINVAL;
    if (!is_text(name) || !is_text(room))
        return chi_kit_problem(test, CHATHUB_ETEXT, "names have to be UTF-8");
    int error = chathub_testing_connect(test, NULL, out);
    if (error)
        return error;
    chi_buf_add_text(&hello, "{\"type\":\"hello\"");
    add_text(&hello, "name", name);
    chi_buf_add_text(&join, "{\"type\":\"join\"");
    add_text(&join, "room", room);
    error = send_request(test, *out, &hello);
    int joined = send_request(test, *out, &join);
    return error ? error : joined;
}

static void add_place(struct chi_buf *out, const struct place *place)
{
    chi_buf_add_text(out, "{\"after\":");
    chi_buf_add_u64(out, place->position);
    add_text(out, "epoch", place->epoch);
    add_text(out, "room", place->room);
    chi_buf_add_char(out, '}');
}

int chathub_testing_resume(struct chathub_testing *test, uint32_t number)
{
    struct kit_peer *peer = peer_at(test, number);
    struct chi_buf hello = {0};
    if (!peer)
        return no_peer(test, number);
    if (!peer->session[0])
        return chi_kit_problem(test, CHATHUB_ESESSION,
                               "peer %u was never welcomed natively: it has no session to show",
                               number);
    if (peer->forgot)
        return chi_kit_plain(test, CHATHUB_ENOMEM);
    int error = check_hub(test);
    if (!error)
        error = plug(peer);
    if (error)
        return error;
    chi_buf_add_text(&hello, "{\"type\":\"hello\"");
    add_text(&hello, "session", peer->session);
    add_text(&hello, "name", peer->name);
    chi_buf_add_text(&hello, ",\"rooms\":[");
    for (const struct place *place = peer->places; place; place = place->next) {
        add_place(&hello, place);
        if (place->next)
            chi_buf_add_char(&hello, ',');
    }
    chi_buf_add_char(&hello, ']');
    return send_request(test, number, &hello);
}

/* -------------------------------------------------------------------------------- what it takes */

/* The hub may send again what was held back. */
static void go_on(struct kit_peer *peer)
{
    bool full = peer->inbox.len - peer->taken >= INBOX_MAX;
    if (peer->wire && peer->blocked && !peer->stalled && !full)
        chathub_carrier_writable(peer->test->hub, peer->client);
}

/* What was taken is dropped when it is the larger part. */
static void tidy(struct kit_peer *peer)
{
    if (peer->taken < 4096 || peer->taken < peer->inbox.len / 2)
        return;
    chi_buf_consume(&peer->inbox, peer->taken);
    peer->read -= peer->taken;
    peer->taken = 0;
}

/* 1, 0: none waits, or an error. */
static int take_line(struct kit_peer *peer)
{
    if (!peer->waiting)
        return 0;
    const char *at = peer->inbox.at + peer->taken;
    const char *end = memchr(at, '\n', peer->inbox.len - peer->taken);
    size_t len = (size_t)(end - at);
    chi_buf_reset(&peer->line, 65536);
    chi_buf_add(&peer->line, at, len);
    chi_buf_add_char(&peer->line, '\0');
    if (peer->line.failed)
        return chi_kit_plain(peer->test, CHATHUB_ENOMEM);
    peer->taken += len + 1;
    peer->waiting--;
    tidy(peer);
    go_on(peer);
    return 1;
}

const char *chathub_testing_take(struct chathub_testing *test, uint32_t number, size_t *len)
{
    struct kit_peer *peer = peer_at(test, number);
    if (!peer || take_line(peer) != 1)
        return NULL;
    if (len)
        *len = peer->line.len - 1;
    return peer->line.at;
}

int chathub_testing_next(struct chathub_testing *test, uint32_t number, struct chathub_event *out)
{
    struct kit_peer *peer = peer_at(test, number);
    if (!peer)
        return no_peer(test, number);
    if (!out || !CHI_HAS(out, struct chathub_event, json_len))
        return chi_kit_problem(test, CHATHUB_EINVAL, "the event's size has to be set");
    int got = take_line(peer);
    if (got != 1)
        return got;
    const struct chi_span line = {peer->line.at, peer->line.len - 1};
    char problem[sizeof(test->problem)];
    chi_frame_fini(&peer->frame);
    int error = chi_frame_read(line, &peer->scratch, &peer->frame, problem, sizeof(problem));
    if (error)
        return error == CHATHUB_EPROTOCOL
                   ? chi_kit_problem(test, error,
                                     "peer %u was sent a line that is no native frame: %.200s",
                                     number, line.at)
                   : chi_kit_plain(test, error);
    uint32_t size = CHI_LESSER(out->size, (uint32_t)sizeof(*out));
    peer->frame.event.size = size;
    memcpy(out, &peer->frame.event, size);
    return 1;
}

int chathub_testing_find(struct chathub_testing *test, uint32_t number, uint32_t type,
                         struct chathub_event *out)
{
    if (!out)
        return chathub_testing_next(test, number, out);
    const uint32_t size = out->size;
    int got;
    while ((got = chathub_testing_next(test, number, out)) == 1 && out->type != type)
        out->size = size;
    return got;
}

/* ------------------------------------------------------------------------------- its connection */

int chathub_testing_stall(struct chathub_testing *test, uint32_t number, int on)
{
    struct kit_peer *peer = peer_at(test, number);
    if (!peer)
        return no_peer(test, number);
    if (!peer->wire)
        return no_wire(test, number);
    peer->stalled = on != 0;
    go_on(peer);
    return 0;
}

static int hang_up(struct chathub_testing *test, uint32_t number, int left)
{
    struct kit_peer *peer = peer_at(test, number);
    if (!peer)
        return no_peer(test, number);
    if (!peer->wire)
        return no_wire(test, number);
    int error = chathub_carrier_closed(test->hub, peer->client, left);
    if (error)
        return chi_kit_told(test, error);
    unplug(peer);
    return 0;
}

int chathub_testing_cut(struct chathub_testing *test, uint32_t number)
{
    return hang_up(test, number, 0);
}

int chathub_testing_leave(struct chathub_testing *test, uint32_t number)
{
    return hang_up(test, number, 1);
}

int chathub_testing_peer(const struct chathub_testing *test, uint32_t number,
                         struct chathub_testing_peer *out)
{
    const struct kit_peer *peer = peer_at(test, number);
    if (!test || !out || !CHI_HAS(out, struct chathub_testing_peer, connected))
        return CHATHUB_EINVAL;
    if (!peer)
        return CHATHUB_EGONE;
    const struct chathub_testing_peer all = {
        .size = CHI_LESSER(out->size, (uint32_t)sizeof(all)),
        .connected = peer->wire != NULL,
        .code = peer->code,
        .stalled = peer->stalled,
        .client = peer->client,
        .waiting = peer->waiting,
        .waiting_bytes = peer->inbox.len - peer->taken,
        .reason = peer->reason,
        .session = peer->session,
    };
    memcpy(out, &all, all.size);
    return 0;
}
