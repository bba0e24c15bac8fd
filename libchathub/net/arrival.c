/* How who connects is going to speak, and by which name, as far as the head of its request tells. */
#include "dialect/dialect.h"
#include "net/http.h"

/* How the client will speak (docs/dialects.md, "Which dialect a connection speaks"); NULL with a
 * refusal sent, if that is none. *native: whether chathub.v1 is agreed on. */
static const struct chi_dialect *choose_dialect(struct chi_conn *conn, const struct chi_head *head,
                                                bool *native)
{
    struct chi_span asked = chi_head_query(head, "dialect");
    const struct chi_dialect *dialect = chi_conn_listener(conn)->address.dialect;

    *native = chi_head_has_token(head, "Sec-WebSocket-Protocol", CHI_SUBPROTOCOL);
    conn->decided = true;
    if (*native)
        return &chi_dialect_native;
    if (asked.len > 0) {
        dialect = chi_dialect_find(asked);
        if (!dialect)
            chi_http_refuse(conn, 400,
                            "there is no dialect of this name; there are " CHI_DIALECT_NAMES, NULL);
        return dialect;
    }
    for (size_t i = 0; !dialect && chi_dialect_by_key(i); i++)
        if (chi_head_query(head, chi_dialect_by_key(i)->name_key).at)
            dialect = chi_dialect_by_key(i);
    if (dialect)
        return dialect;
    conn->decided = false;
    return &chi_dialect_native;
}

/* Undoes the encoding of a form's value (+ and %XX) into `out`, which stays empty, at NULL, where there
 * is nothing. false: it is not one, or not of UTF-8. */
static bool decode_value(struct chi_span raw, struct chi_buf *out)
{
    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.at[i] == '+' ? ' ' : raw.at[i];
        if (c == '%') {
            int high = i + 2 < raw.len ? chi_hex_digit(raw.at[i + 1]) : -1;
            int low = high < 0 ? -1 : chi_hex_digit(raw.at[i + 2]);
            if (low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        chi_buf_add_char(out, c);
    }
    return chi_utf8_valid(out->at, out->len);
}

/* Refuses what cannot be a name here; tokens fail with one word for every reason. */
static bool refuse_name(struct chi_conn *conn, int error, int status, const char *why)
{
    if (error == CHATHUB_ENOMEM)
        chi_http_refuse(conn, 503, chathub_strerror(error), NULL);
    else if (error == CHATHUB_ERESERVED)
        chi_http_refuse(conn, status == 401 ? 403 : status, chathub_strerror(error), NULL);
    else
        chi_http_refuse(conn, status, status == 401 ? why : chathub_strerror(error), NULL);
    return false;
}

/* The name that the client connects with, if its dialect has one in the query. false: refused. */
static bool read_name(struct chi_conn *conn, const struct chi_head *head, struct chi_arrival *out)
{
    const struct chi_dialect *dialect = out->dialect;
    const char *why;
    bool demo = chi_conn_listener(conn)->local || conn->net->parts.settings->demo_names;

    if (!dialect->name_key)
        return true;
    struct chi_span raw = chi_head_query(head, dialect->name_key), none = {"", 0};
    bool valid = decode_value(raw, &out->memory);
    struct chi_span value = valid ? (struct chi_span){out->memory.at, out->memory.len} : none;
    int status = dialect->read_name(value, demo, &out->name, &why);
    int error = out->memory.failed ? CHATHUB_ENOMEM : 0;
    if (status && !error) {
        chi_http_refuse(conn, status, why, NULL);
        return false;
    }
    if (!error)
        error = chi_hub_check_name(conn->net->parts.hub, out->name);
    if (!error)
        return true;
    status = dialect->read_name(none, demo, &out->name, &why);
    return refuse_name(conn, error, status, why);
}

bool chi_arrival_read(struct chi_conn *conn, const struct chi_head *head, struct chi_arrival *out)
{
    out->dialect = choose_dialect(conn, head, &out->native);
    return out->dialect && read_name(conn, head, out);
}
