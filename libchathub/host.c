/* The boundary for what a host does beside chatting: erasing entries, ending clients, and handing
 * connections over. */
#include <string.h>

#include "auth/fold.h"
#include "boundary.h"
#include "dialect/dialect.h"
#include "net/http.h"

/* Bytes of the words with which a client is ended. */
#define MESSAGE_MAX 512
/* Bytes that were read of a connection before the hub has it. */
#define ADOPTED_MAX 65536u

/* ------------------------------------------------------------------------------------ redaction */

/* NULL: the default room. */
static int check_room_name(struct chathub *hub, const char *room)
{
    struct chi_buf shown = {0}, key = {0};
    int error = 0;
    if (room)
        error = chi_fold(hub->settings.ascii_names, CHI_FOLD_ROOM, chi_span_of(room), &shown, &key);
    chi_buf_fini(&shown);
    chi_buf_fini(&key);
    return error && error != CHATHUB_ENOMEM ? CHATHUB_EROOMNAME : error;
}

int chathub_redact(struct chathub *hub, uint64_t client, const char *room, uint64_t position)
{
    CHI_CALL(hub);
    int error = chi_enter_serving(hub);
    if (error)
        return error;
    if (!position || position > CHI_POSITION_MAX)
        return chi_plain(hub, CHATHUB_EPOSITION);
    error = check_room_name(hub, room);
    if (error)
        return chi_plain(hub, error);
    const struct chi_request redact = {
        .type = CHI_REQUEST_REDACT, .room = chi_span_of(room), .position = position};
    return chi_plain(hub, chi_inproc_request(hub->inproc, client, &redact));
}

/* -------------------------------------------------------------------------------- disconnecting */

/* A copy of one line that every protocol can carry: whole characters, no controls. */
static struct chi_span one_line(const char *text, char out[MESSAGE_MAX])
{
    struct chi_span all = {text, text ? strnlen(text, MESSAGE_MAX + 1) : 0};
    return (struct chi_span){out, chi_utf8_line(all, out, MESSAGE_MAX)};
}

static bool code_fits(int code)
{
    return code == 1000 || code == 1008 || (code >= 4000 && code <= 4999);
}

int chathub_disconnect(struct chathub *hub, uint64_t client, int code, const char *message)
{
    CHI_CALL(hub);
    int error = chi_enter_running(hub);
    if (error)
        return error;
    if (!hub->hub)
        return chi_plain(hub, CHATHUB_EGONE);
    if (!code_fits(code))
        return chi_problem(hub, CHATHUB_EINVAL, "close code %d: use 1000, 1008 or 4000 to 4999",
                           code);
    char line[MESSAGE_MAX];
    struct chi_span words = one_line(message, line);
    if (!chi_utf8_valid(words.at, words.len))
        return chi_problem(hub, CHATHUB_EINVAL, "the message has to be UTF-8");
    return chi_plain(hub, chi_hub_eject(hub->hub, client, code, words));
}

/* ------------------------------------------------------------------------------------- adoption */

static int read_url(struct chathub *hub, const char *url, enum chi_protocol protocol,
                    struct chi_address *out)
{
    int error = chi_address_parse_adopted(url, protocol, out, hub->problem, sizeof(hub->problem));
    if (!error && *out->room)
        error = chi_check_named_room(hub, "the URL", chi_span_of(out->room));
    return error == CHATHUB_EVALUE ? CHATHUB_EADDRESS : error;
}

/* What the caller knows of the struct; the rest is 0. */
static int read_adoption(struct chathub *hub, const struct chathub_adoption *from,
                         struct chathub_adoption *out)
{
    if (!from || !CHI_HAS(from, struct chathub_adoption, subprotocol))
        return chi_problem(hub, CHATHUB_EINVAL, "the adoption's size has to be set");
    memcpy(out, from, CHI_LESSER(from->size, sizeof(*out)));
    if (out->as < CHATHUB_ADOPT_HTTP || out->as > CHATHUB_ADOPT_LINES || out->reserved)
        return chi_problem(hub, CHATHUB_EINVAL,
                           "`as` is one of CHATHUB_ADOPT_…, not %d, and `reserved` is 0",
                           (int)out->as);
    if (out->len > ADOPTED_MAX || (out->len && !out->bytes))
        return chi_problem(hub, CHATHUB_EINVAL,
                           "%zu bytes that were read: there may be %u, and they have to be there",
                           out->len, ADOPTED_MAX);
    return 0;
}

