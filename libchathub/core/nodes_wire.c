/* What goes over the bus, read and written. */
#include "core/nodes_wire.h"

uint64_t chi_wire_number(struct chi_wire *wire, uint32_t bytes)
{
    uint64_t number = 0;
    struct chi_span span = chi_wire_bytes(wire, bytes);

    for (uint32_t i = 0; i < span.len; i++)
        number |= (uint64_t)(uint8_t)span.at[i] << 8 * i;
    return number;
}

struct chi_span chi_wire_bytes(struct chi_wire *wire, size_t len)
{
    struct chi_span out = {wire->left.at, len};

    if (len > wire->left.len || wire->is_short) {
        wire->is_short = true;
        return (struct chi_span){"", 0};
    }
    wire->left.at += len;
    wire->left.len -= len;
    return out;
}

struct chi_span chi_wire_text(struct chi_wire *wire)
{
    return chi_wire_bytes(wire, (size_t)chi_wire_number(wire, 2));
}

bool chi_wire_read_head(struct chi_wire *wire, struct chi_wire_head *out)
{
    out->version = (uint8_t)chi_wire_number(wire, 1);
    out->kind = (uint8_t)chi_wire_number(wire, 1);
    out->node = chi_wire_number(wire, 8);
    out->count = chi_wire_number(wire, 8);
    out->shown = chi_wire_number(wire, 8);
    out->epoch = chi_wire_bytes(wire, CHI_EPOCH_LEN);
    return !wire->is_short && out->version == CHI_WIRE_VERSION && out->node;
}

bool chi_wire_read_item(struct chi_wire *wire, uint8_t *kind, struct chi_wire *item)
{
    *kind = (uint8_t)chi_wire_number(wire, 1);
    size_t len = (size_t)chi_wire_number(wire, 4);
    *item = (struct chi_wire){.left = chi_wire_bytes(wire, len)};
    return !wire->is_short;
}

bool chi_wire_read_session(struct chi_wire *item, struct chi_wire_session *out)
{
    struct chi_span user = chi_wire_bytes(item, CHI_USER_LEN);

    if (user.len == CHI_USER_LEN)
        memcpy(out->user, user.at, CHI_USER_LEN);
    out->version = chi_wire_number(item, 8);
    out->named_at = chi_wire_number(item, 8);
    out->flags = (uint8_t)chi_wire_number(item, 1);
    out->name = chi_wire_text(item);
    out->status = chi_wire_text(item);
    out->rooms = (uint32_t)chi_wire_number(item, 2);
    out->places = item->left;
    return !item->is_short;
}

bool chi_wire_read_place(struct chi_wire *places, struct chi_wire_place *out)
{
    out->room = chi_wire_text(places);
    out->position = chi_wire_number(places, 8);
    out->flags = (uint8_t)chi_wire_number(places, 1);
    return !places->is_short;
}

void chi_wire_add_number(struct chi_buf *out, uint64_t number, uint32_t bytes)
{
    uint8_t le[8];

    for (uint32_t i = 0; i < bytes; i++)
        le[i] = (uint8_t)(number >> 8 * i);
    chi_buf_add(out, le, bytes);
}

void chi_wire_add_text(struct chi_buf *out, struct chi_span text)
{
    size_t len = text.len < UINT16_MAX ? text.len : UINT16_MAX;

    chi_wire_add_number(out, len, 2);
    chi_buf_add(out, text.at, len);
}

void chi_wire_add_head(struct chi_buf *out, const struct chi_wire_head *head)
{
    static const char none[CHI_EPOCH_LEN];

    chi_wire_add_number(out, CHI_WIRE_VERSION, 1);
    chi_wire_add_number(out, head->kind, 1);
    chi_wire_add_number(out, head->node, 8);
    chi_wire_add_number(out, head->count, 8);
    chi_wire_add_number(out, head->shown, 8);
    chi_buf_add(out, head->epoch.len == CHI_EPOCH_LEN ? head->epoch.at : none, CHI_EPOCH_LEN);
}

size_t chi_wire_begin(struct chi_buf *out, uint8_t kind)
{
    size_t begin = out->len;

    chi_wire_add_number(out, kind, 1);
    chi_wire_add_number(out, 0, 4);
    return begin;
}

