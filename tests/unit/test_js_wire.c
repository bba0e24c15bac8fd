/* What stands in a JetStream stream, as bytes, and what the server says, as JSON. The answers are those
 * of nats-server 2.9.10, word by word. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "chathub.h"
#include "core/ports.h"
#include "log/jetstream/wire.h"

#define S "chathub"

static struct chi_span of(const struct chi_buf *buf)
{
    return (struct chi_span){buf->at, buf->len};
}

static bool holds(const struct chi_buf *buf, const char *text)
{
    return !buf->failed && chi_span_is(of(buf), text);
}

/* ---------------------------------------------------------------------------------------- tokens */

START_TEST(a_room_is_one_token_that_reaches_no_other_subject)
{
    static const struct {
        const char *key, *token;
    } rooms[] = {
        {"lobby", "lobby"},
        {"a-b_C9", "a-b_C9"},
        {"a.b", "a=2eb"},
        {"*", "=2a"},
        {">", "=3e"},
        {"a b", "a=20b"},
        {"=", "=3d"},
        {"$JS.API", "=24JS=2eAPI"},
        {"\r\nPUB x", "=0d=0aPUB=20x"},
        {"\xc3\xbc", "=c3=bc"},
    };
    for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
        struct chi_buf token = {0}, key = {0};
        chi_js_room_token(&token, chi_span_of(rooms[i].key));
        ck_assert(holds(&token, rooms[i].token));
        chi_buf_add_text(&key, "!");
        ck_assert_int_eq(chi_js_room_key(&key, of(&token)), 0);
        ck_assert(key.at[0] == '!');
        ck_assert(chi_span_is((struct chi_span){key.at + 1, key.len - 1}, rooms[i].key));
        chi_buf_fini(&token);
        chi_buf_fini(&key);
    }
}
END_TEST

START_TEST(every_byte_has_one_form_in_a_token)
{
    struct chi_buf token = {0};
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        chi_buf_reset(&token, 64);
        chi_js_room_token(&token, (struct chi_span){&byte, 1});
        bool plain = c && c < 128 &&
                     strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", c);
        ck_assert_uint_eq(token.len, plain ? 1 : 3);
        for (size_t i = 0; i < token.len; i++)
            ck_assert(!strchr(".*> \t\r\n$", token.at[i]) && (unsigned char)token.at[i] < 128);
    }
    chi_buf_fini(&token);
}
END_TEST

START_TEST(tokens_of_another_form_are_no_rooms)
{
    static const char *const wrong[] = {
        "",       "a.b", "*",   ">",   "a b",  "=",    "=2",        "a=2", "=2E",
        "=61",    "=2d", "=5f", "=zz", "==2e", "\xc3", "=c3",       "a/b", "a+",
        "=c0=80", "=2 ", "a\n", "$JS", "=g0",  "= 2",  "=ed=a0=80",
    };
    struct chi_buf key = {0};
    chi_buf_add_text(&key, "kept");
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        ck_assert_msg(chi_js_room_key(&key, chi_span_of(wrong[i])) == CHATHUB_EREQUEST, "%s",
                      wrong[i]);
        ck_assert(holds(&key, "kept"));
    }
    chi_buf_fini(&key);
}
END_TEST

/* ----------------------------------------------------------------------------------------- hints */

START_TEST(hints_lead_from_any_entry_to_the_multiples_before_it)
{
    struct chi_js_hint hint = {0};
    uint64_t position = 0;
    hint = chi_js_hint_after(0, &hint);
    ck_assert(!hint.before && !hint.ordinal && !hint.back64 && !hint.back4k);
    for (uint64_t n = 0; n < 10000; n++) {
        ck_assert_uint_eq(hint.before, n ? n * 3 - 2 : 0);
        ck_assert_uint_eq(hint.ordinal, n);
        ck_assert_uint_eq(hint.back64, n ? (n - 1) / 64 * 64 * 3 + 1 : 0);
        ck_assert_uint_eq(hint.back4k, n ? (n - 1) / 4096 * 4096 * 3 + 1 : 0);
        position = n * 3 + 1;
        hint = chi_js_hint_after(position, &hint);
    }
}
END_TEST

/* Otherwise whoever writes one lie would make all later entries of the room unreadable or slow. */
START_TEST(a_hint_that_lies_is_not_handed_on)
{
    static const struct chi_js_hint lies[] = {
        {.before = 10}, /* not before it */
        {.before = 4, .ordinal = 5},
        {.before = 4, .ordinal = 1, .back64 = 5},
        {.before = 4, .ordinal = 1, .back64 = 2, .back4k = 3},
        {.before = UINT64_MAX, .ordinal = UINT64_MAX, .back64 = UINT64_MAX, .back4k = UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct chi_js_hint hint = chi_js_hint_after(10, &lies[i]);
        ck_assert_uint_eq(hint.before, 10);
        ck_assert_uint_eq(hint.ordinal, 1);
        ck_assert_uint_eq(hint.back64, 10);
        ck_assert_uint_eq(hint.back4k, 10);
    }
}
END_TEST

/* --------------------------------------------------------------------------------------- entries */

static struct chi_entry *an_entry(uint16_t type, const char *content, const char *data)
{
    struct chi_entry_parts parts = {
        .sender = CHI_SPAN("Z\xc3\xbc"
                           "rich"),
        .user = CHI_SPAN("u1"),
        .cid = CHI_SPAN("c-1"),
        .content = chi_span_of(content),
        .data = chi_span_of(data),
    };
    struct chi_entry *entry = chi_entry_new(type, &parts);
    ck_assert_ptr_nonnull(entry);
    return entry;
}

static const struct chi_js_hint a_hint = {
    .before = 900, .ordinal = 300, .back64 = 800, .back4k = 700};

static void write_one(struct chi_buf *out, uint16_t type, const char *content, const char *data)
{
    struct chi_entry *entry = an_entry(type, content, data);
    chi_js_write_entry(out, entry, 1767323045678, UINT64_MAX - 7, &a_hint);
    chi_entry_unref(entry);
    ck_assert(!out->failed);
}

static void same(struct chi_span a, struct chi_span b)
{
    ck_assert(chi_span_equal(a, b));
}

START_TEST(an_entry_comes_back_as_it_was_written)
{
    static const uint16_t types[] = {CHI_ENTRY_CHAT, 0, 7, UINT16_MAX}; /* unknown ones, too */
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct chi_entry *entry = an_entry(types[i], "hi\nthere", "{\"a\":1}");
        struct chi_entry_parts was = chi_entry_read(entry);
        struct chi_buf out = {0};
        struct chi_js_record record;
        write_one(&out, types[i], "hi\nthere", "{\"a\":1}");
        ck_assert_int_eq(chi_js_read_entry(of(&out), &record), 0);
        struct chi_entry_parts is = chi_entry_read(record.entry);
        same(is.sender, was.sender);
        same(is.user, was.user);
        same(is.cid, was.cid);
        same(is.content, was.content);
        same(is.data, was.data);
        ck_assert_uint_eq(record.entry->type, types[i]);
        ck_assert_uint_eq(record.entry->time, 1767323045678);
        ck_assert_uint_eq(record.entry->position, 0);
        ck_assert_uint_eq(record.entry->prev, 0);
        ck_assert_uint_eq(record.nonce, UINT64_MAX - 7);
        ck_assert_mem_eq(&record.hint, &a_hint, sizeof(a_hint));
        chi_entry_unref(record.entry);
        chi_entry_unref(entry);
        chi_buf_fini(&out);
    }
}
END_TEST

