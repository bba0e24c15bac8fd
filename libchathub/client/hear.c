/* What the hub says: told to the host as events, after what the connection itself makes of it. */
#include "client/internal.h"

#include <stdlib.h>

/* Whether it answers a request for another name, and the latest one at that. */
static bool answers_wish(const struct chathub_connection *connection, const struct chi_frame *frame)
{
    uint64_t number;

    return frame->own && frame->own[0] == 'n' && connection->wish &&
           chi_parse_u64(chi_span_of(frame->own + 1), 1, CHI_NEVER, &number) &&
           number == connection->wishes;
}

/* What was asked for is the name now. One that was asked for in between is it until the latest one is
 * answered. False: there is no memory, and the connection is lost. */
static bool name_taken_over(struct chathub_connection *connection, const struct chi_frame *frame)
{
    char *name = answers_wish(connection, frame) ? connection->wish : NULL;

    if (name)
        connection->wish = NULL;
    else if (!chi_is_name(frame->event.sender, CHI_NAME_MAX))
        return true;
    else if (!(name = chi_span_dup(chi_span_of(frame->event.sender)))) {
        chi_connection_lost(connection, CHATHUB_ENOMEM, "out of memory");
        return false;
    }
    free(connection->name);
    connection->name = name;
    return true;
}

/* What a welcome says of the hub. */
static void learn(struct chathub_connection *connection, const json_t *welcome)
{
    const char *room = json_string_value(json_object_get(welcome, "default_room"));
    const json_t *limits = json_object_get(welcome, "limits");
    uint64_t content = chi_frame_number(limits, "content");
    uint64_t message = chi_frame_number(limits, "message");

    if (content > 0)
        connection->max_content = content;
    if (message > 0)
        connection->max_message = message;
    if (room && strlen(room) < sizeof(connection->default_room))
        memcpy(connection->default_room, room, strlen(room) + 1);
}

static void on_welcome(struct chathub_connection *connection, const struct chi_frame *frame)
{
    learn(connection, frame->object);
    if (frame->own && frame->own[0] == 'n' && !name_taken_over(connection, frame))
        return;
    bool first = connection->state != CHATHUB_STATE_CONNECTED;
    if (first) {
        connection->welcome_due = CHI_NEVER;
        connection->stood_since = uv_now(connection->loop);
        if (!chi_connection_change(connection, CHATHUB_STATE_CONNECTED, 0, ""))
            return;
        if (connection->wish) /* an earlier connection was lost before its answer */
            chi_say_name(connection);
    }
    chi_connection_kick(connection);
    chi_connection_tell(connection, &frame->event);
}

/* The hello was not taken. */
static void on_refused(struct chathub_connection *connection, const struct chi_frame *frame)
{
    if (chi_passes(frame)) {
        connection->not_before = uv_now(connection->loop) + frame->retry_after;
        chi_connection_lost(connection, frame->event.code, frame->event.message);
        return;
    }
    connection->welcome_due = CHI_NEVER;
    bool second = connection->state == CHATHUB_STATE_CONNECTED; /* of two hellos */
    if (second || chi_connection_change(connection, CHATHUB_STATE_REFUSED, frame->event.code,
                                        frame->event.message))
        chi_connection_tell(connection, &frame->event);
}

/* Whether a post carries this ref, of its host's. */
static bool has_ref(const struct chi_post *post, const json_t *ref)
{
    json_error_t wrong;
    json_t *request = post->sent && memmem(post->frame, post->len, "\"ref\"", 5)
                          ? json_loadb(post->frame, post->len, CHI_FRAME_JSON, &wrong)
                          : NULL;
    bool has = request && json_equal(json_object_get(request, "ref"), ref);

    json_decref(request);
    return has;
}

/* The post that an error is about; or NULL. One that was not understood is known by its ref alone. */
static struct chi_post *post_of(const struct chathub_connection *connection,
                                const struct chi_frame *error)
{
    const struct chi_outbox *outbox = &connection->outbox;
    const json_t *ref = json_object_get(error->object, "ref");
    uint64_t number = 0;

    if (error->event.cid[0])
        return chi_outbox_find(outbox, error->event.cid);
    if (!ref || error->event.code != CHATHUB_EREQUEST)
        return NULL;
    if (error->own && (error->own[0] != 'q' ||
                       !chi_parse_u64(chi_span_of(error->own + 1), 1, CHI_NEVER, &number)))
        return NULL;
    for (struct chi_link *link = outbox->posts.next; link != &outbox->posts; link = link->next) {
        struct chi_post *post = CHI_CONTAINER(link, struct chi_post, link);
        if (number ? post->number == number : has_ref(post, ref))
            return post;
    }
    return NULL;
}