int chathub_adopt(struct chathub *hub, const struct chathub_adoption *adoption)
{
    CHI_CALL(hub);
    int error = chi_enter_serving(hub);
    if (error)
        return error;
    if (hub->stand_in)
        return chi_problem(
            hub, CHATHUB_EINVAL,
            "a hub in a test has no sockets; people come by chathub_testing_connect");
    struct chathub_adoption it = {.size = 0};
    struct chi_address address;
    error = read_adoption(hub, adoption, &it);
    if (!error)
        error = read_url(hub, it.url,
                         it.as == CHATHUB_ADOPT_LINES ? CHI_PROTOCOL_LINES : CHI_PROTOCOL_WEBSOCKET,
                         &address);
    if (error)
        return error;
    const struct chi_adoption what = {
        .as = it.as,
        .fd = it.fd,
        .address = &address,
        .bytes = it.bytes,
        .len = it.len,
        .native = it.as == CHATHUB_ADOPT_WEBSOCKET && it.subprotocol &&
                  strcmp(it.subprotocol, CHI_SUBPROTOCOL) == 0,
    };
    return chi_net_adopt(hub->net, &what, hub->problem, sizeof(hub->problem));
}

/* ------------------------------------------------------------------------------------- carriers */

static int read_carrier(struct chathub *hub, const struct chathub_carrier *from,
                        struct chathub_carrier *out)
{
    if (!from || !CHI_HAS(from, struct chathub_carrier, close))
        return chi_problem(hub, CHATHUB_EINVAL, "the carrier's size has to be set");
    memcpy(out, from, CHI_LESSER(from->size, sizeof(*out)));
    return !out->send || !out->close || out->reserved
               ? chi_problem(hub, CHATHUB_EINVAL,
                             "a carrier needs `send` and `close`, and `reserved` is 0")
               : 0;
}

static int read_carried_url(struct chathub *hub, const char *url, struct chi_address *out)
{
    int error = read_url(hub, url, CHI_PROTOCOL_LINES, out);
    if (!error && out->dialect && out->dialect != &chi_dialect_native &&
        out->dialect != &chi_dialect_human)
        error = chi_problem(hub, CHATHUB_EADDRESS,
                            "%s: carriers speak native or human; choose one of these", url);
    return error;
}

int chathub_carry(struct chathub *hub, const struct chathub_carrier *carrier, void *conn,
                  const char *url, const char *address, uint64_t *client)
{
    CHI_CALL(hub);
    int error = chi_enter_serving(hub);
    if (error)
        return error;
    if (!client)
        return chi_plain(hub, CHATHUB_EINVAL);
    struct chathub_carrier ops = {.size = 0};
    struct chi_address listener;
    error = read_carrier(hub, carrier, &ops);
    if (!error)
        error = read_carried_url(hub, url, &listener);
    if (error)
        return error;
    return chi_plain(
        hub, chi_carriers_open(hub->carriers, &ops, conn, &listener, chi_span_of(address), client));
}

int chathub_carrier_line(struct chathub *hub, uint64_t client, const char *line, size_t len)
{
    CHI_CALL(hub);
    int error = chi_enter_running(hub);
    if (error)
        return error;
    if (!line)
        return chi_plain(hub, CHATHUB_EINVAL);
    struct chi_span text = {line, len == CHATHUB_NUL ? strlen(line) : len};
    return chi_plain(hub, chi_carriers_line(hub->carriers, client, text));
}

int chathub_carrier_ready(const struct chathub *hub, uint64_t client)
{
    CHI_CALL(hub);
    int error = chi_enter_running(hub);
    return error ? error : chi_carriers_ready(hub->carriers, client);
}

int chathub_carrier_writable(struct chathub *hub, uint64_t client)
{
    CHI_CALL(hub);
    int error = chi_enter_running(hub);
    return error ? error : chi_plain(hub, chi_carriers_writable(hub->carriers, client));
}

int chathub_carrier_closed(struct chathub *hub, uint64_t client, int left)
{
    CHI_CALL(hub);
    int error = chi_enter_running(hub);
    return error ? error : chi_plain(hub, chi_carriers_closed(hub->carriers, client, left != 0));
}