START_TEST(the_longest_texts_come_back)
{
    char *name = calloc(1, UINT16_MAX + 1u), *content = calloc(1, 70001);
    memset(name, 'n', UINT16_MAX);
    memset(content, 'c', 70000);
    struct chi_span most = {name, UINT16_MAX};
    struct chi_entry_parts parts = {most, most, most, {content, 70000}, {content, 70000}};
    struct chi_entry *entry = chi_entry_new(1, &parts);
    struct chi_buf out = {0};
    struct chi_js_record record;
    chi_js_write_entry(&out, entry, 1, 2, &a_hint);
    ck_assert_int_eq(chi_js_read_entry(of(&out), &record), 0);
    ck_assert_uint_eq(chi_entry_size(record.entry), chi_entry_size(entry));
    ck_assert_mem_eq(record.entry->bytes, entry->bytes, 3 * UINT16_MAX + 140000);
    chi_entry_unref(record.entry);
    chi_entry_unref(entry);
    chi_buf_fini(&out);
    free(name);
    free(content);
}
END_TEST

/* The stream outlives versions of the software: these are the bytes of version 1. */
START_TEST(an_entry_is_these_bytes)
{
    static const char bytes[] = "e\1\2\1\1\0\2\0\0\0\3\0\0\0\0\0\0\0\0\0"
                                "\x08\7\6\5\4\3\0\0\x18\x17\x16\x15\x14\x13\x12\x11"
                                "\5\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0"
                                "suumsg";
    struct chi_entry_parts parts = {
        .sender = CHI_SPAN("s"), .user = CHI_SPAN("uu"), .content = CHI_SPAN("msg")};
    struct chi_js_hint hint = {.before = 5, .ordinal = 4, .back64 = 3, .back4k = 2};
    struct chi_entry *entry = chi_entry_new(0x0102, &parts);
    struct chi_buf out = {0};
    chi_js_write_entry(&out, entry, 0x030405060708, 0x1112131415161718, &hint);
    ck_assert_uint_eq(out.len, sizeof(bytes) - 1);
    ck_assert_mem_eq(out.at, bytes, out.len);
    chi_entry_unref(entry);
    chi_buf_fini(&out);
}
END_TEST

/* Copied to where the sanitizer sees the first byte behind it. */
static int read_exact(struct chi_span payload, struct chi_js_record *record)
{
    char *bytes = malloc(payload.len ? payload.len : 1);
    memcpy(bytes, payload.at, payload.len);
    int error = chi_js_read_entry((struct chi_span){bytes, payload.len}, record);
    free(bytes);
    return error;
}

static void refuse_entry(struct chi_span payload)
{
    struct chi_js_record record;
    ck_assert_int_eq(read_exact(payload, &record), CHATHUB_EREQUEST);
    ck_assert_ptr_null(record.entry);
}

START_TEST(an_entry_that_is_cut_or_longer_is_refused)
{
    struct chi_buf out = {0};
    write_one(&out, 1, "content", "{}");
    for (size_t len = 0; len < out.len; len++)
        refuse_entry((struct chi_span){out.at, len});
    chi_buf_add_char(&out, 'x');
    refuse_entry(of(&out));
    chi_buf_fini(&out);
}
END_TEST

START_TEST(other_kinds_and_versions_are_refused)
{
    struct chi_buf out = {0};
    write_one(&out, 1, "content", "");
    for (int c = 0; c < 256; c++) {
        out.at[0] = (char)c;
        if (c != 'e')
            refuse_entry(of(&out));
    }
    out.at[0] = 'e';
    for (int c = 0; c < 256; c++) {
        out.at[1] = (char)c;
        if (c != 1)
            refuse_entry(of(&out));
    }
    out.at[1] = 1;
    out.at[18] = 1; /* for later versions */
    refuse_entry(of(&out));
    chi_buf_fini(&out);
}
END_TEST

START_TEST(lengths_that_lie_are_refused)
{
    struct chi_buf out = {0};
    write_one(&out, 1, "content", "{}");
    for (size_t at = 4; at < 18; at++) { /* where the lengths stand */
        for (int c = 0; c < 256; c += 15) {
            char was = out.at[at];
            out.at[at] = (char)c;
            if (was != (char)c)
                refuse_entry(of(&out));
            out.at[at] = was;
        }
    }
    memset(out.at + 4, 0xff, 14);
    refuse_entry(of(&out));
    chi_buf_fini(&out);
}
END_TEST

/* One text's bytes may not make up for another's: each is checked by itself. */
START_TEST(texts_that_are_no_utf8_are_refused)
{
    static const struct chi_entry_parts wrong[] = {
        {.sender = {"\xc3", 1}, .user = {"\xbc", 1}},
        {.user = {"\xff", 1}},
        {.cid = {"\xc3", 1}, .content = {"\xbc", 1}},
        {.content = {"\xed\xa0\x80", 3}},
        {.content = {"\xc3", 1}, .data = {"\xbc", 1}},
        {.content = {"\x1b[2J", 4}}, /* and no controls where people read them */
        {.content = {"\0", 1}},
        {.data = {"{\xff}", 3}},
        {.data = {"{\n}", 3}},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct chi_entry *entry = chi_entry_new(1, &wrong[i]);
        struct chi_buf out = {0};
        chi_js_write_entry(&out, entry, 1, 1, &a_hint);
        refuse_entry(of(&out));
        chi_entry_unref(entry);
        chi_buf_fini(&out);
    }
}
END_TEST

