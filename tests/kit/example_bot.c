/* How a host tests its own bot and its own hook. The upper half is the host's, and knows chathub.h
 * alone; the lower half is its test.
 *
 *     cc example_bot.c $(pkg-config --cflags --libs chathub-testing) && ./a.out */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <chathub.h>

/* ------------------------------------------------------------------------------ the host's code */

struct host {
    struct chathub *hub;
    uint64_t bot;
    char bot_id[64];   /* what others see as its sender_id */
    uint64_t question; /* of the one who wants to enter "staff"; 0: nobody does */
    void (*look_up)(
        struct host *of); /* starts to look up who asks; host_answer follows, some time */
};

/* The bot greets back, and says what it knows. */
static void on_event(struct chathub *hub, const struct chathub_event *event, void *arg)
{
    struct host *host = arg;
    char text[128];
    if (event->type == CHATHUB_EVENT_WELCOME)
        snprintf(host->bot_id, sizeof(host->bot_id), "%s", event->sender_id);
    if (event->type != CHATHUB_EVENT_MESSAGE || strcmp(event->sender_id, host->bot_id) == 0)
        return;
    if (strcmp(event->content, "!me") == 0)
        snprintf(text, sizeof(text), "you are %s", event->sender);
    else if (strcmp(event->content, "!help") == 0)
        snprintf(text, sizeof(text), "%s, I know !me and !help", event->sender);
    else
        return;
    chathub_post(hub, host->bot, event->room, text, CHATHUB_NUL, NULL);
}

/* Who enters "staff" is looked up elsewhere; everybody enters all other rooms. */
static int on_join(struct chathub *hub, const struct chathub_question *question, void *arg)
{
    struct host *host = arg;
    char room[200];
    if (chathub_fold(hub, question->room, room, sizeof(room)) < 0)
        return CHATHUB_DENY;
    if (strcmp(room, "staff") != 0)
        return CHATHUB_ALLOW;
    host->question = question->id;
    host->look_up(host);
    return CHATHUB_LATER;
}

static int host_answer(struct host *host, int allow)
{
    return chathub_answer(host->hub, host->question, allow, "staff is for those on duty");
}

static int host_setup(struct host *host)
{
    return chathub_on_authorize(host->hub, 1u << CHATHUB_JOIN, on_join, host);
}

static int host_start(struct host *host)
{
    int error = chathub_client(host->hub, "bot", on_event, host, &host->bot);
    return error ? error : chathub_join(host->hub, host->bot, NULL, CHATHUB_START_NOW, 0);
}

/* ------------------------------------------------------------------------------------- its test */

#include <chathub_testing.h>

static struct chathub_testing *test;
static struct host host;
static struct chathub_event event; /* what a peer was sent last */

#define CHECK(holds)                                                                               \
    do {                                                                                           \
        if (!(holds)) {                                                                            \
            fprintf(stderr, "%s:%d: %s does not hold (%s)\n", __FILE__, __LINE__, #holds,          \
                    chathub_testing_problem(test));                                                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

/* The looking up never ends, unless a test says so. */
static void look_up_nothing(struct host *of)
{
    (void)of;
}

static void found(void *arg)
{
    host_answer(arg, 1);
}

/* It takes 300 ms. */
static void look_up_slowly(struct host *of)
{
    CHECK(chathub_testing_after(test, 300, found, of) == 0);
}

static void begin(void (*look_up)(struct host *of))
{
    host = (struct host){.look_up = look_up};
    event.size = sizeof(event);
    CHECK(chathub_testing_new(1, 0, &test) == 0);
    CHECK(chathub_new(&host.hub) == 0);
    CHECK(host_setup(&host) == 0);
    CHECK(chathub_testing_attach(test, host.hub) == 0);
    CHECK(chathub_start(host.hub, NULL) == 0);
    CHECK(host_start(&host) == 0);
    CHECK(chathub_testing_settle(test) == 0);
}

static void end(void)
{
    chathub_free(host.hub);
    chathub_testing_free(test);
    test = NULL;
}

/* What `peer` hears next that somebody said. */
static const char *hears(uint32_t peer)
{
    CHECK(chathub_testing_settle(test) == 0);
    return chathub_testing_find(test, peer, CHATHUB_EVENT_MESSAGE, &event) == 1 ? event.content
                                                                                : "nothing";
}

static void the_bot_answers_who_asks_it(void)
{
    uint32_t ann;
    begin(look_up_nothing);
    CHECK(chathub_testing_enter(test, "ann", NULL, &ann) == 0);
    CHECK(chathub_testing_post(test, ann, NULL, "!me", NULL) == 0);
    CHECK(strcmp(hears(ann), "!me") == 0);
    CHECK(strcmp(hears(ann), "you are ann") == 0);
    CHECK(strcmp(event.sender, "bot") == 0);
    end();
}

static void a_post_that_failed_is_answered_when_it_is_sent_again(void)
{
    uint32_t ann;
    begin(look_up_nothing);
    CHECK(chathub_testing_enter(test, "ann", NULL, &ann) == 0);
    CHECK(chathub_testing_fault(test, CHATHUB_TESTING_FULL, 1) == 0);
    CHECK(chathub_testing_post(test, ann, NULL, "!me", "cid-1") == 0);
    CHECK(strcmp(hears(ann), "nothing") == 0);
    CHECK(chathub_testing_post(test, ann, NULL, "!me", "cid-1") == 0);
    CHECK(strcmp(hears(ann), "!me") == 0);
    CHECK(strcmp(hears(ann), "you are ann") == 0);
    end();
}

static void staff_enter_once_they_were_looked_up(void)
{
    uint32_t ann;
    begin(look_up_slowly);
    CHECK(chathub_testing_enter(test, "ann", "Staff", &ann) == 0);
    CHECK(chathub_testing_advance(test, 299) == 0);
    CHECK(chathub_testing_find(test, ann, CHATHUB_EVENT_JOINED, &event) == 0);
    CHECK(chathub_testing_advance(test, 1) == 0);
    CHECK(chathub_testing_find(test, ann, CHATHUB_EVENT_JOINED, &event) == 1);
    end();
}

static void nobody_enters_whom_nobody_looked_up_in_time(void)
{
    uint32_t ann;
    begin(look_up_nothing);
    CHECK(chathub_testing_enter(test, "ann", "Staff", &ann) == 0);
    CHECK(chathub_testing_advance(test, 10000) == 0); /* the option authorize-timeout */
    CHECK(chathub_testing_find(test, ann, CHATHUB_EVENT_ERROR, &event) == 1);
    CHECK(event.code == CHATHUB_EDENIED);
    CHECK(host_answer(&host, 1) == CHATHUB_EGONE);
    end();
}

int main(void)
{
    the_bot_answers_who_asks_it();
    a_post_that_failed_is_answered_when_it_is_sent_again();
    staff_enter_once_they_were_looked_up();
    nobody_enters_whom_nobody_looked_up_in_time();
    puts("the bot and the hook do what they should");
    return 0;
}
