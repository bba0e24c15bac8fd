/* A dialect made for being checked: one letter, then fields `|k=value`, then `|.`; and two
 * framings. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

/* ---------------------------------------------------------------------------------------
 * writing */

static void put(struct chi_buf *out, char key, struct chi_span value)
{
    if (value.len == 0)
        return;
    chi_buf_add_char(out, '|');
    chi_buf_add_char(out, key);
    chi_buf_add_char(out, '=');
    chi_buf_add(out, value.at, value.len);
}

static void put_number(struct chi_buf *out, char key, uint64_t value)
{
    if (value == 0)
        return;
    chi_buf_add_char(out, '|');
    chi_buf_add_char(out, key);
    chi_buf_add_char(out, '=');
    chi_buf_add_u64(out, value);
}

static void put_person(struct chi_buf *out, char key, const struct chi_present *who)
{
    put(out, key, who->user);
    const struct chi_span rest[] = {who->name, who->status, who->was};
    for (size_t i = 0; i < 3; i++) {
        chi_buf_add_char(out, ',');
        chi_buf_add(out, rest[i].at, rest[i].len);
    }
}

static void sim_encode_entry(struct chi_buf *out, struct chi_span room,
                             const struct chi_entry *entry)
{
    struct chi_entry_parts parts = chi_entry_read(entry);
    chi_buf_add_char(out, 'E');
    put(out, 'r', room);
    put_number(out, 'p', entry->position);
    put_number(out, 'v', entry->prev);
    put(out, 'n', parts.sender);
    put(out, 'u', parts.user);
    put(out, 'c', parts.cid);
    put(out, 't', parts.content);
    put(out, 'd', parts.data);
    chi_buf_add(out, "|.", 2);
}

static void put_page(struct chi_buf *out, const struct chi_entry *entry)
{
    struct chi_entry_parts parts = chi_entry_read(entry);
    chi_buf_add(out, "|y=", 3);
    chi_buf_add_u64(out, entry->position);
    chi_buf_add_char(out, ',');
    chi_buf_add_u64(out, entry->prev);
    const struct chi_span rest[] = {parts.user, parts.cid, parts.content};
    for (size_t i = 0; i < 3; i++) {
        chi_buf_add_char(out, ',');
        chi_buf_add(out, rest[i].at, rest[i].len);
    }
}

static char reply_letter(enum chi_reply_type type)
{
    switch (type) {
    case CHI_REPLY_WELCOME:
        return 'W';
    case CHI_REPLY_ACK:
        return 'A';
    case CHI_REPLY_ERROR:
        return 'X';
    case CHI_REPLY_JOINED:
        return 'J';
    case CHI_REPLY_LEFT:
        return 'L';
    case CHI_REPLY_HISTORY:
        return 'H';
    case CHI_REPLY_WHO:
        return 'O';
    case CHI_REPLY_PONG:
        return 'P';
    case CHI_REPLY_OK:
        return 'K';
    case CHI_REPLY_GAP:
        return 'G';
    case CHI_REPLY_BYE:
        return 'B';
    case CHI_REPLY_HELP:
        return '?';
    case CHI_REPLY_PRIVATE:
        return 'V';
    }
    return '!';
}

static void write_reply(struct chi_buf *out, const struct chi_reply *reply, bool several)
{
    bool is_gap = reply->type == CHI_REPLY_GAP;
    chi_buf_add_char(out, reply_letter(reply->type));
    put(out, 'f', reply->ref);
    put(out, 'r', reply->room);
    put(out, 'e', reply->epoch);
    put(out, 'c', reply->cid);
    put(out, 'n', reply->name);
    put(out, 'u', reply->user);
    put(out, 's', reply->session);
    put_number(out, 'x', reply->code < 0 ? (uint64_t)-reply->code : 0);
    put_number(out, 'p', reply->position);
    put_number(out, 'a', reply->start);
    put_number(out, 'g', is_gap ? reply->from : 0);
    put_number(out, 'h', is_gap ? reply->to : 0);
    put_number(out, 'k', reply->count);
    put_number(out, 'i', reply->presence);
    put_number(out, 'D', reply->dup);
    put_number(out, 'O', reply->observer);
    put_number(out, 'M', reply->more);
    put_number(out, 'j', reply->number);
    put_number(out, 'Q', several);
    if (reply->type == CHI_REPLY_PRIVATE)
        put(out, 't', reply->message);
    put_number(out, 'P', reply->present != NULL);
    for (uint32_t i = 0; i < reply->present_count; i++)
        put_person(out, '+', &reply->present[i]);
    for (uint32_t i = 0; i < reply->entry_count; i++)
        put_page(out, reply->entries[i]);
    chi_buf_add(out, "|.", 2);
}

