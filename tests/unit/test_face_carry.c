/* A transport of the host's own: chathub_carry, by chathub.h. */
#include "face_world.h"

#define ENTRIES 10000

/* The host's end of a carried connection. */
struct cart {
    struct chathub *hub;
    uint64_t id;
    char *got; /* everything that was sent */
    size_t len, cap;
    size_t most;  /* bytes that one send takes */
    bool broken;  /* sends fail */
    bool at_once; /* says that it is writable within `send` */
    bool over;    /* the host has told its end */
    int sends, closes;
    int code; /* of the close */
    char reason[256];
    int quit_at; /* the send within which the host tells its end; 0: none */
};

static int64_t on_send(void *conn, const char *bytes, size_t len)
{
    struct cart *cart = conn;
    must(!inside_call);
    must(!cart->over && !cart->closes);
    must(len > 0);
    cart->sends++;
    if (cart->sends == cart->quit_at) {
        cart->over = true;
        must(chathub_carrier_closed(cart->hub, cart->id, 0) == 0);
    }
    if (cart->broken)
        return -1;
    if (len > cart->most)
        len = cart->most;
    while (cart->len + len + 1 > cart->cap) {
        cart->cap = cart->cap ? cart->cap * 2 : 4096;
        cart->got = realloc(cart->got, cart->cap);
    }
    memcpy(cart->got + cart->len, bytes, len);
    cart->len += len;
    cart->got[cart->len] = '\0';
    if (cart->at_once && !cart->over)
        must(chathub_carrier_writable(cart->hub, cart->id) == 0);
    return (int64_t)len;
}

static void on_close(void *conn, int code, const char *reason)
{
    struct cart *cart = conn;
    ck_assert(!inside_call);
    ck_assert(!cart->over);
    ck_assert_int_eq(cart->closes++, 0);
    cart->code = code;
    snprintf(cart->reason, sizeof(cart->reason), "%s", reason);
    ck_assert_int_eq(chathub_carrier_line(cart->hub, cart->id, "x", 1) == 0, 0);
}

static const struct chathub_carrier ops = {sizeof(ops), 0, on_send, on_close};

static void carry(struct cart *cart, struct chathub *hub, const char *url)
{
    *cart = (struct cart){.hub = hub, .most = SIZE_MAX};
    ck_assert_int_eq(CALL(chathub_carry(hub, &ops, cart, url, "pipe 7", &cart->id)), 0);
    ck_assert_uint_ne(cart->id, 0);
}

static void line(struct cart *cart, const char *text)
{
    ck_assert_int_eq(CALL(chathub_carrier_line(cart->hub, cart->id, text, CHATHUB_NUL)), 0);
}

static bool got(const struct cart *cart, const char *text)
{
    return cart->got && strstr(cart->got, text);
}

static void until_got(struct cart *cart, const char *text)
{
    while (!got(cart, text)) {
        must(!cart->closes);
        must(chathub_step(cart->hub, -1) == 1);
    }
}

static void over(struct cart *cart, int left)
{
    cart->over = true;
    ck_assert_int_eq(CALL(chathub_carrier_closed(cart->hub, cart->id, left)), 0);
    ck_assert_int_eq(CALL(chathub_carrier_closed(cart->hub, cart->id, left)), CHATHUB_EGONE);
}

static void cart_end(struct cart *cart)
{
    free(cart->got);
}

static uint64_t clients(struct chathub *hub)
{
    struct chathub_stats stats = {.size = sizeof(stats)};
    ck_assert_int_eq(chathub_stats(hub, &stats), 0);
    return stats.clients;
}

/* ---------------------------------------------------------------------------------------- lines */

START_TEST(lines_go_both_ways)
{
    struct chathub *hub = hub_started();
    struct cart cart;
    carry(&cart, hub, NULL);
    line(&cart, "{\"type\":\"hello\",\"name\":\"alice\"}\r");
    line(&cart, "{\"type\":\"join\",\"room\":\"tea\"}");
    line(&cart, "");
    line(&cart, "{\"type\":\"post\",\"room\":\"tea\",\"content\":\"hi all\",\"cid\":\"c-1\"}");
    until_got(&cart, "\"ack\"");
    until_got(&cart, "\"hi all\"");
    ck_assert(got(&cart, "\"welcome\""));
    ck_assert_int_eq(cart.got[cart.len - 1], '\n');
    over(&cart, 1);
    hub_end(hub);
    cart_end(&cart);
}
END_TEST

