/* The boundary of connections, where hosts speak: posts, which go to the outbox, and requests. */
#include <stdlib.h>

#include "client/internal.h"

#define REF_MAX 128    /* bytes that a hub takes */
#define MUCH    65536u /* bytes that wait for the system: no more requests are taken */

/* As hubs read what they are sent. */
#define POST_JSON (JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL)

static struct chi_span span(const char *text, size_t len)
{
    if (!text)
        return (struct chi_span){NULL, 0};
    return (struct chi_span){text, len == CHATHUB_NUL ? strlen(text) : len};
}

static int check_cid(struct chathub_connection *connection, struct chi_span cid)
{
    bool good = cid.len > 0 && cid.len <= CHI_CID_MAX;

    for (size_t i = 0; good && i < cid.len; i++)
        good = cid.at[i] >= ' ' && cid.at[i] <= '~';
    return good ? 0 : chi_plain_fail(connection, CHATHUB_ECID);
}

static int check_content(struct chathub_connection *connection, struct chi_span content)
{
    if (!chi_utf8_valid(content.at, content.len) || !chi_text_clean(content.at, content.len))
        return chi_plain_fail(connection, CHATHUB_ETEXT);
    if (connection->max_content && content.len > connection->max_content)
        return chi_fail(connection, CHATHUB_ETOOLONG,
                        "the content has %zu bytes; the hub takes %llu", content.len,
                        (unsigned long long)connection->max_content);
    return 0;
}

/* Of a request on the wire. What is longer would end the connection. */
static int check_length(struct chathub_connection *connection, size_t len)
{
    uint64_t told = connection->max_message;
    uint64_t most = told && told < CHI_REQUEST_MAX ? told : CHI_REQUEST_MAX;

    return len > most ? chi_fail(connection, CHATHUB_ETOOLONG,
                                 "the request has %zu bytes on the wire; at most %llu", len,
                                 (unsigned long long)most)
                      : 0;
}

/* Takes the request that was written into the outbox. */
static int take_post(struct chathub_connection *connection, struct chi_span cid)
{
    const struct chi_buf *request = &connection->request;
    char name[CHI_CID_MAX + 1] = "";

    if (request->failed)
        return chi_plain_fail(connection, CHATHUB_ENOMEM);
    int error = check_length(connection, request->len);
    if (error)
        return error;
    memcpy(name, cid.at, cid.len); /* it may be the old one's place */
    error = chi_outbox_add(&connection->outbox, cid, (struct chi_span){request->at, request->len});
    if (error == CHATHUB_EAGAIN)
        return chi_fail(connection, error,
                        "%u posts wait for their answers; try again when some came",
                        connection->outbox.count);
    if (error)
        return chi_plain_fail(connection, error);
    memcpy(connection->cid, name, sizeof(name));
    chi_connection_kick(connection);
    return 0;
}

int chathub_connection_post(struct chathub_connection *connection, const char *room,
                            const char *content, size_t len, const char *cid)
{
    struct chi_span text = span(content, len), name = chi_span_of(cid);
    char made[CHI_BASE64URL_SIZE(16)];
    int error = chi_connection_enter(connection);

    if (!error)
        error = chi_check_room(connection, room);
    if (!error && !name.at) {
        error = chi_make_key(made) ? 0 : chi_plain_fail(connection, CHATHUB_EIO);
        name = (struct chi_span){made, sizeof(made) - 1};
    }
    if (!error)
        error = check_cid(connection, name);
    if (!error && text.len == 0)
        error = chi_plain_fail(connection, CHATHUB_EEMPTY);
    if (!error)
        error = check_content(connection, text);
    if (error)
        return error;
    struct chi_buf *out = &connection->request;
    chi_buf_reset(out, CHI_REQUEST_MAX);
    chi_buf_add_text(out, "{\"type\":\"post\",\"cid\":");
    chi_buf_add_json(out, name.at, name.len);
    if (room) {
        chi_buf_add_text(out, ",\"room\":");
        chi_buf_add_json(out, room, strlen(room));
    }
    chi_buf_add_text(out, ",\"content\":");
    chi_buf_add_json(out, text.at, text.len);
    chi_buf_add_char(out, '}');
    return take_post(connection, name);
}

const char *chathub_connection_cid(const struct chathub_connection *connection)
{
    return connection ? connection->cid : "";
}

uint32_t chathub_connection_unanswered(const struct chathub_connection *connection)
{
    return connection ? connection->outbox.count : 0;
}

/* --------------------------------------------------------------------------------------- requests */

/* The text as one line: newlines are only between its tokens, since it is valid JSON. */
static void add_line(struct chi_buf *out, struct chi_span json)
{
    size_t begin = out->len;

    chi_buf_add(out, json.at, json.len);
    for (size_t i = begin; i < out->len; i++)
        if (out->at[i] == '\n' || out->at[i] == '\r')
            out->at[i] = ' ';
}

/* A post as JSON, to which a cid and a ref are added if it has none. */
static int post_json(struct chathub_connection *connection, const json_t *object,
                     struct chi_span json)
{
    const json_t *own = json_object_get(object, "cid"), *text = json_object_get(object, "content");
    struct chi_span cid = {json_string_value(own), json_string_length(own)};
    struct chi_buf *out = &connection->request;
    char made[CHI_BASE64URL_SIZE(16)];
    const char *brace = memchr(json.at, '{', json.len);
    int error = chi_check_room(connection, json_string_value(json_object_get(object, "room")));

