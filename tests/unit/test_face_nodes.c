/* Two hubs that are one chat by a real nats-server, used by chathub.h: what the host of one erases,
 * the other shows no more either. */
#include "face_world.h"
#include "nats_server.h"

static struct nats_server server;
static struct chathub *hubs[2];

static struct chathub *node(void)
{
    struct chathub *hub = hub_new();
    char log[200];
    snprintf(log, sizeof(log), "jetstream:%s", server.url);
    ck_assert_int_eq(chathub_set(hub, "log", log), 0);
    int error = chathub_start(hub, NULL);
    ck_assert_msg(error == 0, "%s", chathub_problem(hub));
    return hub;
}

static void both(const struct heard *heard, uint32_t type, const char *text)
{
    while (!has(heard, type, text)) {
        must(chathub_step(hubs[0], 5) == 1);
        must(chathub_step(hubs[1], 5) == 1);
    }
}

/* What history shows, now. */
static const char *history(int which, uint64_t id, struct heard *heard)
{
    heard->count = 0;
    ck_assert_int_eq(
        chathub_request(hubs[which], id, "{\"type\":\"history\",\"room\":\"tea\"}", CHATHUB_NUL),
        0);
    both(heard, CHATHUB_EVENT_HISTORY, NULL);
    return heard->json;
}

START_TEST(what_one_node_erases_no_node_shows)
{
    static struct heard alice, bob, carol;
    if (!nats_server_there())
        return;
    nats_server_new(&server, true, NULL);
    hubs[0] = node();
    hubs[1] = node();
    uint64_t a = client(hubs[0], "alice", &alice), b = client(hubs[1], "bob", &bob);
    chathub_join(hubs[0], a, "tea", CHATHUB_START_NOW, 0);
    both(&alice, CHATHUB_EVENT_JOINED, NULL);
    chathub_post(hubs[0], a, "tea", "my secret", CHATHUB_NUL, "c-1");
    both(&alice, CHATHUB_EVENT_ACK, NULL);
    uint64_t position = 0;
    for (uint32_t i = 0; i < alice.count; i++)
        if (alice.types[i] == CHATHUB_EVENT_ACK)
            position = alice.positions[i];
    ck_assert_ptr_nonnull(strstr(history(0, a, &alice), "my secret"));
    ck_assert_int_eq(CALL(chathub_redact(hubs[1], b, "tea", position + 1000)), 0);
    both(&bob, CHATHUB_EVENT_ERROR, NULL);
    ck_assert_int_eq(bob.codes[bob.count - 1], CHATHUB_ENOENT);
    /* The room is not even open there. */
    ck_assert_int_eq(CALL(chathub_redact(hubs[1], b, "tea", position)), 0);
    both(&bob, CHATHUB_EVENT_OK, NULL);
    while (strstr(history(0, a, &alice), "my secret"))
        continue; /* the other hears of it shortly after */
    ck_assert_ptr_nonnull(strstr(alice.json, "\"redacted\":true"));
    for (int i = 0; i < 2; i++) {
        carol.count = 0;
        uint64_t c = client(hubs[i], i ? "carol" : "carla", &carol);
        chathub_join(hubs[i], c, "tea", CHATHUB_START_LAST, 10);
        both(&carol, CHATHUB_EVENT_MESSAGE, "");
        ck_assert(!has(&carol, CHATHUB_EVENT_MESSAGE, "my secret"));
    }
    chathub_free(hubs[0]);
    chathub_free(hubs[1]);
    nats_server_free(&server);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("face_nodes");
    TCase *tc = tcase_create("nodes");
    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, what_one_node_erases_no_node_shows);
    suite_add_tcase(suite, tc);
    return unit_run(suite);
}
