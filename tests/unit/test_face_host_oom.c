/* What hosts hand over where allocations fail: linked with --wrap, as test_oom. Each refusal leaves a
 * hub that works on, and what was handed over the host's. */
#include "face_world.h"
#include "oom.h"

static long until_fail = -1; /* allocations that still succeed; -1: all */

static bool fails(void)
{
    return until_fail >= 0 && until_fail-- == 0;
}

static int64_t on_send(void *conn, const char *bytes, size_t len)
{
    (void)bytes;
    *(size_t *)conn += len;
    return (int64_t)len;
}

static void on_close(void *conn, int code, const char *reason)
{
    (void)conn, (void)code, (void)reason;
}

static const struct chathub_carrier ops = {sizeof(ops), 0, on_send, on_close};

/* One allocation fails, each in turn, from the call to what the loop does with it. Answers whether
 * there was one to fail. */
static bool tried(struct chathub *hub, long which, int kind)
{
    static const char hello[] = "{\"type\":\"hello\"}\n";
    int fds[2], error;
    size_t sent = 0;
    uint64_t id = 0;
    must(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0);
    struct chathub_adoption it = {.size = sizeof(it),
                                  .as = kind,
                                  .fd = fds[1],
                                  .bytes = hello,
                                  .len = sizeof(hello) - 1,
                                  .url = kind == 2 ? "tcp://?dialect=native" : NULL};
    until_fail = which;
    error =
        kind == 3 ? chathub_carry(hub, &ops, &sent, NULL, "here", &id) : chathub_adopt(hub, &it);
    if (error == 0 && kind == 3)
        (void)chathub_carrier_line(hub, id, hello, sizeof(hello) - 2);
    bool failed = until_fail < 0;
    must(error == 0 || error == CHATHUB_ENOMEM);
    if (error)
        must(failed);
    for (int i = 0; i < 4; i++)
        must(chathub_step(hub, 0) == 1);
    failed = until_fail < 0;
    until_fail = -1;
    if (kind == 3)
        (void)chathub_carrier_closed(hub, id, 1);
    if (kind == 3 || error)
        must(close(fds[1]) == 0); /* still ours, and open */
    close(fds[0]);
    for (int i = 0; i < 4; i++)
        must(chathub_step(hub, 0) == 1);
    return failed;
}

START_TEST(without_memory_the_hub_works_on)
{
    struct chathub *hub = hub_started();
    struct heard alice = {0};
    long which = 0;
    while (tried(hub, which, _i) && which < 500)
        which++;
    ck_assert_int_gt(which, 3);
    ck_assert_int_lt(which, 500);
    client(hub, "alice", &alice);
    until(hub, &alice, CHATHUB_EVENT_WELCOME, NULL);
    hub_end(hub);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("face_host_oom");
    TCase *tc = tcase_create("oom");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, without_memory_the_hub_works_on, 0, 4);
    suite_add_tcase(suite, tc);
    return unit_run(suite);
}
