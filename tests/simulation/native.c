/* The native dialect as a client sees it: writes requests as JSON and reads frames with a reader
 * of its own. */
#include <stdio.h>
#include <string.h>

#include "sim.h"

/* ---------------------------------------------------------------------------------------
 * writing */

static void add(struct sim_bytes *out, const char *text)
{
    sim_bytes_add(out, text, strlen(text));
}

static void say_string(struct sim_bytes *out, struct chi_span text)
{
    add(out, "\"");
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        char escape[8];
        if (c == '"' || c == '\\' || c < 0x20) {
            (void)snprintf(escape, sizeof escape, "\\u%04x", c);
            add(out, escape);
        } else {
            sim_bytes_add(out, &text.at[i], 1);
        }
    }
    add(out, "\"");
}

static void say_text(struct sim_bytes *out, const char *key, struct chi_span text)
{
    if (!text.at)
        return;
    add(out, ",\"");
    add(out, key);
    add(out, "\":");
    say_string(out, text);
}

static void say_number(struct sim_bytes *out, const char *key, uint64_t n)
{
    char text[64];
    (void)snprintf(text, sizeof text, ",\"%s\":%llu", key, (unsigned long long)n);
    add(out, text);
}

static void say_start(struct sim_bytes *out, const struct chi_start *start)
{
    if (start->kind == CHI_START_NOW)
        add(out, ",\"now\":true");
    if (start->kind == CHI_START_LAST)
        say_number(out, "last", start->count);
    if (start->kind == CHI_START_AFTER) {
        say_number(out, "after", start->position);
        if (start->epoch.len)
            say_text(out, "epoch", start->epoch);
    }
}

static void say_resume(struct sim_bytes *out, const struct chi_request *r)
{
    if (!r->resume_count)
        return;
    add(out, ",\"rooms\":[");
    for (uint32_t i = 0; i < r->resume_count; i++) {
        add(out, i ? ",{\"room\":" : "{\"room\":");
        say_string(out, r->resume[i].room);
        say_start(out, &r->resume[i].start);
        add(out, "}");
    }
    add(out, "]");
}

void sim_native_write(struct sim_bytes *out, const struct chi_request *r)
{
    static const char *const words[] = {"",    "hello",  "join",   "leave", "post", "history",
                                        "who", "typing", "status", "ping",  "help"};
    add(out, "{\"type\":\"");
    add(out, words[r->type]);
    add(out, "\"");
    if (r->ref.at) {
        add(out, ",\"ref\":");
        sim_bytes_add(out, r->ref.at, r->ref.len);
    }
    say_text(out, "room", r->room);
    say_text(out, r->type == CHI_REQUEST_WHO ? "after" : "name", r->name);
    say_text(out, "after_id", r->id);
    say_text(out, "session", r->session);
    say_text(out, r->type == CHI_REQUEST_STATUS ? "status" : "content", r->content);
    say_text(out, "cid", r->cid);
    if (r->data.at) {
        add(out, ",\"data\":");
        sim_bytes_add(out, r->data.at, r->data.len);
    }
    if (r->type == CHI_REQUEST_TYPING && !r->on)
        add(out, ",\"on\":false");
    if (r->limit)
        say_number(out, "limit", r->limit);
    if (r->has_before)
        say_number(out, "before", r->before);
    if (r->has_after)
        say_number(out, "after", r->after);
    if (r->type == CHI_REQUEST_JOIN)
        say_start(out, &r->start);
    say_resume(out, r);
    add(out, "}");
}

/* ---------------------------------------------------------------------------------------
 * reading */

struct json {
    const char *at, *end;
    struct sim_bytes *scratch; /* unescaped texts; does not move while a frame is read */
    bool bad;
};

struct value {
    char kind;            /* s, n, t(rue), f(alse), o(bject), a(rray) */
    struct chi_span text; /* s: unescaped; others: as it stands */
    uint64_t n;
};

static bool eat(struct json *j, char c)
{
    if (j->at == j->end || *j->at != c)
        return false;
    j->at++;
    return true;
}

static struct chi_span read_string(struct json *j)
{
    size_t start = j->scratch->len;
    if (!eat(j, '"'))
        j->bad = true;
    while (!j->bad && j->at < j->end && *j->at != '"') {
        char c = *j->at++;
        if ((unsigned char)c < 0x20)
            j->bad = true;
        if (c == '\\' && j->at < j->end) {
            c = *j->at++;
            if (c == 'u' && j->end - j->at >= 4) {
                unsigned code = 0;
                j->bad = j->bad || sscanf(j->at, "%4x", &code) != 1 || code > 0x7f;
                c = (char)code;
                j->at += 4;
            } else if (c == 'n' || c == 't' || c == 'r' || c == 'b' || c == 'f') {
                c = c == 'n' ? '\n' : c == 't' ? '\t' : c == 'r' ? '\r' : c == 'b' ? '\b' : '\f';
            }
        }
        sim_bytes_add(j->scratch, &c, 1);
    }
    if (!eat(j, '"'))
        j->bad = true;
    return (struct chi_span){j->scratch->at + start, j->scratch->len - start};
}

