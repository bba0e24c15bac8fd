/* Clients of chatservice get the frames that they know; what is no such frame is passed over; and
 * nobody speaks as somebody else, whatever a frame or an entry's data claims. */
#include "unit.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "chathub.h"
#include "dialect/dialect.h"

#define DIALECT chi_dialect_chatservice
#define TIME    1793495748732u
#define AT      "\"created_at\":\"2026-11-01T01:15:48.732Z\"}"

static struct chi_buf scratch, out;
static struct chi_request request;
static struct chi_decode_error error;

/* From memory of exactly the text's size, freed before the next: no span may point
 * beyond it or into an earlier one. */
static int decode_bytes(const char *text, size_t len)
{
    static char *copy;
    free(copy);
    copy = malloc(len ? len : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, text, len);
    int result = DIALECT.decode(&scratch, (struct chi_span){copy, len}, &request, &error);
    return result;
}

static int decode(const char *text)
{
    return decode_bytes(text, strlen(text));
}

static void expect(const char *text, enum chi_request_type type)
{
    int result = decode(text);
    ck_assert_msg(result == 1, "%s: %d %s", text, result, error.message);
    ck_assert_int_eq(request.type, type);
}

/* The members of a message to the room general. */
#define MESSAGE(members) "{\"action\":\"message\",\"room\":\"general\"" members "}"

#define SPAN(span, text)                                                                           \
    ck_assert_msg(chi_span_is(span, text), "%.*s", (int)(span).len,                                \
                  (span).at ? (span).at : "(none)")

static void posts(const char *text, const char *content, const char *data)
{
    expect(text, CHI_REQUEST_POST);
    SPAN(request.room, "general");
    SPAN(request.content, content);
    SPAN(request.data, data);
    ck_assert_int_eq(*content != '\0', request.content.at != NULL);
    ck_assert_int_eq(*data != '\0', request.data.at != NULL);
}

/* ------------------------------------------------------------------------------------- reading */

START_TEST(joining_and_leaving_name_a_room)
{
    expect("{\"action\":\"join\",\"room\":\"dev\",\"type\":\"chat\",\"payload\":{},"
           "\"client_id\":\"c\"}",
           CHI_REQUEST_JOIN);
    SPAN(request.room, "dev");
    ck_assert_int_eq(request.start.kind, CHI_START_DEFAULT);
    expect(" {\"room\":\"caf\\u00e9\",\"action\":\"leave\",\"payload\":null}\n", CHI_REQUEST_LEAVE);
    SPAN(request.room, "caf\u00e9");
}
END_TEST

START_TEST(the_text_of_a_payload_is_the_content)
{
    posts(MESSAGE(",\"payload\":{\"text\":\"Hi\\n\\u2713\",\"user\":\"alice\"}"), "Hi\n\u2713", "");
    posts(MESSAGE(",\"type\":\"\",\"client_id\":\"\",\"payload\":{\"text\":\"x\"}"), "x", "");
    posts(MESSAGE(",\"type\":\"chat\",\"payload\":{\"te\\u0078t\":\"x\"}"), "x", "");
    ck_assert_ptr_null(request.name.at);
    ck_assert_ptr_null(request.cid.at);
    ck_assert_ptr_null(request.ref.at);
}
END_TEST

START_TEST(what_else_a_message_says_is_kept)
{
    posts(MESSAGE(",\"client_id\":\"client-1\",\"payload\":{\"text\":\"x\"}"), "x",
          "{\"chatservice\":{\"client_id\":\"client-1\"}}");
    posts(MESSAGE(",\"type\":\"typing\",\"payload\":{\"user\":\"alice\"}"), "",
          "{\"chatservice\":{\"type\":\"typing\"}}");
    posts(MESSAGE(",\"payload\":{\"emoji\":\"+1\"}"), "",
          "{\"chatservice\":{\"payload\":{\"emoji\":\"+1\"}}}");
    posts(MESSAGE(",\"type\":\"a\\\"b\",\"client_id\":\"c\\u0001\\u2028\","
                  "\"payload\":{\"n\":12345678901234567890,\"text\":\"x\",\"o\":{\"text\":[1]}}"),
          "x",
          "{\"chatservice\":{\"client_id\":\"c\\u0001\u2028\",\"type\":\"a\\\"b\",\"payload\":"
          "{\"n\":12345678901234567890,\"o\":{\"text\":[1]}}}}");
}
END_TEST