START_TEST(a_time_beyond_all_clocks_is_refused)
{
    struct chi_entry *entry = an_entry(1, "x", "");
    struct chi_js_record record;
    struct chi_buf out = {0};
    chi_js_write_entry(&out, entry, UINT64_C(253402300800000), 1, &a_hint);
    refuse_entry(of(&out));
    chi_buf_reset(&out, 0);
    chi_js_write_entry(&out, entry, UINT64_C(253402300799999), 1, &a_hint);
    ck_assert_int_eq(read_exact(of(&out), &record), 0);
    chi_entry_unref(record.entry);
    chi_entry_unref(entry);
    chi_buf_fini(&out);
}
END_TEST

START_TEST(an_entry_is_not_lost_for_its_hint)
{
    static const struct chi_js_hint wrong[] = {
        {.before = CHI_POSITION_MAX + 1},
        {.before = 4, .ordinal = 5},
        {.before = 4, .back64 = 5},
        {.before = 4, .back64 = 2, .back4k = 3},
        {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX},
    };
    static const struct chi_js_hint none;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct chi_entry *entry = an_entry(1, "x", "");
        struct chi_js_record record;
        struct chi_buf out = {0};
        chi_js_write_entry(&out, entry, 1, 9, &wrong[i]);
        ck_assert_int_eq(chi_js_read_entry(of(&out), &record), 0);
        ck_assert_mem_eq(&record.hint, &none, sizeof(none));
        ck_assert_uint_eq(record.nonce, 9);
        chi_entry_unref(record.entry);
        chi_entry_unref(entry);
        chi_buf_fini(&out);
    }
}
END_TEST

/* ---------------------------------------------------------------------------- epochs, redactions */

START_TEST(an_epoch_comes_back)
{
    struct chi_js_epoch was = {.first = CHI_POSITION_MAX}, is;
    struct chi_buf out = {0};
    memcpy(was.name, "abcDEF0123456-_z", 16);
    chi_js_write_epoch(&out, &was);
    ck_assert_int_eq(chi_js_read_epoch(of(&out), &is), 0);
    ck_assert_mem_eq(is.name, was.name, 16);
    ck_assert_uint_eq(is.first, was.first);
    chi_buf_fini(&out);
}
END_TEST

START_TEST(what_is_no_epoch_is_refused)
{
    struct chi_js_epoch was = {.first = 5}, is;
    struct chi_buf out = {0};
    memcpy(was.name, "abcDEF0123456-_z", 16);
    chi_js_write_epoch(&out, &was);
    for (size_t len = 0; len < out.len; len++)
        ck_assert_int_eq(chi_js_read_epoch((struct chi_span){out.at, len}, &is), CHATHUB_EREQUEST);
    for (size_t at = 0; at < 20; at++) { /* letter, version, zero, name */
        char byte = out.at[at];
        out.at[at] = '.';
        ck_assert_int_eq(chi_js_read_epoch(of(&out), &is), CHATHUB_EREQUEST);
        ck_assert_uint_eq(is.first, 0);
        out.at[at] = byte;
    }
    chi_buf_add_char(&out, 0);
    ck_assert_int_eq(chi_js_read_epoch(of(&out), &is), CHATHUB_EREQUEST);
    chi_buf_reset(&out, 0);
    was.first = CHI_POSITION_MAX + 1;
    chi_js_write_epoch(&out, &was);
    ck_assert_int_eq(chi_js_read_epoch(of(&out), &is), CHATHUB_EREQUEST);
    chi_buf_fini(&out);
}
END_TEST

static const struct chi_js_erased a_redaction = {
    .room = {"r\xc3\xbcm", 4}, .position = 77, .prev = 5, .time = 1767323045678, .type = 513};

START_TEST(a_redaction_comes_back)
{
    struct chi_js_erased is;
    struct chi_buf out = {0};
    chi_js_write_erased(&out, &a_redaction);
    ck_assert_int_eq(chi_js_read_erased(of(&out), &is), 0);
    same(is.room, a_redaction.room);
    ck_assert(is.room.at > out.at && is.room.at < out.at + out.len);
    ck_assert_uint_eq(is.position, 77);
    ck_assert_uint_eq(is.prev, 5);
    ck_assert_uint_eq(is.time, 1767323045678);
    ck_assert_uint_eq(is.type, 513);
    chi_buf_fini(&out);
}
END_TEST

static void refuse_erased(const struct chi_js_erased *erased)
{
    struct chi_js_erased is;
    struct chi_buf out = {0};
    chi_js_write_erased(&out, erased);
    ck_assert_int_eq(chi_js_read_erased(of(&out), &is), CHATHUB_EREQUEST);
    ck_assert_uint_eq(is.position, 0);
    chi_buf_fini(&out);
}

START_TEST(what_is_no_redaction_is_refused)
{
    struct chi_js_erased wrong = a_redaction, is;
    struct chi_buf out = {0};
    wrong.position = 0;
    refuse_erased(&wrong);
    wrong.position = CHI_POSITION_MAX + 1;
    refuse_erased(&wrong);
    wrong = a_redaction;
    wrong.prev = wrong.position;
    refuse_erased(&wrong);
    wrong = a_redaction;
    wrong.time = UINT64_MAX;
    refuse_erased(&wrong);
    wrong = a_redaction;
    wrong.room = CHI_SPAN("\xff");
    refuse_erased(&wrong);
    chi_js_write_erased(&out, &a_redaction);
    for (size_t len = 0; len < out.len; len++)
        ck_assert_int_eq(chi_js_read_erased((struct chi_span){out.at, len}, &is), CHATHUB_EREQUEST);
    for (size_t at = 0; at < 8; at++) { /* letter, version, length, zero */
        out.at[at] ^= 0x40;
        int wanted = at == 2 || at == 3 ? 0 : CHATHUB_EREQUEST; /* any type */
        ck_assert_int_eq(chi_js_read_erased(of(&out), &is), wanted);
        out.at[at] ^= 0x40;
    }
    out.at[4] = 0;
    ck_assert_int_eq(chi_js_read_erased((struct chi_span){out.at, 32}, &is), CHATHUB_EREQUEST);
    chi_buf_fini(&out);
}
END_TEST

/* A payload of one kind is none of the others. */
START_TEST(kinds_are_told_apart)
{
    struct chi_js_epoch epoch = {.first = 1};
    struct chi_js_erased erased;
    struct chi_buf entries = {0}, epochs = {0}, redactions = {0};
    memcpy(epoch.name, "aaaaaaaaaaaaaaaa", 16);
    write_one(&entries, 1, "x", "");
    chi_js_write_epoch(&epochs, &epoch);
    chi_js_write_erased(&redactions, &a_redaction);
    refuse_entry(of(&epochs));
    refuse_entry(of(&redactions));
    ck_assert_int_eq(chi_js_read_epoch(of(&entries), &epoch), CHATHUB_EREQUEST);
    ck_assert_int_eq(chi_js_read_epoch(of(&redactions), &epoch), CHATHUB_EREQUEST);
    ck_assert_int_eq(chi_js_read_erased(of(&entries), &erased), CHATHUB_EREQUEST);
    ck_assert_int_eq(chi_js_read_erased(of(&epochs), &erased), CHATHUB_EREQUEST);
    chi_buf_fini(&entries);
    chi_buf_fini(&epochs);
    chi_buf_fini(&redactions);
}
END_TEST