static void sim_encode_reply(struct chi_buf *out, const struct chi_reply *reply)
{
    write_reply(out, reply, false);
}

/* Without the session's key. */
static void shy_encode_reply(struct chi_buf *out, const struct chi_reply *reply)
{
    struct chi_reply shown = *reply;
    shown.session = (struct chi_span){0};
    write_reply(out, &shown, false);
}

/* A second text behind it, which has to come right behind it. */
static void add_second(struct chi_buf *out, char letter)
{
    const char second[] = {CHI_FRAME_APART, 'Z', '|', 'c', '=', letter, '|', '.'};
    chi_buf_add(out, second, sizeof second);
}

static void several_encode_reply(struct chi_buf *out, const struct chi_reply *reply)
{
    struct chi_reply shown = *reply;
    shown.session = (struct chi_span){0};
    write_reply(out, &shown, true);
    add_second(out, reply_letter(reply->type));
}

/* Signals are stamped with the newest entry that delivery was told before: nobody may see them
 * sooner. */
static void write_signal(struct chi_buf *out, const struct chi_signal *signal, bool several)
{
    static const char letters[] = {
        [CHI_SIGNAL_PRESENCE] = 'S', [CHI_SIGNAL_TYPING] = 'T', [CHI_SIGNAL_STATUS] = 'U'};
    int room = sim_room_of(sim_world, signal->room);
    chi_buf_add_char(out, letters[signal->type]);
    put(out, 'r', signal->room);
    if (signal->type != CHI_SIGNAL_PRESENCE)
        put_person(out, '+', &signal->who);
    put_number(out, 'N', signal->on);
    put_number(out, 'S', signal->snapshot);
    put_number(out, 'Y', signal->counts_only);
    put_number(out, 'Q', several);
    put_number(out, 'i', signal->number);
    put_number(out, 'k', signal->count);
    for (uint32_t i = 0; i < signal->came_count; i++)
        put_person(out, '+', &signal->came[i]);
    for (uint32_t i = 0; i < signal->went_count; i++)
        put_person(out, '-', &signal->went[i]);
    for (uint32_t i = 0; i < signal->renamed_count; i++)
        put_person(out, '~', &signal->renamed[i]);
    chi_buf_add(out, "|z=", 3);
    chi_buf_add_u64(out, room < 0 ? 0 : sim_world->rooms[room].shown);
    chi_buf_add(out, "|.", 2);
}

static void sim_encode_signal(struct chi_buf *out, const struct chi_signal *signal)
{
    write_signal(out, signal, false);
}

/* Presence has a second text; the others have an empty one before theirs, which is no frame. */
static void several_encode_signal(struct chi_buf *out, const struct chi_signal *signal)
{
    bool two = signal->type == CHI_SIGNAL_PRESENCE;
    if (!two)
        chi_buf_add_char(out, CHI_FRAME_APART);
    write_signal(out, signal, two);
    if (two)
        add_second(out, 'S');
}

static void add_text(struct sim_bytes *out, const char *text)
{
    sim_bytes_add(out, text, strlen(text));
}

static void say(struct sim_bytes *out, char key, struct chi_span value)
{
    if (!value.at)
        return;
    char head[] = {'|', key, '='};
    sim_bytes_add(out, head, sizeof head);
    sim_bytes_add(out, value.at, value.len);
}

static void say_number(struct sim_bytes *out, char key, uint64_t value)
{
    char text[32];
    (void)snprintf(text, sizeof text, "|%c=%llu", key, (unsigned long long)value);
    add_text(out, text);
}

static void say_resume(struct sim_bytes *out, const struct chi_resume *resume)
{
    char text[64];
    say(out, 'y', resume->room);
    (void)snprintf(text, sizeof text, ",%d,%u,%llu,", (int)resume->start.kind, resume->start.count,
                   (unsigned long long)resume->start.position);
    add_text(out, text);
    sim_bytes_add(out, resume->start.epoch.at, resume->start.epoch.len);
}

