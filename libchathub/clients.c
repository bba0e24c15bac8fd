/* The boundary for clients inside the host's process, and for statistics. */
#include <stdlib.h>
#include <string.h>

#include "boundary.h"
#include "dialect/dialect.h"

static struct chi_span span(const char *text, size_t len)
{
    if (!text)
        return (struct chi_span){0};
    return (struct chi_span){text, len == CHATHUB_NUL ? strlen(text) : len};
}

/* --------------------------------------------------------------------------- in-process clients */

static int inproc_request(struct chathub *hub, uint64_t client, const struct chi_request *request)
{
    return chi_plain(hub, chi_inproc_request(hub->inproc, client, request));
}

int chathub_client(struct chathub *hub, const char *name, chathub_event_cb cb, void *arg,
                   uint64_t *client)
{
    CHI_CALL(hub);
    int error = chi_enter_serving(hub);
    if (error)
        return error;
    if (!client)
        return chi_plain(hub, CHATHUB_EINVAL);
    uint64_t id;
    error = chi_inproc_open(hub->inproc, cb, arg, &id);
    if (error)
        return chi_plain(hub, error);
    struct chi_request hello = {.type = CHI_REQUEST_HELLO, .name = chi_span_of(name)};
    error = inproc_request(hub, id, &hello);
    if (error)
        chi_inproc_abort(hub->inproc, id);
    else
        *client = id;
    return error;
}

int chathub_join(struct chathub *hub, uint64_t client, const char *room, int start, uint64_t from)
{
    CHI_CALL(hub);
    int error = chi_enter_serving(hub);
    if (error)
        return error;
    struct chi_request join = {.type = CHI_REQUEST_JOIN, .room = chi_span_of(room)};
    switch (start) {
    case CHATHUB_START_DEFAULT:
        join.start.kind = CHI_START_DEFAULT;
        break;
    case CHATHUB_START_NOW:
        join.start.kind = CHI_START_NOW;
        break;
    case CHATHUB_START_LAST:
        join.start.kind = CHI_START_LAST;
        join.start.count = from > UINT32_MAX ? UINT32_MAX : (uint32_t)from;
        break;
    case CHATHUB_START_AFTER:
        join.start.kind = CHI_START_AFTER;
        join.start.position = from;
        break;
    default:
        return chi_problem(hub, CHATHUB_EINVAL, "start is one of CHATHUB_START_…, not %d", start);
    }
    return inproc_request(hub, client, &join);
}

int chathub_leave(struct chathub *hub, uint64_t client, const char *room)
{
    CHI_CALL(hub);
    int error = chi_enter_serving(hub);
    if (error)
        return error;
    struct chi_request leave = {.type = CHI_REQUEST_LEAVE, .room = chi_span_of(room)};
    return inproc_request(hub, client, &leave);
}

int chathub_post(struct chathub *hub, uint64_t client, const char *room, const char *content,
                 size_t len, const char *cid)
{
    CHI_CALL(hub);
    int error = chi_enter_serving(hub);
    if (error)
        return error;
    struct chi_request post = {
        .type = CHI_REQUEST_POST,
        .room = chi_span_of(room),
        .content = span(content, len),
        .cid = chi_span_of(cid),
    };
    if (!chi_utf8_valid(post.content.at, post.content.len))
        return chi_plain(hub, CHATHUB_ETEXT);
    return inproc_request(hub, client, &post);
}

int chathub_request(struct chathub *hub, uint64_t client, const char *json, size_t len)
{
    CHI_CALL(hub);
    int error = chi_enter_serving(hub);
    if (error)
        return error;
    struct chi_span text = span(json, len);
    if (!chi_utf8_valid(text.at, text.len))
        return chi_plain(hub, CHATHUB_ETEXT);
    struct chi_request *request = calloc(1, sizeof(*request));
    if (!request)
        return chi_plain(hub, CHATHUB_ENOMEM);
    struct chi_decode_error wrong = {0};
    error = chi_dialect_native.decode(&hub->decoded, text, request, &wrong);
    if (error > 0)
        error = inproc_request(hub, client, request);
    else if (error < 0)
        chi_problem(hub, error, "%s", wrong.message);
    else /* at a socket, a line without a word is passed over */
        error = chi_plain(hub, CHATHUB_EJSON);
    free(request);
    return error;
}

int chathub_close(struct chathub *hub, uint64_t client)
{
    CHI_CALL(hub);
    int error = chi_enter_running(hub);
    return error ? error : chi_plain(hub, chi_inproc_close(hub->inproc, client));
}

/* ----------------------------------------------------------------------------------- statistics */

int chathub_stats(const struct chathub *hub, struct chathub_stats *out)
{
    CHI_CALL(hub);
    int error = chi_enter_running(hub);
    if (error)
        return error;
    if (!out || out->size < sizeof(out->size) + sizeof(out->reserved))
        return CHATHUB_EINVAL;
    struct chi_hub_counts counts;
    struct chi_delivery_counts delivery;
    chi_hub_counts(hub->hub, &counts);
    chi_delivery_counts(hub->delivery, &delivery);
    struct chathub_stats all = {
        .size = out->size < sizeof(all) ? out->size : sizeof(all),
        .clients = counts.clients,
        .observers = counts.observers,
        .sessions = counts.sessions,
        .rooms = counts.rooms,
        .members = counts.members,
        .drafts = counts.drafts,
        .connections = chi_net_connections(hub->net),
        .window_bytes = delivery.window_bytes,
        .held_bytes = delivery.held_bytes,
        .behind = delivery.behind,
        .posts = counts.posts,
        .dups = counts.dups,
        .refused = counts.refused,
        .bad_requests = counts.bad_requests,
        .deliveries = delivery.deliveries,
        .writes = delivery.writes,
        .pages = delivery.pages,
        .gaps = delivery.gaps,
        .log_commits = counts.log.commits,
        .log_failures = counts.log.failures,
        .log_pages = counts.log.pages,
        .log_down = counts.log.down,
    };
    memcpy(out, &all, all.size);
    return 0;
}
