/* RFC 6455 after the handshake: frames in, messages put together, control frames answered.
 *
 * Happy path: a read holds whole frames, each an unfragmented, masked text of allowed length. It is
 * unmasked where it lies, 8 bytes at a time, and goes to the hub from there. Such a frame that the
 * read cuts gathers in input->bytes. All others, right or wrong, and those with a cut head, are
 * wslay's to judge (its frame level), which unmasks byte by byte; so are fragments, which gather,
 * too. A reader that stands within a frame stays in the connection's input.
 *
 * Failure modes: whatever breaks the protocol fails the connection with its close code (fail);
 * the peer's own close has the hub end it; a hub that wants to wait stops the loop at a frame's
 * end, and what the reader took beyond it is left to the caller. */
#include "net/internal.h"

#include <stdlib.h>
#include <string.h>
#include <wslay/wslay.h>

/* wslay's frame context: two headers, a state and a buffer of 4 KiB. */
#define CONTEXT_SIZE 4352
/* Section 5.2: two bytes, a length of eight, a masking key of four. */
#define HEAD_MAX 14
#define MASKED   0x80u

struct chi_frames {
    wslay_frame_context_ptr context;
    const char *in;                   /* what wslay may still take */
    size_t left;                      /* of it */
    uint64_t got;                     /* payload of the present frame that wslay gave so far */
    uint64_t length;                  /* payload of the present frame, once its head is whole */
    uint64_t missing;                 /* of it */
    uint8_t head[HEAD_MAX];           /* of the present frame */
    uint8_t head_len;                 /* as far as it came */
    bool plain;                       /* the present frame is not wslay's */
    bool broken;                      /* wslay found a malformed frame */
    uint8_t control[CHI_CONTROL_MAX]; /* payload of the present control frame */
};

/* -------------------------------------------------------------------------------------- readers */

static ssize_t take_bytes(uint8_t *buf, size_t len, int flags, void *user)
{
    struct chi_frames *frames = user;
    size_t n = len < frames->left ? len : frames->left;

    (void)flags;
    if (n == 0)
        return -1;
    memcpy(buf, frames->in, n);
    frames->in += n;
    frames->left -= n;
    return (ssize_t)n;
}

static struct chi_frames *frames_new(void)
{
    static const struct wslay_frame_callbacks callbacks = {.recv_callback = take_bytes};
    struct chi_frames *frames = calloc(1, sizeof(*frames));

    if (frames && wslay_frame_context_init(&frames->context, &callbacks, frames) != 0) {
        free(frames);
        return NULL;
    }
    return frames;
}

void chi_frames_free(struct chi_frames *frames)
{
    if (!frames)
        return;
    wslay_frame_context_free(frames->context);
    free(frames);
}

size_t chi_frames_size(void)
{
    return sizeof(struct chi_frames) + CONTEXT_SIZE;
}

/* The connection's reader, or the spare one, or a new one. It leaves its owner. */
static struct chi_frames *frames_take(struct chi_conn *conn)
{
    struct chi_input *input = chi_conn_input(conn);
    struct chi_frames **from = input && input->frames ? &input->frames : &conn->net->spare;
    struct chi_frames *frames = *from;

    *from = NULL;
    return frames ? frames : frames_new();
}

/* A reader that is done: at a boundary with nothing in it, it serves the next connection. */
static void frames_done(struct chi_net *net, struct chi_frames *frames, bool clean)
{
    if (clean && !net->spare)
        net->spare = frames;
    else
        chi_frames_free(frames);
}

/* ------------------------------------------------------------------------------- control frames */

static void on_ping(struct chi_conn *conn, const struct chi_frames *frames, size_t len)
{
    struct chi_unfinished *all = conn->client ? chi_conn_unfinished(conn) : NULL;

    if (!all)
        return;
    if (!all->pong)
        all->pong = malloc(sizeof(*all->pong));
    if (!all->pong)
        return;
    /* Section 5.5.3: only the most recent ping need be answered. */
    all->pong->len = (uint8_t)len;
    memcpy(all->pong->bytes, frames->control, len);
    chi_delivery_poke(conn->net->parts.delivery, chi_hub_client_slot(conn->client));
}

/* What is wrong with a close frame's payload: a close code to answer with, or 0. */
static int close_fault(const uint8_t *payload, size_t len, unsigned *code)
{
    *code = 0;
    if (len == 0)
        return 0;
    if (len == 1)
        return 1002;
    *code = (unsigned)(payload[0] << 8 | payload[1]);
    if (!chi_close_code_valid(*code))
        return 1002;
    return chi_utf8_valid(payload + 2, len - 2) ? 0 : 1007;
}

