/* Lines: a message is what ends in LF, less a CR before it. */
#include "net/internal.h"

#include <stdio.h>
#include <string.h>

/* An answer to a line that no dialect was asked about. false as chi_conn_message. */
static bool complain(struct chi_conn *conn, int code, const char *message)
{
    struct chi_decode_error error = {.code = code};

    snprintf(error.message, sizeof(error.message), "%s", message);
    return chi_conn_next(conn, chi_hub_bad_request(conn->net->parts.hub, conn->client, &error));
}

static void refuse_long(struct chi_conn *conn)
{
    char message[120];

    snprintf(message, sizeof(message),
             "a line may have %u bytes at most; end each message with a newline",
             (unsigned)conn->net->parts.settings->max_message);
    complain(conn, CHATHUB_ETOOLONG, message);
    chi_conn_fail(conn, 1009, "line too long");
}

/* Whether a connection begins as a browser would that was lured into talking to this port. */
static bool looks_like_http(struct chi_span line)
{
    static const char version[] = " HTTP/1.";
    size_t size = sizeof(version) - 1;

    return line.len > size + 1 && memcmp(line.at + line.len - size - 1, version, size) == 0;
}

static bool on_line(struct chi_conn *conn, struct chi_span line)
{
    if (line.len > 0 && line.at[line.len - 1] == '\r')
        line.len--;
    if (line.len > conn->net->parts.settings->max_message) {
        refuse_long(conn);
        return false;
    }
    bool first = !conn->lined;
    conn->lined = true;
    if (first && looks_like_http(line)) {
        complain(conn, CHATHUB_EREQUEST, "this port speaks lines, not HTTP");
        chi_conn_fail(conn, 1002, "HTTP on a port for lines");
        return false;
    }
    if (!chi_utf8_valid(line.at, line.len)) {
        if (conn->phase < CHI_PHASE_OPEN)
            chi_conn_phase(conn, CHI_PHASE_OPEN, 0);
        return complain(conn, CHATHUB_ETEXT, "a line has to be UTF-8");
    }
    return chi_conn_message(conn, line);
}

/* The end of a line whose beginning earlier reads brought. */
static bool finish_line(struct chi_conn *conn, const char *bytes, size_t len)
{
    struct chi_input *input = chi_conn_input(conn);
    struct chi_buf line = input->bytes;
    bool more;

    input->bytes = (struct chi_buf){0};
    chi_input_finish(input);
    chi_buf_add(&line, bytes, len);
    if (line.failed) {
        chi_conn_fail(conn, 1011, "out of memory");
        more = false;
    } else {
        more = on_line(conn, (struct chi_span){line.at, line.len});
    }
    chi_buf_fini(&line);
    return more;
}

/* The beginning, or more, of a line that is not complete yet. */
static void keep_line(struct chi_conn *conn, const char *bytes, size_t len)
{
    struct chi_input *input = chi_input_get(conn);

    if (input && input->bytes.len + len > conn->net->parts.settings->max_message + 1u) {
        refuse_long(conn);
        return;
    }
    if (input) {
        chi_input_begin(input, conn);
        chi_buf_add(&input->bytes, bytes, len);
    }
    if (!input || input->bytes.failed)
        chi_conn_fail(conn, 1011, "out of memory");
}

size_t chi_lines_feed(struct chi_conn *conn, const char *bytes, size_t len)
{
    size_t at = 0;
    bool more = true;

    while (more && at < len) {
        const char *end = memchr(bytes + at, '\n', len - at);
        if (!end) {
            keep_line(conn, bytes + at, len - at);
            return len;
        }
        size_t size = (size_t)(end - bytes) - at;
        const struct chi_input *input = chi_conn_input(conn);
        if (input && input->bytes.len > 0)
            more = finish_line(conn, bytes + at, size);
        else
            more = on_line(conn, (struct chi_span){bytes + at, size});
        at += size + 1;
    }
    return at;
}
