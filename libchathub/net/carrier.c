/* Happy path: a line waits in its carrier's inbox until the next turn, where its dialect reads it; what
 * the pump sends goes to the host's `send` at once. Failure modes: an inbox that is full refuses; a
 * `send` that takes less blocks the client until the host says that it is writable (too late: it is
 * closed, resumable); one that fails sends no more, until the host tells the end; a client that the
 * hub closed is sent what it is owed first, as long as that goes on. What the host says from inside
 * a callback stands for the next turn, so that nothing vanishes under delivery. */
#include "net/carrier.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dialect/dialect.h"
#include "net/framing.h"
#include "net/roster.h"
#include "util/list.h"

/* Lines that wait for the hub, of one carrier; their bytes are bounded by two of the longest message. */
#define INBOX_MAX 64u
/* Between two looks for those that take nothing, ms. */
#define SWEEP_MS 1000u
/* Bytes of a close reason in RFC 6455, and its NUL. */
#define REASON_SIZE 124
#define ADDRESS_MAX 255u

struct line {
    struct chi_link link;
    size_t len;
    char bytes[];
};

struct carrier {
    struct chi_guest as;
    struct chi_link link; /* among those with something for a turn */
    struct chathub_carrier ops;
    void *conn; /* the host's */
    const struct chi_dialect *dialect;
    char *address;         /* owned: where the peer is */
    struct chi_link inbox; /* lines not yet handed over */
    size_t inbox_bytes;
    uint32_t waiting;         /* lines in it */
    struct chi_buf rest;      /* closed: what it is owed … */
    size_t sent;              /* … as far as the host took it */
    uint64_t since;           /* blocked: when it last took or brought a byte, or was closed, ms */
    int code;                 /* of the close */
    char reason[REASON_SIZE]; /* the same */
    bool paused;              /* the hub reads nothing of it now */
    bool blocked;             /* it took less than it was given */
    bool writable;            /* the host said since that it can take more */
    bool broken;              /* `send` failed */
    bool closed;              /* the hub is done with it */
    bool gone;                /* the host told its end */
    bool left;                /* and that its peer said goodbye */
};

struct chi_carriers {
    struct chi_carriers_parts parts;
    struct chi_transport transport;
    struct chi_roster roster;
    struct chi_link due;           /* those with something for a turn */
    struct chi_buf scratch;        /* the decoders' */
    struct chi_request request;    /* what they decode into */
    struct chi_decode_error error; /* why they did not */
    uint64_t swept;                /* when it was last looked who takes nothing */
    uint32_t blocked;              /* how many may be */
};

static uint64_t now_of(const struct chi_carriers *carriers)
{
    return carriers->parts.env.ops->now(carriers->parts.env.self);
}

static void make_due(struct chi_carriers *carriers, struct carrier *carrier)
{
    if (!chi_list_linked(&carrier->link))
        chi_list_append(&carriers->due, &carrier->link);
    carriers->parts.env.ops->wake(carriers->parts.env.self);
}

static void drop_lines(struct carrier *carrier)
{
    struct chi_link *link;

    while ((link = chi_list_take(&carrier->inbox)))
        free(CHI_CONTAINER(link, struct line, link));
    carrier->waiting = 0;
    carrier->inbox_bytes = 0;
}

static void set_blocked(struct chi_carriers *carriers, struct carrier *carrier, bool blocked)
{
    if (blocked && !carrier->blocked) {
        carriers->blocked++;
        carrier->since = now_of(carriers);
    } else if (!blocked && carrier->blocked) {
        carriers->blocked--;
    }
    carrier->blocked = blocked;
}

static void carrier_free(struct chi_carriers *carriers, struct carrier *carrier)
{
    drop_lines(carrier);
    set_blocked(carriers, carrier, false);
    chi_list_remove(&carrier->link);
    chi_buf_fini(&carrier->rest);
    free(carrier->address);
    chi_roster_give(&carriers->roster, &carrier->as);
}

static void tell(const struct chi_carriers *carriers, const struct carrier *carrier,
                 const char *event, struct chi_field one, struct chi_field two)
{
    const struct chi_env *env = &carriers->parts.env;
    char id[24];
    struct chi_field fields[4] = {{"client", {NULL, 0}},
                                  {"address", chi_span_of(carrier->address)}};
    size_t n = 2;

    snprintf(id, sizeof(id), "%llu", (unsigned long long)carrier->as.id);
    fields[0].value = chi_span_of(id);
    fields[n++] = one;
    if (two.key)
        fields[n++] = two;
    env->ops->log(env->self, CHATHUB_INFO, event, fields, n);
}