/* --------------------------------------------------------------------------------------- answers */

static struct chi_js_answer read_it(const char *json)
{
    struct chi_js_answer answer;
    ck_assert_msg(chi_js_read_answer(chi_span_of(json), S, &answer) == 0, "%s", json);
    return answer;
}

static void refuse_answer(const char *json)
{
    struct chi_js_answer answer;
    ck_assert_msg(chi_js_read_answer(chi_span_of(json), S, &answer) == CHATHUB_EREQUEST, "%s",
                  json);
    chi_js_answer_fini(&answer);
}

START_TEST(acks_of_posts_are_read)
{
    static const struct {
        const char *json;
        uint64_t seq;
        bool duplicate;
    } acks[] = {
        {"{\"stream\":\"chathub\", \"seq\":1}", 1, false},
        {"{\"stream\":\"chathub\", \"seq\":1,\"duplicate\": true}", 1, true},
        {"{\"stream\":\"chathub\", \"seq\":12,\"duplicate\": false}", 12, false},
        {"{\"stream\":\"chathub\", \"domain\":\"hub\", \"seq\":9007199254740991}", CHI_POSITION_MAX,
         false},
        /* and what is not flat, by the parser */
        {"{\"stream\":\"chathub\",\"seq\":7,\"batch\":{\"id\":\"x\"},\"duplicate\":true}", 7, true},
        {"{\"str\\u0065am\":\"chathub\",\"s\\u0065q\":8}", 8, false},
        {" {\t\"seq\" :\r\n8 } \n", 8, false},
        {"{\"seq\":8,\"val\":\"3\"}", 8, false},
    };
    for (size_t i = 0; i < sizeof(acks) / sizeof(acks[0]); i++) {
        struct chi_js_answer answer = read_it(acks[i].json);
        ck_assert_uint_eq(answer.seq, acks[i].seq);
        ck_assert_int_eq(answer.duplicate, acks[i].duplicate);
        ck_assert_uint_eq(answer.code, 0);
        chi_js_answer_fini(&answer);
    }
}
END_TEST

