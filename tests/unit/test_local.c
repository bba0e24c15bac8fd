/* What the local dialect writes is read back as the event of chathub.h. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "dialect/dialect.h"
#include "dialect/local.h"

static struct chi_buf out;

START_TEST(records_are_read_back_one_after_another)
{
    chi_buf_reset(&out, 0);
    chi_buf_add_char(&out, 'x'); /* records need no alignment */
    struct chi_entry_parts parts = {.sender = CHI_SPAN("alice"),
                                    .user = CHI_SPAN("ID"),
                                    .content = CHI_SPAN("hi"),
                                    .cid = CHI_SPAN("c-1"),
                                    .data = CHI_SPAN("{}")};
    struct chi_entry *entry = chi_entry_new(CHI_ENTRY_CHAT, &parts);
    ck_assert_ptr_nonnull(entry);
    entry->position = 42;
    entry->prev = 40;
    entry->time = 7;
    chi_dialect_local.encode_entry(&out, CHI_SPAN("general"), entry);
    chi_entry_unref(entry);
    struct chi_reply ack = {.type = CHI_REPLY_ACK,
                            .ref = CHI_SPAN("9"),
                            .room = CHI_SPAN("general"),
                            .cid = CHI_SPAN("c-2"),
                            .position = 43,
                            .dup = true};
    chi_dialect_local.encode_reply(&out, &ack);
    ck_assert(!out.failed);

    struct chathub_event event;
    size_t len = chi_local_read(out.at + 1, &event);
    ck_assert_uint_eq(event.size, sizeof(event));
    ck_assert_uint_eq(event.type, CHATHUB_EVENT_MESSAGE);
    ck_assert_uint_eq(event.position, 42);
    ck_assert_uint_eq(event.prev, 40);
    ck_assert_uint_eq(event.time, 7);
    ck_assert_str_eq(event.room, "general");
    ck_assert_str_eq(event.sender, "alice");
    ck_assert_str_eq(event.sender_id, "ID");
    ck_assert_str_eq(event.content, "hi");
    ck_assert_uint_eq(event.content_len, 2);
    ck_assert_str_eq(event.cid, "c-1");
    ck_assert_str_eq(event.data, "{}");
    ck_assert_str_eq(event.session, "");
    ck_assert_str_eq(event.message, "");
    ck_assert_str_eq(event.ref, "");
    ck_assert_uint_eq(event.json_len, strlen(event.json));
    ck_assert_ptr_nonnull(
        strstr(event.json, "{\"type\":\"chat\",\"room\":\"general\",\"position\":42,"));

    len += chi_local_read(out.at + 1 + len, &event);
    ck_assert_uint_eq(event.type, CHATHUB_EVENT_ACK);
    ck_assert_uint_eq(event.flags, CHATHUB_DUP);
    ck_assert_uint_eq(event.position, 43);
    ck_assert_str_eq(event.cid, "c-2");
    ck_assert_str_eq(event.ref, "9");
    ck_assert_uint_eq(1 + len, out.len);
}
END_TEST

static void read_reply(struct chi_reply reply, struct chathub_event *event)
{
    chi_buf_reset(&out, 0);
    chi_dialect_local.encode_reply(&out, &reply);
    ck_assert(out.len > 0 && !out.failed);
    ck_assert_uint_eq(chi_local_read(out.at, event), out.len);
}

START_TEST(replies_become_events)
{
    struct chathub_event event;
    read_reply((struct chi_reply){.type = CHI_REPLY_ERROR, .code = CHATHUB_EDENIED}, &event);
    ck_assert_uint_eq(event.type, CHATHUB_EVENT_ERROR);
    ck_assert_int_eq(event.code, CHATHUB_EDENIED);
    ck_assert_str_eq(event.message, chathub_strerror(CHATHUB_EDENIED));
    read_reply((struct chi_reply){.type = CHI_REPLY_GAP, .room = CHI_SPAN("r"), .from = 3, .to = 9},
               &event);
    ck_assert_uint_eq(event.type, CHATHUB_EVENT_GAP);
    ck_assert_uint_eq(event.prev, 3);
    ck_assert_uint_eq(event.position, 9);
    read_reply((struct chi_reply){.type = CHI_REPLY_WELCOME,
                                  .name = CHI_SPAN("n"),
                                  .user = CHI_SPAN("u"),
                                  .session = CHI_SPAN("s")},
               &event);
    ck_assert_str_eq(event.sender, "n");
    ck_assert_str_eq(event.sender_id, "u");
    ck_assert_str_eq(event.session, "s");
    read_reply(
        (struct chi_reply){
            .type = CHI_REPLY_JOINED, .room = CHI_SPAN("r"), .position = 5, .count = 2},
        &event);
    ck_assert_uint_eq(event.type, CHATHUB_EVENT_JOINED);
    ck_assert_uint_eq(event.position, 5);
    ck_assert_uint_eq(event.count, 2);
    chi_buf_reset(&out, 0);
    struct chi_reply help = {.type = CHI_REPLY_HELP};
    chi_dialect_local.encode_reply(&out, &help);
    ck_assert_uint_eq(out.len, 0);
}
END_TEST

static void read_signal(struct chi_signal signal, struct chathub_event *event)
{
    chi_buf_reset(&out, 0);
    chi_dialect_local.encode_signal(&out, &signal);
    ck_assert(out.len > 0 && !out.failed);
    ck_assert_uint_eq(chi_local_read(out.at, event), out.len);
}

START_TEST(signals_become_events)
{
    struct chathub_event event;
    struct chi_present who = {
        .name = CHI_SPAN("n"), .user = CHI_SPAN("u"), .status = CHI_SPAN("away")};
    read_signal(
        (struct chi_signal){
            .type = CHI_SIGNAL_TYPING, .room = CHI_SPAN("r"), .who = who, .on = true},
        &event);
    ck_assert_uint_eq(event.type, CHATHUB_EVENT_TYPING);
    ck_assert_uint_eq(event.flags, CHATHUB_ON);
    ck_assert_str_eq(event.sender, "n");
    read_signal((struct chi_signal){.type = CHI_SIGNAL_STATUS, .room = CHI_SPAN("r"), .who = who},
                &event);
    ck_assert_uint_eq(event.type, CHATHUB_EVENT_STATUS);
    ck_assert_str_eq(event.content, "away");
    read_signal((struct chi_signal){.type = CHI_SIGNAL_PRESENCE, .room = CHI_SPAN("r"), .count = 4},
                &event);
    ck_assert_uint_eq(event.type, CHATHUB_EVENT_PRESENCE);
    ck_assert_uint_eq(event.count, 4);
    ck_assert_str_eq(event.room, "r");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("local");
    tcase_add_test(tests, records_are_read_back_one_after_another);
    tcase_add_test(tests, replies_become_events);
    tcase_add_test(tests, signals_become_events);
    Suite *suite = suite_create("local");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    chi_buf_fini(&out);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
