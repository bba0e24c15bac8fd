/* What the hub says: told to the host as events, after what the connection itself makes of it. */
#include "client/internal.h"

#include <stdlib.h>

/* What was asked for is the name now. */
static void name_taken_over(struct chathub_connection *connection)
{
    if (!connection->wish)
        return;
    free(connection->name);
    connection->name = connection->wish;
    connection->wish = NULL;
}

static void on_welcome(struct chathub_connection *connection, const struct chi_frame *frame)
{
    const json_t *limits = json_object_get(frame->object, "limits");
    uint64_t content = chi_frame_number(limits, "content");
    uint64_t message = chi_frame_number(limits, "message");

    if (frame->own && frame->own[0] == 'n')
        name_taken_over(connection);
    if (content > 0)
        connection->max_content = content;
    if (message > 0)
        connection->max_message = message;
    bool first = connection->state != CHATHUB_STATE_CONNECTED;
    if (first) {
        connection->welcome_due = CHI_NEVER;
        connection->stood_since = uv_now(connection->loop);
        if (!chi_connection_change(connection, CHATHUB_STATE_CONNECTED, 0, ""))
            return;
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

static void on_post_error(struct chathub_connection *connection, struct chi_post *post,
                          const struct chi_frame *frame)
{
    if (chi_passes(frame)) {
        post->sent = false;
        post->due = chi_again(connection, frame);
        chi_connection_kick(connection);
        return;
    }
    chi_outbox_remove(&connection->outbox, post);
    chi_connection_kick(connection);
    chi_connection_tell(connection, &frame->event);
}

static void on_error(struct chathub_connection *connection, struct chi_frame *frame)
{
    struct chi_post *post =
        frame->event.cid[0] ? chi_outbox_find(&connection->outbox, frame->event.cid) : NULL;

    if (frame->own && frame->own[0] == 'h') {
        on_refused(connection, frame);
    } else if (frame->own && frame->own[0] == 'p') {
        return; /* it is there, and says so */
    } else if (frame->own && frame->own[0] == 'n') {
        free(connection->wish);
        connection->wish = NULL;
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

    if (error)
        chi_connection_lost(connection, error,
                            error == CHATHUB_EPROTOCOL ? problem : chathub_strerror(error));
    else
        hear(connection, &frame);
    chi_frame_fini(&frame);
}