static void tell_end(const struct chi_carriers *carriers, const struct carrier *carrier,
                     const char *reason)
{
    tell(carriers, carrier, "disconnected", (struct chi_field){"reason", chi_span_of(reason)},
         (struct chi_field){NULL, {NULL, 0}});
}

/* ------------------------------------------------------------------------------------ transport */

/* One call of the host's `send`: as the transport answers. */
static ptrdiff_t send_some(struct chi_carriers *carriers, struct carrier *carrier,
                           const char *bytes, size_t len)
{
    if (carrier->broken || carrier->gone)
        return -1;
    carrier->writable = false;
    int64_t n = carrier->ops.send(carrier->conn, bytes, len);
    if (n < 0) {
        carrier->broken = true;
        return -1;
    }
    if ((uint64_t)n >= len)
        return (ptrdiff_t)len;
    set_blocked(carriers, carrier, true);
    if (n > 0)
        carrier->since = now_of(carriers);
    return (ptrdiff_t)n;
}

static ptrdiff_t carrier_send(void *self, uint32_t conn, const void *bytes, size_t len)
{
    struct chi_carriers *carriers = self;
    return send_some(carriers, chi_slots_at(&carriers->roster.all, conn), bytes, len);
}

static void carrier_write_many(void *self, const void *bytes, size_t len, const uint32_t *conns,
                               size_t n, int32_t *taken)
{
    if (len > INT32_MAX)
        len = INT32_MAX;
    for (size_t i = 0; i < n; i++)
        taken[i] = (int32_t)carrier_send(self, conns[i], bytes, len);
}

static void carrier_read(void *self, uint32_t conn, bool on)
{
    struct chi_carriers *carriers = self;
    struct carrier *carrier = chi_slots_at(&carriers->roster.all, conn);

    carrier->paused = !on;
    if (on && (carrier->waiting || carrier->gone))
        make_due(carriers, carrier);
}

/* code 0: the end of a frame that was begun is lost, so that nothing can follow. */
static void carrier_close(void *self, uint32_t conn, int code, struct chi_span reason,
                          struct chi_span rest)
{
    struct chi_carriers *carriers = self;
    struct carrier *carrier = chi_slots_at(&carriers->roster.all, conn);
    size_t len = chi_utf8_cut(reason, REASON_SIZE - 1);

    carrier->closed = true;
    carrier->code = code ? code : 1011;
    if (len)
        memcpy(carrier->reason, reason.at, len);
    carrier->reason[len] = '\0';
    if (code && rest.len)
        chi_buf_add(&carrier->rest, rest.at, rest.len);
    if (carrier->blocked)
        carrier->since = now_of(carriers);
    drop_lines(carrier);
    make_due(carriers, carrier);
}

/* ------------------------------------------------------------------------------------- the turn */

static enum chi_next hear(struct chi_carriers *carriers, const struct carrier *carrier,
                          struct chi_span text)
{
    struct chi_hub *hub = carriers->parts.hub;

    if (!chi_utf8_valid(text.at, text.len)) {
        carriers->error = (struct chi_decode_error){.code = CHATHUB_ETEXT};
        snprintf(carriers->error.message, sizeof(carriers->error.message),
                 "a line has to be UTF-8");
        return chi_hub_bad_request(hub, carrier->as.id, &carriers->error);
    }
    int got =
        carrier->dialect->decode(&carriers->scratch, text, &carriers->request, &carriers->error);
    if (got == 0)
        return CHI_NEXT_READ;
    return got > 0 ? chi_hub_request(hub, carrier->as.id, &carriers->request)
                   : chi_hub_bad_request(hub, carrier->as.id, &carriers->error);
}

static void hear_lines(struct chi_carriers *carriers, struct carrier *carrier)
{
    struct chi_link *link;

    while (!carrier->closed && !carrier->paused && (link = chi_list_take(&carrier->inbox))) {
        struct line *line = CHI_CONTAINER(link, struct line, link);
        carrier->waiting--;
        carrier->inbox_bytes -= line->len;
        enum chi_next next = hear(carriers, carrier, (struct chi_span){line->bytes, line->len});
        free(line);
        carrier->paused |= next == CHI_NEXT_WAIT;
    }
}