/* Wherever text and user stand, and whatever stands around them. */
START_TEST(the_rest_of_a_payload_is_what_came_on_one_line)
{
    static const char *const REST[][2] = {
        {"\"text\":\"x\",\"a\":1,\"user\":2", "\"a\":1"},
        {"\"user\":{\"b\":\"}\"},\"a\":1,\"text\":\"x\"", "\"a\":1"},
        {"\"a\":1,\"text\":\"x\",\"user\":\"u\",\"b\":2", "\"a\":1,\"b\":2"},
        {"\"a\":1,\"user\":\"u\",\"b\":2,\"text\":\"x\",\"c\":3", "\"a\":1,\"b\":2,\"c\":3"},
        {"\"te\\u0078t\":\"x\",\"a\":\",\",\"\\u0075ser\":null", "\"a\":\",\""},
        {" \n\"a\" : [1,\r\n2] ,\t\"text\" \n:\n \"x\" , \"b\":{} \n", "\"a\" : [1,  2],\"b\":{}"},
        {"\"\":\"\",\"text\":\"x\",\"\\\"user\\\"\":\"\\\",\\\"user\\\":1\"",
         "\"\":\"\",\"\\\"user\\\"\":\"\\\",\\\"user\\\":1\""},
        {"\"a\":1e5,\"user\":[{\"text\":\"no\"}],\"text\":\"x\"", "\"a\":1e5"},
        {"\"Text\":\"y\",\"USER\":\"z\",\"text\":\"x\"", "\"Text\":\"y\",\"USER\":\"z\""},
    };
    for (size_t i = 0; i < sizeof(REST) / sizeof(REST[0]); i++) {
        char text[256], data[256];
        snprintf(text, sizeof(text), MESSAGE(",\"payload\":{%s}"), REST[i][0]);
        snprintf(data, sizeof(data), "{\"chatservice\":{\"payload\":{%s}}}", REST[i][1]);
        posts(text, "x", data);
    }
}
END_TEST

START_TEST(a_message_that_says_nothing_is_passed_over)
{
    static const char *const NOTHING[] = {
        MESSAGE(""),
        MESSAGE(",\"payload\":{}"),
        MESSAGE(",\"payload\":null,\"client_id\":\"c\""),
        MESSAGE(",\"type\":\"chat\",\"payload\":{\"text\":\"\",\"user\":\"alice\"}"),
        MESSAGE(",\"payload\":{\"text\":5}"),
        MESSAGE(",\"payload\":{\"text\":null}"),
    };
    for (size_t i = 0; i < sizeof(NOTHING) / sizeof(NOTHING[0]); i++)
        ck_assert_msg(decode(NOTHING[i]) == 0, "%s", NOTHING[i]);
}
END_TEST

START_TEST(what_is_no_such_frame_is_passed_over)
{
    static const char *const BAD[] = {
        "",
        " \n",
        "hi",
        "[]",
        "[{\"action\":\"join\",\"room\":\"general\"}]",
        "null",
        "{",
        "{}",
        "{\"action\":\"join\"}",
        "{\"action\":\"join\",\"room\":\"\"}",
        "{\"action\":\"join\",\"room\":null}",
        "{\"action\":\"join\",\"room\":5}",
        "{\"action\":\"join\",\"room\":\"general\",\"payload\":5}",
        "{\"action\":\"join\",\"room\":\"general\"",
        "{\"action\":\"join\",\"action\":\"join\",\"room\":\"general\"}",
        "{\"action\":\"Join\",\"room\":\"general\"}",
        "{\"Action\":\"join\",\"room\":\"general\"}",
        "{\"action\":\"dance\",\"room\":\"general\"}",
        "{\"action\":\"\",\"room\":\"general\"}",
        "{\"action\":7,\"room\":\"general\"}",
        "{\"room\":\"general\"}",
        "{\"action\":\"message\",\"room\":\"\",\"payload\":{\"text\":\"x\"}}",
        MESSAGE(",\"payload\":\"x\""),
        MESSAGE(",\"payload\":[\"x\"]"),
        MESSAGE(",\"payload\":{\"text\":\"x\",\"text\":\"y\"}"),
        MESSAGE(",\"payload\":{\"text\":\"x\"},\"type\":5"),
        MESSAGE(",\"payload\":{\"text\":\"x\"},\"client_id\":{}"),
        MESSAGE(",\"payload\":{\"text\":\"a\\u0000b\"}"),
        MESSAGE(",\"payload\":{\"text\":\"x\",\"te\\u0000xt\":1}"),
        MESSAGE(",\"payload\":{\"text\":\"\\ud800\"}"),
        MESSAGE(",\"payload\":{\"text\":\"x\",\"n\":1e999}"),
        MESSAGE(",\"payload\":{\"text\":\"a\nb\"}"),
    };
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        ck_assert_msg(decode(BAD[i]) == 0, "%s", BAD[i]);
        ck_assert_int_eq(error.code, 0);
    }
    ck_assert_int_eq(decode_bytes(MESSAGE(",\"payload\":{\"text\":\"a\0b\"}"), 61), 0);
    ck_assert_int_eq(DIALECT.decode(&scratch, (struct chi_span){0}, &request, &error), 0);
}
END_TEST