static void on_post_error(struct chathub_connection *connection, struct chi_post *post,
                          struct chi_frame *frame)
{
    char cid[CHI_CID_MAX + 1];

    if (chi_passes(frame)) {
        post->sent = false;
        post->due = chi_again(connection, frame);
        chi_connection_kick(connection);
        return;
    }
    memcpy(cid, post->cid, sizeof(cid));
    frame->event.cid = cid;
    chi_outbox_remove(&connection->outbox, post);
    chi_connection_kick(connection);
    chi_connection_tell(connection, &frame->event);
}

static void on_error(struct chathub_connection *connection, struct chi_frame *frame)
{
    struct chi_post *post = post_of(connection, frame);

    if (frame->own && frame->own[0] == 'h') {
        on_refused(connection, frame);
    } else if (frame->own && frame->own[0] == 'p') {
        return; /* it is there, and says so */
    } else if (frame->own && frame->own[0] == 'n') {
        if (answers_wish(connection, frame)) {
            free(connection->wish);
            connection->wish = NULL;
        }
        chi_connection_tell(connection, &frame->event);
    } else if (post) {
        on_post_error(connection, post, frame);
    } else if (!chi_stay_error(connection, frame)) {
        chi_connection_tell(connection, &frame->event);
    }
}

static void on_ack(struct chathub_connection *connection, const struct chi_frame *frame)
{
    struct chi_post *post = chi_outbox_find(&connection->outbox, frame->event.cid);

    if (!post)
        return; /* no post of this connection's, or answered before */
    chi_outbox_remove(&connection->outbox, post);
    chi_connection_kick(connection);
    chi_connection_tell(connection, &frame->event);
}

static void on_bye(struct chathub_connection *connection, const struct chi_frame *frame)
{
    connection->replaced = frame->event.code == CHATHUB_EREPLACED;
    connection->not_before = uv_now(connection->loop) + frame->retry_after;
    chi_connection_tell(connection, &frame->event);
}

static void hear(struct chathub_connection *connection, struct chi_frame *frame)
{
    switch (frame->event.type) {
    case CHATHUB_EVENT_WELCOME:
        on_welcome(connection, frame);
        break;
    case CHATHUB_EVENT_ERROR:
        on_error(connection, frame);
        break;
    case CHATHUB_EVENT_ACK:
        on_ack(connection, frame);
        break;
    case CHATHUB_EVENT_JOINED:
        chi_stay_joined(connection, frame);
        break;
    case CHATHUB_EVENT_LEFT:
        chi_stay_left(connection, frame);
        break;
    case CHATHUB_EVENT_GAP:
        chi_stay_gap(connection, frame);
        break;
    case CHATHUB_EVENT_BYE:
        on_bye(connection, frame);
        break;
    default:
        if (frame->is_entry)
            chi_stay_entry(connection, frame);
        else if (frame->event.type && frame->event.type != CHATHUB_EVENT_MESSAGE && !frame->own)
            chi_connection_tell(connection, &frame->event);
    }
}

void chi_hear(struct chathub_connection *connection, struct chi_span text)
{
    struct chi_frame frame;
    char problem[200];
    int error = chi_frame_read(text, &connection->scratch, &frame, problem, sizeof(problem));

    connection->too_long = !error && connection->target.lines &&
                           frame.event.code == CHATHUB_ETOOLONG &&
                           frame.event.type == CHATHUB_EVENT_ERROR && !frame.event.room[0] &&
                           !frame.event.cid[0] && !json_object_get(frame.object, "ref");
    if (error)
        chi_connection_lost(connection, error,
                            error == CHATHUB_EPROTOCOL ? problem : chathub_strerror(error));
    else
        hear(connection, &frame);
    chi_frame_fini(&frame);
}