/* What it is owed is sent, then it is closed. */
static void finish(struct chi_carriers *carriers, struct carrier *carrier)
{
    struct chi_buf *rest = &carrier->rest;

    while (!rest->failed && carrier->sent < rest->len && !carrier->blocked) {
        ptrdiff_t n =
            send_some(carriers, carrier, rest->at + carrier->sent, rest->len - carrier->sent);
        if (n < 0)
            break;
        carrier->sent += (size_t)n;
    }
    if (carrier->gone || (carrier->blocked && !carrier->broken && !rest->failed))
        return;
    carrier->gone = true;
    tell_end(carriers, carrier, carrier->reason);
    carrier->ops.close(carrier->conn, carrier->code, carrier->reason);
    carrier_free(carriers, carrier);
}

static void end_gone(struct chi_carriers *carriers, struct carrier *carrier)
{
    uint64_t id = carrier->closed ? 0 : carrier->as.id;
    const char *reason = carrier->left ? "left" : "closed by the other side";

    tell_end(carriers, carrier, carrier->closed ? carrier->reason : reason);
    carrier_free(carriers, carrier);
    if (id)
        chi_hub_client_closed(carriers->parts.hub, id, reason);
}

static void carrier_turn(struct chi_carriers *carriers, struct carrier *carrier)
{
    if (carrier->writable) {
        carrier->writable = false;
        set_blocked(carriers, carrier, false);
        if (!carrier->closed)
            chi_delivery_writable(carriers->parts.delivery, chi_hub_client_slot(carrier->as.id));
    }
    if (carrier->gone && !carrier->closed)
        chi_delivery_broken(carriers->parts.delivery, chi_hub_client_slot(carrier->as.id));
    hear_lines(carriers, carrier);
    if (carrier->closed && !carrier->gone)
        finish(carriers, carrier);
    else if (carrier->gone && !carrier->waiting)
        end_gone(carriers, carrier);
}

/* It takes nothing: as long as bytes wait for it that judges it. */
static void judge(struct chi_carriers *carriers, struct carrier *carrier, uint64_t now)
{
    const struct chi_settings *settings = carriers->parts.settings;
    uint64_t most = carrier->closed ? settings->close_time : settings->stall_time;
    uint64_t id = carrier->closed ? 0 : carrier->as.id;

    if (carrier->gone || now - carrier->since < most)
        return;
    tell_end(carriers, carrier, "slow");
    carrier->gone = true; /* nothing is sent any more */
    carrier->ops.close(carrier->conn, carrier->closed ? carrier->code : 1008,
                       chathub_strerror(CHATHUB_ESLOW));
    carrier_free(carriers, carrier);
    if (id)
        chi_hub_client_closed(carriers->parts.hub, id, "slow");
}

static void sweep(struct chi_carriers *carriers)
{
    uint64_t now = now_of(carriers);

    if (!carriers->blocked || now - carriers->swept < SWEEP_MS)
        return;
    carriers->swept = now;
    for (uint32_t i = 0; i < carriers->roster.all.made; i++) {
        struct carrier *carrier = chi_slots_at(&carriers->roster.all, i);
        if (carrier && carrier->blocked)
            judge(carriers, carrier, now);
    }
}

void chi_carriers_turn(struct chi_carriers *carriers)
{
    struct chi_link now; /* those due now: what callbacks add is for the next turn */
    struct chi_link *link;

    chi_list_init(&now);
    while ((link = chi_list_take(&carriers->due)))
        chi_list_append(&now, link);
    while ((link = chi_list_take(&now)))
        carrier_turn(carriers, CHI_CONTAINER(link, struct carrier, link));
    sweep(carriers);
}

uint64_t chi_carriers_next(const struct chi_carriers *carriers)
{
    return carriers->blocked ? carriers->swept + SWEEP_MS : UINT64_MAX;
}

uint32_t chi_carriers_count(const struct chi_carriers *carriers)
{
    return carriers->roster.all.used;
}

void chi_carriers_end(struct chi_carriers *carriers)
{
    for (uint32_t i = 0; i < carriers->roster.all.made; i++) {
        struct carrier *carrier = chi_slots_at(&carriers->roster.all, i);
        if (!carrier)
            continue;
        if (!carrier->gone) {
            carrier->gone = true;
            tell_end(carriers, carrier, "shutting down");
            carrier->ops.close(carrier->conn, carrier->closed ? carrier->code : 1001,
                               carrier->reason);
        }
        carrier_free(carriers, carrier);
    }
}

/* ------------------------------------------------------------------------------------- the face */

int chi_carriers_new(const struct chi_carriers_parts *parts, struct chi_carriers **out)
{
    struct chi_carriers *carriers = calloc(1, sizeof(*carriers));

    if (!carriers)
        return CHATHUB_ENOMEM;
    carriers->parts = *parts;
    chi_roster_init(&carriers->roster, sizeof(struct carrier), parts->env);
    carriers->transport = (struct chi_transport){
        .send = carrier_send,
        .write_many = carrier_write_many,
        .read = carrier_read,
        .close = carrier_close,
        .self = carriers,
    };
    chi_list_init(&carriers->due);
    *out = carriers;
    return 0;
}