void sim_request_write(struct sim_bytes *out, const struct chi_request *r)
{
    static const char letters[] = "!hjlpywtugq";
    sim_bytes_add(out, &letters[r->type], 1);
    say(out, 'f', r->ref);
    say(out, 'r', r->room);
    say(out, 'n', r->name);
    say(out, 's', r->session);
    say(out, 't', r->content);
    say(out, 'c', r->cid);
    say(out, 'd', r->data);
    say(out, 'o', r->to);
    say(out, 'i', r->id);
    if (r->on)
        say_number(out, 'N', 1);
    if (r->limit)
        say_number(out, 'l', r->limit);
    if (r->has_before)
        say_number(out, 'b', r->before);
    if (r->has_after)
        say_number(out, 'a', r->after);
    if (r->type == CHI_REQUEST_JOIN) {
        say_number(out, 'K', r->start.kind);
        say_number(out, 'k', r->start.count);
        say_number(out, 'p', r->start.position);
        say(out, 'e', r->start.epoch);
    }
    for (uint32_t i = 0; i < r->resume_count; i++)
        say_resume(out, &r->resume[i]);
    add_text(out, "|.");
}

/* ---------------------------------------------------------------------------------------
 * reading */

/* The next `|k=value` at *at; false at the end. The key of the end mark is '.'. */
static bool field(const char **at, const char *end, char *key, struct chi_span *value)
{
    if (end - *at < 2 || **at != '|')
        return false;
    *key = (*at)[1];
    *at += 2;
    *value = (struct chi_span){NULL, 0};
    if (*key == '.')
        return true;
    if (*at == end || **at != '=')
        return false;
    (*at)++;
    const char *stop = memchr(*at, '|', (size_t)(end - *at));
    if (!stop)
        return false;
    *value = (struct chi_span){*at, (size_t)(stop - *at)};
    *at = stop;
    return true;
}

static struct chi_span part(struct chi_span *rest)
{
    const char *comma = rest->len ? memchr(rest->at, ',', rest->len) : NULL;
    size_t len = comma ? (size_t)(comma - rest->at) : rest->len;
    struct chi_span out = {rest->at, len};
    rest->at += comma ? len + 1 : len;
    rest->len -= comma ? len + 1 : len;
    return out;
}

static uint64_t number(struct chi_span text)
{
    uint64_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n = n * 10 + (uint64_t)(text.at[i] - '0');
    return n;
}

static void read_resume(struct chi_request *out, struct chi_span text)
{
    if (out->resume_count == CHI_RESUME_MAX)
        return;
    struct chi_resume *resume = &out->resume[out->resume_count++];
    resume->room = part(&text);
    resume->start.kind = (enum chi_start_kind)number(part(&text));
    resume->start.count = (uint32_t)number(part(&text));
    resume->start.position = number(part(&text));
    resume->start.epoch = text;
}

static bool request_field(struct chi_request *out, char key, struct chi_span value)
{
    switch (key) {
    case 'f':
        out->ref = value;
        return true;
    case 'r':
        out->room = value;
        return true;
    case 'n':
        out->name = value;
        return true;
    case 's':
        out->session = value;
        return true;
    case 't':
        out->content = value;
        return true;
    case 'c':
        out->cid = value;
        return true;
    case 'd':
        out->data = value;
        return true;
    case 'o':
        out->to = value;
        return true;
    case 'i':
        out->id = value;
        return true;
    case 'N':
        out->on = true;
        return true;
    case 'l':
        out->limit = (uint32_t)number(value);
        return true;
    case 'b':
        out->has_before = true;
        out->before = number(value);
        return true;
    case 'a':
        out->has_after = true;
        out->after = number(value);
        return true;
    case 'K':
        out->start.kind = (enum chi_start_kind)number(value);
        return true;
    case 'k':
        out->start.count = (uint32_t)number(value);
        return true;
    case 'p':
        out->start.position = number(value);
        return true;
    case 'e':
        out->start.epoch = value;
        return true;
    case 'y':
        read_resume(out, value);
        return true;
    case '.':
        return true;
    default:
        return false;
    }
}

static int refuse(struct chi_decode_error *error, const struct chi_request *seen, int code)
{
    error->code = code;
    error->ref = seen->ref;
    (void)snprintf(error->message, sizeof error->message, "not a request");
    return code;
}

