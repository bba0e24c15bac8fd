/* Where the servers of a JetStream log are. */
#include "unit.h"

#include <string.h>

#include "chathub.h"
#include "log/jetstream/link.h"
#include "util/buf.h"

static char problem[256];

static struct chi_js_url read_it(const char *text)
{
    struct chi_js_url url;
    problem[0] = '\0';
    ck_assert_msg(chi_js_url_read(text, &url, problem, sizeof(problem)) == 0, "%s: %s", text,
                  problem);
    return url;
}

START_TEST(servers_and_stream_are_read)
{
    static const struct {
        const char *text, *servers, *shown, *stream;
        bool tls;
    } urls[] = {
        {"nats://localhost:4222", "nats://localhost:4222", "nats://localhost:4222", "chathub", 0},
        {"nats://localhost", "nats://localhost:4222", "nats://localhost:4222", "chathub", 0},
        {"localhost", "nats://localhost:4222", "nats://localhost:4222", "chathub", 0},
        {"nats://h/s-T_1", "nats://h:4222", "nats://h:4222", "s-T_1", 0},
        {"tls://h:5/s", "tls://h:5", "tls://h:5", "s", 1},
        {"nats://user:pass@a:1,nats://b:2/S", "nats://user:pass@a:1,nats://user:pass@b:2",
         "nats://a:1,nats://b:2", "S", 0},
        {"nats://user:pass@a:1,b:2,c",
         "nats://user:pass@a:1,nats://user:pass@b:2,nats://"
         "user:pass@c:4222",
         "nats://a:1,nats://b:2,nats://c:4222", "chathub", 0},
        {"tls://token@a,tls://other@b,c",
         "tls://token@a:4222,tls://other@b:4222,tls://"
         "other@c:4222",
         "tls://a:4222,tls://b:4222,tls://c:4222", "chathub", 1},
        {"nats://[::1]:4333,[fe80::1%eth0]/s", "nats://[::1]:4333,nats://[fe80::1%eth0]:4222",
         "nats://[::1]:4333,nats://[fe80::1%eth0]:4222", "s", 0},
        {"nats://u:p@ss/w:rd#%20]@a_b-c.example:65535/s",
         "nats://u:p@ss/w:rd#%20]@a_b-c.example:65535", "nats://a_b-c.example:65535", "s", 0},
        {"nats://127.0.0.1:4222/01234567890123456789012345678901", "nats://127.0.0.1:4222",
         "nats://127.0.0.1:4222", "01234567890123456789012345678901", 0},
    };
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct chi_js_url url = read_it(urls[i].text);
        ck_assert_str_eq(url.servers, urls[i].servers);
        ck_assert_str_eq(url.shown, urls[i].shown);
        ck_assert_str_eq(url.stream, urls[i].stream);
        ck_assert_int_eq(url.tls, urls[i].tls);
        chi_js_url_free(&url);
    }
}
END_TEST

/* `says`: a part of the line that tells what is wrong. */
static void refuse(const char *text, const char *says)
{
    struct chi_js_url url;
    problem[0] = '\0';
    ck_assert_msg(chi_js_url_read(text, &url, problem, sizeof(problem)) == CHATHUB_EVALUE, "%s",
                  text);
    ck_assert_msg(strstr(problem, says) != NULL, "%s: %s", text, problem);
    ck_assert_msg(strstr(problem, "option log: jetstream: server ") == problem, "%s", problem);
    ck_assert_uint_lt(strlen(problem) + 1, sizeof(problem)); /* it was not cut */
    ck_assert_ptr_null(url.servers);
    ck_assert_ptr_null(url.shown);
}

START_TEST(what_is_no_server_is_refused)
{
    static const char *const hosts[] = {
        "",         "nats://",     "nats://:4222",    "nats:///s", "nats://a b", "a,,b",
        "a?x=1",    "nats://[::1", "nats://::1:1",    "[]",        "[g/]",       "nats://u:p@",
        "nats://*", "a\n",         "nats://\xc3\xbc", ",a",        "a#b",        "nats://a\\b",
    };
    static const char *const ports[] = {"a:",   "a:0",  "a:65536",  "a:x",
                                        "a:1 ", "a:-1", "[::1]:+1", "a:99999999999999999999"};
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++)
        refuse(hosts[i], "has no valid host; write nats://HOST:PORT");
    for (size_t i = 0; i < sizeof(ports) / sizeof(ports[0]); i++)
        refuse(ports[i], "has no valid port (1 to 65535); write nats://HOST:PORT");
    refuse("a:1,", "server 2 is missing behind the last comma");
    refuse("http://a", "server 1 has an unknown scheme");
    refuse("nats://a,ws://b", "server 2 has an unknown scheme");
    refuse("nats://a,tls://b", "server 2 has another scheme than the first");
    refuse("a,tls://b", "server 2 has another scheme than the first");
    refuse("tls://a,b,nats://c", "server 3 has another scheme than the first");
}
END_TEST