void chi_carriers_free(struct chi_carriers *carriers)
{
    if (!carriers)
        return;
    for (uint32_t i = 0; i < carriers->roster.all.made; i++) {
        struct carrier *carrier = chi_slots_at(&carriers->roster.all, i);
        if (carrier)
            carrier_free(carriers, carrier);
    }
    chi_buf_fini(&carriers->scratch);
    chi_roster_fini(&carriers->roster);
    free(carriers);
}

int chi_carriers_open(struct chi_carriers *carriers, const struct chathub_carrier *ops, void *conn,
                      const struct chi_address *listener, struct chi_span address, uint64_t *id)
{
    if (address.len > ADDRESS_MAX)
        address.len = ADDRESS_MAX;
    char *its_address = chi_span_dup(address);
    struct carrier *carrier = its_address ? chi_slots_take(&carriers->roster.all) : NULL;
    if (!carrier) {
        free(its_address);
        return CHATHUB_ENOMEM;
    }
    carrier->ops = *ops;
    carrier->conn = conn;
    carrier->dialect = listener->dialect ? listener->dialect : &chi_dialect_native;
    carrier->address = its_address;
    chi_list_init(&carrier->inbox);
    struct chi_client_desc desc = {
        .as = {.transport = &carriers->transport,
               .encoding = {carrier->dialect, &chi_framing_lines}},
        .default_room = chi_span_of(listener->room),
        .address = chi_span_of(its_address),
        .history = listener->history,
        .presence = listener->presence,
        .private_posts = listener->private_posts,
    };
    int error = chi_roster_open(&carriers->roster, carriers->parts.hub, &desc, &carrier->as);
    if (error) {
        free(its_address);
        return error;
    }
    tell(carriers, carrier, "connected", (struct chi_field){"protocol", CHI_SPAN("carrier")},
         (struct chi_field){"dialect", chi_span_of(carrier->dialect->name)});
    *id = carrier->as.id;
    return 0;
}

static struct carrier *find(const struct chi_carriers *carriers, uint64_t id)
{
    struct carrier *carrier = chi_roster_find(&carriers->roster, id);
    return carrier && !carrier->gone ? carrier : NULL;
}

/* For a line of any length, so that it can be asked before the line is there. */
static bool has_room(const struct chi_carriers *carriers, const struct carrier *carrier)
{
    return carrier->waiting < INBOX_MAX &&
           carrier->inbox_bytes <= carriers->parts.settings->max_message;
}

int chi_carriers_line(struct chi_carriers *carriers, uint64_t id, struct chi_span text)
{
    struct carrier *carrier = find(carriers, id);

    if (!carrier || carrier->closed)
        return CHATHUB_EGONE;
    if (text.len && text.at[text.len - 1] == '\r')
        text.len--;
    if (text.len > carriers->parts.settings->max_message)
        return CHATHUB_ETOOLONG;
    if (!has_room(carriers, carrier))
        return CHATHUB_EAGAIN;
    struct line *line = malloc(sizeof(*line) + text.len);
    if (!line)
        return CHATHUB_ENOMEM;
    *line = (struct line){.len = text.len};
    if (text.len)
        memcpy(line->bytes, text.at, text.len);
    chi_list_append(&carrier->inbox, &line->link);
    carrier->waiting++;
    carrier->inbox_bytes += text.len;
    carrier->since = now_of(carriers); /* a sign of life */
    make_due(carriers, carrier);
    return 0;
}

int chi_carriers_ready(const struct chi_carriers *carriers, uint64_t id)
{
    const struct carrier *carrier = find(carriers, id);

    if (!carrier || carrier->closed)
        return CHATHUB_EGONE;
    return has_room(carriers, carrier);
}

int chi_carriers_writable(struct chi_carriers *carriers, uint64_t id)
{
    struct carrier *carrier = find(carriers, id);

    if (!carrier)
        return CHATHUB_EGONE;
    carrier->writable = true;
    make_due(carriers, carrier);
    return 0;
}

int chi_carriers_closed(struct chi_carriers *carriers, uint64_t id, bool left)
{
    struct carrier *carrier = find(carriers, id);

    if (!carrier)
        return CHATHUB_EGONE;
    carrier->gone = true;
    carrier->left = left;
    make_due(carriers, carrier);
    return 0;
}
