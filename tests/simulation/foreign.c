/* People whose clients were made for other chat servers. They know no sessions, positions or cids,
 * and share names with each other and with everybody else: who is lost comes anew, under the same
 * name, and hears what its name missed. */
#include <stdio.h>
#include <string.h>

#include "sim.h"

/* Names of natives are among them, and the same ones written otherwise. */
static const char *const aliases[] = {"Bob", "bob",    "Zoe",    "ZOE",
                                      "Max", "Ann0.0", "ann1.0", "Ann2.0"};
#define ALIASES (sizeof aliases / sizeof aliases[0])

static const struct {
    const char *name;
    int code;
} bad[] = {{"System", CHATHUB_ERESERVED},
           {"SYSTEM_MSG:x", CHATHUB_ERESERVED},
           {"guest-abcdef", CHATHUB_ERESERVED},
           {"a,b", CHATHUB_ENAME},
           {"a-name-of-more-than-thirty-two-bytes", CHATHUB_ENAME}};

static const char *any_alias(struct sim_world *w)
{
    return aliases[sim_below(&w->rng, ALIASES)];
}

static const struct chi_dialect *manners(const struct sim_conn *c)
{
    return c->later.dialect;
}

/* ---------------------------------------------------------------------------------------- coming */

/* Where a name comes with the connection, its driver asks first whether it could be given. */
static bool has_name(struct sim_world *w, struct sim_conn *c)
{
    uint32_t which = sim_below(&w->rng, sizeof bad / sizeof bad[0]);
    bool hostile = sim_faulty(w, SIM_HOSTILE) && sim_one_in(&w->rng, 10);
    if (hostile)
        (void)snprintf(c->alias, sizeof c->alias, "%s", bad[which].name);
    int rc = chi_hub_check_name(w->hub, chi_span_of(c->alias));
    if (rc != (hostile ? bad[which].code : 0) && rc != CHATHUB_ENOMEM)
        sim_fail(w, "the name %s is answered by %s", c->alias, chathub_errname(rc));
    return rc == 0;
}

bool sim_foreign_describe(struct sim_world *w, int actor, struct sim_conn *c,
                          struct chi_client_desc *desc)
{
    struct sim_actor *a = &w->actors[actor];
    static const int32_t histories[] = {0, 0, -1, 2, 7};
    c->history = desc->history = histories[sim_below(&w->rng, 5)];
    c->presence = desc->presence = sim_one_in(&w->rng, 2);
    c->private_posts = desc->private_posts = sim_one_in(&w->rng, 2);
    if (!a->kind)
        return true;
    if (sim_one_in(&w->rng, 6))
        a->alias = (uint8_t)sim_below(&w->rng, ALIASES);
    (void)snprintf(c->alias, sizeof c->alias, "%s", aliases[a->alias]);
    c->later.dialect = &sim_foreign[a->kind - 1];
    c->native = false;
    desc->welcome = false;
    bool told = manners(c)->greets || manners(c)->entrance == CHI_ENTRANCE_JOINS;
    c->decided = told || !sim_one_in(&w->rng, 3);
    if (c->decided)
        desc->as.encoding = c->later;
    return !c->decided || !manners(c)->name_key || has_name(w, c);
}

/* Who shows only by its first frame how it speaks has no name yet. */
void sim_foreign_enter(struct sim_world *w, struct sim_conn *c)
{
    bool named = c->decided && manners(c)->name_key;
    c->entered = true;
    c->watches = c->watches || manners(c)->entrance == CHI_ENTRANCE_OBSERVES;
    sim_slot_asks(w, c->slot);
    enum chi_next next =
        chi_hub_enter(w->hub, c->id, named ? chi_span_of(c->alias) : (struct chi_span){0});
    if (c->used && next == CHI_NEXT_WAIT)
        c->reading = false;
}

/* ---------------------------------------------------------------------------------------- saying */