START_TEST(acks_that_are_wrong_are_refused)
{
    static const char *const wrong[] = {
        "",
        "{",
        "{}",
        "[]",
        "8",
        "null",
        "\"seq\"",
        "{\"stream\":\"chathub\"}",
        "{\"stream\":\"chathub\",\"seq\":0}",
        "{\"stream\":\"chathub\",\"seq\":-1}",
        "{\"stream\":\"chathub\",\"seq\":1.5}",
        "{\"stream\":\"chathub\",\"seq\":01}",
        "{\"stream\":\"chathub\",\"seq\":1e3}",
        "{\"stream\":\"chathub\",\"seq\":\"1\"}",
        "{\"stream\":\"chathub\",\"seq\":}",
        "{\"stream\":\"chathub\",\"seq\":1,}",
        "{\"stream\":\"chathub\",\"seq\":1}}",
        "{\"stream\":\"chathub\",\"seq\":1} x",
        "{\"stream\":\"chathub\",\"seq\":1",
        "{\"stream\":\"chathub\" \"seq\":1}",
        "{\"stream\":\"chathub,\"seq\":1}",
        "{\"stream\":chathub,\"seq\":1}",
        "{\"stream\":\"chathub\xff\",\"seq\":1}",
        "{\"stream\":\"chathub\n\",\"seq\":1}",
        "{\"seq\":1,\"duplicate\":1}",
        "{\"seq\":1,\"duplicate\":tru}",
        "{\"seq\":9007199254740992}",
        "{\"seq\":18446744073709551616}",
        "{\"seq\":99999999999999999999999999}",
        "{seq:1}",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        refuse_answer(wrong[i]);
    struct chi_js_answer answer;
    ck_assert_int_eq(chi_js_read_answer((struct chi_span){"{\"seq\":1}\0", 10}, S, &answer),
                     CHATHUB_EREQUEST);
    chi_js_answer_fini(&answer);
}
END_TEST

START_TEST(errors_are_read)
{
    struct chi_js_answer answer =
        read_it("{\"error\":{\"code\":400,\"err_code\":10071,\"description\":\"wrong last "
                "sequence: 1\"},\"stream\":\"chathub\",\"seq\":0}");
    ck_assert_uint_eq(answer.code, 400);
    ck_assert_uint_eq(answer.err_code, CHI_JS_WRONG_LAST);
    ck_assert_str_eq(answer.description, "wrong last sequence: 1");
    ck_assert_uint_eq(answer.seq, 0);
    chi_js_answer_fini(&answer);
    answer = read_it("{\"type\":\"io.nats.jetstream.api.v1.stream_info_response\",\"error\":{"
                     "\"code\":404,\"err_code\":10059,\"description\":\"stream not found\"},"
                     "\"total\":0,\"offset\":0,\"limit\":0}");
    ck_assert_uint_eq(answer.code, 404);
    ck_assert_uint_eq(answer.err_code, CHI_JS_NO_STREAM);
    ck_assert_uint_eq(answer.last_seq, 0);
    chi_js_answer_fini(&answer);
    answer = read_it("{\"error\":{\"code\":503}}");
    ck_assert_uint_eq(answer.code, 503);
    ck_assert_str_eq(answer.description, "");
    chi_js_answer_fini(&answer);
    refuse_answer("{\"error\":{}}");
    refuse_answer("{\"error\":\"none\"}");
    refuse_answer("{\"error\":{\"code\":0}}");
    refuse_answer("{\"error\":{\"code\":65536}}");
    refuse_answer("{\"error\":{\"code\":400,\"err_code\":-1}}");
    refuse_answer("{\"error\":{\"code\":400,\"description\":7}}");
}
END_TEST

START_TEST(a_description_is_cut_between_characters_and_has_no_controls)
{
    struct chi_buf json = {0};
    chi_buf_add_text(&json, "{\"error\":{\"code\":400,\"description\":\"\\u001b[2J\\n\\u007f");
    for (int i = 0; i < 100; i++)
        chi_buf_add_text(&json, "\xe2\x82\xac");
    chi_buf_add_text(&json, "\"}}");
    struct chi_js_answer answer;
    ck_assert_int_eq(chi_js_read_answer(of(&json), S, &answer), 0);
    size_t len = strlen(answer.description);
    ck_assert(len > 150 && len < sizeof(answer.description));
    ck_assert(chi_text_clean(answer.description, len) && chi_utf8_valid(answer.description, len));
    ck_assert(memcmp(answer.description, " [2J  \xe2\x82\xac", 9) == 0);
    chi_js_answer_fini(&answer);
    chi_buf_fini(&json);
}
END_TEST

#define INFO_HEAD                                                                                  \
    "{\"type\":\"io.nats.jetstream.api.v1.stream_info_response\",\"total\":0,\"offset\":0,"        \
    "\"limit\":0,\"config\":{\"name\":\"chathub\","
#define INFO_TAIL                                                                                  \
    "},\"created\":\"2026-11-21T22:14:48.958347826Z\",\"state\":{\"messages\":2,\"bytes\":130,"    \
    "\"first_seq\":3,\"first_ts\":\"2026-11-21T22:14:48.959233455Z\",\"last_seq\":9,\"last_ts\":"  \
    "\"2026-11-21T22:14:48.959521548Z\",\"num_subjects\":1,\"consumer_count\":0}}"
#define TAKES     "\"subjects\":[\"chathub.in.\\u003e\"]"
#define SENDS     "\"republish\":{\"src\":\"chathub.in.\\u003e\",\"dest\":\"chathub.out.\\u003e\"}"
#define RETENTION "\"retention\":\"limits\",\"discard\":\"old\",\"storage\":\"file\""

START_TEST(a_stream_is_read)
{
    struct chi_js_answer answer =
        read_it(INFO_HEAD TAKES
                ",\"max_consumers\":-1,\"max_msgs\":-1,\"max_bytes\":-1,\"max_age\":0,"
                "\"max_msgs_per_subject\":-1,\"max_msg_size\":-1," RETENTION
                ",\"num_replicas\":3,\"duplicate_window\":120000000000," SENDS
                ",\"allow_direct\":false,\"mirror_direct\":false,\"sealed\":false,"
                "\"deny_delete\":false,\"deny_purge\":false,\"allow_rollup_hdrs\":false" INFO_TAIL);
    ck_assert_str_eq(answer.created, "2026-11-21T22:14:48.958347826Z");
    ck_assert_uint_eq(answer.first_seq, 3);
    ck_assert_uint_eq(answer.last_seq, 9);
    ck_assert_uint_eq(answer.messages, 2);
    ck_assert_uint_eq(answer.config.replicas, 3);
    ck_assert_uint_eq(answer.config.duplicates, 120000);
    ck_assert_uint_eq(answer.config.max_age, 0);
    ck_assert_uint_eq(answer.config.max_bytes, 0);
    ck_assert_uint_eq(answer.config.room_entries, 0);
    ck_assert(answer.config.republishes && answer.config.takes && answer.config.acks);
    ck_assert(answer.config.file && answer.config.limits && answer.config.deletes);
    chi_js_answer_fini(&answer);
    answer =
        read_it(INFO_HEAD "\"max_age\":86400000000000,\"max_bytes\":1000,"
                          "\"max_msgs_per_subject\":50,\"duplicate_window\":1999999" INFO_TAIL);
    ck_assert_uint_eq(answer.config.max_age, 86400000);
    ck_assert_uint_eq(answer.config.max_bytes, 1000);
    ck_assert_uint_eq(answer.config.room_entries, 50);
    ck_assert_uint_eq(answer.config.duplicates, 1);
    chi_js_answer_fini(&answer);
    answer = read_it(INFO_HEAD "\"max_age\":1" INFO_TAIL); /* a bound, though less than 1 ms */
    ck_assert_uint_eq(answer.config.max_age, 1);
    chi_js_answer_fini(&answer);
}
END_TEST

START_TEST(streams_that_cannot_serve_are_seen)
{
    static const struct {
        const char *json;
        bool takes, republishes, limits, file, deletes, acks;
    } streams[] = {
        {INFO_HEAD TAKES "," SENDS "," RETENTION INFO_TAIL, true, true, true, true, true, true},
        {INFO_HEAD "\"storage\":\"file\"" INFO_TAIL, false, false, false, true, true, true},
        {INFO_HEAD "\"subjects\":[\"chathub.in.>\",\"x\"],\"storage\":\"memory\"" INFO_TAIL, false,
         false, false, false, true, true},
        {INFO_HEAD "\"subjects\":[\"chathub.>\"]" INFO_TAIL, false, false, false, false, true,
         true},
        {INFO_HEAD "\"subjects\":[]" INFO_TAIL, false, false, false, false, true, true},
        {INFO_HEAD "\"subjects\":[7]" INFO_TAIL, false, false, false, false, true, true},
        {INFO_HEAD "\"subjects\":[\"Chathub.in.>\"]" INFO_TAIL, false, false, false, false, true,
         true},
        {INFO_HEAD TAKES ",\"mirror\":{\"name\":\"x\"}" INFO_TAIL, false, false, false, false, true,
         true},
        {INFO_HEAD TAKES ",\"sources\":[{\"name\":\"x\"}]" INFO_TAIL, false, false, false, false,
         true, true},
        {INFO_HEAD TAKES ",\"subject_transform\":{\"src\":\">\"}" INFO_TAIL, false, false, false,
         false, true, true},
        {INFO_HEAD TAKES
         ",\"republish\":{\"src\":\"chathub.in.>\",\"dest\":\"chathub.in.>\"}" INFO_TAIL,
         true, false, false, false, true, true},
        {INFO_HEAD TAKES ",\"republish\":{\"src\":\">\",\"dest\":\"chathub.out.>\"}" INFO_TAIL,
         true, false, false, false, true, true},
        {INFO_HEAD TAKES ",\"republish\":{\"src\":\"chathub.in.>\",\"dest\":\"chathub.out.>\","
                         "\"headers_only\":true}" INFO_TAIL,
         true, false, false, false, true, true},
        {INFO_HEAD TAKES ",\"retention\":\"workqueue\",\"discard\":\"old\"" INFO_TAIL, true, false,
         false, false, true, true},
        {INFO_HEAD TAKES ",\"retention\":\"limits\",\"discard\":\"new\"" INFO_TAIL, true, false,
         false, false, true, true},
        {INFO_HEAD TAKES ",\"deny_delete\":true" INFO_TAIL, true, false, false, false, false, true},
        {INFO_HEAD TAKES ",\"sealed\":true" INFO_TAIL, true, false, false, false, false, true},
        {INFO_HEAD TAKES ",\"no_ack\":true" INFO_TAIL, true, false, false, false, true, false},
    };
    for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
        struct chi_js_answer answer = read_it(streams[i].json);
        ck_assert_msg(answer.config.takes == streams[i].takes &&
                          answer.config.republishes == streams[i].republishes &&
                          answer.config.limits == streams[i].limits &&
                          answer.config.file == streams[i].file &&
                          answer.config.deletes == streams[i].deletes &&
                          answer.config.acks == streams[i].acks,
                      "%s", streams[i].json);
        chi_js_answer_fini(&answer);
    }
    refuse_answer(INFO_HEAD "\"max_age\":\"1d\"" INFO_TAIL);
    refuse_answer(INFO_HEAD "\"num_replicas\":-1" INFO_TAIL);
    refuse_answer(INFO_HEAD "\"subjects\":\"chathub.in.>\"" INFO_TAIL);
    refuse_answer("{\"config\":{},\"state\":{\"last_seq\":-1}}");
    refuse_answer("{\"config\":{},\"state\":{\"last_seq\":9007199254740992}}");
    refuse_answer("{\"config\":{},\"state\":{},\"created\":\"two words\"}");
    refuse_answer("{\"config\":{},\"state\":{},\"created\":"
                  "\"0123456789012345678901234567890123456789\"}");
    refuse_answer("{\"config\":[],\"state\":{}}");
    refuse_answer("{\"config\":{}}");
}
END_TEST

