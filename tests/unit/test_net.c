/* Parts of net/ without a socket: addresses, framings, the guard of heads, routes. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "dialect/dialect.h"
#include "net/address.h"
#include "net/framing.h"
#include "net/guard.h"
#include "net/routes.h"
#include "util/text.h"

/* ---- addresses */

struct good {
    const char *url;
    bool lines, is_unix;
    const char *host;
    unsigned port;
    const char *path, *room;
    bool local;
};

START_TEST(urls_are_read)
{
    static const struct good goods[] = {
        {"ws://127.0.0.1:8080/ws", false, false, "127.0.0.1", 8080, "/ws", "", true},
        {"ws://localhost:0", false, false, "localhost", 0, "/ws", "", true},
        {"ws://[::1]:65535/", false, false, "::1", 65535, "/", "", true},
        {"ws://[::]:1/a/b?room=the%20room", false, false, "::", 1, "/a/b", "the room", false},
        {"ws://127.9.9.9:1?room=a", false, false, "127.9.9.9", 1, "/ws", "a", true},
        {"tcp://0.0.0.0:7000", true, false, "0.0.0.0", 7000, "", "", false},
        {"tcp://192.168.1.2:7000/", true, false, "192.168.1.2", 7000, "", "", false},
        {"tcp://[fe80::1]:7000?room=x&dialect=native", true, false, "fe80::1", 7000, "", "x",
         false},
        {"ws+unix:/run/chat.sock", false, true, "/run/chat.sock", 0, "/ws", "", true},
        {"ws+unix:/a?path=/chat&room=b", false, true, "/a", 0, "/chat", "b", true},
        {"tcp+unix:/a", true, true, "/a", 0, "", "", true},
    };
    const struct good *good = &goods[_i];
    struct chi_address address;
    char problem[200] = "";

    ck_assert_msg(chi_address_parse(good->url, &address, problem, sizeof(problem)) == 0, "%s",
                  problem);
    ck_assert_int_eq(address.protocol, good->lines ? CHI_PROTOCOL_LINES : CHI_PROTOCOL_WEBSOCKET);
    ck_assert_int_eq(address.is_unix, good->is_unix);
    ck_assert_str_eq(address.host, good->host);
    ck_assert_uint_eq(address.port, good->port);
    ck_assert_str_eq(address.path, good->path);
    ck_assert_str_eq(address.room, good->room);
    ck_assert_int_eq(chi_address_is_local(&address), good->local);
    ck_assert(address.dialect == (strstr(good->url, "native") ? &chi_dialect_native : NULL));
}
END_TEST

START_TEST(faulty_urls_are_told_with_what_is_wrong)
{
    static const char *bad[] = {
        "",
        "localhost:8080",
        "http://localhost:80",
        "wss://localhost:443/ws",
        "ws://localhost/ws",
        "ws://localhost:/ws",
        "ws://localhost:65536/ws",
        "ws://localhost:-1",
        "ws://localhost:+1",
        "ws://localhost:8080x",
        "ws://:8080/ws",
        "ws://example.org:8080/ws",
        "ws://::1:8080/ws",
        "ws://[::1:8080",
        "ws://[::1]8080",
        "ws://[127.0.0.1]:80",
        "ws://localhost:1/a b",
        "ws://localhost:1/a%20b",
        "ws://localhost:1/#x",
        "tcp://localhost:1/path",
        "ws://localhost:1/ws?room",
        "ws://localhost:1/ws?room=",
        "ws://localhost:1/ws?room=%0",
        "ws://localhost:1/ws?room=%00",
        "ws://localhost:1/ws?dialect=klingon",
        "ws://localhost:1/ws?path=/x",
        "ws://localhost:1/ws?color=red",
        "ws+unix:relative",
        "ws+unix:",
        "tcp+unix:/a?path=/x",
        "ws+unix:/a?path=x",
        ("tcp+unix:/0123456789012345678901234567890123456789012345678901234567890123456789"
         "0123456789012345678901234567890123456789"),
    };
    struct chi_address address;
    char problem[300] = "";

    ck_assert_msg(chi_address_parse(bad[_i], &address, problem, sizeof(problem)) ==
                      CHATHUB_EADDRESS,
                  "%s", bad[_i]);
    ck_assert(strncmp(problem, bad[_i], strlen(bad[_i])) == 0);
    ck_assert(strlen(problem) > strlen(bad[_i]) + 10 && !strchr(problem, '\n'));
}
END_TEST

/* ---- framings */

START_TEST(frames_have_the_shortest_header)
{
    static const struct {
        size_t len, header;
        uint8_t second;
    } forms[] = {{1, 2, 1}, {125, 2, 125}, {126, 4, 126}, {65535, 4, 126}, {65536, 10, 127}};
    struct chi_buf buf = {0};

    chi_buf_add_text(&buf, "before");
    memset(chi_buf_reserve(&buf, forms[_i].len), 'x', forms[_i].len);
    buf.len += forms[_i].len;
    chi_framing_websocket.frame(&buf, 6);
    ck_assert_uint_eq(buf.len, 6 + forms[_i].header + forms[_i].len);
    const uint8_t *at = (const uint8_t *)buf.at + 6;
    uint64_t len = 0;
    ck_assert_uint_eq(at[0], 0x81);
    ck_assert_uint_eq(at[1], forms[_i].second);
    for (size_t i = 2; i < forms[_i].header; i++)
        len = len << 8 | at[i];
    ck_assert(forms[_i].header == 2 || len == forms[_i].len);
    ck_assert(memcmp(buf.at, "before", 6) == 0 && at[forms[_i].header] == 'x');
    chi_buf_fini(&buf);
}
END_TEST