void chi_wire_end(struct chi_buf *out, size_t begin)
{
    if (out->failed)
        return;
    size_t len = out->len - begin - 5;
    for (uint32_t i = 0; i < 4; i++)
        out->at[begin + 1 + i] = (char)(uint8_t)(len >> 8 * i);
}

void chi_wire_add_stood(struct chi_buf *out, const struct chi_stood_place *stood)
{
    size_t item = chi_wire_begin(out, CHI_WIRE_STOOD);

    chi_wire_add_number(out, stood->position, 8);
    chi_wire_add_number(out, stood->age, 8);
    chi_wire_add_number(out, stood->dropped, 1);
    chi_buf_add(out, stood->epoch.at, CHI_EPOCH_LEN);
    chi_wire_add_text(out, stood->name);
    chi_wire_add_text(out, stood->room);
    chi_wire_end(out, item);
}

/* ------------------------------------------------------------------------------------- sessions */

/* Whether others may know it to be there: its coming follows what it came with, its going what it
 * said last. */
static bool is_there(const struct chi_member *member)
{
    if (member->gone)
        return member->shared && member->drafts;
    return member->shared || !chi_presence_waits(member);
}

static void add_place(struct chi_hub *hub, struct chi_buf *out, const struct chi_member *member)
{
    uint64_t position = member->position;

    if (member->attached)
        position = CHI_DELIVERY(hub, member_position, member->room->slot.number,
                                member->session->client->slot.number);
    chi_wire_add_text(out, chi_name_shown(member->room->name));
    chi_wire_add_number(out, position, 8);
    chi_wire_add_number(out, member->stale ? CHI_WIRE_STALE : 0, 1);
}

static uint32_t add_places(struct chi_hub *hub, struct chi_buf *out,
                           const struct chi_session *session)
{
    uint32_t count = 0;

    for (struct chi_member *member = chi_core_member_at(hub, session->members); member;
         member = chi_core_member_at(hub, member->next)) {
        member->shared = is_there(member);
        if (!member->shared || count == UINT16_MAX)
            continue;
        add_place(hub, out, member);
        count++;
    }
    return count;
}

/* Who ended and is back before its last posts were resolved: where it made them, it is still. */
static uint32_t add_lingering(struct chi_hub *hub, struct chi_buf *out,
                              const struct chi_session *session)
{
    const struct chi_session *first = chi_session_lingering(hub, session->user);
    uint32_t count = 0;

    for (const struct chi_session *ended = first; ended;
         ended = chi_chain_next(CHI_SESSIONS(hub, same), first->slot.number + 1, ended)) {
        for (const struct chi_member *member = chi_core_member_at(hub, ended->members); member;
             member = chi_core_member_at(hub, member->next)) {
            if (!member->drafts || !member->shared || chi_core_member(hub, session, member->room))
                continue;
            add_place(hub, out, member);
            count++;
        }
    }
    return count;
}

static uint8_t flags_of(const struct chi_hub *hub, const struct chi_session *session,
                        const struct chi_origin *origin)
{
    uint32_t flags = session->client ? CHI_WIRE_CONNECTED : 0;

    flags |= origin->shares ? CHI_WIRE_SHARES : 0;
    flags |= session->known ? CHI_WIRE_RETURNS : 0;
    flags |= origin->await > chi_core_now(hub) ? CHI_WIRE_WANTS : 0;
    return (uint8_t)flags;
}

void chi_wire_add_session(struct chi_hub *hub, struct chi_buf *out, uint8_t item,
                          struct chi_session *session)
{
    const struct chi_origin *origin = chi_origin_of(hub->nodes, session);
    size_t begin = chi_wire_begin(out, item);

    chi_buf_add(out, session->user, CHI_USER_LEN);
    chi_wire_add_number(out, origin->version, 8);
    chi_wire_add_number(out, origin->named_at, 8);
    chi_wire_add_number(out, flags_of(hub, session, origin), 1);
    chi_wire_add_text(out, chi_name_shown(session->name));
    chi_wire_add_text(out, chi_span_of(session->status));
    size_t at = out->len;
    chi_wire_add_number(out, 0, 2);
    uint32_t rooms = add_places(hub, out, session);
    if (hub->draft_count)
        rooms += add_lingering(hub, out, session);
    if (!out->failed) {
        out->at[at] = (char)(uint8_t)rooms;
        out->at[at + 1] = (char)(uint8_t)(rooms >> 8);
    }
    chi_wire_end(out, begin);
}
