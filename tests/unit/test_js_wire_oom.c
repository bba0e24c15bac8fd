/* Every allocation of what reads and writes a JetStream stream fails once: it is said, nothing leaks, and
 * nothing is there by half. */
#include "unit.h"

#include <string.h>

#include "chathub.h"
#include "log/jetstream/link.h"
#include "log/jetstream/wire.h"
#include "oom.h"

static unsigned wanted; /* the allocation that fails; 0: none */
static unsigned count;  /* allocations so far */
static bool counting;   /* while what is tested runs: check allocates, too */

static bool fails(void)
{
    return counting && ++count == wanted;
}

/* Lets each allocation of `once` fail in its turn; how many there are. */
static unsigned failures(int (*once)(void))
{
    for (wanted = 1;; wanted++) {
        count = 0;
        int error = once();
        if (count < wanted) {
            ck_assert_int_eq(error, 0);
            return wanted - 1;
        }
        ck_assert_int_eq(error, CHATHUB_ENOMEM);
    }
}

static struct chi_buf payload;

static int read_entry(void)
{
    struct chi_js_record record;
    counting = true;
    int error = chi_js_read_entry((struct chi_span){payload.at, payload.len}, &record);
    counting = false;
    ck_assert_int_eq(record.entry != NULL, !error);
    chi_entry_unref(record.entry);
    return error;
}

static int write_entry(void)
{
    struct chi_js_hint hint = {0};
    struct chi_js_record record;
    struct chi_buf out = {0};
    ck_assert_int_eq(chi_js_read_entry((struct chi_span){payload.at, payload.len}, &record), 0);
    counting = true;
    chi_js_write_entry(&out, record.entry, 1, 2, &hint);
    counting = false;
    int error = out.failed ? CHATHUB_ENOMEM : 0;
    chi_buf_fini(&out);
    chi_entry_unref(record.entry);
    return error;
}

START_TEST(entries_without_memory)
{
    struct chi_entry_parts parts = {.content = CHI_SPAN("content")};
    struct chi_js_hint hint = {0};
    struct chi_entry *entry = chi_entry_new(1, &parts);
    chi_js_write_entry(&payload, entry, 1, 2, &hint);
    chi_entry_unref(entry);
    ck_assert_uint_eq(failures(read_entry), 1);
    ck_assert_uint_eq(failures(write_entry), 1);
    chi_buf_fini(&payload);
}
END_TEST

static int write_key(void)
{
    struct chi_buf out = {0};
    counting = true;
    int error = chi_js_room_key(&out, CHI_SPAN("a=20room"));
    chi_js_room_token(&out,
                      CHI_SPAN("another one, which is longer than what a buffer has at first, "
                               "so that it has to grow"));
    counting = false;
    error = error || out.failed ? CHATHUB_ENOMEM : 0;
    chi_buf_fini(&out);
    return error;
}

START_TEST(tokens_without_memory)
{
    ck_assert_uint_eq(failures(write_key), 2);
}
END_TEST

static const char *json;

static int read_answer(void)
{
    struct chi_js_answer answer;
    counting = true;
    int error = chi_js_read_answer(chi_span_of(json), "S", &answer);
    counting = false;
    chi_js_answer_fini(&answer);
    return error;
}

/* jansson's own allocations are not among these: it is asked for nothing if there is no memory for it. */
START_TEST(answers_without_memory)
{
    json = "{\"message\":{\"subject\":\"S.in.room.r\",\"seq\":1,\"data\":\"Zm9v\"}}";
    ck_assert_uint_eq(failures(read_answer), 2);
    json = "{\"message\":{\"subject\":\"S.in.room\\u002er\",\"seq\":1,\"data\":\"Zm9v\"}}";
    ck_assert_uint_eq(failures(read_answer), 3);
    json = "{\"error\":{\"code\":404,\"err_code\":10037,\"description\":\"no message found\"}}";
    ck_assert_uint_eq(failures(read_answer), 1);
    json = "{\"stream\":\"S\", \"seq\":7}";
    ck_assert_uint_eq(failures(read_answer), 0); /* there is one for each post */
}
END_TEST

static int read_url(void)
{
    struct chi_js_url url;
    char problem[200] = "";
    counting = true;
    int error = chi_js_url_read("nats://user:SECRET@one.example:4222,two.example/S", &url, problem,
                                sizeof(problem));
    counting = false;
    ck_assert_int_eq(problem[0] != '\0', error != 0);
    ck_assert_ptr_null(strstr(problem, "SECRET"));
    chi_js_url_free(&url);
    return error;
}

START_TEST(urls_without_memory)
{
    ck_assert_uint_gt(failures(read_url), 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("js_wire_oom");
    TCase *tests = tcase_create("js_wire_oom");
    suite_add_tcase(suite, tests);
    tcase_add_test(tests, entries_without_memory);
    tcase_add_test(tests, tokens_without_memory);
    tcase_add_test(tests, answers_without_memory);
    tcase_add_test(tests, urls_without_memory);
    return unit_run(suite);
}