    if (!error && own)
        error = check_cid(connection, cid);
    if (!error && json_is_null(json_object_get(object, "ref")))
        error = chi_fail(connection, CHATHUB_EREQUEST, "leave \"ref\" out instead of null");
    if (!error && json_is_string(text))
        error = check_content(connection,
                              (struct chi_span){json_string_value(text), json_string_length(text)});
    if (error)
        return error;
    chi_buf_reset(out, CHI_REQUEST_MAX);
    chi_buf_add_char(out, '{');
    if (!cid.at) {
        if (!chi_make_key(made))
            return chi_plain_fail(connection, CHATHUB_EIO);
        cid = (struct chi_span){made, sizeof(made) - 1};
        chi_buf_add_text(out, "\"cid\":");
        chi_buf_add_json(out, cid.at, cid.len);
        chi_buf_add_char(out, ',');
    }
    if (!json_object_get(object, "ref")) {
        /* what the hub does not understand it answers by this alone */
        chi_buf_add_text(out, "\"ref\":\"" CHI_OWN_REF "q");
        chi_buf_add_u64(out, connection->outbox.made + 1);
        chi_buf_add_text(out, "\",");
    }
    add_line(out, (struct chi_span){brace + 1, (size_t)(json.at + json.len - brace - 1)});
    return take_post(connection, cid);
}

static int send_json(struct chathub_connection *connection, struct chi_span json)
{
    struct chi_buf *out = &connection->request;

    if (connection->state != CHATHUB_STATE_CONNECTED || !connection->open)
        return chi_fail(connection, CHATHUB_EAGAIN, "not connected now; ask again once it is");
    if (chi_wire_waiting(connection->wire) > MUCH)
        return chi_plain_fail(connection, CHATHUB_EAGAIN);
    chi_say_all(connection); /* what was asked for before */
    chi_buf_reset(out, CHI_REQUEST_MAX);
    add_line(out, json);
    if (out->failed)
        return chi_plain_fail(connection, CHATHUB_ENOMEM);
    chi_connection_kick(connection);
    return chi_plain_fail(connection,
                          chi_wire_send(connection->wire, (struct chi_span){out->at, out->len}));
}

/* By a ref that the hub does not take nothing would be known again: it is answered without one. */
static bool is_ref(const json_t *ref)
{
    char text[REF_MAX];

    return !ref || json_is_null(ref) ||
           ((json_is_string(ref) || json_is_number(ref) || json_is_boolean(ref)) &&
            json_dumpb(ref, text, sizeof(text), JSON_ENCODE_ANY) <= sizeof(text));
}

static int ask(struct chathub_connection *connection, const json_t *object, struct chi_span json)
{
    const char *type = json_string_value(json_object_get(object, "type"));
    const char *ref = json_string_value(json_object_get(object, "ref"));

    if (!is_ref(json_object_get(object, "ref")))
        return chi_fail(connection, CHATHUB_EREQUEST,
                        "\"ref\" is a number, a text, true or false of at most %d bytes", REF_MAX);
    if (ref && strncmp(ref, CHI_OWN_REF, sizeof(CHI_OWN_REF) - 1) == 0)
        return chi_fail(connection, CHATHUB_EREQUEST,
                        "refs that begin with \"" CHI_OWN_REF "\" are the connection's own");
    if (type ? strcmp(type, "post") == 0 : json_object_get(object, "content") != NULL)
        return post_json(connection, object, json);
    if (!type)
        return chi_fail(connection, CHATHUB_EREQUEST, "\"type\" is missing, or is no text");
    if (strcmp(type, "hello") == 0 || strcmp(type, "join") == 0 || strcmp(type, "leave") == 0)
        return chi_fail(connection, CHATHUB_EREQUEST,
                        "the connection itself sends \"%s\"; there is a function for it", type);
    return send_json(connection, json);
}

int chathub_connection_request(struct chathub_connection *connection, const char *json, size_t len)
{
    struct chi_span text = span(json ? json : "", json ? len : 0);
    json_error_t wrong;
    int error = chi_connection_enter(connection);

    if (error)
        return error;
    if (!chi_utf8_valid(text.at, text.len))
        return chi_plain_fail(connection, CHATHUB_ETEXT);
    error = check_length(connection, text.len);
    if (error)
        return error;
    json_t *object = json_loadb(text.at, text.len, POST_JSON, &wrong);
    if (!object && json_error_code(&wrong) == json_error_out_of_memory)
        return chi_plain_fail(connection, CHATHUB_ENOMEM);
    error = json_is_object(object) ? ask(connection, object, text)
                                   : chi_plain_fail(connection, CHATHUB_EJSON);
    json_decref(object);
    return error;
}

int chathub_connection_rename(struct chathub_connection *connection, const char *name)
{
    int error = chi_connection_enter(connection);

    if (error)
        return error;
    if (!name || !chi_is_name(name, CHI_NAME_MAX))
        return chi_fail(connection, CHATHUB_ENAME,
                        "the name is empty, too long, or not a line of UTF-8 text");
    char *copy = chi_span_dup(chi_span_of(name));
    if (!copy)
        return chi_plain_fail(connection, CHATHUB_ENOMEM);
    bool stands = connection->open && connection->state == CHATHUB_STATE_CONNECTED;
    char **place = stands ? &connection->wish : &connection->name;
    free(connection->wish); /* the later one counts */
    connection->wish = NULL;
    free(stands ? NULL : connection->name);
    *place = copy;
    connection->wishes++;
    if (stands)
        chi_say_name(connection);
    else if (connection->open && connection->said_hello)
        connection->said_hello = false; /* the hello is said anew, with this name */
    chi_connection_kick(connection);
    return 0;
}