/* The hub ends the client with what it is owed, and our close frame answers this one
 * (transport.c). A client that says 1000, or nothing, has left for good; with any other code its
 * session may come back. */
static void let_go(struct chi_conn *conn, int code)
{
    struct chi_unfinished *all = chi_conn_unfinished(conn);
    bool left = code == 0 || code == 1000;
    struct chi_span reason = left ? CHI_SPAN("left") : CHI_SPAN("closed by the other side");

    if (all)
        all->reason = reason.at;
    chi_hub_close_client(conn->net->parts.hub, conn->client, left ? 1000 : code, reason);
}

static void on_close(struct chi_conn *conn, const struct chi_frames *frames, size_t len)
{
    unsigned code;
    int fault = close_fault(frames->control, len, &code);

    if (fault) {
        chi_conn_fail(conn, fault, fault == 1002 ? "bad close code" : "close reason is not UTF-8");
        return;
    }
    conn->peer_closed = true;
    conn->close_code = (uint16_t)code;
    conn->deaf = true;
    if (conn->client)
        let_go(conn, (int)code);
    else if (!chi_conn_out(conn))
        chi_conn_push(conn);
}

/* false: too many within this second. */
static bool count_control(struct chi_conn *conn)
{
    uint16_t second = (uint16_t)(chi_net_now(conn->net) / 1000);

    if (second != conn->control_second) {
        conn->control_second = second;
        conn->controls = 0;
    }
    if (conn->controls < UINT16_MAX)
        conn->controls++;
    return conn->controls <= conn->net->parts.settings->control_rate;
}

static void on_control(struct chi_conn *conn, struct chi_frames *frames,
                       const struct wslay_frame_iocb *frame)
{
    size_t len = (size_t)frame->payload_length;

    if (frame->opcode == CHI_OPCODE_CLOSE)
        on_close(conn, frames, len);
    else if (!count_control(conn))
        chi_conn_fail(conn, 1008, "too many control frames");
    else if (frame->opcode == CHI_OPCODE_PING)
        on_ping(conn, frames, len);
}

/* ------------------------------------------------------------------------------------- messages */

/* Of the hub's bound and the dialect's the lower one. */
static uint32_t longest_message(const struct chi_conn *conn)
{
    uint32_t hub = conn->net->parts.settings->max_message,
             own = chi_conn_dialect(conn)->max_message;

    return own && own < hub ? own : hub;
}

/* Looks at a frame's head when its first bytes are there. false: the connection was failed. */
static bool check_head(struct chi_conn *conn, const struct wslay_frame_iocb *frame)
{
    const struct chi_settings *settings = conn->net->parts.settings;
    uint32_t max_message = longest_message(conn);
    const struct chi_input *input = chi_conn_input(conn);
    bool open = input && input->message;
    size_t have = open ? input->bytes.len : 0;
    int code = 1002;
    const char *why = NULL;

    if (!frame->mask)
        why = "frames of a client have to be masked";
    else if (frame->rsv)
        why = "reserved bits are set";
    else if (wslay_is_ctrl_frame(frame->opcode) ? frame->opcode > CHI_OPCODE_PONG
                                                : frame->opcode > CHI_OPCODE_BINARY)
        why = "reserved opcode";
    else if (wslay_is_ctrl_frame(frame->opcode))
        return true;
    else if (open != (frame->opcode == CHI_OPCODE_CONTINUATION))
        why = open ? "a new message within a fragmented one" : "nothing to continue";
    else if (frame->opcode == CHI_OPCODE_BINARY)
        code = 1003, why = "binary messages are not understood here";
    else if (frame->payload_length > max_message || have + frame->payload_length > max_message)
        code = 1009, why = "message too big";
    else if (open && input->fragments >= settings->max_fragments)
        code = 1008, why = "too many fragments";
    if (why)
        chi_conn_fail(conn, code, why);
    return why == NULL;
}

/* Adds a piece to the open message, which it opens. false: the connection was failed. */
static bool gather(struct chi_conn *conn, const void *bytes, size_t len)
{
    struct chi_input *input = chi_input_get(conn);

    if (input) {
        chi_input_begin(input, conn);
        input->message = true;
        chi_buf_add(&input->bytes, bytes, len);
    }
    if (!input || input->bytes.failed) {
        chi_conn_fail(conn, 1011, "out of memory");
        return false;
    }
    input->utf8 = chi_utf8_feed(input->utf8, bytes, len);
    if (input->utf8 == CHI_UTF8_INVALID) {
        chi_conn_fail(conn, 1007, "text is not UTF-8");
        return false;
    }
    return true;
}

