/* wslay judges frames and makes those that go out; messages gather here, so that the many fragments
 * of a server without manners cost no more than their bytes. */
#include "client/socket.h"

#include <stdlib.h>
#include <sys/random.h>
#include <wslay/wslay.h>

#include "chathub.h"

#define NO_STATUS  1005u
#define REASON_MAX 123u
#define PIECE      1024u /* bytes that wslay reads before its pongs are written */

struct chi_socket {
    wslay_event_context_ptr context;
    struct chi_buf *out; /* the owner's */
    void (*text)(void *ctx, struct chi_span text);
    void *ctx;
    uint32_t max;
    const char *in;                    /* what wslay may still take */
    size_t left;                       /* of it */
    uint8_t opcode;                    /* of the frame that is being read */
    bool stopped;                      /* nothing is to be told any more */
    bool long_one;                     /* a message was longer than it may be */
    bool short_of;                     /* memory */
    size_t closing;                    /* bytes of the server's close frame that came */
    uint8_t close[2 + REASON_MAX + 1]; /* they themselves */
    struct chi_buf message;            /* what came of the present one */
};

/* ------------------------------------------------------------------------------ wslay's callbacks */

static ssize_t take_bytes(wslay_event_context_ptr context, uint8_t *to, size_t len, int flags,
                          void *user)
{
    struct chi_socket *socket = user;
    size_t n = len < socket->left ? len : socket->left;

    (void)flags;
    if (n == 0 || socket->stopped) {
        wslay_event_set_error(context, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(to, socket->in, n);
    socket->in += n;
    socket->left -= n;
    return (ssize_t)n;
}

static ssize_t give_bytes(wslay_event_context_ptr context, const uint8_t *bytes, size_t len,
                          int flags, void *user)
{
    struct chi_socket *socket = user;

    (void)flags;
    chi_buf_add(socket->out, bytes, len);
    if (!socket->out->failed)
        return (ssize_t)len;
    wslay_event_set_error(context, WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

/* Section 5.3: masks have to be new and unpredictable for each frame. */
static int make_mask(wslay_event_context_ptr context, uint8_t *to, size_t len, void *user)
{
    (void)user;
    if (getrandom(to, len, 0) == (ssize_t)len)
        return 0;
    wslay_event_set_error(context, WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static void on_frame(wslay_event_context_ptr context,
                     const struct wslay_event_on_frame_recv_start_arg *frame, void *user)
{
    struct chi_socket *socket = user;

    socket->opcode = frame->opcode;
    if (wslay_is_ctrl_frame(frame->opcode))
        return;
    if (frame->payload_length > socket->max - socket->message.len) {
        socket->long_one = true;
        wslay_event_queue_close(context, 1009, NULL, 0);
        wslay_event_shutdown_read(context);
    }
}

/* A close frame is kept beside wslay's reading, which does not know all codes that there are. */
static void on_chunk(wslay_event_context_ptr context,
                     const struct wslay_event_on_frame_recv_chunk_arg *chunk, void *user)
{
    struct chi_socket *socket = user;
    size_t room = sizeof(socket->close) - socket->closing;

    if (socket->opcode == WSLAY_CONNECTION_CLOSE) {
        size_t n = chunk->data_length < room ? chunk->data_length : room;
        memcpy(socket->close + socket->closing, chunk->data, n);
        socket->closing += n;
    } else if (!wslay_is_ctrl_frame(socket->opcode) && !socket->long_one) {
        chi_buf_add(&socket->message, chunk->data, chunk->data_length);
        if (socket->message.failed) {
            socket->short_of = true;
            wslay_event_shutdown_read(context);
        }
    }
}

static void on_message(wslay_event_context_ptr context,
                       const struct wslay_event_on_msg_recv_arg *message, void *user)
{
    struct chi_socket *socket = user;

    if (wslay_is_ctrl_frame(message->opcode) || socket->long_one || socket->short_of)
        return;
    if (message->opcode == WSLAY_TEXT_FRAME)
        socket->text(socket->ctx, (struct chi_span){socket->message.at, socket->message.len});
    else
        wslay_event_queue_close(context, 1003, NULL, 0);
    if (message->opcode != WSLAY_TEXT_FRAME || socket->stopped)
        wslay_event_shutdown_read(context);
    chi_buf_reset(&socket->message, 4096);
}

/* ------------------------------------------------------------------------------------- the face */

struct chi_socket *chi_socket_new(uint32_t max, struct chi_buf *out,
                                  void (*text)(void *ctx, struct chi_span text), void *ctx)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = take_bytes,
        .send_callback = give_bytes,
        .genmask_callback = make_mask,
        .on_frame_recv_start_callback = on_frame,
        .on_frame_recv_chunk_callback = on_chunk,
        .on_msg_recv_callback = on_message,
    };
    struct chi_socket *socket = calloc(1, sizeof(*socket));

    if (!socket)
        return NULL;
    if (wslay_event_context_client_init(&socket->context, &callbacks, socket) != 0) {
        free(socket);
        return NULL;
    }
    wslay_event_config_set_no_buffering(socket->context, 1);
    wslay_event_config_set_max_recv_msg_length(socket->context, max);
    socket->max = max;
    socket->out = out;
    socket->text = text;
    socket->ctx = ctx;
    return socket;
}

void chi_socket_free(struct chi_socket *socket)
{
    if (!socket)
        return;
    wslay_event_context_free(socket->context);
    chi_buf_fini(&socket->message);
    free(socket);
}

void chi_socket_stop(struct chi_socket *socket)
{
    socket->stopped = true;
}

/* Has wslay write what it has queued: pongs and the close frame. */
static int push(struct chi_socket *socket)
{
    if (wslay_event_send(socket->context) == 0)
        return 0;
    socket->short_of = true;
    return CHATHUB_ENOMEM;
}

int chi_socket_feed(struct chi_socket *socket, const char *bytes, size_t len)
{
    int error = 0;

    /* By pieces, so that never many pings wait for their answers. */
    while (len > 0 && !error && wslay_event_want_read(socket->context)) {
        socket->in = bytes;
        socket->left = len < PIECE ? len : PIECE;
        bytes += socket->left;
        len -= socket->left;
        error = wslay_event_recv(socket->context);
        if (error == WSLAY_ERR_NOMEM)
            socket->short_of = true;
        if (push(socket) < 0 || socket->stopped)
            break;
    }
    return error || socket->short_of || socket->long_one ||
           (!socket->stopped && !wslay_event_want_read(socket->context));
}

int chi_socket_end(const struct chi_socket *socket, unsigned *status, struct chi_span *reason)
{
    *status = NO_STATUS;
    *reason = (struct chi_span){"", 0};
    if (socket->short_of)
        return CHATHUB_ENOMEM;
    if (socket->opcode != WSLAY_CONNECTION_CLOSE) {
        bool long_one = wslay_event_get_status_code_sent(socket->context) == 1009;
        return long_one || socket->long_one ? CHATHUB_ETOOLONG : CHATHUB_EPROTOCOL;
    }
    if (socket->closing == 1)
        return CHATHUB_EPROTOCOL;
    if (socket->closing < 2)
        return 0;
    *status = (unsigned)socket->close[0] << 8 | socket->close[1];
    const char *text = (const char *)socket->close + 2;
    if (chi_utf8_valid(text, socket->closing - 2))
        *reason = (struct chi_span){text, socket->closing - 2};
    return 0;
}

static int send_message(struct chi_socket *socket, uint8_t opcode, struct chi_span text)
{
    const struct wslay_event_msg message = {opcode, (const uint8_t *)text.at, text.len};

    if (wslay_event_queue_msg(socket->context, &message) == WSLAY_ERR_NOMEM)
        return CHATHUB_ENOMEM;
    return push(socket);
}

int chi_socket_send(struct chi_socket *socket, struct chi_span text)
{
    return send_message(socket, WSLAY_TEXT_FRAME, text);
}

int chi_socket_close(struct chi_socket *socket, unsigned status)
{
    if (wslay_event_queue_close(socket->context, (uint16_t)status, NULL, 0) == WSLAY_ERR_NOMEM)
        return CHATHUB_ENOMEM;
    return push(socket);
}