START_TEST(the_url_says_how_it_speaks_and_where)
{
    struct chathub *hub = hub_started();
    struct cart cart;
    carry(&cart, hub, "tcp://?dialect=human&room=tea%20time");
    line(&cart, "good morning");
    until_got(&cart, ": good morning\n");
    ck_assert(got(&cart, "tea time"));
    over(&cart, 0);
    hub_end(hub);
    cart_end(&cart);
}
END_TEST

START_TEST(what_cannot_be_understood_is_answered)
{
    struct chathub *hub = hub_started();
    struct cart cart;
    char *many = malloc(1 << 20);
    memset(many, 'x', 1 << 20);
    carry(&cart, hub, NULL);
    line(&cart, "{\"type\":\"hello\",\"name\":\"alice\"}");
    line(&cart, "{");
    until_got(&cart, "\"bad_json\"");
    line(&cart, "{\"type\":\"dance\"}");
    until_got(&cart, "\"unknown_type\"");
    line(&cart, "\xff\xfe");
    until_got(&cart, "\"bad_text\"");
    ck_assert_int_eq(chathub_carrier_line(hub, cart.id, many, 1 << 20), CHATHUB_ETOOLONG);
    ck_assert_int_eq(chathub_carrier_line(hub, cart.id, NULL, 1), CHATHUB_EINVAL);
    line(&cart, "{\"type\":\"ping\"}");
    until_got(&cart, "\"pong\"");
    for (int i = 0; i < 100 && !cart.closes; i++) { /* too many in a row */
        if (chathub_carrier_line(hub, cart.id, "{", 1) == CHATHUB_EGONE)
            break;
        chathub_step(hub, 0);
    }
    while (!cart.closes)
        chathub_step(hub, -1);
    ck_assert_int_eq(cart.code, 1008);
    ck_assert_int_eq(chathub_carrier_closed(hub, cart.id, 0), CHATHUB_EGONE);
    hub_end(hub);
    cart_end(&cart);
    free(many);
}
END_TEST

START_TEST(an_inbox_that_is_full_says_so_and_loses_nothing)
{
    struct chathub *hub = hub_started();
    struct cart cart;
    int taken = 0, error = 0;
    char text[64];
    carry(&cart, hub, NULL);
    ck_assert_int_eq(chathub_carrier_ready(hub, cart.id), 1);
    for (; taken < 1000; taken += !error) {
        snprintf(text, sizeof(text), "{\"type\":\"ping\",\"ref\":%d}", taken);
        error = CALL(chathub_carrier_line(hub, cart.id, text, CHATHUB_NUL));
        if (error) {
            ck_assert_int_eq(error, CHATHUB_EAGAIN);
            ck_assert_int_eq(chathub_carrier_ready(hub, cart.id), 0);
            while (!chathub_carrier_ready(hub, cart.id))
                chathub_step(hub, -1);
        }
    }
    until_got(&cart, "\"ref\":999");
    const char *at = cart.got;
    for (int i = 0; i < 1000; i++) {
        snprintf(text, sizeof(text), "\"ref\":%d,", i);
        at = strstr(at, text);
        if (!at)
            ck_abort_msg("no answer to %d, or out of order", i);
    }
    over(&cart, 1);
    hub_end(hub);
    cart_end(&cart);
}
END_TEST

/* ------------------------------------------------------------------------------------- the host */