static int decode_filled(const char *begin, const char *fill, size_t times, const char *end)
{
    struct chi_buf text = {0};
    chi_buf_add_text(&text, begin);
    for (size_t i = 0; i < times; i++)
        chi_buf_add_text(&text, fill);
    chi_buf_add_text(&text, end);
    ck_assert(!text.failed);
    int result = decode_bytes(text.at, text.len);
    chi_buf_fini(&text);
    return result;
}

START_TEST(words_have_a_bound)
{
    static const char END[] = "\",\"payload\":{\"text\":\"x\"}}";
    static const char *const KEYS[] = {"type", "client_id"};
    for (size_t i = 0; i < 2; i++) {
        char begin[80];
        snprintf(begin, sizeof(begin), "{\"action\":\"message\",\"room\":\"general\",\"%s\":\"",
                 KEYS[i]);
        ck_assert_int_eq(decode_filled(begin, "\x7f", 256, END), 1);
        ck_assert_uint_ge(request.data.len, 256 * 6);
        SPAN(request.content, "x");
        SPAN(request.room, "general");
        ck_assert_int_eq(decode_filled(begin, "w", 257, END), 0);
    }
}
END_TEST

START_TEST(a_payload_that_nests_too_deep_is_passed_over)
{
    static const char BEGIN[] = MESSAGE(",\"payload\":{\"text\":\"x\",\"a\":");
    char begin[sizeof(BEGIN)], end[128];
    for (size_t depth = 97; depth <= 98; depth++) {
        snprintf(begin, sizeof(begin), "%.*s", (int)(sizeof(BEGIN) - 2), BEGIN);
        memset(end, ']', depth);
        memcpy(end + depth, "}}", 3);
        ck_assert_int_eq(decode_filled(begin, "[", depth, end), depth == 97);
    }
    ck_assert_int_eq(decode_filled(begin, "[", 30000, ""), 0);
    ck_assert_int_eq(decode_filled(begin, "{\"a\":", 6000, ""), 0);
}
END_TEST

/* The data that was kept can be posted as a native client's, exported and imported. */
START_TEST(the_deepest_data_is_still_data)
{
    char end[128];
    memset(end, ']', 97);
    memcpy(end + 97, "}}", 3);
    ck_assert_int_eq(
        decode_filled("{\"action\":\"message\",\"room\":\"general\",\"payload\":{\"a\":", "[", 97,
                      end),
        1);
    struct chi_buf text = {0}, other = {0};
    chi_buf_add_text(&text, "{\"content\":\"x\",\"data\":");
    chi_buf_add(&text, request.data.at, request.data.len);
    chi_buf_add_text(&text, "}");
    int result =
        chi_dialect_native.decode(&other, (struct chi_span){text.at, text.len}, &request, &error);
    ck_assert_msg(result == 1, "%s", error.message);
    chi_buf_fini(&text);
    chi_buf_fini(&other);
}
END_TEST

START_TEST(a_message_of_many_members_keeps_its_spans)
{
    struct chi_buf text = {0};
    chi_buf_add_text(&text, "{\"action\":\"message\",\"room\":\"general\",\"payload\":{");
    for (uint64_t i = 0; i < 3000; i++) {
        chi_buf_add_text(&text, "\"k");
        chi_buf_add_u64(&text, i);
        chi_buf_add_text(&text, "\":0,");
    }
    chi_buf_add_text(&text, "\"text\":\"last\"}}");
    ck_assert_int_eq(decode_bytes(text.at, text.len), 1);
    SPAN(request.room, "general");
    SPAN(request.content, "last");
    ck_assert_uint_gt(request.data.len, 3000 * 6);
    chi_buf_fini(&text);
}
END_TEST