static struct value read_value(struct json *j);

/* Passes over an object or a list. */
static void skip_nested(struct json *j, char close)
{
    j->at++;
    if (eat(j, close))
        return;
    do {
        if (close == '}') {
            (void)read_string(j);
            if (!eat(j, ':'))
                j->bad = true;
        }
        (void)read_value(j);
    } while (!j->bad && eat(j, ','));
    if (!eat(j, close))
        j->bad = true;
}

static struct value read_value(struct json *j)
{
    struct value v = {0};
    const char *from = j->at;
    char c = j->at < j->end ? *j->at : 0;
    if (c == '"') {
        v.kind = 's';
        v.text = read_string(j);
        return v;
    }
    if (c == '{' || c == '[') {
        v.kind = c == '{' ? 'o' : 'a';
        skip_nested(j, c == '{' ? '}' : ']');
    } else if (c >= '0' && c <= '9') {
        v.kind = 'n';
        while (j->at < j->end && *j->at >= '0' && *j->at <= '9')
            v.n = v.n * 10 + (uint64_t)(*j->at++ - '0');
        while (j->at < j->end && (*j->at == '.' || (*j->at >= '0' && *j->at <= '9')))
            j->at++; /* only in `data`, which is compared as it stands */
    } else if (c == 't' && j->end - j->at >= 4 && memcmp(j->at, "true", 4) == 0) {
        v.kind = 't';
        j->at += 4;
    } else if (c == 'f' && j->end - j->at >= 5 && memcmp(j->at, "false", 5) == 0) {
        v.kind = 'f';
        j->at += 5;
    } else {
        j->bad = true;
    }
    v.text = (struct chi_span){from, (size_t)(j->at - from)};
    return v;
}

/* Calls `each` for every member of the object, or every element of the list, that `text` is. */
static bool walk(struct chi_span text, struct sim_bytes *scratch, void *ctx,
                 bool (*each)(void *ctx, struct sim_bytes *scratch, struct chi_span key,
                              struct value value))
{
    struct json j = {text.at, text.at + text.len, scratch, false};
    bool object = text.len && text.at[0] == '{';
    char close = object ? '}' : ']';
    j.at++;
    if (eat(&j, close))
        return j.at == j.end;
    do {
        struct chi_span key = {0};
        if (object) {
            key = read_string(&j);
            if (!eat(&j, ':'))
                return false;
        }
        struct value v = read_value(&j);
        if (j.bad || !each(ctx, scratch, key, v))
            return false;
    } while (eat(&j, ','));
    return eat(&j, close) && j.at == j.end;
}

static bool person_field(void *ctx, struct sim_bytes *scratch, struct chi_span key, struct value v)
{
    struct sim_person *who = ctx;
    (void)scratch;
    if (chi_span_is(key, "sender"))
        who->name = v.text;
    else if (chi_span_is(key, "sender_id"))
        who->user = v.text;
    else if (chi_span_is(key, "status"))
        who->status = v.text;
    else if (chi_span_is(key, "was"))
        who->was = v.text;
    else
        return false;
    return v.kind == 's';
}

struct people {
    struct sim_frame *frame;
    uint32_t *count;
};

static bool person(void *ctx, struct sim_bytes *scratch, struct chi_span key, struct value v)
{
    struct people *list = ctx;
    struct sim_frame *f = list->frame;
    uint32_t at = f->came + f->went + f->renamed;
    (void)key;
    if (v.kind != 'o' || at == SIM_PEOPLE)
        return false;
    f->people[at] = (struct sim_person){0};
    (*list->count)++;
    return walk(v.text, scratch, &f->people[at], person_field);
}

static bool entry_field(void *ctx, struct sim_bytes *scratch, struct chi_span key, struct value v)
{
    struct sim_seen *seen = ctx;
    (void)scratch;
    if (chi_span_is(key, "position"))
        seen->position = v.n;
    else if (chi_span_is(key, "prev"))
        seen->prev = v.n;
    else if (chi_span_is(key, "sender_id"))
        seen->user = v.text;
    else if (chi_span_is(key, "cid"))
        seen->cid = v.text;
    else if (chi_span_is(key, "content"))
        seen->content = v.text;
    else if (chi_span_is(key, "data"))
        seen->data = v.text;
    return true;
}

static bool page_entry(void *ctx, struct sim_bytes *scratch, struct chi_span key, struct value v)
{
    struct sim_frame *f = ctx;
    (void)key;
    if (v.kind != 'o' || f->page_count == SIM_PAGE)
        return false;
    f->page[f->page_count] = (struct sim_seen){0};
    return walk(v.text, scratch, &f->page[f->page_count++], entry_field);
}

static int code_of(struct chi_span word)
{
    static const struct {
        const char *word;
        int code;
    } codes[] = {
#define CODE(name, number, word, text) {word, number},
        CHATHUB_ERRORS(CODE)
#undef CODE
    };
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (chi_span_is(word, codes[i].word))
            return codes[i].code;
    return 0;
}