START_TEST(what_is_no_stream_is_refused)
{
    static const char *const streams[] = {
        "a/",
        "a/b/",
        "a/b/c",
        "a/b.c",
        "a/*",
        "a/>",
        "a/b c",
        "a/S,b",
        "a/S,b/S",
        "nats://a:1/",
        "a/s?x",
        "a/\xc3\xbc",
        "a/012345678901234567890123456789012",
    };
    for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++)
        refuse(streams[i], "no stream's name of 1 to 32 letters, digits, \"-\" and \"_\"");
}
END_TEST

START_TEST(a_user_that_libnats_would_not_write_well_is_refused)
{
    static const char *const users[] = {
        "@a", ":@a", ":p@a", "u:p\"@a", "u:p\\@a", "u:p p@a", "u:\xc3\xbc@a", "u:p\x7f@a", "u\n@a",
    };
    for (size_t i = 0; i < sizeof(users) / sizeof(users[0]); i++)
        refuse(users[i], "has a user, password or token that");
}
END_TEST

/* It would be taken for two servers, the first of which is a piece of it. */
START_TEST(a_token_with_a_comma_is_refused)
{
    refuse("nats://tok,secret@127.0.0.1:4222", "has a user and the first has none");
    refuse("nats://user:1234,rest@h", "has a user and the first has none");
}
END_TEST

START_TEST(so_many_servers_are_too_many)
{
    struct chi_buf text = {0};
    for (int i = 0; i < 64; i++)
        chi_buf_add_text(&text, i ? ",h" : "h");
    chi_buf_add_char(&text, '\0');
    struct chi_js_url url = read_it(text.at);
    chi_js_url_free(&url);
    text.len--;
    chi_buf_add(&text, ",h", 3);
    refuse(text.at, "server 65 is one too many; name at most 64");
    chi_buf_fini(&text);
}
END_TEST

/* Nothing that stands before an '@', or might, is said to anybody. */
START_TEST(secrets_are_never_shown)
{
    static const char *const texts[] = {
        "nats://user:SECRET@",           "nats://user:SECRET@a:0", "nats://user:SECRET@a/b.c",
        "nats://user:SECRET,more@a",     "nats://user:SECRET",     "nats://SECRET @a",
        "nats://user:SECRET@a,http://b", "nats://user:SECRET@a,",  "nats://SEC\"SECRET@a",
        "nats://user:SEC/RET:SECRET@",   "SECRET://user@a",        "nats://u:SECRET@a@b:x",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct chi_js_url url;
        ck_assert_int_eq(chi_js_url_read(texts[i], &url, problem, sizeof(problem)), CHATHUB_EVALUE);
        ck_assert_msg(!strstr(problem, "SECRET") && !strstr(problem, "user:"), "%s", problem);
    }
    struct chi_js_url url = read_it("nats://user:SECRET@a,b,SECRET@c/stream");
    ck_assert_ptr_null(strstr(url.shown, "SECRET"));
    ck_assert_ptr_null(strstr(url.shown, "user"));
    chi_js_url_free(&url);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("js_url");
    TCase *tests = tcase_create("js_url");
    suite_add_tcase(suite, tests);
    tcase_add_test(tests, servers_and_stream_are_read);
    tcase_add_test(tests, what_is_no_server_is_refused);
    tcase_add_test(tests, what_is_no_stream_is_refused);
    tcase_add_test(tests, a_user_that_libnats_would_not_write_well_is_refused);
    tcase_add_test(tests, a_token_with_a_comma_is_refused);
    tcase_add_test(tests, so_many_servers_are_too_many);
    tcase_add_test(tests, secrets_are_never_shown);
    return unit_run(suite);
}