/* Escapes make the data longer than the frame that it came from, whose length and a byte is just what
 * a doubled buffer holds. */
START_TEST(a_message_of_the_full_length_keeps_its_spans)
{
    static const char BEGIN[] = "{\"chatservice\":{\"client_id\":\"\\u007f";
    char begin[512] = "{\"action\":\"message\",\"room\":\"general\",\"client_id\":\"";
    size_t len = strlen(begin);
    memset(begin + len, 0x7f, 256);
    snprintf(begin + len + 256, sizeof(begin) - len - 256, "\",\"payload\":{\"text\":\"");
    size_t text = 32767 - strlen(begin) - 3;
    ck_assert_int_eq(decode_filled(begin, "x", text, "\"}}"), 1);
    SPAN(request.room, "general");
    ck_assert_uint_eq(request.content.len, text);
    ck_assert_uint_gt(request.data.len, 256 * 6);
    ck_assert_int_eq(memcmp(request.data.at, BEGIN, sizeof(BEGIN) - 1), 0);
}
END_TEST

START_TEST(a_frame_leaves_nothing_to_the_next)
{
    expect(MESSAGE(",\"client_id\":\"c\",\"payload\":{\"text\":\"x\"}"), CHI_REQUEST_POST);
    expect("{\"action\":\"join\",\"room\":\"general\"}", CHI_REQUEST_JOIN);
    ck_assert_ptr_null(request.content.at);
    ck_assert_ptr_null(request.data.at);
}
END_TEST

/* ------------------------------------------------------------------------------------- writing */

static void shows(const char *text)
{
    ck_assert(!out.failed);
    ck_assert_msg(chi_span_is((struct chi_span){out.at, out.len}, text), "%.*s\nis not\n%s",
                  (int)out.len, out.at ? out.at : "", text);
    if (out.len) {
        json_t *object =
            json_loadb(out.at, out.len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, NULL);
        ck_assert_msg(json_is_object(object), "%s", text);
        json_decref(object);
    }
    chi_buf_reset(&out, 0);
}

static struct chi_entry *entry_new(uint16_t type, const char *sender, const char *content,
                                   const char *data)
{
    struct chi_entry_parts parts = {.sender = chi_span_of(sender),
                                    .user = CHI_SPAN("ID"),
                                    .content = chi_span_of(content),
                                    .data = chi_span_of(data)};
    struct chi_entry *entry = chi_entry_new(type, &parts);
    ck_assert_ptr_nonnull(entry);
    entry->position = 17;
    entry->time = TIME;
    return entry;
}

static void encode(uint16_t type, const char *sender, const char *content, const char *data,
                   const char *text)
{
    struct chi_entry *entry = entry_new(type, sender, content, data);
    DIALECT.encode_entry(&out, CHI_SPAN("general"), entry);
    chi_entry_unref(entry);
    shows(text);
}

/* An entry of alice's is shown with these members between its room and its time. */
static void says(const char *content, const char *data, const char *client_id, const char *type,
                 const char *payload)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "{\"message_id\":\"1793495748732-17\",%s\"room_id\":\"general\","
             "\"sender_id\":\"alice\",\"type\":\"%s\",%s" AT,
             client_id, type, payload);
    encode(CHI_ENTRY_CHAT, "alice", content, data, text);
}

START_TEST(an_entry_has_the_keys_in_their_order)
{
    says("Hi", "{\"chatservice\":{\"client_id\":\"client-1\"}}", "\"client_id\":\"client-1\",",
         "chat", "\"payload\":{\"text\":\"Hi\",\"user\":\"alice\"},");
    says("Hi", "", "", "chat", "\"payload\":{\"text\":\"Hi\",\"user\":\"alice\"},");
    says("a\"\n\x7f\u2028", "", "", "chat",
         "\"payload\":{\"text\":\"a\\\"\\n\\u007f\u2028\",\"user\":\"alice\"},");
}
END_TEST