#define MESSAGE(rest) "{\"type\":\"io.nats.jetstream.api.v1.stream_msg_get_response\"," rest "}"

START_TEST(when_a_message_was_stored_is_read)
{
    static const struct {
        const char *stamp;
        uint64_t ms;
    } cases[] = {
        {"1970-01-01T00:00:00.001Z", 1},
        {"2026-11-21T22:14:48.958347826Z", 1795299288958},
        {"2024-02-29T23:59:59Z", 1709251199000},
        {"2024-03-01T00:00:00.5Z", 1709251200500},
        {"2100-03-01T00:00:00Z", 4107542400000},
        {"2026-11-21T22:14:48+01:00", 0},
        {"2026-13-21T22:14:48Z", 0},
        {"1969-12-31T23:59:59Z", 0},
        {"2026-11-2xT22:14:48Z", 0},
        {"yesterday", 0},
        {"", 0},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (int flat = 0; flat < 2; flat++) {
            char json[200];
            snprintf(json, sizeof(json),
                     "{\"message\":{\"subject\":\"%s\",\"seq\":2,\"time\":\"%s\"}}",
                     flat ? "a" : "\\u0061", cases[i].stamp);
            struct chi_js_answer answer = read_it(json);
            ck_assert_msg(answer.time == cases[i].ms, "%s: %llu", json,
                          (unsigned long long)answer.time);
            chi_js_answer_fini(&answer);
        }
}
END_TEST

START_TEST(a_stored_message_is_read)
{
    struct chi_js_answer answer = read_it(
        MESSAGE("\"message\":{\"subject\":\"chathub.in.room.r\",\"seq\":1,\"hdrs\":"
                "\"TkFUUy8xLjANCk5hdHMtTXNnLUlkOiBhDQoNCg==\",\"data\":\"/wBoaQ==\",\"time\":"
                "\"2026-11-21T22:14:48.959233455Z\"}"));
    ck_assert(holds(&answer.subject, "chathub.in.room.r"));
    ck_assert_uint_eq(answer.seq, 1);
    ck_assert_uint_eq(answer.data.len, 4);
    ck_assert_mem_eq(answer.data.at, "\xff\0hi", 4);
    chi_js_answer_fini(&answer);
    answer = read_it(MESSAGE("\"message\":{\"subject\":\"chathub.in.room.r\",\"seq\":2,\"time\":"
                             "\"2026-11-21T22:14:48.959521548Z\"}"));
    ck_assert_uint_eq(answer.seq, 2);
    ck_assert_uint_eq(answer.data.len, 0);
    chi_js_answer_fini(&answer);
    answer = read_it(MESSAGE("\"error\":{\"code\":404,\"err_code\":10037,\"description\":"
                             "\"no message found\"}"));
    ck_assert_uint_eq(answer.err_code, CHI_JS_NO_MESSAGE);
    chi_js_answer_fini(&answer);
    /* and what is not as the server writes it, by the parser */
    answer = read_it(MESSAGE("\"message\":{\"subject\":\"chathub.in.room\\u002er\",\"seq\":3,"
                             "\"data\":\"aGk\\u003d\",\"more\":[1]}"));
    ck_assert(holds(&answer.subject, "chathub.in.room.r") && holds(&answer.data, "hi"));
    ck_assert_uint_eq(answer.seq, 3);
    chi_js_answer_fini(&answer);
    answer = read_it(MESSAGE("\"message\":{\"subject\":\"a\",\"seq\":3,\"data\":\"aGk=\"},"
                             "\"message\":{\"subject\":\"b\",\"seq\":4}"));
    ck_assert(holds(&answer.subject, "b") && !answer.data.len); /* not mixed */
    chi_js_answer_fini(&answer);
    refuse_answer(MESSAGE("\"message\":{\"seq\":1}"));
    refuse_answer(MESSAGE("\"message\":{\"subject\":\"a\"}"));
    refuse_answer(MESSAGE("\"message\":{\"subject\":\"a\",\"seq\":0}"));
    refuse_answer(MESSAGE("\"message\":{\"subject\":7,\"seq\":1}"));
    refuse_answer(MESSAGE("\"message\":{\"subject\":\"a\",\"seq\":1,\"data\":[]}"));
    refuse_answer(MESSAGE("\"message\":\"a\""));
}
END_TEST

static int read_base64(const char *text, struct chi_js_answer *answer)
{
    struct chi_buf json = {0};
    chi_buf_add_text(&json, "{\"message\":{\"subject\":\"a\",\"seq\":1,\"data\":");
    chi_buf_add_json(&json, text, strlen(text));
    chi_buf_add_text(&json, "}}");
    int error = chi_js_read_answer(of(&json), S, answer);
    chi_buf_fini(&json);
    return error;
}

START_TEST(base64_is_read)
{
    static const struct {
        const char *text, *bytes;
    } vectors[] = {
        /* RFC 4648 section 10 */
        {"", ""},
        {"Zg==", "f"},
        {"Zm8=", "fo"},
        {"Zm9v", "foo"},
        {"Zm9vYg==", "foob"},
        {"Zm9vYmE=", "fooba"},
        {"Zm9vYmFy", "foobar"},
        {"++//", "\xfb\xef\xff"},
    };
    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        struct chi_js_answer answer;
        ck_assert_int_eq(read_base64(vectors[i].text, &answer), 0);
        ck_assert_msg(chi_span_is(of(&answer.data), vectors[i].bytes), "%s", vectors[i].text);
        chi_js_answer_fini(&answer);
    }
}
END_TEST