/* The open message is complete. */
static bool finish_message(struct chi_conn *conn)
{
    struct chi_input *input = chi_conn_input(conn);
    struct chi_buf message = input->bytes;
    bool whole = input->utf8 == 0, more = false;

    input->bytes = (struct chi_buf){0};
    chi_input_finish(input);
    if (whole)
        more = chi_conn_message(conn, (struct chi_span){message.at, message.len});
    else
        chi_conn_fail(conn, 1007, "text is not UTF-8");
    chi_buf_fini(&message);
    return more;
}

static bool on_whole(struct chi_conn *conn, const void *bytes, size_t len)
{
    if (!chi_utf8_valid(bytes, len)) {
        chi_conn_fail(conn, 1007, "text is not UTF-8");
        return false;
    }
    return chi_conn_message(conn, (struct chi_span){bytes, len});
}

/* A piece of a data frame. false: go no further. */
static bool on_data(struct chi_conn *conn, const struct chi_frames *frames,
                    const struct wslay_frame_iocb *frame)
{
    bool end = frames->got == frame->payload_length;
    const struct chi_input *input = chi_conn_input(conn);
    bool open = input && input->message;

    if (!open && end && frame->fin)
        return on_whole(conn, frame->data, frame->data_length);
    if (!gather(conn, frame->data, frame->data_length))
        return false;
    if (!end)
        return true;
    chi_conn_input(conn)->fragments++;
    return !frame->fin || finish_message(conn);
}

/* A piece of a frame, perhaps all of it. false: go no further. */
static bool on_piece(struct chi_conn *conn, struct chi_frames *frames,
                     const struct wslay_frame_iocb *frame)
{
    bool first = frames->got == 0;

    frames->got += frame->data_length;
    /* The hub is done with it: only the peer's close is of interest. */
    if (!conn->client && frame->opcode != CHI_OPCODE_CLOSE)
        return true;
    if (first && !check_head(conn, frame))
        return false;
    if (!wslay_is_ctrl_frame(frame->opcode))
        return on_data(conn, frames, frame);
    if (frame->data_length > 0)
        memcpy(frames->control + frames->got - frame->data_length, frame->data, frame->data_length);
    if (frames->got == frame->payload_length)
        on_control(conn, frames, frame);
    return !conn->deaf && conn->phase != CHI_PHASE_DEAD;
}

/* Has wslay take what came of the present frame. false: go no further. */
static bool judge(struct chi_conn *conn, struct chi_frames *frames, const void *bytes, size_t len)
{
    struct wslay_frame_iocb frame;
    ssize_t got = 0;
    bool more = true;

    frames->in = bytes;
    frames->left = len;
    while (more && (got = wslay_frame_recv(frames->context, &frame)) >= 0) {
        more = on_piece(conn, frames, &frame);
        if (frames->got == frame.payload_length)
            frames->got = 0;
    }
    if (more && got != WSLAY_ERR_WANT_READ) {
        chi_conn_fail(conn, 1002, "malformed frame");
        frames->broken = true;
        more = false;
    }
    return more;
}

/* -------------------------------------------------------------------------------- plain frames */

/* What came and was not used yet. */
struct read {
    char *at;
    size_t len;
};

static size_t extended_size(const struct chi_frames *frames)
{
    unsigned length = frames->head[1] & ~MASKED;

    return length < 126 ? 0 : length == 126 ? 2 : 8;
}

static size_t head_size(const struct chi_frames *frames)
{
    if (frames->head_len < 2)
        return 2;
    return 2 + extended_size(frames) + ((frames->head[1] & MASKED) ? 4 : 0);
}

/* Takes what there is of the head; answers how much that was. */
static size_t take_head(struct chi_frames *frames, struct read *in)
{
    size_t before = frames->head_len;

    while (in->len > 0 && frames->head_len < head_size(frames)) {
        frames->head[frames->head_len++] = (uint8_t)*in->at++;
        in->len--;
    }
    return frames->head_len - before;
}

static uint64_t payload_length(const struct chi_frames *frames)
{
    size_t extended = extended_size(frames);
    uint64_t length = extended ? 0 : frames->head[1] & ~MASKED;

    for (size_t i = 0; i < extended; i++)
        length = length << 8 | frames->head[2 + i];
    return length;
}