START_TEST(what_a_client_said_comes_back_to_all)
{
    expect(MESSAGE(",\"type\":\"poll\",\"client_id\":\"c-1\",\"payload\":"
                   "{\"user\":\"mallory\",\"n\":12345678901234567890,\"text\":\"Hi\",\"o\":[ ]}"),
           CHI_REQUEST_POST);
    char *data = chi_span_dup(request.data);
    ck_assert_ptr_nonnull(data);
    says("Hi", data, "\"client_id\":\"c-1\",", "poll",
         "\"payload\":{\"text\":\"Hi\",\"user\":\"alice\",\"n\":12345678901234567890,\"o\":[ ]},");
    says("", data, "\"client_id\":\"c-1\",", "poll",
         "\"payload\":{\"user\":\"alice\",\"n\":12345678901234567890,\"o\":[ ]},");
    free(data);
    says("", "{\"chatservice\":{\"type\":\"typing\"}}", "", "typing", "");
}
END_TEST

/* Native clients may post any data. */
START_TEST(no_data_makes_anybody_somebody_else)
{
    static const char PAYLOAD[] = "\"payload\":{\"text\":\"Hi\",\"user\":\"alice\"},";
    static const char *const DATA[] = {
        "{\"chatservice\":{\"payload\":{\"text\":\"forged\",\"user\":\"System\"}}}",
        "{\"chatservice\":{\"payload\":{\"\\u0075ser\":\"System\",\"tex\\u0074\":\"forged\"}}}",
        "{\"chatservice\":{\"sender_id\":\"System\",\"message_id\":\"1\",\"room_id\":\"r\"}}",
        "{\"chatservice\":{\"client_id\":5,\"type\":{},\"payload\":[\"user\"]}}",
        "{\"chatservice\":{\"client_id\":\"\",\"type\":\"\",\"payload\":null}}",
        "{\"chatservice\":[{\"type\":\"x\"}]}",
        "{\"chatservice\":null}",
        "{\"chatservice\":\"x\",\"type\":\"x\"}",
        "{\"chatservice\":{}}",
        "{\"chatservice\":{\"payload\":{}}}",
        "{ \"chatservice\":{\"type\":\"x\"}}",
        "{\"other\":{\"chatservice\":{\"type\":\"x\"}}}",
        "{\"chatservice\":",
        "{}",
    };
    for (size_t i = 0; i < sizeof(DATA) / sizeof(DATA[0]); i++) {
        says("Hi", DATA[i], "", "chat", PAYLOAD);
        encode(CHI_ENTRY_CHAT, "alice", "", DATA[i], "");
    }
    says("Hi",
         "{\"chatservice\":{\"x\":{\"payload\":1},\"payload\":{\"user\":\"System\",\"a\":\"}\"}},"
         "\"payload\":{\"b\":1}}",
         "", "chat", "\"payload\":{\"text\":\"Hi\",\"user\":\"alice\",\"a\":\"}\"},");
}
END_TEST

START_TEST(a_word_of_data_over_its_bound_is_none)
{
    char data[1024] = "{\"chatservice\":{\"type\":\"";
    size_t len = strlen(data);
    memset(data + len, 't', 257);
    memcpy(data + len + 257, "\"}}", 4);
    says("Hi", data, "", "chat", "\"payload\":{\"text\":\"Hi\",\"user\":\"alice\"},");
}
END_TEST

START_TEST(what_has_nothing_to_show_has_no_frame)
{
    encode(CHI_ENTRY_CHAT, "", "", "", "");
    encode(CHI_ENTRY_CHAT, "", "Hi", "", "");
    encode(CHI_ENTRY_CHAT, "alice", "", "{\"x\":1}", "");
    encode(CHI_ENTRY_CHAT, "alice", "", "{\"chatservice\":{\"client_id\":\"c\"}}", "");
    encode(77, "alice", "Hi", "", "");
}
END_TEST

static void reply(struct chi_reply what, const char *text)
{
    what.time = TIME;
    DIALECT.encode_reply(&out, &what);
    shows(text);
}

/* A line of the system, with its id. */
#define LINE(id, room, text)                                                                       \
    "{\"message_id\":\"" id "\"," room "\"sender_id\":\"System\",\"type\":\"chat\","               \
    "\"payload\":{\"text\":\"" text "\",\"user\":\"System\"}," AT