START_TEST(what_is_no_base64_is_refused)
{
    static const char *const wrong[] = {
        "Z",    "Zg",   "Zg=",  "Zm8",    "=",        "==",   "====", "Z===",  "Zg===",    "Zh==",
        "Zm9=", "Zm-_", "Zm 8", "Zm8=\n", "Zg==Zg==", "=m8=", "Z=8=", "Zm9v=", "Zm9v====",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct chi_js_answer answer;
        ck_assert_msg(read_base64(wrong[i], &answer) == CHATHUB_EREQUEST, "%s", wrong[i]);
        chi_js_answer_fini(&answer);
    }
}
END_TEST

START_TEST(every_byte_at_every_place_comes_out_of_base64)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (unsigned byte = 0; byte < 256; byte++) {
        for (unsigned place = 0; place < 3; place++) {
            uint32_t bits = byte << (16 - 8 * place);
            char text[5] = {digits[bits >> 18], digits[bits >> 12 & 63], digits[bits >> 6 & 63],
                            digits[bits & 63], 0};
            char wanted[3] = {0};
            wanted[place] = (char)byte;
            struct chi_js_answer answer;
            ck_assert_int_eq(read_base64(text, &answer), 0);
            ck_assert_uint_eq(answer.data.len, 3);
            ck_assert_mem_eq(answer.data.at, wanted, 3);
            chi_js_answer_fini(&answer);
        }
    }
}
END_TEST

START_TEST(a_consumer_is_read)
{
    struct chi_js_answer answer = read_it(
        "{\"type\":\"io.nats.jetstream.api.v1.consumer_create_response\",\"stream_name\":"
        "\"chathub\",\"name\":\"gkTatZlk\",\"created\":\"2026-11-21T22:14:48.960220798Z\","
        "\"config\":{\"deliver_policy\":\"by_start_time\",\"opt_start_time\":"
        "\"2026-01-02T03:04:05.678Z\",\"ack_policy\":\"none\",\"max_deliver\":-1,"
        "\"replay_policy\":\"instant\",\"max_waiting\":512,\"inactive_threshold\":10000000000,"
        "\"num_replicas\":1,\"mem_storage\":true},\"delivered\":{\"consumer_seq\":0,"
        "\"stream_seq\":0},\"ack_floor\":{\"consumer_seq\":0,\"stream_seq\":0},"
        "\"num_ack_pending\":0,\"num_redelivered\":0,\"num_waiting\":0,\"num_pending\":2}");
    ck_assert_str_eq(answer.consumer, "gkTatZlk");
    ck_assert_uint_eq(answer.pending, 2);
    ck_assert_uint_eq(answer.config.replicas, 0);
    chi_js_answer_fini(&answer);
    /* It becomes a token of a subject. */
    refuse_answer("{\"name\":\"a.b\",\"num_pending\":2}");
    refuse_answer("{\"name\":\"a b\",\"num_pending\":2}");
    refuse_answer("{\"name\":\">\",\"num_pending\":2}");
    refuse_answer("{\"name\":\"*\",\"num_pending\":2}");
    refuse_answer("{\"name\":\"a\\r\\nPUB\",\"num_pending\":2}");
    refuse_answer("{\"name\":\"a\",\"num_pending\":-1}");
    refuse_answer("{\"name\":\"\",\"num_pending\":1}");
    refuse_answer(
        "{\"name\":\"0123456789012345678901234567890123456789012345678901234567890123\"}");
}
END_TEST

START_TEST(a_deletion_is_read)
{
    struct chi_js_answer answer = read_it(
        "{\"type\":\"io.nats.jetstream.api.v1.stream_msg_delete_response\",\"success\":true}");
    ck_assert_uint_eq(answer.code, 0);
    chi_js_answer_fini(&answer);
    answer = read_it("{\"type\":\"io.nats.jetstream.api.v1.stream_msg_delete_response\",\"error\":{"
                     "\"code\":500,\"err_code\":10057,\"description\":\"no message found\"}}");
    ck_assert_uint_eq(answer.code, 500);
    ck_assert_uint_eq(answer.err_code, 10057);
    chi_js_answer_fini(&answer);
    refuse_answer("{\"success\":false}");
    refuse_answer("{\"success\":1}");
    refuse_answer("{\"type\":\"io.nats.jetstream.api.v1.stream_msg_delete_response\"}");
}
END_TEST

/* Who asks again for what was deleted already is done, whichever way the server says so. */
START_TEST(a_message_that_is_not_there_is_told_from_failures)
{
    static const struct {
        const char *json;
        bool misses;
    } answers[] = {
        {"{\"error\":{\"code\":404,\"err_code\":10037,\"description\":\"no message found\"}}",
         true},
        {"{\"error\":{\"code\":400,\"err_code\":10043,\"description\":\"sequence 3 not found\"}}",
         true},
        {"{\"error\":{\"code\":500,\"err_code\":10057,\"description\":\"no message found\"}}",
         true},
        {"{\"error\":{\"code\":500,\"err_code\":10057,\"description\":\"stream store EOF\"}}",
         true},
        {"{\"error\":{\"code\":500,\"err_code\":10057,\"description\":\"input/output error\"}}",
         false},
        {"{\"error\":{\"code\":404,\"err_code\":10059,\"description\":\"stream not found\"}}",
         false},
        {"{\"success\":true}", false},
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct chi_js_answer answer = read_it(answers[i].json);
        ck_assert_msg(chi_js_answer_misses(&answer) == answers[i].misses, "%s", answers[i].json);
        chi_js_answer_fini(&answer);
    }
}
END_TEST

/* -------------------------------------------------------------------------------------- requests */

static void create(struct chi_buf *out, const struct chi_js_config *config)
{
    chi_buf_reset(out, 0);
    chi_js_ask_create(out, S, config);
}

START_TEST(the_request_for_a_stream_says_what_it_is_to_be)
{
    struct chi_buf out = {0};
    create(&out, &(struct chi_js_config){.replicas = 3, .duplicates = 120000});
    ck_assert(holds(&out, "{\"name\":\"chathub\",\"subjects\":[\"chathub.in.>\"],\"republish\":{"
                          "\"src\":\"chathub.in.>\",\"dest\":\"chathub.out.>\"},\"num_replicas\":3,"
                          "\"duplicate_window\":120000000000,\"max_age\":0,\"max_bytes\":-1,"
                          "\"max_msgs_per_subject\":-1,\"retention\":\"limits\",\"storage\":"
                          "\"file\",\"discard\":\"old\",\"allow_direct\":false,\"deny_delete\":"
                          "false,\"deny_purge\":false}"));
    create(&out, &(struct chi_js_config){
                     .duplicates = 5, .max_age = 1000, .max_bytes = 7, .room_entries = 8});
    chi_buf_add_char(&out, '\0');
    ck_assert_ptr_nonnull(strstr(out.at, "\"num_replicas\":1,\"duplicate_window\":5000000,"
                                         "\"max_age\":1000000000,\"max_bytes\":7,"
                                         "\"max_msgs_per_subject\":8,"));
    chi_buf_fini(&out);
}
END_TEST