/* Whether the present frame, whose head is whole, is one that nobody has to judge. */
static bool is_plain(const struct chi_conn *conn, const struct chi_frames *frames)
{
    uint64_t length = frames->length;
    size_t shortest = length < 126 ? 0 : length <= UINT16_MAX ? 2 : 8;
    const struct chi_input *input = chi_conn_input(conn);
    bool open = input && input->message;

    return conn->client && !open && frames->head[0] == (0x80 | CHI_OPCODE_TEXT) &&
           (frames->head[1] & MASKED) && length > 0 && length <= longest_message(conn) &&
           extended_size(frames) == shortest;
}

/* Section 5.3. `offset`: bytes of the payload before these. */
static void unmask(char *bytes, size_t len, const uint8_t key[4], uint64_t offset)
{
    uint8_t turned[8];
    uint64_t mask, word;
    size_t at = 0;

    for (size_t i = 0; i < sizeof(turned); i++)
        turned[i] = key[(offset + i) % 4];
    memcpy(&mask, turned, sizeof(mask));
    for (; len - at >= sizeof(word); at += sizeof(word)) {
        memcpy(&word, bytes + at, sizeof(word));
        word ^= mask;
        memcpy(bytes + at, &word, sizeof(word));
    }
    for (size_t i = 0; at < len; i++, at++)
        bytes[at] = (char)((uint8_t)bytes[at] ^ turned[i]);
}

/* Takes what there is of a plain frame. false: go no further. */
static bool take_plain(struct chi_conn *conn, struct chi_frames *frames, struct read *in)
{
    size_t len = in->len < frames->missing ? in->len : (size_t)frames->missing;
    char *bytes = in->at;

    unmask(bytes, len, frames->head + frames->head_len - 4, frames->length - frames->missing);
    in->at += len;
    in->len -= len;
    frames->missing -= len;
    if (!conn->client) /* the hub is done with it */
        return true;
    if (len == frames->length)
        return on_whole(conn, bytes, len);
    return gather(conn, bytes, len) && (frames->missing > 0 || finish_message(conn));
}

/* Takes what there is of a frame that is wslay's. false: go no further. */
static bool take_other(struct chi_conn *conn, struct chi_frames *frames, struct read *in)
{
    size_t len = in->len < frames->missing ? in->len : (size_t)frames->missing;
    const char *bytes = in->at;

    in->at += len;
    in->len -= len;
    frames->missing -= len;
    return judge(conn, frames, bytes, len);
}

/* Takes a frame's head, or the next part of it. false: go no further. */
static bool begin_frame(struct chi_conn *conn, struct chi_frames *frames, struct read *in)
{
    bool fresh = frames->head_len == 0;
    size_t len = take_head(frames, in);
    bool whole = frames->head_len == head_size(frames);

    if (whole)
        frames->length = frames->missing = payload_length(frames);
    frames->plain = fresh && whole && is_plain(conn, frames);
    return frames->plain || judge(conn, frames, frames->head + frames->head_len - len, len);
}

static void end_frame(struct chi_conn *conn, struct chi_frames *frames)
{
    struct chi_input *input = chi_conn_input(conn);

    frames->head_len = 0;
    if (input && !input->message)
        input->begun = false;
}

/* ----------------------------------------------------------------------------------- the whole */

/* Keeps the reader of a frame that the read cut. */
static void keep_frames(struct chi_conn *conn, struct chi_frames *frames)
{
    struct chi_input *input = chi_input_get(conn);

    if (!input) {
        chi_frames_free(frames);
        chi_conn_fail(conn, 1011, "out of memory");
        return;
    }
    chi_input_begin(input, conn);
    input->frames = frames;
}

size_t chi_websocket_feed(struct chi_conn *conn, char *bytes, size_t len)
{
    struct chi_frames *frames = frames_take(conn);
    struct read in = {bytes, len};
    bool more = true;

    if (!frames) {
        chi_conn_fail(conn, 1011, "out of memory");
        return len;
    }
    while (more && in.len > 0) {
        if (frames->head_len < head_size(frames))
            more = begin_frame(conn, frames, &in);
        else if (frames->plain)
            more = take_plain(conn, frames, &in);
        else
            more = take_other(conn, frames, &in);
        if (frames->head_len == head_size(frames) && frames->missing == 0)
            end_frame(conn, frames);
    }
    if (more && frames->head_len > 0) {
        keep_frames(conn, frames);
        return len;
    }
    size_t unread = conn->deaf || conn->phase == CHI_PHASE_DEAD ? 0 : in.len;
    /* wslay has taken all of the frames that it was given, and nothing else */
    bool clean = frames->head_len == 0 && frames->left == 0 && frames->got == 0;
    frames_done(conn->net, frames, clean && !frames->broken);
    return len - unread;
}