START_TEST(wrong_calls_are_refused)
{
    struct chathub *hub = hub_new();
    struct cart cart;
    uint64_t id = 0;
    struct chathub_carrier lame = {sizeof(lame), 0, on_send, NULL},
                           small = {8, 0, on_send, on_close};
    ck_assert_int_eq(chathub_carry(hub, &ops, &cart, NULL, NULL, &id), CHATHUB_ESTOPPED);
    ck_assert_int_eq(chathub_set(hub, "max-clients", "1"), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    ck_assert_int_eq(chathub_carry(hub, &lame, &cart, NULL, NULL, &id), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_carry(hub, &small, &cart, NULL, NULL, &id), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_carry(hub, NULL, &cart, NULL, NULL, &id), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_carry(hub, &ops, &cart, NULL, NULL, NULL), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_carry(hub, &ops, &cart, "ws://", NULL, &id), CHATHUB_EADDRESS);
    ck_assert_int_eq(chathub_carry(hub, &ops, &cart, "tcp://?dialect=gochat", NULL, &id),
                     CHATHUB_EADDRESS);
    ck_assert_int_eq(chathub_carry(hub, &ops, &cart, "tcp://?room=a%01b", NULL, &id),
                     CHATHUB_EADDRESS);
    ck_assert_uint_eq(id, 0);
    carry(&cart, hub, NULL);
    ck_assert_int_eq(chathub_carry(hub, &ops, &cart, NULL, NULL, &id), CHATHUB_EFULL);
    ck_assert_int_eq(chathub_carrier_line(hub, cart.id + 1, "x", 1), CHATHUB_EGONE);
    ck_assert_int_eq(chathub_carrier_ready(hub, cart.id + 1), CHATHUB_EGONE);
    ck_assert_int_eq(chathub_carrier_writable(hub, cart.id + 1), CHATHUB_EGONE);
    ck_assert_int_eq(chathub_carrier_closed(hub, cart.id + 1, 0), CHATHUB_EGONE);
    ck_assert_int_eq(chathub_post(hub, cart.id, NULL, "x", 1, NULL), CHATHUB_EGONE);
    over(&cart, 1);
    chathub_step(hub, 0);
    ck_assert_uint_eq(clients(hub), 0);
    hub_end(hub);
    cart_end(&cart);
}
END_TEST

static void posts(struct chathub *hub, uint64_t client, struct heard *heard, int from, int to)
{
    char text[32];
    for (int i = from; i < to; i++) {
        snprintf(text, sizeof(text), "number %d.", i);
        int error;
        while ((error = chathub_post(hub, client, NULL, text, CHATHUB_NUL, NULL)) ==
               CHATHUB_EAGAIN) {
            heard->count = 0;
            must(chathub_step(hub, -1) == 1);
        }
        must(error == 0);
    }
}

/* Every entry once, in the order of the room. */
static void in_order(const struct cart *cart, int entries)
{
    char text[32];
    const char *at = cart->got;
    for (int i = 0; i < entries; i++) {
        snprintf(text, sizeof(text), "number %d.", i);
        at = strstr(at, text);
        if (!at)
            ck_abort_msg("entry %d is missing, or out of order", i);
        at++;
    }
    ck_assert_ptr_null(strstr(at, text));
    ck_assert_ptr_null(strstr(cart->got, "\"gap\""));
}

static void ignore(struct chathub *hub, const struct chathub_event *event, void *arg)
{
    (void)hub, (void)event, (void)arg;
}

START_TEST(who_is_blocked_for_long_loses_nothing)
{
    struct chathub *hub = hub_new();
    struct heard heard = {0};
    struct cart cart;
    uint64_t bob;
    ck_assert_int_eq(chathub_set(hub, "log-entries", "20000"), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    ck_assert_int_eq(chathub_client(hub, "bob", ignore, NULL, &bob), 0);
    carry(&cart, hub, NULL);
    line(&cart, "{\"type\":\"join\"}");
    until_got(&cart, "\"joined\"");
    cart.most = 7; /* it stands within a frame */
    posts(hub, bob, &heard, 0, ENTRIES);
    ck_assert_int_le(cart.sends, 10);
    cart.most = SIZE_MAX;
    ck_assert_int_eq(CALL(chathub_carrier_writable(hub, cart.id)), 0);
    until_got(&cart, "number 9999.");
    in_order(&cart, ENTRIES);
    over(&cart, 1);
    hub_end(hub);
    cart_end(&cart);
}
END_TEST

START_TEST(a_byte_at_a_time_is_enough)
{
    struct chathub *hub = hub_started();
    struct heard heard = {0};
    struct cart cart;
    uint64_t bob;
    ck_assert_int_eq(chathub_client(hub, "bob", ignore, NULL, &bob), 0);
    carry(&cart, hub, NULL);
    cart.most = 1;
    cart.at_once = _i; /* it says so within `send`, or the host later */
    line(&cart, "{\"type\":\"join\"}");
    posts(hub, bob, &heard, 0, 20);
    while (!got(&cart, "number 19.")) {
        if (!_i)
            must(CALL(chathub_carrier_writable(hub, cart.id)) == 0);
        must(chathub_step(hub, 10) == 1);
    }
    in_order(&cart, 20);
    over(&cart, 1);
    hub_end(hub);
    cart_end(&cart);
}
END_TEST

/* ------------------------------------------------------------------------------------- the ends */

START_TEST(a_broken_one_is_sent_nothing_more)
{
    struct chathub *hub = hub_started();
    struct heard heard = {0};
    struct cart cart;
    uint64_t bob;
    ck_assert_int_eq(chathub_client(hub, "bob", ignore, NULL, &bob), 0);
    carry(&cart, hub, NULL);
    line(&cart, "{\"type\":\"join\"}");
    until_got(&cart, "\"joined\"");
    cart.broken = true;
    int before = cart.sends;
    posts(hub, bob, &heard, 0, 200);
    ck_assert_int_eq(cart.sends, before + 1);
    over(&cart, 0);
    while (clients(hub) > 1)
        chathub_step(hub, -1);
    hub_end(hub);
    cart_end(&cart);
}
END_TEST

/* left: its place is free at once; else it comes back with its session. */
START_TEST(who_left_is_gone_and_who_is_lost_may_return)
{
    struct chathub *hub = hub_started();
    struct cart cart, again;
    struct heard heard = {0};
    const char *hello = "{\"type\":\"hello\",\"name\":\"alice\","
                        "\"session\":\"key-of-alice-0000000000000\"}";
    carry(&cart, hub, NULL);
    line(&cart, hello);
    line(&cart, "{\"type\":\"join\"}"); /* what was said before is heard, though it went */
    over(&cart, 0);
    while (clients(hub))
        chathub_step(hub, -1);
    client(hub, "alice", &heard);
    until(hub, &heard, CHATHUB_EVENT_ERROR, NULL);
    ck_assert_int_eq(heard.codes[0], CHATHUB_ENAMETAKEN);
    carry(&again, hub, NULL);
    line(&again, hello);
    until_got(&again, "\"welcome\"");
    over(&again, 1);
    while (clients(hub) > 1)
        chathub_step(hub, -1);
    client(hub, "alice", &heard);
    until(hub, &heard, CHATHUB_EVENT_WELCOME, NULL);
    hub_end(hub);
    cart_end(&cart);
    cart_end(&again);
}
END_TEST

/* Nobody takes the answers any more, so that they cannot hold up what was said before. */
START_TEST(what_was_said_before_the_end_is_heard_though_its_answers_wait)
{
    struct chathub *hub = hub_new();
    struct heard heard = {0};
    struct cart cart;
    uint64_t bob = 0;
    int lines = 0;
    ck_assert_int_eq(chathub_set(hub, "client-replies", "1k"), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    bob = client(hub, "bob", &heard);
    ck_assert_int_eq(chathub_join(hub, bob, "tea", CHATHUB_START_NOW, 0), 0);
    until(hub, &heard, CHATHUB_EVENT_JOINED, NULL);
    carry(&cart, hub, NULL);
    line(&cart, "{\"type\":\"hello\",\"name\":\"alice\"}");
    line(&cart, "{\"type\":\"join\",\"room\":\"tea\"}");
    until_got(&cart, "\"joined\"");
    cart.most = _i == 0 ? 0 : SIZE_MAX; /* it takes nothing, or its sends fail, or it just goes */
    cart.broken = _i == 1;
    for (int error = 0; !error && lines < 40; lines++)
        error = chathub_carrier_line(hub, cart.id, "{\"type\":\"ping\"}", CHATHUB_NUL);
    ck_assert_int_eq(
        chathub_carrier_line(hub, cart.id, "{\"content\":\"last\",\"room\":\"tea\"}", CHATHUB_NUL),
        0);
    for (int i = 0; i < 20 && _i < 2; i++)
        chathub_step(hub, 0);
    over(&cart, 0);
    until(hub, &heard, CHATHUB_EVENT_MESSAGE, "last");
    while (clients(hub) > 1)
        ck_assert_int_eq(chathub_step(hub, -1), 1);
    hub_end(hub);
    cart_end(&cart);
}
END_TEST

START_TEST(the_hub_closes_behind_what_is_owed)
{
    struct chathub *hub = hub_started();
    struct cart cart;
    carry(&cart, hub, NULL);
    line(&cart, "{\"type\":\"hello\",\"name\":\"alice\"}");
    until_got(&cart, "\"welcome\"");
    cart.most = 5;
    line(&cart, "{\"type\":\"ping\",\"ref\":1}");
    int before = cart.sends;
    while (cart.sends == before)
        chathub_step(hub, -1);
    ck_assert_int_eq(CALL(chathub_disconnect(hub, cart.id, 4005, "be nice")), 0);
    chathub_step(hub, 0);
    chathub_step(hub, 0);
    ck_assert_int_eq(cart.closes, 0);
    ck_assert_int_eq(chathub_carrier_line(hub, cart.id, "{}", 2), CHATHUB_EGONE);
    ck_assert_int_eq(chathub_carrier_ready(hub, cart.id), CHATHUB_EGONE);
    while (!cart.closes) {
        ck_assert_int_eq(CALL(chathub_carrier_writable(hub, cart.id)), 0);
        chathub_step(hub, 10);
    }
    ck_assert(got(&cart, "\"pong\",\"ref\":1"));
    ck_assert(got(&cart, "\"bye\",\"message\":\"be nice\""));
    ck_assert_int_eq(cart.code, 4005);
    ck_assert_str_eq(cart.reason, "be nice");
    ck_assert_int_eq(chathub_carrier_writable(hub, cart.id), CHATHUB_EGONE);
    hub_end(hub);
    cart_end(&cart);
}
END_TEST

/* Who takes nothing of it within the time for a goodbye is closed without; who takes nothing at all
 * is slow. */
START_TEST(who_takes_nothing_is_closed)
{
    struct chathub *hub = hub_new();
    struct cart cart;
    ck_assert_int_eq(chathub_set(hub, _i ? "stall-time" : "close-time", "1s"), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    carry(&cart, hub, NULL);
    cart.most = 0;
    line(&cart, "{\"type\":\"ping\"}");
    while (!cart.sends)
        chathub_step(hub, -1);
    if (!_i)
        ck_assert_int_eq(CALL(chathub_disconnect(hub, cart.id, 1000, NULL)), 0);
    while (!cart.closes)
        ck_assert_int_eq(chathub_step(hub, -1), 1);
    ck_assert_int_eq(cart.code, _i ? 1008 : 1000);
    ck_assert_uint_eq(clients(hub), 0);
    hub_end(hub);
    cart_end(&cart);
}
END_TEST

/* Either side ends it at any moment; nothing is called for it afterwards. */
START_TEST(it_may_end_at_any_moment)
{
    static const char *const lines[] = {
        "{\"type\":\"hello\",\"name\":\"alice\"}",
        "{\"type\":\"join\",\"room\":\"tea\",\"last\":5}",
        "{\"type\":\"post\",\"room\":\"tea\",\"content\":\"one\",\"cid\":\"c-1\"}",
        "{\"type\":\"history\",\"room\":\"tea\"}",
        "{\"type\":\"who\",\"room\":\"tea\"}",
        "{\"type\":\"leave\",\"room\":\"tea\"}",
    };
    for (int at = 0; at < 40; at++) {
        struct chathub *hub = hub_started();
        struct cart cart;
        carry(&cart, hub, NULL);
        cart.most = _i & 1 ? 9 : SIZE_MAX;
        cart.quit_at = _i / 2 == 2 ? at + 1 : 0;
        for (int step = 0; step < 60 && !cart.over && !cart.closes; step++) {
            if (step / 4 < 6 && step % 4 == 0)
                (void)CALL(chathub_carrier_line(hub, cart.id, lines[step / 4], CHATHUB_NUL));
            if (step == at && _i / 2 == 0)
                over(&cart, 1);
            if (step == at && _i / 2 == 1)
                ck_assert_int_eq(CALL(chathub_disconnect(hub, cart.id, 1000, "end")), 0);
            chathub_step(hub, 0);
            if (!cart.over && !cart.closes)
                chathub_carrier_writable(hub, cart.id);
        }
        cart.most = SIZE_MAX; /* else a stop waits for it */
        if (!cart.over && !cart.closes)
            chathub_carrier_writable(hub, cart.id);
        if (_i / 2 == 3)
            chathub_free(hub);
        else
            hub_end(hub);
        ck_assert_int_eq(cart.closes, cart.over || _i / 2 == 3 ? 0 : 1);
        cart_end(&cart);
    }
}
END_TEST

START_TEST(a_stop_says_goodbye)
{
    struct chathub *hub = hub_started();
    struct cart cart, idle;
    carry(&cart, hub, NULL);
    carry(&idle, hub, NULL);
    line(&cart, "{\"type\":\"hello\",\"name\":\"alice\"}");
    until_got(&cart, "\"welcome\"");
    hub_end(hub);
    ck_assert(got(&cart, "\"bye\""));
    ck_assert_int_eq(cart.closes + idle.closes, 2);
    ck_assert_int_eq(cart.code, 1001);
    cart_end(&cart);
    cart_end(&idle);
}
END_TEST

START_TEST(one_that_takes_nothing_holds_a_stop_up_no_longer_than_it_may)
{
    struct chathub *hub = hub_new();
    struct cart cart;
    ck_assert_int_eq(chathub_set(hub, "stop-time", "200ms"), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    carry(&cart, hub, NULL);
    cart.most = 0;
    line(&cart, "{\"type\":\"ping\"}");
    while (!cart.sends)
        chathub_step(hub, -1);
    hub_end(hub);
    ck_assert_int_eq(cart.closes, 1);
    cart_end(&cart);
}
END_TEST

/* ------------------------------------------------------------------------------------ callbacks */

struct usher {
    struct cart cart;
    bool done;
};

static void on_usher(struct chathub *hub, const struct chathub_event *event, void *arg)
{
    struct usher *usher = arg;
    if (event->type != CHATHUB_EVENT_MESSAGE || usher->done)
        return;
    usher->done = true;
    usher->cart = (struct cart){.hub = hub, .most = SIZE_MAX};
    ck_assert_int_eq(chathub_carry(hub, &ops, &usher->cart, NULL, NULL, &usher->cart.id), 0);
    ck_assert_int_eq(chathub_carrier_line(hub, usher->cart.id, "{\"type\":\"ping\"}", CHATHUB_NUL),
                     0);
}

/* A callback may open, feed and end carried clients, also those that stand beside it in a room. */
START_TEST(inside_callbacks_everything_may_be_called)
{
    struct chathub *hub = hub_started();
    struct usher usher = {.done = false};
    struct cart others[8];
    uint64_t bob;
    ck_assert_int_eq(chathub_client(hub, "bob", on_usher, &usher, &bob), 0);
    ck_assert_int_eq(chathub_join(hub, bob, NULL, CHATHUB_START_NOW, 0), 0);
    for (int i = 0; i < 8; i++) {
        carry(&others[i], hub, NULL);
        line(&others[i], "{\"type\":\"join\"}");
        until_got(&others[i], "\"joined\"");
        others[i].quit_at = i % 2 ? others[i].sends + 1 : 0;
    }
    ck_assert_int_eq(chathub_post(hub, bob, NULL, "go", 2, NULL), 0);
    while (!usher.done || !got(&usher.cart, "\"pong\""))
        ck_assert_int_eq(chathub_step(hub, -1), 1);
    while (clients(hub) > 6)
        chathub_step(hub, -1);
    for (int i = 0; i < 8; i += 2)
        until_got(&others[i], "\"go\"");
    hub_end(hub);
    for (int i = 0; i < 8; i++)
        cart_end(&others[i]);
    cart_end(&usher.cart);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("face_carry");
    TCase *tc = tcase_create("carry");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, lines_go_both_ways);
    tcase_add_test(tc, the_url_says_how_it_speaks_and_where);
    tcase_add_test(tc, what_cannot_be_understood_is_answered);
    tcase_add_test(tc, an_inbox_that_is_full_says_so_and_loses_nothing);
    tcase_add_test(tc, wrong_calls_are_refused);
    tcase_add_test(tc, who_is_blocked_for_long_loses_nothing);
    tcase_add_loop_test(tc, a_byte_at_a_time_is_enough, 0, 2);
    tcase_add_test(tc, a_broken_one_is_sent_nothing_more);
    tcase_add_test(tc, who_left_is_gone_and_who_is_lost_may_return);
    tcase_add_loop_test(tc, what_was_said_before_the_end_is_heard_though_its_answers_wait, 0, 3);
    tcase_add_test(tc, the_hub_closes_behind_what_is_owed);
    tcase_add_loop_test(tc, who_takes_nothing_is_closed, 0, 2);
    tcase_add_loop_test(tc, it_may_end_at_any_moment, 0, 8);
    tcase_add_test(tc, a_stop_says_goodbye);
    tcase_add_test(tc, one_that_takes_nothing_holds_a_stop_up_no_longer_than_it_may);
    tcase_add_test(tc, inside_callbacks_everything_may_be_called);
    suite_add_tcase(suite, tc);
    return unit_run(suite);
}