/* Spans reach into `scratch`, which the transport spoils after each request. */
static int sim_decode(struct chi_buf *scratch, struct chi_span text, struct chi_request *out,
                      struct chi_decode_error *error)
{
    static const char letters[] = "!hjlpywtugq";
    *out = (struct chi_request){0};
    chi_buf_reset(scratch, 256);
    chi_buf_add(scratch, text.at, text.len);
    if (scratch->failed)
        return refuse(error, out, CHATHUB_ENOMEM);
    const char *letter = text.len ? strchr(letters + 1, text.at[0]) : NULL;
    if (!letter || !*letter)
        return refuse(error, out, CHATHUB_ETYPE);
    out->type = (enum chi_request_type)(letter - letters);
    const char *at = scratch->at + 1, *end = scratch->at + scratch->len;
    char key = 0;
    struct chi_span value;
    while (key != '.')
        if (!field(&at, end, &key, &value) || !request_field(out, key, value))
            return refuse(error, out, CHATHUB_EREQUEST);
    return at == end ? 1 : refuse(error, out, CHATHUB_EREQUEST);
}

static bool read_person(struct sim_frame *out, uint32_t *count, struct chi_span value)
{
    uint32_t at = out->came + out->went + out->renamed;
    if (at == SIM_PEOPLE)
        return false;
    struct sim_person *who = &out->people[at];
    who->user = part(&value);
    who->name = part(&value);
    who->status = part(&value);
    who->was = part(&value);
    (*count)++;
    return value.len == 0;
}

static bool read_page(struct sim_frame *out, struct chi_span value)
{
    if (out->page_count == SIM_PAGE)
        return false;
    struct sim_seen *seen = &out->page[out->page_count++];
    seen->position = number(part(&value));
    seen->prev = number(part(&value));
    seen->user = part(&value);
    seen->cid = part(&value);
    seen->content = value;
    return true;
}

static bool frame_text(struct sim_frame *out, char key, struct chi_span value)
{
    switch (key) {
    case 'f':
        out->ref = value;
        return true;
    case 'r':
        out->room = value;
        return true;
    case 'e':
        out->epoch = value;
        return true;
    case 'c':
        out->cid = out->entry.cid = value;
        return true;
    case 'n':
        out->name = value;
        return true;
    case 'u':
        out->user = out->entry.user = value;
        return true;
    case 's':
        out->session = value;
        return true;
    case 't':
        out->entry.content = value;
        return true;
    case 'd':
        out->entry.data = value;
        return true;
    case '+':
        return read_person(out, &out->came, value);
    case '-':
        return read_person(out, &out->went, value);
    case '~':
        return read_person(out, &out->renamed, value);
    case 'y':
        return read_page(out, value);
    case '.':
        return true;
    default:
        return false;
    }
}

static bool frame_number(struct sim_frame *out, char key, uint64_t n)
{
    switch (key) {
    case 'x':
        out->code = -(int)n;
        return true;
    case 'p':
        out->position = out->entry.position = n;
        return true;
    case 'v':
        out->entry.prev = n;
        return true;
    case 'a':
        out->start = n;
        return true;
    case 'g':
        out->from = n;
        return true;
    case 'h':
        out->to = n;
        return true;
    case 'k':
        out->count = n;
        return true;
    case 'i':
        out->number = n;
        return true;
    case 'z':
        out->top = n;
        return out->has_top = true;
    case 'j':
        out->stamp = n;
        return true;
    case 'Q':
        return out->several = true;
    case 'D':
        return out->dup = true;
    case 'O':
        return out->observer = true;
    case 'M':
        return out->more = true;
    case 'N':
        return out->on = true;
    case 'S':
        return out->snapshot = true;
    case 'Y':
        return out->only = true;
    case 'P':
        return out->has_list = true;
    default:
        return false;
    }
}

bool sim_frame_read(struct chi_span text, struct sim_bytes *scratch, struct sim_frame *out)
{
    if (text.len && text.at[0] == '{')
        return sim_native_read(text, scratch, out);
    if (!text.len || !strchr("EWAXJLHOPKGB?STUVZC", text.at[0]))
        return false;
    memset(out, 0, offsetof(struct sim_frame, people));
    out->came = out->went = out->renamed = out->page_count = 0;
    out->type = text.at[0];
    const char *at = text.at + 1, *end = text.at + text.len;
    char key = 0;
    struct chi_span value;
    while (key != '.')
        if (!field(&at, end, &key, &value) ||
            (!frame_text(out, key, value) && !frame_number(out, key, number(value))))
            return false;
    return at == end;
}

#define SIM_TEXTS(reply, signal)                                                                   \
    .decode = sim_decode, .encode_entry = sim_encode_entry, .encode_reply = (reply),               \
    .encode_signal = (signal)