static struct sim_post *post_new(struct sim_world *w, int actor, struct sim_conn *c, uint32_t *n)
{
    struct sim_actor *a = &w->actors[actor];
    if (a->post_count == SIM_POSTS)
        return NULL;
    int room = c->home;
    if (manners(c)->must_join)
        room = (int)sim_below(&w->rng, w->room_count);
    for (int i = 0; manners(c)->must_join && i < SIM_ROOMS && !c->in[room].in; i++)
        room = (room + 1) % (int)w->room_count;
    struct sim_post *post = &a->posts[ *n = a->post_count++];
    *post = (struct sim_post){.room = (int8_t)room, .state = SIM_POST_SENT, .attempts = 1};
    post->serial = c->serial;
    post->user = c->welcomed ? a->user : 0;
    post->size =
        10 + sim_below(&w->rng, sim_one_in(&w->rng, 6) ? w->settings.max_content - 10 : 50);
    return post;
}

/* Under which name it is said, if anybody can know. */
static const char *name_of(struct sim_world *w, struct sim_conn *c, struct chi_request *r)
{
    static char text[48];
    const char *name = c->alias;
    bool hostile = sim_faulty(w, SIM_HOSTILE) && sim_one_in(&w->rng, 12);
    switch (manners(c)->post_name) {
    case CHI_POST_NAME_NONE:
        return c->decided ? c->alias : "";
    case CHI_POST_NAME_WHOLE:
        r->name = r->content;
        (void)snprintf(text, sizeof text, "%s", c->welcomed ? w->words[c->name] : "");
        return text;
    case CHI_POST_NAME_ONCE:
        if (hostile || (c->welcomed && sim_one_in(&w->rng, 5)))
            name = hostile ? bad[sim_below(&w->rng, 5)].name : any_alias(w);
        r->name = chi_span_of(name);
        return c->welcomed ? w->words[c->name] : c->alias;
    case CHI_POST_NAME_EACH:
        if (sim_one_in(&w->rng, 4))
            name = hostile ? bad[sim_below(&w->rng, 5)].name : any_alias(w);
        r->name = chi_span_of(name);
        return name;
    }
    return "";
}

static void say(struct sim_world *w, int actor, struct sim_conn *c)
{
    char content[4200];
    uint32_t n;
    struct chi_request r = {.type = CHI_REQUEST_POST};
    struct sim_post *post = c->asked_count < SIM_ASKED ? post_new(w, actor, c, &n) : NULL;
    if (!post)
        return;
    bool each = manners(c)->post_name == CHI_POST_NAME_EACH;
    if (each && sim_one_in(&w->rng, 3)) {
        r.to = chi_span_of(any_alias(w));
        post->whisper = c->private_posts;
        post->to = sim_name_key(w, r.to);
    }
    r.content = sim_post_text(post, actor, n, content, sizeof content);
    post->as = sim_intern(w, chi_span_of(name_of(w, c, &r)));
    if (!sim_ask(w, c, &r, manners(c)->must_join ? post->room : -1, (int)n))
        post->state = SIM_POST_GONE;
}

/* The name alone, for those who say it first. */
static void say_name(struct sim_world *w, struct sim_conn *c)
{
    bool hostile = sim_faulty(w, SIM_HOSTILE) && sim_one_in(&w->rng, 8);
    struct chi_request r = {.type = CHI_REQUEST_POST};
    r.name = chi_span_of(hostile ? bad[sim_below(&w->rng, 5)].name : c->alias);
    if (manners(c)->post_name == CHI_POST_NAME_WHOLE) {
        r.content = r.name;
        (void)sim_ask(w, c, &r, -1, -1);
        return;
    }
    r.type = CHI_REQUEST_HELLO;
    r.resume_count = 1;
    sim_conn_say(w, c, &r);
}

/* ----------------------------------------------------------------------------------- what they do */

