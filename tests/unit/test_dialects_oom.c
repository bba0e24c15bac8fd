/* Without memory a dialect of another system reads and writes all or nothing, and says which. */
#include "unit.h"

#include <string.h>

#include "chathub.h"
#include "dialect/dialect.h"
#include "oom.h"

static long until = -1; /* allocations that still succeed; -1: all */

static bool fails(void)
{
    return until >= 0 && until-- == 0;
}

static const struct {
    const struct chi_dialect *dialect;
    const char *post; /* a frame of it that says something, and cannot be used as it stands */
} FOREIGN[] = {
    {&chi_dialect_chatservice,
     "{\"action\":\"message\",\"room\":\"general\",\"client_id\":\"c\",\"payload\":{\"k\":[1],"
     "\"text\":\"a text of some length, which does not fit into the first allocation of all\"}}"},
    {&chi_dialect_minichat,
     "{\"type\":\"chat\",\"content\":\"a text of some\\nlength, longer than an allocation\"}"},
    {&chi_dialect_gochat, "{\"username\":\"alice\",\"content\":\"a text of some\\nlength\"}"},
    {&chi_dialect_multiserver, "a text of some length"},
    {&chi_dialect_realtime, "{\"sender\":\"alice\",\"content\":\"a text of some\\nlength\"}"},
};
#define FOREIGN_COUNT ((int)(sizeof(FOREIGN) / sizeof(FOREIGN[0])))

/* More than any of them needs for one frame. */
#define TRIES 200

START_TEST(a_frame_is_read_or_there_is_no_memory)
{
    static struct chi_request request;
    struct chi_decode_error error;
    struct chi_span text = chi_span_of(FOREIGN[_i].post);
    int refused = 0, result = 0;
    for (long i = 0; result <= 0; i++) {
        ck_assert_int_lt(i, TRIES);
        struct chi_buf scratch = {0};
        until = i;
        result = FOREIGN[_i].dialect->decode(&scratch, text, &request, &error);
        until = -1;
        if (result < 0) {
            refused++;
            ck_assert_int_eq(result, CHATHUB_ENOMEM);
            ck_assert_int_eq(error.code, CHATHUB_ENOMEM);
            ck_assert(error.message[0]);
        } else {
            ck_assert_int_eq(request.type, CHI_REQUEST_POST);
            ck_assert_uint_gt(request.content.len, 20);
        }
        chi_buf_fini(&scratch);
    }
    ck_assert_int_gt(refused, 0);
}
END_TEST

/* Everything that a dialect can be asked to write. */
static void write_frame(const struct chi_dialect *dialect, int which, const struct chi_entry *entry,
                        struct chi_buf *out)
{
    static const struct chi_present people[] = {
        {.name = {"alice", 5}, .was = {"alicia", 6}},
        {.name = {"a name: so long that it does not fit into a first allocation of 64", 66}},
    };
    struct chi_reply reply = {.type = (enum chi_reply_type)which,
                              .code = CHATHUB_EDENIED,
                              .room = CHI_SPAN("general"),
                              .name = people[1].name,
                              .message = people[1].name,
                              .present = people,
                              .present_count = 2};
    struct chi_signal signal = {.type = CHI_SIGNAL_PRESENCE,
                                .came = people,
                                .came_count = 2,
                                .renamed = people,
                                .renamed_count = 1};
    if (which > CHI_REPLY_PRIVATE)
        dialect->encode_signal(out, &signal);
    else if (which >= CHI_REPLY_WELCOME)
        dialect->encode_reply(out, &reply);
    else
        dialect->encode_entry(out, CHI_SPAN("general"), entry);
}

static int refusals(const struct chi_dialect *dialect, int which, const struct chi_entry *entry)
{
    struct chi_buf whole = {0};
    int refused = 0;
    write_frame(dialect, which, entry, &whole);
    ck_assert(!whole.failed);
    for (long i = 0;; i++) {
        ck_assert_int_lt(i, TRIES);
        struct chi_buf out = {0};
        until = i;
        write_frame(dialect, which, entry, &out);
        bool spent = until < 0;
        until = -1;
        ck_assert_msg(out.failed || (out.len == whole.len &&
                                     (!out.len || memcmp(out.at, whole.at, out.len) == 0)),
                      "%s, frame %d, allocation %ld: torn, and not said", dialect->name, which, i);
        refused += out.failed;
        chi_buf_fini(&out);
        if (!spent)
            break;
    }
    chi_buf_fini(&whole);
    return refused;
}

START_TEST(a_frame_is_written_or_failed)
{
    struct chi_entry_parts parts = {
        .sender = CHI_SPAN("alice"),
        .user = CHI_SPAN("ID"),
        .content = CHI_SPAN("a text of some length, which does not fit into one allocation of 64"),
        .data = CHI_SPAN("{\"chatservice\":{\"client_id\":\"c\",\"payload\":{\"k\":1}}}")};
    struct chi_entry *entry = chi_entry_new(CHI_ENTRY_CHAT, &parts);
    ck_assert_ptr_nonnull(entry);
    int refused = 0;
    for (int which = 0; which <= CHI_REPLY_PRIVATE + 1; which++)
        refused += refusals(FOREIGN[_i].dialect, which, entry);
    ck_assert_int_gt(refused, 4);
    chi_entry_unref(entry);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("dialects_oom");
    TCase *tests = tcase_create("dialects_oom");
    tcase_add_loop_test(tests, a_frame_is_read_or_there_is_no_memory, 0, FOREIGN_COUNT);
    tcase_add_loop_test(tests, a_frame_is_written_or_failed, 0, FOREIGN_COUNT);
    suite_add_tcase(suite, tests);
    return unit_run(suite);
}