const struct chi_dialect sim_dialect = {
    .name = "sim",
    SIM_TEXTS(sim_encode_reply, sim_encode_signal),
};

const struct chi_dialect sim_foreign[SIM_KINDS] = {
    {
        .name = "chatservice",
        SIM_TEXTS(shy_encode_reply, sim_encode_signal),
        .name_key = "token",
        .entrance = CHI_ENTRANCE_SILENT,
        .hearing = CHI_HEARS_ENTRIES,
        .must_name = true,
        .must_join = true,
        .shares_names = true,
        .replays = true,
        .also_last = true,
        .hides_key = true,
    },
    {
        .name = "minichat",
        SIM_TEXTS(several_encode_reply, several_encode_signal),
        .name_key = "username",
        .entrance = CHI_ENTRANCE_JOINS,
        .bad_close = 1007,
        .several = true,
        .must_name = true,
        .shares_names = true,
        .replays = true,
        .told_itself = true,
        .hides_key = true,
    },
    {
        .name = "gochat",
        SIM_TEXTS(several_encode_reply, several_encode_signal),
        .post_name = CHI_POST_NAME_ONCE,
        .entrance = CHI_ENTRANCE_SILENT,
        .bad_close = 1007,
        .several = true,
        .must_name = true,
        .shares_names = true,
        .replays = true,
        .no_history = true,
        .told_itself = true,
        .hides_key = true,
    },
    {
        .name = "multiserver",
        SIM_TEXTS(several_encode_reply, several_encode_signal),
        .post_name = CHI_POST_NAME_WHOLE,
        .entrance = CHI_ENTRANCE_OBSERVES,
        .several = true,
        .greets = true,
        .shares_names = true,
        .no_history = true,
        .told_itself = true,
        .hides_key = true,
    },
    {
        .name = "realtime",
        SIM_TEXTS(several_encode_reply, several_encode_signal),
        .post_name = CHI_POST_NAME_EACH,
        .entrance = CHI_ENTRANCE_OBSERVES,
        .hearing = CHI_HEARS_ASKED,
        .several = true,
        .shares_names = true,
        .no_history = true,
        .told_itself = true,
        .hides_key = true,
    },
};

/* --------------------------------------------------------------------------------------
 * framings */

#define BOX_HEAD 16 /* six digits of length, eight of checksum, a colon, a blank */

static void frame_line(struct chi_buf *buf, size_t start)
{
    (void)start;
    chi_buf_add_char(buf, '\n');
}

static void frame_box(struct chi_buf *buf, size_t start)
{
    char head[BOX_HEAD + 1];
    if (!chi_buf_reserve(buf, BOX_HEAD + 1))
        return;
    size_t len = buf->len - start;
    (void)snprintf(head, sizeof head, "%06x%08x: ", (unsigned)len,
                   (unsigned)sim_hash(buf->at + start, len));
    memmove(buf->at + start + BOX_HEAD, buf->at + start, len);
    memcpy(buf->at + start, head, BOX_HEAD);
    buf->len += BOX_HEAD;
    chi_buf_add_char(buf, '\n');
}

const struct chi_framing sim_line = {"line", frame_line};
const struct chi_framing sim_boxed = {"boxed", frame_box};

static bool is_box(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
}

ptrdiff_t sim_unframe(const char *bytes, size_t len, struct chi_span *text, bool *boxed)
{
    if (len == 0)
        return 0;
    *boxed = is_box(bytes[0]);
    if (!*boxed) {
        const char *end = memchr(bytes, '\n', len);
        if (!end)
            return 0;
        *text = (struct chi_span){bytes, (size_t)(end - bytes)};
        return end - bytes + 1;
    }
    if (len < BOX_HEAD)
        return 0;
    char digits[9] = {0};
    memcpy(digits, bytes, 6);
    size_t size = strtoul(digits, NULL, 16);
    memcpy(digits, bytes + 6, 8);
    unsigned long sum = strtoul(digits, NULL, 16);
    if (bytes[14] != ':' || bytes[15] != ' ')
        return -1;
    if (len < BOX_HEAD + size + 1)
        return 0;
    *text = (struct chi_span){bytes + BOX_HEAD, size};
    if ((unsigned)sim_hash(text->at, size) != sum || bytes[BOX_HEAD + size] != '\n')
        return -1;
    return (ptrdiff_t)(BOX_HEAD + size + 1);
}