static char type_of(struct chi_span word)
{
    static const struct {
        const char *word;
        char type;
    } types[] = {{"chat", 'E'},     {"welcome", 'W'}, {"ack", 'A'},     {"error", 'X'},
                 {"joined", 'J'},   {"left", 'L'},    {"history", 'H'}, {"who", 'O'},
                 {"pong", 'P'},     {"ok", 'K'},      {"gap", 'G'},     {"bye", 'B'},
                 {"presence", 'S'}, {"typing", 'T'},  {"status", 'U'},  {"private", 'V'}};
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (chi_span_is(word, types[i].word))
            return types[i].type;
    return 0;
}

static bool frame_list(struct sim_frame *f, struct sim_bytes *scratch, struct chi_span key,
                       struct value v)
{
    struct people list = {f, &f->came};
    if (chi_span_is(key, "entries"))
        return walk(v.text, scratch, f, page_entry);
    if (chi_span_is(key, "members"))
        f->has_list = true;
    if (chi_span_is(key, "left"))
        list.count = &f->went;
    if (chi_span_is(key, "renamed"))
        list.count = &f->renamed;
    return walk(v.text, scratch, &list, person);
}

static bool frame_field(void *ctx, struct sim_bytes *scratch, struct chi_span key, struct value v)
{
    struct sim_frame *f = ctx;
    static const struct {
        const char *key;
        size_t at;
    } texts[] = {{"room", offsetof(struct sim_frame, room)},
                 {"epoch", offsetof(struct sim_frame, epoch)},
                 {"cid", offsetof(struct sim_frame, cid)},
                 {"sender", offsetof(struct sim_frame, name)},
                 {"sender_id", offsetof(struct sim_frame, user)},
                 {"session", offsetof(struct sim_frame, session)}};
    static const struct {
        const char *key;
        size_t at;
    } numbers[] = {{"position", offsetof(struct sim_frame, position)},
                   {"start", offsetof(struct sim_frame, start)},
                   {"from", offsetof(struct sim_frame, from)},
                   {"to", offsetof(struct sim_frame, to)},
                   {"count", offsetof(struct sim_frame, count)},
                   {"number", offsetof(struct sim_frame, number)},
                   {"presence", offsetof(struct sim_frame, number)}};
    static const struct {
        const char *key;
        size_t at;
    } switches[] = {{"dup", offsetof(struct sim_frame, dup)},
                    {"observer", offsetof(struct sim_frame, observer)},
                    {"more", offsetof(struct sim_frame, more)},
                    {"on", offsetof(struct sim_frame, on)},
                    {"snapshot", offsetof(struct sim_frame, snapshot)}};
    if (chi_span_is(key, "type"))
        return (f->type = type_of(v.text)) != 0;
    if (chi_span_is(key, "ref")) {
        f->ref = v.text;
        return true;
    }
    if (v.kind == 'a')
        return frame_list(f, scratch, key, v);
    if (chi_span_is(key, "code"))
        f->code = code_of(v.text);
    if (chi_span_is(key, "status") && f->type == 'U')
        f->people[0].status = v.text;
    for (size_t i = 0; v.kind == 's' && i < sizeof texts / sizeof texts[0]; i++)
        if (chi_span_is(key, texts[i].key))
            memcpy((char *)f + texts[i].at, &v.text, sizeof v.text);
    for (size_t i = 0; v.kind == 'n' && i < sizeof numbers / sizeof numbers[0]; i++)
        if (chi_span_is(key, numbers[i].key))
            memcpy((char *)f + numbers[i].at, &v.n, sizeof v.n);
    bool on = v.kind == 't';
    for (size_t i = 0; (on || v.kind == 'f') && i < sizeof switches / sizeof switches[0]; i++)
        if (chi_span_is(key, switches[i].key))
            memcpy((char *)f + switches[i].at, &on, sizeof on);
    return (f->type != 'E' && f->type != 'V') || entry_field(&f->entry, scratch, key, v);
}

bool sim_native_read(struct chi_span text, struct sim_bytes *scratch, struct sim_frame *out)
{
    memset(out, 0, offsetof(struct sim_frame, people));
    out->came = out->went = out->renamed = out->page_count = 0;
    out->native = true;
    out->people[0] = (struct sim_person){0};
    scratch->len = 0;
    while (scratch->cap <
           text.len * 4 + 64) /* each text is read once per level: spans must not move */
        sim_bytes_add(scratch, text.at, text.len);
    scratch->len = 0;
    if (!walk(text, scratch, out, frame_field) || !out->type)
        return false;
    if (out->type == 'T' || out->type == 'U') {
        out->came = 1;
        out->people[0].user = out->user;
        out->people[0].name = out->name;
    }
    if (out->type == 'S')
        out->only = !out->snapshot && !out->came && !out->went && !out->renamed;
    return true;
}