static void join_or_leave(struct sim_world *w, struct sim_conn *c)
{
    int room = (int)sim_below(&w->rng, w->room_count);
    struct chi_request r = {.type = CHI_REQUEST_JOIN};
    if (c->in[room].in && sim_one_in(&w->rng, 3))
        r.type = CHI_REQUEST_LEAVE;
    (void)sim_ask(w, c, &r, room, -1);
}

static void sign_of_life(struct sim_world *w, struct sim_conn *c)
{
    struct chi_request r = {.type = CHI_REQUEST_TYPING, .on = !sim_one_in(&w->rng, 3)};
    if (sim_one_in(&w->rng, 2)) {
        r.type = CHI_REQUEST_STATUS;
        r.content = sim_one_in(&w->rng, 4) ? CHI_SPAN("") : CHI_SPAN("away");
    }
    if (sim_ask(w, c, &r, -1, -1))
        c->asked[c->asked_count - 1].status = sim_intern(w, r.content);
}

/* What nobody should send. */
static void hostile(struct sim_world *w, struct sim_conn *c)
{
    static char large[8192];
    struct chi_request r = {.type = CHI_REQUEST_POST, .name = chi_span_of(c->alias)};
    memset(large, 'x', sizeof large);
    switch (sim_below(&w->rng, 6)) {
    case 0:
        sim_conn_say_text(w, c, CHI_SPAN("z|."));
        return;
    case 1:
        sim_conn_say_text(w, c, CHI_SPAN("p|r=x"));
        return;
    case 2:
        r.content = (struct chi_span){large, w->settings.max_content + 1};
        break;
    case 3:
        r.content = CHI_SPAN("bell\a");
        break;
    case 4:
        r.content = CHI_SPAN("");
        break;
    default:
        r.content = CHI_SPAN("who says this?");
        r.name = (struct chi_span){0};
        if (manners(c)->post_name == CHI_POST_NAME_NONE || c->welcomed)
            return;
        break;
    }
    (void)sim_ask(w, c, &r, -1, -1);
}

static void do_something(struct sim_world *w, int actor, struct sim_conn *c)
{
    uint32_t dice = sim_below(&w->rng, 100);
    bool unnamed = !c->welcomed && (manners(c)->post_name == CHI_POST_NAME_WHOLE ||
                                    manners(c)->post_name == CHI_POST_NAME_ONCE);
    if (unnamed && dice < (manners(c)->post_name == CHI_POST_NAME_WHOLE ? 50 : 5))
        say_name(w, c);
    else if (manners(c)->must_join && dice < 24)
        join_or_leave(w, c);
    else if (manners(c)->entrance == CHI_ENTRANCE_JOINS && dice < 12)
        sign_of_life(w, c);
    else if (dice < 78)
        say(w, actor, c);
    else if (dice < 82)
        sim_conn_ping(w, c);
    else if (dice < 86 && sim_faulty(w, SIM_HOSTILE))
        hostile(w, c);
    else if (dice < 92 &&
             c->in[c->home].in) /* and comes back, as often as not with the same name */
        sim_conn_cut(w, c, true);
    else
        sim_wreck(w, actor, c);
}

void sim_foreign_step(struct sim_world *w, int actor, struct sim_conn *c, bool calm)
{
    if (calm) {
        if (c->asked_count < SIM_ASKED / 2)
            (void)sim_asks_who(w, c);
        return;
    }
    if (!c->decided && !c->spoke && sim_faulty(w, SIM_OBSERVE)) {
        if (c->observing || w->now < c->open_at + 250) {
            if (!sim_one_in(&w->rng, 8))
                return;
        } else {
            SIM_TRACE(w, "conn %u is silent and observes", c->serial);
            c->watches = true;
            chi_hub_observe(w->hub, c->id);
            return;
        }
    }
    if (!sim_asks_who(w, c) || sim_one_in(&w->rng, 2))
        do_something(w, actor, c);
}

void sim_foreign_hurry(struct sim_world *w, int actor, struct sim_conn *c)
{
    if (manners(c)->must_join)
        join_or_leave(w, c);
    else
        say(w, actor, c);
}
