/* Requests, as the hub is told them. What cannot be said for lack of memory ends the wire, which says
 * so from the loop; nothing is lost by that. */
#include "client/internal.h"

#define MUCH 65536u /* bytes that wait for the system: posts then wait in the outbox */

static void add_text(struct chi_buf *out, const char *key, const char *text)
{
    chi_buf_add_text(out, key);
    chi_buf_add_json(out, text, strlen(text));
}

static void add_number(struct chi_buf *out, const char *key, uint64_t number)
{
    chi_buf_add_text(out, key);
    chi_buf_add_u64(out, number);
}

static struct chi_buf *begin(struct chathub_connection *connection, const char *text)
{
    chi_buf_reset(&connection->request, CHI_REQUEST_MAX);
    chi_buf_add_text(&connection->request, text);
    return &connection->request;
}

/* Of a room; what answers tells which by the number. */
static struct chi_buf *begin_room(struct chathub_connection *connection, const char *text,
                                  const struct chi_stay *stay)
{
    struct chi_buf *out = begin(connection, text);

    chi_buf_add_u64(out, stay->id);
    chi_buf_add_char(out, '"');
    if (stay->name)
        add_text(out, ",\"room\":", stay->name);
    return out;
}

/* Closes the object that was begun, and sends it. */
static void say(struct chathub_connection *connection)
{
    struct chi_buf *request = &connection->request;

    chi_buf_add_char(request, '}');
    chi_wire_send(connection->wire,
                  (struct chi_span){request->failed ? NULL : request->at, request->len});
}

/* Where a room is to go on, or to begin. */
static void add_start(struct chi_buf *out, const struct chi_stay *stay)
{
    if (stay->placed) {
        add_number(out, ",\"after\":", stay->position);
        add_text(out, ",\"epoch\":", stay->epoch);
    } else if (stay->start == CHATHUB_START_NOW) {
        chi_buf_add_text(out, ",\"now\":true");
    } else if (stay->start == CHATHUB_START_LAST) {
        add_number(out, ",\"last\":", stay->from);
    }
}

void chi_say_hello(struct chathub_connection *connection)
{
    struct chi_buf *out =
        begin(connection, "{\"type\":\"hello\",\"ref\":\"" CHI_OWN_REF "h\",\"rooms\":[");
    struct chi_stay *stay;
    const char *comma = "";

    for (stay = chi_stay_first(connection); stay; stay = chi_stay_next(connection, stay)) {
        if (!stay->known)
            continue;
        chi_buf_add_text(out, comma);
        add_text(out, "{\"room\":", stay->name);
        add_start(out, stay);
        chi_buf_add_char(out, '}');
        comma = ",";
        if (stay->state == CHI_STAY_WANTED)
            stay->state = CHI_STAY_ASKED;
    }
    add_text(out, "],\"session\":", connection->key);
    if (connection->name)
        add_text(out, ",\"name\":", connection->name);
    say(connection);
}

void chi_say_name(struct chathub_connection *connection)
{
    struct chi_buf *out = begin(connection, "{\"type\":\"hello\",\"ref\":\"" CHI_OWN_REF "n");

    chi_buf_add_u64(out, connection->wishes);
    add_text(out, "\",\"session\":", connection->key);
    add_text(out, ",\"name\":", connection->wish);
    say(connection);
}

void chi_say_ping(struct chathub_connection *connection)
{
    begin(connection, "{\"type\":\"ping\",\"ref\":\"" CHI_OWN_REF "p\"");
    say(connection);
}

static void say_join(struct chathub_connection *connection, struct chi_stay *stay)
{
    add_start(begin_room(connection, "{\"type\":\"join\",\"ref\":\"" CHI_OWN_REF "j", stay), stay);
    say(connection);
    stay->state = CHI_STAY_ASKED;
}

static void say_leave(struct chathub_connection *connection, struct chi_stay *stay)
{
    begin_room(connection, "{\"type\":\"leave\",\"ref\":\"" CHI_OWN_REF "l", stay);
    say(connection);
    stay->state = CHI_STAY_GOING;
}

void chi_say_farewell(struct chathub_connection *connection)
{
    struct chi_stay *stay;

    for (stay = chi_stay_first(connection); stay; stay = chi_stay_next(connection, stay))
        if (stay->state != CHI_STAY_GOING)
            say_leave(connection, stay);
}

static uint64_t say_rooms(struct chathub_connection *connection, uint64_t now)
{
    const struct chi_post *oldest = chi_outbox_first(&connection->outbox);
    uint64_t next = CHI_NEVER;
    struct chi_stay *stay;

    for (stay = chi_stay_first(connection); stay; stay = chi_stay_next(connection, stay)) {
        if (stay->state == CHI_STAY_GOES && (!oldest || oldest->number > stay->after))
            say_leave(connection, stay);
        if (stay->state == CHI_STAY_WANTED && stay->due <= now)
            say_join(connection, stay);
        else if (stay->state == CHI_STAY_WANTED && stay->due < next)
            next = stay->due;
    }
    return next;
}

static uint64_t say_posts(struct chathub_connection *connection, uint64_t now)
{
    struct chi_post *post;

    while ((post = chi_outbox_next(&connection->outbox))) {
        if (post->due > now)
            return post->due;
        if (chi_wire_waiting(connection->wire) >= MUCH)
            chi_wire_flush(connection->wire);
        if (chi_wire_waiting(connection->wire) >= MUCH)
            break;
        if (chi_wire_send(connection->wire, (struct chi_span){post->frame, post->len}) < 0)
            break;
        post->sent = post->tried = true;
    }
    return CHI_NEVER; /* an answer, or the wire, brings on more */
}

static bool settled(const struct chathub_connection *connection)
{
    const struct chi_stay *stay;

    for (stay = chi_stay_first(connection); stay; stay = chi_stay_next(connection, stay))
        if (stay->state == CHI_STAY_WANTED || stay->state == CHI_STAY_ASKED)
            return false;
    return true;
}

uint64_t chi_say_all(struct chathub_connection *connection)
{
    uint64_t now = uv_now(connection->loop), next = say_rooms(connection, now);

    /* else a post could be refused because its room is joined only later */
    return settled(connection) ? say_posts(connection, now) : next;
}