/* The server refuses a duplicate window above max_age, and what is no signed number of 64 bits. */
START_TEST(the_request_for_a_stream_is_one_that_the_server_takes)
{
    struct chi_buf out = {0};
    create(&out, &(struct chi_js_config){.duplicates = 120000, .max_age = 60000});
    chi_buf_add_char(&out, '\0');
    ck_assert_ptr_nonnull(
        strstr(out.at, "\"duplicate_window\":60000000000,\"max_age\":60000000000,"));
    create(&out, &(struct chi_js_config){UINT32_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX,
                                         0, 0, 0, 0, 0, 0});
    chi_buf_add_char(&out, '\0');
    ck_assert_ptr_nonnull(strstr(out.at, "\"duplicate_window\":9223372036854000000,"
                                         "\"max_age\":9223372036854000000,"
                                         "\"max_bytes\":9223372036854775807,"
                                         "\"max_msgs_per_subject\":9223372036854775807,"));
    chi_buf_fini(&out);
}
END_TEST

START_TEST(the_other_requests_are_these)
{
    struct chi_buf out = {0};
    chi_js_ask_get(&out, 7);
    ck_assert(holds(&out, "{\"seq\":7}"));
    chi_buf_reset(&out, 0);
    chi_js_ask_delete(&out, CHI_POSITION_MAX);
    ck_assert(holds(&out, "{\"seq\":9007199254740991}"));
    chi_buf_reset(&out, 0);
    chi_js_ask_last(&out, CHI_SPAN("chathub.in.room.a\"b"));
    ck_assert(holds(&out, "{\"last_by_subj\":\"chathub.in.room.a\\\"b\"}"));
    chi_buf_reset(&out, 0);
    chi_js_ask_next(&out, 5, CHI_SPAN("chathub.in.room.r"));
    ck_assert(holds(&out, "{\"seq\":5,\"next_by_subj\":\"chathub.in.room.r\"}"));
    chi_buf_reset(&out, 0);
    chi_js_ask_pull(&out, 100, 65536);
    ck_assert(holds(&out, "{\"batch\":100,\"max_bytes\":65536,\"no_wait\":true}"));
    chi_buf_fini(&out);
}
END_TEST

#define CONSUMER                                                                                   \
    "{\"stream_name\":\"chathub\",\"config\":{\"ack_policy\":\"none\",\"replay_policy\":"          \
    "\"instant\",\"mem_storage\":true,\"num_replicas\":1,\"inactive_threshold\":10000000000,"

START_TEST(a_consumer_begins_at_a_sequence_or_a_time)
{
    struct chi_buf out = {0};
    chi_js_ask_consumer(&out, S, CHI_SPAN("chathub.in.room.r"), 9, 1);
    ck_assert(holds(&out, CONSUMER "\"filter_subject\":\"chathub.in.room.r\",\"deliver_policy\":"
                                   "\"by_start_sequence\",\"opt_start_seq\":9}}"));
    chi_buf_reset(&out, 0);
    chi_js_ask_consumer(&out, S, (struct chi_span){NULL, 0}, 0, 1767323045678);
    ck_assert(holds(&out, CONSUMER "\"deliver_policy\":\"by_start_time\",\"opt_start_time\":"
                                   "\"2026-01-02T03:04:05.678Z\"}}"));
    chi_buf_fini(&out);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("js_wire");
    TCase *bytes = tcase_create("bytes"), *json = tcase_create("json");
    suite_add_tcase(suite, bytes);
    suite_add_tcase(suite, json);
    tcase_add_test(bytes, a_room_is_one_token_that_reaches_no_other_subject);
    tcase_add_test(bytes, every_byte_has_one_form_in_a_token);
    tcase_add_test(bytes, tokens_of_another_form_are_no_rooms);
    tcase_add_test(bytes, hints_lead_from_any_entry_to_the_multiples_before_it);
    tcase_add_test(bytes, a_hint_that_lies_is_not_handed_on);
    tcase_add_test(bytes, an_entry_comes_back_as_it_was_written);
    tcase_add_test(bytes, the_longest_texts_come_back);
    tcase_add_test(bytes, an_entry_is_these_bytes);
    tcase_add_test(bytes, an_entry_that_is_cut_or_longer_is_refused);
    tcase_add_test(bytes, other_kinds_and_versions_are_refused);
    tcase_add_test(bytes, lengths_that_lie_are_refused);
    tcase_add_test(bytes, texts_that_are_no_utf8_are_refused);
    tcase_add_test(bytes, a_time_beyond_all_clocks_is_refused);
    tcase_add_test(bytes, an_entry_is_not_lost_for_its_hint);
    tcase_add_test(bytes, an_epoch_comes_back);
    tcase_add_test(bytes, what_is_no_epoch_is_refused);
    tcase_add_test(bytes, a_redaction_comes_back);
    tcase_add_test(bytes, what_is_no_redaction_is_refused);
    tcase_add_test(bytes, kinds_are_told_apart);
    tcase_add_test(json, acks_of_posts_are_read);
    tcase_add_test(json, acks_that_are_wrong_are_refused);
    tcase_add_test(json, errors_are_read);
    tcase_add_test(json, a_description_is_cut_between_characters_and_has_no_controls);
    tcase_add_test(json, a_stream_is_read);
    tcase_add_test(json, streams_that_cannot_serve_are_seen);
    tcase_add_test(json, when_a_message_was_stored_is_read);
    tcase_add_test(json, a_stored_message_is_read);
    tcase_add_test(json, base64_is_read);
    tcase_add_test(json, what_is_no_base64_is_refused);
    tcase_add_test(json, every_byte_at_every_place_comes_out_of_base64);
    tcase_add_test(json, a_consumer_is_read);
    tcase_add_test(json, a_deletion_is_read);
    tcase_add_test(json, a_message_that_is_not_there_is_told_from_failures);
    tcase_add_test(json, the_request_for_a_stream_says_what_it_is_to_be);
    tcase_add_test(json, the_request_for_a_stream_is_one_that_the_server_takes);
    tcase_add_test(json, the_other_requests_are_these);
    tcase_add_test(json, a_consumer_begins_at_a_sequence_or_a_time);
    return unit_run(suite);
}