START_TEST(errors_and_gaps_are_lines_of_the_system)
{
    reply((struct chi_reply){.type = CHI_REPLY_ERROR,
                             .code = CHATHUB_ENOTMEMBER,
                             .room = CHI_SPAN("general"),
                             .number = 9},
          LINE("system-1793495748732-9", "\"room_id\":\"general\",",
               "Error: not a member of this room; join it first"));
    reply((struct chi_reply){.type = CHI_REPLY_ERROR,
                             .code = CHATHUB_EDENIED,
                             .message = CHI_SPAN("no \"x\"")},
          LINE("system-1793495748732-0", "", "Error: no \\\"x\\\""));
    reply(
        (struct chi_reply){.type = CHI_REPLY_GAP, .room = CHI_SPAN("general"), .from = 3, .to = 9},
        LINE("gap-3-9", "\"room_id\":\"general\",", "Some earlier messages are no longer kept."));
    reply((struct chi_reply){.type = CHI_REPLY_LEFT,
                             .room = CHI_SPAN("a\"b"),
                             .code = CHATHUB_EDENIED},
          LINE("left-1793495748732-a\\\"b", "\"room_id\":\"a\\\"b\",",
               "You were removed: not allowed"));
}
END_TEST

START_TEST(a_private_message_is_from_who_says_it)
{
    reply((struct chi_reply){.type = CHI_REPLY_PRIVATE,
                             .room = CHI_SPAN("general"),
                             .name = CHI_SPAN("bob"),
                             .message = CHI_SPAN("@alice psst"),
                             .number = 4},
          "{\"message_id\":\"private-1793495748732-4\",\"room_id\":\"general\","
          "\"sender_id\":\"bob\",\"type\":\"chat\","
          "\"payload\":{\"text\":\"@alice psst\",\"user\":\"bob\"}," AT);
}
END_TEST

START_TEST(nothing_else_is_told)
{
    static const enum chi_reply_type SILENT[] = {
        CHI_REPLY_WELCOME, CHI_REPLY_ACK,  CHI_REPLY_JOINED, CHI_REPLY_LEFT, CHI_REPLY_HISTORY,
        CHI_REPLY_WHO,     CHI_REPLY_PONG, CHI_REPLY_OK,     CHI_REPLY_BYE,  CHI_REPLY_HELP,
    };
    for (size_t i = 0; i < sizeof(SILENT) / sizeof(SILENT[0]); i++)
        reply((struct chi_reply){.type = SILENT[i], .message = CHI_SPAN("x")}, "");
    static const struct chi_present BOB = {.name = {"bob", 3}};
    for (int type = CHI_SIGNAL_PRESENCE; type <= CHI_SIGNAL_STATUS; type++) {
        struct chi_signal signal = {
            .type = (enum chi_signal_type)type, .who = BOB, .came = &BOB, .came_count = 1};
        DIALECT.encode_signal(&out, &signal);
        shows("");
    }
}
END_TEST

/* -------------------------------------------------------------------------------------- tokens */

static void refused(struct chi_span value, bool demo, const char *said)
{
    struct chi_span name;
    const char *why = NULL;
    ck_assert_int_eq(DIALECT.read_name(value, demo, &name, &why), 401);
    ck_assert_str_eq(why, said);
}

START_TEST(a_token_is_a_name_where_demo_names_are_good_enough)
{
    struct chi_span name;
    const char *why;
    ck_assert_str_eq(DIALECT.name_key, "token");
    ck_assert_int_eq(DIALECT.read_name(CHI_SPAN("user:al: ice"), true, &name, &why), 0);
    SPAN(name, "al: ice");
    refused((struct chi_span){0}, true, "missing token");
    refused((struct chi_span){0}, false, "missing token");
    refused(CHI_SPAN(""), true, "invalid token");
    refused(CHI_SPAN("alice"), true, "invalid token");
    refused(CHI_SPAN("User:alice"), true, "invalid token");
    refused(CHI_SPAN("user:"), true, "invalid token");
    refused(CHI_SPAN("user"), true, "invalid token");
    refused(CHI_SPAN("user:alice"), false, "invalid token");
}
END_TEST

/* -------------------------------------------------------------------------------------- memory */

static long until_failure;

static void *failing_malloc(size_t size)
{
    return until_failure-- == 0 ? NULL : malloc(size);
}