START_TEST(nothing_is_framed_as_nothing)
{
    struct chi_buf buf = {0};

    chi_buf_add_text(&buf, "x");
    chi_framing_websocket.frame(&buf, 1);
    chi_framing_lines.frame(&buf, 1);
    chi_framing_none.frame(&buf, 1);
    ck_assert_uint_eq(buf.len, 1);
    chi_framing_none.frame(&buf, 0);
    ck_assert_uint_eq(buf.len, 1);
    chi_framing_lines.frame(&buf, 0);
    ck_assert(buf.len == 2 && memcmp(buf.at, "x\n", 2) == 0);
    chi_buf_fini(&buf);
}
END_TEST

/* A reason that is too long is cut between characters. */
START_TEST(close_reasons_stay_utf8)
{
    struct chi_buf buf = {0};
    char reason[200];

    for (size_t shift = 0; shift < 4; shift++) {
        size_t len = shift;
        memset(reason, 'x', shift);
        for (; len + 4 <= sizeof(reason); len += 4)
            memcpy(reason + len, "\xf0\x9f\x98\x80", 4);
        chi_buf_reset(&buf, 0);
        chi_frame_close(&buf, 1001, (struct chi_span){reason, len});
        ck_assert(buf.len <= 2 + CHI_CONTROL_MAX && buf.len > 2 + CHI_CONTROL_MAX - 4);
        ck_assert(memcmp(buf.at + 2, "\x03\xe9", 2) == 0);
        ck_assert(chi_utf8_valid(buf.at + 4, buf.len - 4));
    }
    chi_buf_reset(&buf, 0);
    chi_frame_close(&buf, 0, CHI_SPAN("lost without a code"));
    ck_assert(buf.len == 2 && memcmp(buf.at, "\x88\0", 2) == 0);
    chi_buf_fini(&buf);
}
END_TEST

/* ---- the guard */

START_TEST(the_guard_finds_the_end_however_the_head_is_cut)
{
    static const char head[] = "GET / HTTP/1.1\r\nHost: x\r\nY: z\r\n\r\nbehind";
    size_t end = sizeof(head) - 1 - 6;
    struct chi_guard guard = {0};

    for (size_t cut = 0; cut < end; cut++) {
        ck_assert_uint_eq(chi_guard_scan(&guard, head, 0, cut), 0);
        ck_assert_uint_eq(chi_guard_scan(&guard, head, cut, sizeof(head) - 1), end);
    }
    chi_guard_check(&guard, head, end);
    ck_assert_int_eq(guard.status, 0);
}
END_TEST

/* ---- routes */

static int answer(struct chathub *hub, const struct chathub_http *request, void *arg)
{
    (void)hub;
    (void)request;
    (void)arg;
    return 200;
}

START_TEST(routes_are_exact_and_replaced)
{
    static const uint8_t secret[16] = {1};
    struct chi_routes *routes;

    ck_assert_int_eq(chi_routes_new(secret, &routes), 0);
    ck_assert_int_eq(chi_routes_asset(routes, "/", "text/html", "a", 1), 0);
    ck_assert_int_eq(chi_routes_asset(routes, "/", "text/plain", "bc", 2), 0);
    ck_assert_int_eq(chi_routes_callback(routes, "/x", CHI_METHOD(GET), answer, NULL), 0);
    ck_assert_str_eq(chi_routes_find(routes, "/", 1)->type, "text/plain");
    ck_assert_uint_eq(chi_routes_find(routes, "/", 1)->len, 2);
    ck_assert(chi_routes_find(routes, "/xyz", 2)->cb == answer);
    ck_assert_ptr_null(chi_routes_find(routes, "/xyz", 3));
    ck_assert_uint_eq(chi_routes_find(routes, "/x", 2)->methods,
                      CHI_METHOD(GET) | CHI_METHOD(HEAD));
    ck_assert_int_eq(chi_routes_callback(routes, "/x", CHI_METHOD(POST), answer, NULL), 0);
    ck_assert_uint_eq(chi_routes_find(routes, "/x", 2)->methods, CHI_METHOD(POST));
    ck_assert_int_eq(chi_routes_asset(routes, "x", "text/html", "", 0), CHATHUB_EINVAL);
    ck_assert_int_eq(chi_routes_asset(routes, "/?a", "text/html", "", 0), CHATHUB_EINVAL);
    ck_assert_int_eq(chi_routes_asset(routes, "/a b", "text/html", "", 0), CHATHUB_EINVAL);
    ck_assert_int_eq(chi_routes_asset(routes, "/a", "a\r\nX: y", "", 0), CHATHUB_EINVAL);
    ck_assert_int_eq(chi_routes_asset(routes, "/a", "", "", 0), CHATHUB_EINVAL);
    ck_assert_int_eq(chi_routes_callback(routes, "/a", CHI_METHOD(GET), NULL, NULL),
                     CHATHUB_EINVAL);
    chi_routes_free(routes);
    chi_routes_free(NULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("net");
    TCase *tcase = tcase_create("net");

    tcase_add_loop_test(tcase, urls_are_read, 0, 11);
    tcase_add_loop_test(tcase, faulty_urls_are_told_with_what_is_wrong, 0, 32);
    tcase_add_loop_test(tcase, frames_have_the_shortest_header, 0, 5);
    tcase_add_test(tcase, nothing_is_framed_as_nothing);
    tcase_add_test(tcase, close_reasons_stay_utf8);
    tcase_add_test(tcase, the_guard_finds_the_end_however_the_head_is_cut);
    tcase_add_test(tcase, routes_are_exact_and_replaced);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