static json_malloc_t usual_malloc;
static json_free_t usual_free;

static void let_fail(long after)
{
    until_failure = after;
    json_set_alloc_funcs(failing_malloc, free);
}

/* Tokens are short here: jansson itself fails badly where its buffer for one cannot grow. */
START_TEST(a_failed_allocation_does_not_lose_a_message_silently)
{
    int result = 0;
    for (long n = 0; result != 1; n++) {
        let_fail(n);
        result = decode(MESSAGE(",\"type\":\"t\",\"payload\":{\"text\":\"hi\",\"a\":[1,\"b\"]}"));
        json_set_alloc_funcs(usual_malloc, usual_free);
        ck_assert_msg(result == 1 || result == CHATHUB_ENOMEM, "%ld: %d", n, result);
        ck_assert_int_lt(n, 1000);
    }
    SPAN(request.content, "hi");
    SPAN(request.data, "{\"chatservice\":{\"type\":\"t\",\"payload\":{\"a\":[1,\"b\"]}}}");
}
END_TEST

START_TEST(a_failed_allocation_makes_no_other_frame)
{
    struct chi_entry *entry = entry_new(CHI_ENTRY_CHAT, "alice", "Hi",
                                        "{\"chatservice\":{\"type\":\"t\",\"payload\":{\"a\":1}}}");
    bool failed = true;
    for (long n = 0; failed; n++) {
        chi_buf_reset(&out, 0);
        let_fail(n);
        DIALECT.encode_entry(&out, CHI_SPAN("general"), entry);
        json_set_alloc_funcs(usual_malloc, usual_free);
        failed = out.failed;
        ck_assert_int_lt(n, 1000);
        ck_assert(n > 0 || failed);
    }
    chi_entry_unref(entry);
    shows("{\"message_id\":\"1793495748732-17\",\"room_id\":\"general\",\"sender_id\":\"alice\","
          "\"type\":\"t\",\"payload\":{\"text\":\"Hi\",\"user\":\"alice\",\"a\":1}," AT);
}
END_TEST

/* What a failed test left. */
static void clear(void)
{
    chi_buf_reset(&out, 0);
}

int main(void)
{
    json_get_alloc_funcs(&usual_malloc, &usual_free);
    TCase *tests = tcase_create("chatservice");
    tcase_add_checked_fixture(tests, clear, NULL);
    tcase_add_test(tests, joining_and_leaving_name_a_room);
    tcase_add_test(tests, the_text_of_a_payload_is_the_content);
    tcase_add_test(tests, what_else_a_message_says_is_kept);
    tcase_add_test(tests, the_rest_of_a_payload_is_what_came_on_one_line);
    tcase_add_test(tests, a_message_that_says_nothing_is_passed_over);
    tcase_add_test(tests, what_is_no_such_frame_is_passed_over);
    tcase_add_test(tests, words_have_a_bound);
    tcase_add_test(tests, a_payload_that_nests_too_deep_is_passed_over);
    tcase_add_test(tests, the_deepest_data_is_still_data);
    tcase_add_test(tests, a_message_of_many_members_keeps_its_spans);
    tcase_add_test(tests, a_message_of_the_full_length_keeps_its_spans);
    tcase_add_test(tests, a_frame_leaves_nothing_to_the_next);
    tcase_add_test(tests, an_entry_has_the_keys_in_their_order);
    tcase_add_test(tests, what_a_client_said_comes_back_to_all);
    tcase_add_test(tests, no_data_makes_anybody_somebody_else);
    tcase_add_test(tests, a_word_of_data_over_its_bound_is_none);
    tcase_add_test(tests, what_has_nothing_to_show_has_no_frame);
    tcase_add_test(tests, errors_and_gaps_are_lines_of_the_system);
    tcase_add_test(tests, a_private_message_is_from_who_says_it);
    tcase_add_test(tests, nothing_else_is_told);
    tcase_add_test(tests, a_token_is_a_name_where_demo_names_are_good_enough);
    tcase_add_test(tests, a_failed_allocation_does_not_lose_a_message_silently);
    tcase_add_test(tests, a_failed_allocation_makes_no_other_frame);
    Suite *suite = suite_create("chatservice");
    suite_add_tcase(suite, tests);
    int failed = unit_run(suite);
    chi_buf_fini(&scratch);
    chi_buf_fini(&out);
    return failed;
}
