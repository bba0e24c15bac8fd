/* The JetStream log's logic as a whole: several nodes, each a chi_js with a hub's side that is played
 * here, on one server that loses, doubles, lags, breaks, and is put back (js_world.h). A seed is a
 * history, and replays exactly: JS_SEED=n runs that one, JS_SEEDS=n so many.
 *
 * What is proved of each: a post is stored once at most, however often it is sent and wherever, and
 * what was acked stands where the ack says; whoever has a room open is shown all of it, in order, each
 * entry linked to the one before; a page is what was said, between its bounds, without a hole that it
 * does not tell; what was erased is gone everywhere; a log that went back is told to each node before
 * it is shown anything else; and when nothing is the matter any more, everything is answered and all
 * nodes agree. */
#include "js_world.h"

#define NODES 3
#define USERS 6
#define ROOMS 3
#define SAIDS 4096
#define GENS  6
#define NONE  UINT32_MAX

/* ------------------------------------------------------------------------------------ what is true */

/* What stands at a position of a room. */
struct fact {
    uint64_t position;
    uint32_t said;
    uint64_t record; /* sequence of its erasure; 0: it was not erased */
    bool vague;      /* its node did not know what is before it */
};

struct facts {
    struct fact *list;
    uint32_t count, cap;
};

/* The stream between two times that it was put back. */
struct gen {
    struct facts rooms[ROOMS];
    uint64_t first_seq; /* nothing is kept below */
};

enum fate { IDLE, UNDER_WAY, WAITING, ACKED, GIVEN_UP };

/* What somebody says, once, however often it is sent. */
struct said {
    uint32_t user, room;
    bool cid;
    enum fate fate;
    uint32_t tries;    /* under way */
    uint64_t due;      /* the next, while waiting */
    bool unsure;       /* a try may have been stored */
    bool lost;         /* it stood there, and the log went back */
    uint32_t times;    /* that it stands in the stream */
    uint64_t at[GENS]; /* where it stood in each gen; 0: it did not */
};

enum kind { OPEN, READ, POST, ERASE };

/* A task under way. */
struct job {
    struct job *next;
    enum kind kind;
    uint32_t room, said, gen;
    uint32_t round;    /* of the node, in which it is taken */
    uint64_t number;   /* of a post: counts up in its hub */
    uint64_t known;    /* read: what had been shown when it was asked for */
    uint64_t shown;    /* the node's, when it was asked for */
    uint64_t position; /* erase */
    bool final;        /* read: a part of the whole that is read at the end */
};

struct place {
    struct chi_js_room *handle; /* NULL: closed */
    const struct job *opening;  /* NULL: nobody opens it */
    uint64_t told;
    uint64_t seen; /* newest position that a page showed */
};

/* A hub's side. */
struct side {
    uint32_t index, incarnation;
    struct chi_js *js; /* NULL: it is dead */
    uint64_t reborn;   /* when it is started, while it is dead */
    struct job *jobs;
    struct place places[ROOMS];
    uint32_t gen;
    bool ever;                /* it was up once */
    uint64_t numbers;         /* of posts */
    uint64_t answered[USERS]; /* number of the newest post that was */
    uint64_t stored[USERS];   /* position of the newest that was acked as new */
    uint32_t backs;
    /* at the end */
    uint64_t walked[ROOMS];
    bool whole[ROOMS];
};

struct plan {
    const char *name;
    struct js_faults faults;
    uint32_t restarts, erasures, trims, backs, shuts; /* of a thousand steps */
    uint64_t window;                                  /* of duplicates, ms */
};

struct story {
    struct js_world *w;
    const struct plan *plan;
    uint64_t seed;
    struct chi_name *names[ROOMS];
    struct side sides[NODES];
    struct said saids[SAIDS];
    uint32_t said_count;
    struct gen gens[GENS];
    uint32_t gen;
    uint64_t until;                               /* new things are said until then */
    bool calm;                                    /* nothing is the matter any more */
    uint64_t next_back;                           /* not before */
    uint64_t shown, pages, acks, repeats, erased; /* counts */
};

static struct story *story;

/* What happens, if JS_TRACE is set. */
#define trace(...)                                                                                 \
    do {                                                                                           \
        if (getenv("JS_TRACE")) {                                                                  \
            printf("%" PRIu64 ": ", story->w->server.now);                                         \
            printf(__VA_ARGS__);                                                                   \
            putchar('\n');                                                                         \
        }                                                                                          \
    } while (0)

#define broken(...)                                                                                \
    do {                                                                                           \
        char broken_what[512];                                                                     \
        snprintf(broken_what, sizeof broken_what, __VA_ARGS__);                                    \
        ck_abort_msg("%s, JS_SEED=%" PRIu64 ", at %" PRIu64 " ms, gen %u: %s", story->plan->name,  \
                     story->seed, story->w->server.now, story->gen, broken_what);                  \
    } while (0)
#define holds(what, ...)                                                                           \
    do {                                                                                           \
        if (!(what))                                                                               \
            broken(__VA_ARGS__);                                                                   \
    } while (0)

static uint64_t draw(uint64_t bound)
{
    return js_below(&story->w->server, bound);
}

static bool one_in(uint32_t of_thousand)
{
    return of_thousand && draw(1000) < of_thousand;
}

static struct gen *now_gen(void)
{
    return &story->gens[story->gen];
}

static void add_fact(struct facts *facts, struct fact fact)
{
    if (facts->count == facts->cap)
        facts->list =
            realloc(facts->list, (facts->cap = facts->cap * 2 + 64) * sizeof *facts->list);
    facts->list[facts->count++] = fact;
}

/* Index of the first with a position above this one. */
static uint32_t above(const struct facts *facts, uint64_t position)
{
    uint32_t low = 0, high = facts->count;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (facts->list[middle].position <= position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct fact *fact_at(struct facts *facts, uint64_t position)
{
    uint32_t i = above(facts, position);
    return i && facts->list[i - 1].position == position ? &facts->list[i - 1] : NULL;
}

static uint32_t said_of(const struct chi_entry *entry)
{
    struct chi_entry_parts parts = chi_entry_read(entry);
    uint64_t n = NONE;
    if (!parts.content.len)
        return NONE;
    holds(
        chi_parse_u64((struct chi_span){parts.content.at + 1, parts.content.len - 1}, 0, SAIDS, &n),
        "an entry says what nobody said: %.*s", (int)parts.content.len, parts.content.at);
    return (uint32_t)n;
}

/* ------------------------------------------------------------------------------- what is stored */

static uint64_t kept_from(void)
{
    return story->w->server.first_seq;
}

static uint32_t room_of(struct chi_span key)
{
    for (uint32_t i = 0; i < ROOMS; i++)
        if (chi_span_equal(chi_name_key(story->names[i]), key))
            return i;
    broken("a room that nobody has: %.*s", (int)key.len, key.at);
    return 0;
}

static void entry_stored(const struct chi_js_in *in)
{
    struct chi_buf key = {0};
    struct chi_js_record record;
    holds(!chi_js_room_key(&key, (struct chi_span){in->subject.at + 5, in->subject.len - 5}) &&
              !chi_js_read_entry(in->data, &record),
          "what is stored at %" PRIu64 " cannot be read", in->seq);
    uint32_t room = room_of((struct chi_span){key.at, key.len}), n = said_of(record.entry);
    struct said *said = &story->saids[n];
    holds(said->room == room, "m%u is stored in another room", n);
    if (said->at[story->gen] && said->at[story->gen] < kept_from())
        said->times--; /* not kept any more: nodes that started since cannot know it */
    holds(++said->times == 1, "m%u is stored twice: at %" PRIu64 " and %" PRIu64, n,
          said->at[story->gen], in->seq);
    holds(said->fate != GIVEN_UP || said->unsure || said->tries,
          "m%u is stored at %" PRIu64 " though it was said that it is not", n, in->seq);
    said->at[story->gen] = in->seq;
    struct facts *facts = &now_gen()->rooms[room];
    bool vague = !fact_at(facts, record.hint.before);
    add_fact(facts, (struct fact){in->seq, n, 0, vague});
    trace("m%u is stored at %" PRIu64 ", room %u, for node %u; before %" PRIu64
          ", ordinal %" PRIu64,
          n, in->seq, room, story->w->server.node, record.hint.before, record.hint.ordinal);
    chi_entry_unref(record.entry);
    chi_buf_fini(&key);
}

static void erasure_stored(const struct chi_js_in *in)
{
    struct chi_js_erased erased;
    holds(!chi_js_read_erased(in->data, &erased), "an erasure that cannot be read");
    struct fact *fact = fact_at(&now_gen()->rooms[room_of(erased.room)], erased.position);
    if (fact && !fact->record)
        fact->record = in->seq;
    trace("%" PRIu64 " is erased by %" PRIu64, erased.position, in->seq);
}

static void stored(struct js_server *server, const struct chi_js_in *in)
{
    trace("%" PRIu64 " is stored: %.*s", in->seq, (int)in->subject.len, in->subject.at);
    if (in->subject.len > 5 && !memcmp(in->subject.at, "room.", 5))
        entry_stored(in);
    else if (in->subject.len > 7 && !memcmp(in->subject.at, "erased.", 7))
        erasure_stored(in);
    js_world_live(server, in);
}

/* ------------------------------------------------------------------------------------------ tasks */

/* A handle lives as long as the room is open, and as tasks with it are under way. */
static void handle_used(struct chi_js_room *handle)
{
    if (--handle->under_way || handle->open)
        return;
    chi_name_unref(handle->name);
    free(handle);
}

static void give_task(struct side *side, struct chi_js_task *task)
{
    task->room->under_way++;
    js_world_put(story->w, side->index, task);
}

static struct job *put(struct side *side, enum kind kind, enum chi_js_work work, uint32_t room,
                       struct chi_js_task **out)
{
    struct job *job = calloc(1, sizeof *job);
    struct chi_js_task *task = chi_js_task_new(work);
    *job = (struct job){.next = side->jobs,
                        .kind = kind,
                        .room = room,
                        .said = NONE,
                        .gen = side->gen,
                        .shown = side->js->news.shown,
                        .round = story->w->nodes[side->index].rounds};
    side->jobs = job;
    task->room = side->places[room].handle;
    task->token = job;
    *out = task;
    return job;
}

static struct chi_js_room *handle_new(uint32_t room)
{
    struct chi_js_room *handle = calloc(1, sizeof *handle);
    handle->name = chi_name_ref(story->names[room]);
    return handle;
}

static void open_room(struct side *side, uint32_t room)
{
    struct chi_js_task *task;
    struct job *job = put(side, OPEN, CHI_JS_OPEN, room, &task);
    side->places[room] = (struct place){.opening = job};
    task->room = handle_new(room);
    give_task(side, task);
}

static void shut_room(struct side *side, uint32_t room)
{
    struct chi_js_task *task = chi_js_task_new(CHI_JS_SHUT);
    task->room = side->places[room].handle;
    task->room->open = 0;
    side->places[room] = (struct place){0};
    give_task(side, task);
}

static void make_id(struct chi_js_task *task, const struct said *said, uint32_t n)
{
    task->nonce = (draw(1u << 30) << 22) + ((uint64_t)said->tries << 20) + draw(1u << 20);
    if (said->cid)
        snprintf(task->id, sizeof task->id, "c%021u", n);
    else
        snprintf(task->id, sizeof task->id, "n%021" PRIu64, task->nonce);
}

static void post(struct side *side, uint32_t n)
{
    struct said *said = &story->saids[n];
    char user[16], cid[16], content[160];
    struct chi_js_task *task;
    struct job *job = put(side, POST, CHI_JS_POST, said->room, &task);
    int len = snprintf(content, sizeof content, "m%u", n);
    snprintf(user, sizeof user, "user%u", said->user);
    snprintf(cid, sizeof cid, "c%u", n);
    struct chi_entry_parts parts = {
        .sender = chi_span_of(user), .user = chi_span_of(user), .content = {content, (size_t)len}};
    if (said->cid)
        parts.cid = chi_span_of(cid);
    task->entry = chi_entry_new(CHI_ENTRY_CHAT, &parts);
    job->said = n;
    job->number = ++side->numbers;
    said->fate = UNDER_WAY;
    said->tries++;
    make_id(task, said, n);
    give_task(side, task);
}

static void page(struct side *side, uint32_t room, const struct chi_log_read *read, bool final)
{
    struct chi_js_task *task;
    struct place *place = &side->places[room];
    struct job *job = put(side, READ, CHI_JS_READ, room, &task);
    task->read = *read;
    trace("node %u reads room %u behind %" PRIu64 " before %" PRIu64 ", %u %s", side->index, room,
          read->after, read->before, read->limit, read->backward ? "backward" : "forward");
    job->known = place->told;
    job->final = final;
    give_task(side, task);
}

static void erase(struct side *side, uint32_t room, uint64_t position)
{
    struct chi_js_task *task;
    struct job *job = put(side, ERASE, CHI_JS_ERASE, room, &task);
    task->position = job->position = position;
    give_task(side, task);
}

static void drop_job(struct side *side, struct job *job)
{
    struct job **at = &side->jobs;
    while (*at != job)
        at = &(*at)->next;
    *at = job->next;
    free(job);
}

/* ---------------------------------------------------------------------------------------- answers */

/* What is shown follows what was shown, and is what stands there. */
static void show(struct side *side, uint32_t room, const struct chi_entry *entry)
{
    struct place *place = &side->places[room];
    struct facts *facts = &story->gens[side->gen].rooms[room];
    if (!place->handle || entry->position <= place->told)
        return;
    if (side->gen < story->gen) { /* it saw nothing of what went back, and was not told yet */
        place->told = entry->position;
        return;
    }
    uint32_t next = above(facts, place->told);
    bool gap = false;
    for (; next < facts->count && facts->list[next].position < entry->position; next++) {
        const struct fact *left = &facts->list[next];
        gap = true;
        holds(left->record || left->position < kept_from(),
              "node %u shows %" PRIu64 " of room %u without %" PRIu64, side->index, entry->position,
              room, left->position);
    }
    holds(next < facts->count && facts->list[next].position == entry->position,
          "node %u shows %" PRIu64 " of room %u, which is not there", side->index, entry->position,
          room);
    holds(entry->prev == place->told || (gap && entry->prev > place->told),
          "node %u shows %" PRIu64 " of room %u behind %" PRIu64 ", with prev %" PRIu64,
          side->index, entry->position, room, place->told, entry->prev);
    uint32_t n = said_of(entry);
    holds(n == facts->list[next].said, "node %u shows m%u for m%u at %" PRIu64, side->index, n,
          facts->list[next].said, entry->position);
    place->told = entry->position;
    story->shown++;
}

static void wait_for(struct said *said, uint64_t ms)
{
    said->fate = WAITING;
    said->due = story->w->server.now + ms;
}

static void acked(struct side *side, const struct job *job, const struct chi_js_task *task)
{
    struct said *said = &story->saids[job->said];
    bool again = task->status == CHATHUB_EDUP;
    uint64_t position = again ? task->position : task->entry->position;
    bool true_ack = false;
    for (uint32_t g = 0; g <= story->gen; g++)
        true_ack = true_ack || said->at[g] == position;
    holds(true_ack, "m%u is acked at %" PRIu64 " by node %u, where it is not", job->said, position,
          side->index);
    said->fate = ACKED;
    story->acks++;
    story->repeats += again;
    if (again)
        return;
    holds(position > side->stored[said->user],
          "node %u stored posts of user %u in another order than they were said", side->index,
          said->user);
    side->stored[said->user] = position;
    show(side, job->room, task->entry);
}

static void posted(struct side *side, const struct job *job, const struct chi_js_task *task)
{
    struct said *said = &story->saids[job->said];
    said->tries--;
    holds(job->number > side->answered[said->user],
          "node %u answers posts of user %u in another order than they were said", side->index,
          said->user);
    side->answered[said->user] = job->number;
    switch (task->status) {
    case 0:
    case CHATHUB_EDUP:
        acked(side, job, task);
        break;
    case CHATHUB_EUNKNOWN:
        said->unsure = true;
        if (said->fate == UNDER_WAY)
            wait_for(said, draw(3000));
        break;
    case CHATHUB_ELOG:
        holds(!story->calm || said->unsure || task->why, "a post is refused without a reason");
        if (said->fate == UNDER_WAY)
            wait_for(said, 100 + draw(2000));
        break;
    default:
        broken("m%u is answered by %s", job->said, chathub_errname(task->status));
    }
}

static void opened(struct side *side, const struct job *job, struct chi_js_task *task)
{
    struct place *place = &side->places[job->room];
    holds(!task->status || !story->calm, "room %u cannot be opened", job->room);
    if (place->opening != job && !task->status) { /* the log went back meanwhile */
        struct chi_js_task *shut = chi_js_task_new(CHI_JS_SHUT);
        shut->room = task->room;
        give_task(side, shut);
    }
    if (task->status || place->opening != job) {
        place->opening = place->opening == job ? NULL : place->opening;
        return;
    }
    task->room->open = 1;
    struct facts *facts = &story->gens[side->gen].rooms[job->room];
    const struct fact *top = task->position ? fact_at(facts, task->position) : NULL;
    *place = (struct place){.handle = task->room, .told = task->position};
    /* While it does not know that the log went back, it is one of the later gen: under the epoch
     * that it knows this position means nothing. */
    holds(top || !task->position || side->gen < story->gen || task->position < kept_from(),
          "node %u of gen %u opens room %u at %" PRIu64 ", where nothing is", side->index,
          side->gen, job->room, task->position);
}

static void check_texts(const struct side *side, const struct fact *fact,
                        const struct chi_entry *entry)
{
    uint32_t n = said_of(entry);
    holds(n == fact->said || (n == NONE && fact->record),
          "a page of node %u has m%u for m%u at %" PRIu64, side->index, n, fact->said,
          entry->position);
}

/* Entries i and on of `facts` that the page has, one for one, but for those that are erased just now,
 * which the node does not know yet. Index behind the last. */
static uint32_t match(const struct side *side, const struct job *job, const struct facts *facts,
                      uint32_t i, const struct chi_js_page *page)
{
    for (uint32_t k = 0; k < page->count; k++, i++) {
        const struct chi_entry *entry = page->entries[k];
        while (i < facts->count && facts->list[i].position < entry->position &&
               facts->list[i].record > job->shown)
            i++;
        holds(i < facts->count && facts->list[i].position == entry->position,
              "a page of node %u has %" PRIu64 " where %" PRIu64 " stands", side->index,
              entry->position, i < facts->count ? facts->list[i].position : 0);
        check_texts(side, &facts->list[i], entry);
        holds(!k || entry->prev == page->entries[k - 1]->position,
              "a page of node %u has %" PRIu64 " with prev %" PRIu64 " behind %" PRIu64,
              side->index, entry->position, entry->prev, page->entries[k - 1]->position);
    }
    return i;
}

static void check_first(const struct side *side, const struct job *job, const struct facts *facts,
                        uint32_t i, const struct chi_js_task *task)
{
    const struct chi_entry *first = task->page.entries[0];
    uint64_t before = i ? facts->list[i - 1].position : 0, after = task->read.after;
    /* First posts of a room that were made at once know nothing of each other. */
    bool vague = facts->list[i].vague, gone = vague || (before && before < kept_from());
    while (i && before != first->prev && facts->list[i - 1].record > job->shown) {
        before = --i ? facts->list[i - 1].position : 0;
        gone = true;
    }
    if (task->read.backward && task->page.more && !gone) {
        holds(first->prev == before, "a page of node %u begins with prev %" PRIu64 " for %" PRIu64,
              side->index, first->prev, before);
        return;
    }
    /* Where what was before it is not kept any more, there may be a gap, or not. */
    holds(first->prev < first->position &&
              ((first->prev > after) == (before > after) || (gone && first->prev > after) ||
               (vague && before < kept_from())),
          "a page of node %u behind %" PRIu64 " begins with %" PRIu64 ", prev %" PRIu64
          ", before it is %" PRIu64,
          side->index, after, first->position, first->prev, before);
}

/* facts[from, to) lie between its bounds; of these the ones from `kept` on were there all the time, and
 * the ones before `known` had been shown. */
static void check_page(const struct side *side, const struct job *job,
                       const struct chi_js_task *task)
{
    const struct chi_js_page *page = &task->page;
    const struct chi_log_read *read = &task->read;
    struct facts *facts = &story->gens[job->gen].rooms[job->room];
    uint32_t from = above(facts, read->after);
    uint32_t to = read->before ? above(facts, read->before - 1) : 0;
    uint32_t known = above(facts, job->known < read->before ? job->known : read->before - 1);
    uint32_t kept = from;
    while (kept < to &&
           (facts->list[kept].position < kept_from() || facts->list[kept].record > job->shown))
        kept++;
    while (known > from && facts->list[known - 1].record > job->shown)
        known--;
    holds(page->count <= read->limit, "a page of node %u is too long", side->index);
    if (!page->count) {
        holds(kept >= known || kept >= to, "a page of node %u is empty", side->index);
        return;
    }
    uint32_t begin = above(facts, page->entries[0]->position) - 1;
    uint32_t end = match(side, job, facts, begin, page);
    holds(begin >= from && end <= to, "a page of node %u goes beyond its bounds", side->index);
    check_first(side, job, facts, begin, task);
    if (read->backward) {
        holds(end >= known, "a page of node %u lacks the newest", side->index);
        holds(page->more ? begin > from : begin <= kept, "a page of node %u %s", side->index,
              page->more ? "promises what is not there" : "lacks the oldest");
    } else {
        holds(begin <= kept,
              "a page of node %u lacks the oldest: it begins at %" PRIu64 " behind %" PRIu64
              ", not at %" PRIu64,
              side->index, page->entries[0]->position, read->after, facts->list[kept].position);
        holds(page->more ? end < to : end >= known, "a page of node %u %s", side->index,
              page->more ? "promises what is not there" : "lacks the newest");
    }
}

static void paged(struct side *side, const struct job *job, const struct chi_js_task *task)
{
    struct place *place = &side->places[job->room];
    holds(!task->status || !story->calm, "room %u cannot be read", job->room);
    if (task->status || job->gen != side->gen || side->gen != story->gen)
        return;
    check_page(side, job, task);
    story->pages++;
    uint64_t last =
        task->page.count ? task->page.entries[task->page.count - 1]->position : task->read.after;
    if (last > place->seen && place->handle)
        place->seen = last;
    if (!job->final)
        return;
    side->walked[job->room] = last;
    side->whole[job->room] = !task->page.more;
}

static void erased(struct side *side, const struct job *job, const struct chi_js_task *task)
{
    if (job->gen != side->gen || side->gen != story->gen)
        return;
    struct fact *fact = fact_at(&now_gen()->rooms[job->room], job->position);
    bool gone = !fact || job->position < kept_from();
    if (task->status == 0) {
        holds(gone || fact->record, "%" PRIu64 " is erased without a record", job->position);
        holds(!js_at(&story->w->server, job->position), "%" PRIu64 " is erased, and there",
              job->position);
        story->erased++;
    } else {
        holds(task->status == CHATHUB_ELOG || gone || fact->record,
              "node %u cannot erase %" PRIu64 ": %s", side->index, job->position,
              chathub_errname(task->status));
    }
}

/* Rooms are closed, and opened anew by the step. */
static void went_back(struct side *side)
{
    uint32_t round = story->w->nodes[side->index].rounds;
    for (const struct job *job = side->jobs; job; job = job->next)
        holds(job->round >= round, "node %u is told that the log went back, with a task under way",
              side->index);
    holds(side->gen < story->gen || story->plan->backs, "node %u says that the log went back",
          side->index);
    side->backs++;
    side->gen = story->gen;
    trace("node %u is told of gen %u", side->index, side->gen);
    memset(side->stored, 0, sizeof side->stored);
    for (uint32_t i = 0; i < ROOMS; i++) {
        if (side->places[i].handle)
            shut_room(side, i);
        side->places[i].opening = NULL;
    }
}

static void finished(struct js_node *node, struct chi_js_task *task)
{
    struct side *side = &story->sides[node->index];
    struct job *job = task->token;
    struct chi_span key = {task->bytes.at, task->bytes.len};
    trace("node %u: task %d is done: %d, at %" PRIu64 ", m%u, room %u", node->index,
          (int)task->kind, task->status, task->entry ? task->entry->position : task->position,
          task->entry ? said_of(task->entry) : NONE, job ? job->room : NONE);
    if (task->kind == CHI_JS_ENTRY)
        show(side, room_of(key), task->entry);
    else if (task->kind == CHI_JS_BACK)
        went_back(side);
    else if (task->kind == CHI_JS_OPEN)
        opened(side, job, task);
    else if (task->kind == CHI_JS_READ)
        paged(side, job, task);
    else if (task->kind == CHI_JS_POST)
        posted(side, job, task);
    else if (task->kind == CHI_JS_ERASE)
        erased(side, job, task);
    if (job)
        drop_job(side, job);
    if (task->room)
        handle_used(task->room);
    chi_js_task_free(task);
}

/* ------------------------------------------------------------------------------- life and death */

static void be_born(struct side *side)
{
    struct chi_js_parts parts = {.port = js_world_port(story->w, side->index),
                                 .stream = "S",
                                 .seed = draw(UINT32_MAX),
                                 .wanted = {.replicas = story->w->server.servers,
                                            .duplicates = story->plan->window,
                                            .republishes = true,
                                            .takes = true,
                                            .acks = true,
                                            .file = true,
                                            .limits = true,
                                            .deletes = true}};
    for (size_t i = 0; i < sizeof parts.secrets; i++)
        parts.secrets[i] = (uint8_t)draw(256);
    uint32_t index = side->index, incarnation = side->incarnation + 1;
    *side = (struct side){.index = index, .incarnation = incarnation, .gen = story->gen};
    ck_assert_int_eq(chi_js_new(&parts, &side->js), 0);
    js_world_attach(story->w, index, side->js);
    story->w->nodes[index].finished = finished;
}

/* Who waited there for an answer goes on elsewhere. */
static void forget(struct side *side, struct chi_js_task *task)
{
    struct job *job = task->token;
    if (task->kind == CHI_JS_POST) {
        struct said *said = &story->saids[job->said];
        said->tries--;
        said->unsure = true;
        if (said->fate == UNDER_WAY)
            wait_for(said, draw(1000));
    }
    if (job)
        drop_job(side, job);
    if (task->room)
        handle_used(task->room);
    chi_js_task_free(task);
}

static void die(struct side *side)
{
    struct chi_works left = {0};
    chi_works_move(&left, &story->w->nodes[side->index].tasks);
    js_world_detach(story->w, side->index);
    chi_js_free(side->js, &left);
    side->js = NULL;
    for (struct chi_work *work; (work = chi_works_take(&left));)
        forget(side, (struct chi_js_task *)(void *)work);
    holds(!side->jobs, "node %u lost a task when it was freed", side->index);
    for (uint32_t i = 0; i < ROOMS; i++)
        if (side->places[i].handle) {
            side->places[i].handle->open = 0;
            side->places[i].handle->under_way++;
            handle_used(side->places[i].handle);
        }
    memset(side->places, 0, sizeof side->places);
}

/* -------------------------------------------------------------------------- what is put back */

static void notice_up(struct side *side)
{
    side->ever = side->ever || (side->js && side->js->state == CHI_JS_UP);
}

static uint64_t newest_shown(const struct side *side)
{
    uint64_t newest = side->js ? side->js->news.shown : 0;
    for (uint32_t i = 0; i < ROOMS; i++) {
        const struct place *place = &side->places[i];
        newest = place->told > newest ? place->told : newest;
        newest = place->seen > newest ? place->seen : newest;
    }
    return newest;
}

static void cut_facts(struct gen *gen, uint64_t last)
{
    for (uint32_t r = 0; r < ROOMS; r++) {
        struct facts *facts = &gen->rooms[r];
        for (; facts->count && facts->list[facts->count - 1].position > last; facts->count--) {
            struct said *said = &story->saids[facts->list[facts->count - 1].said];
            said->times--;
            said->lost = true;
            said->at[story->gen] = 0;
        }
        for (uint32_t i = 0; i < facts->count; i++)
            if (facts->list[i].record > last)
                facts->list[i].record = UINT64_MAX; /* it may be gone, or not */
    }
}

/* All that was known is another gen's, if anybody was shown what is gone now. */
static void begin_gen(uint64_t last)
{
    bool seen = false;
    for (uint32_t i = 0; i < NODES; i++)
        notice_up(&story->sides[i]);
    for (uint32_t i = 0; i < NODES; i++)
        seen = seen || newest_shown(&story->sides[i]) > last;
    if (seen) {
        const struct gen *from = now_gen();
        struct gen *to = &story->gens[++story->gen];
        *to = (struct gen){0};
        for (uint32_t n = 0; n < story->said_count; n++)
            story->saids[n].at[story->gen] = story->saids[n].at[story->gen - 1];
        for (uint32_t r = 0; r < ROOMS; r++)
            for (uint32_t i = 0; i < from->rooms[r].count; i++)
                add_fact(&to->rooms[r], from->rooms[r].list[i]);
    }
    cut_facts(now_gen(), last);
    for (uint32_t i = 0; i < NODES; i++)
        if (!story->sides[i].ever)
            story->sides[i].gen = story->gen;
}

/* The servers end, and come back with what they had a while ago, or with nothing. */
static void put_back(void)
{
    struct js_server *s = &story->w->server;
    bool empty = draw(3) == 0;
    uint64_t last = empty || s->last_seq < 2 ? 0 : s->last_seq - draw(s->last_seq < 40 ? 2 : 40);
    for (uint32_t i = 0; i < NODES; i++)
        js_world_break(story->w, i, 100 + draw(3000));
    begin_gen(last);
    if (empty)
        js_remove(s);
    else
        js_put_back(s, last);
    story->next_back = s->now + 20000;
    trace("put back to %" PRIu64 ", gen %u", last, story->gen);
}

/* --------------------------------------------------------------------------------------- the play */

static struct side *somebody(void)
{
    struct side *side = &story->sides[draw(NODES)];
    return side->js ? side : NULL;
}

static void say_something(void)
{
    uint32_t many = one_in(100) ? 20 : (uint32_t)draw(3);
    uint32_t user = (uint32_t)draw(USERS), room = (uint32_t)draw(ROOMS);
    struct side *side = &story->sides[one_in(900) ? user % NODES : draw(NODES)];
    for (; many && side->js && story->said_count < SAIDS; many--) {
        uint32_t n = story->said_count++;
        if (one_in(300))
            room = (uint32_t)draw(ROOMS);
        story->saids[n] = (struct said){.user = user, .room = room, .cid = !one_in(250)};
        if (!side->places[room].handle)
            story->saids[n].fate = GIVEN_UP;
        else
            post(side, n);
    }
}

/* Who was not answered, or not well, sends it again: most often elsewhere. Sometimes though it is still
 * under way. */
static void say_again(void)
{
    for (uint32_t n = 0; n < story->said_count; n++) {
        struct said *said = &story->saids[n];
        struct side *side = somebody();
        bool due = said->fate == WAITING && said->due <= story->w->server.now;
        bool twice = said->fate == UNDER_WAY && said->tries == 1 && !story->calm && one_in(2);
        if (due && !said->cid)
            said->fate = GIVEN_UP;
        else if ((due || (twice && said->cid)) && side && side->places[said->room].handle)
            post(side, n);
    }
}

static void read_something(struct side *side)
{
    uint32_t room = (uint32_t)draw(ROOMS);
    const struct place *place = &side->places[room];
    uint64_t last = story->w->server.last_seq + 2;
    if (!place->handle)
        return;
    struct chi_log_read read = {.after = one_in(500) ? 0 : draw(last),
                                .before = one_in(500) ? UINT64_MAX : draw(last),
                                .limit = one_in(500) ? 50 : 1 + (uint32_t)draw(5),
                                .bytes = 65536,
                                .backward = one_in(500)};
    page(side, room, &read, false);
}

static void erase_something(struct side *side)
{
    uint32_t room = (uint32_t)draw(ROOMS);
    const struct facts *facts = &story->gens[side->gen].rooms[room];
    if (!side->places[room].handle || !facts->count)
        return;
    uint64_t back = draw(facts->count < 30 ? facts->count : 30);
    uint64_t position = facts->list[facts->count - 1 - back].position;
    if (position <= side->places[room].told)
        erase(side, room, position);
}

static void tend(struct side *side)
{
    uint64_t now = story->w->server.now;
    if (!side->js && side->reborn <= now)
        be_born(side);
    if (!side->js)
        return;
    notice_up(side);
    for (uint32_t i = 0; i < ROOMS; i++) {
        if (!side->places[i].handle && !side->places[i].opening && (one_in(300) || story->calm) &&
            side->js->state == CHI_JS_UP)
            open_room(side, i);
        else if (side->places[i].handle && !story->calm && one_in(story->plan->shuts))
            shut_room(side, i);
    }
}

static void make_trouble(struct side *side)
{
    const struct plan *plan = story->plan;
    struct js_server *s = &story->w->server;
    if (one_in(plan->restarts)) {
        trace("node %u dies", side->index);
        die(side);
        side->reborn = s->now + draw(3000);
    } else if (one_in(plan->trims)) {
        /* Not so much at once that nobody can write the epoch's record anew before it goes. */
        js_trim(s, (uint32_t)draw((s->count - s->first) / 20 + 1));
        trace("kept from %" PRIu64, s->first_seq);
    } else if (plan->backs && s->now > story->next_back && story->gen + 1 < GENS &&
               one_in(plan->backs)) {
        put_back();
    }
}

static void step(struct js_world *w)
{
    if (w->step_due != JS_NEVER)
        return;
    w->step_due = w->server.now + 1 + draw(40);
    for (uint32_t i = 0; i < NODES; i++)
        tend(&story->sides[i]);
    say_again();
    struct side *side = somebody();
    if (story->calm || !side || w->server.now > story->until)
        return;
    say_something();
    if (one_in(300))
        read_something(side);
    if (one_in(story->plan->erasures))
        erase_something(side);
    make_trouble(side);
}

/* ------------------------------------------------------------------------------------- the end */

static bool at_rest(void)
{
    for (uint32_t i = 0; i < NODES; i++) {
        const struct side *side = &story->sides[i];
        if (!side->js || side->jobs || side->js->state != CHI_JS_UP)
            return false;
        for (uint32_t r = 0; r < ROOMS; r++)
            if (!side->places[r].handle)
                return false;
    }
    for (uint32_t n = 0; n < story->said_count; n++)
        if (story->saids[n].fate == UNDER_WAY || story->saids[n].fate == WAITING)
            return false;
    return true;
}

static void tell_unrest(void)
{
    for (uint32_t i = 0; i < NODES; i++) {
        const struct side *side = &story->sides[i];
        uint32_t jobs = 0;
        for (const struct job *job = side->jobs; job; job = job->next)
            jobs++;
        fprintf(stderr, "node %u: state %d, %s, %u tasks, shown %" PRIu64 " of %" PRIu64 "\n", i,
                side->js ? (int)side->js->state : -1,
                side->js && side->js->news.why ? side->js->news.why : "-", jobs,
                side->js ? side->js->news.shown : 0, story->w->server.last_seq);
    }
    for (uint32_t n = 0; n < story->said_count; n++)
        if (story->saids[n].fate == UNDER_WAY || story->saids[n].fate == WAITING)
            fprintf(stderr, "m%u: fate %d, %u tries\n", n, (int)story->saids[n].fate,
                    story->saids[n].tries);
}

static void calm_down(void)
{
    struct js_world *w = story->w;
    uint32_t delay = w->faults.delay;
    w->faults = (struct js_faults){.delay = delay};
    w->server.leaderless = w->server.follower_until = w->server.wrong_until = 0;
    for (uint32_t i = 0; i < NODES; i++)
        w->nodes[i].asleep = 0;
    js_world_run(w, w->server.now + 20000);
    story->calm = true;
    uint64_t patience = w->server.now + 2 * story->plan->window + 60000;
    while (!at_rest() && w->server.now < patience)
        js_world_run(w, w->server.now + 1000);
    if (!at_rest())
        tell_unrest();
    holds(at_rest(), "it does not come to rest");
}

/* All of each room, by pages. */
static void read_all(struct side *side, uint32_t room)
{
    while (!side->whole[room]) {
        struct chi_log_read read = {.after = side->walked[room],
                                    .before = UINT64_MAX,
                                    .limit = 1 + (uint32_t)draw(200),
                                    .bytes = 65536};
        uint64_t patience = story->w->server.now + 5000;
        page(side, room, &read, true);
        while (side->jobs && story->w->server.now < patience)
            js_world_run(story->w, story->w->server.now + 5);
        holds(!side->jobs, "a page does not come");
    }
}

static void check_end(void)
{
    for (uint32_t i = 0; i < NODES; i++) {
        struct side *side = &story->sides[i];
        for (uint32_t r = 0; r < ROOMS; r++) {
            const struct facts *facts = &now_gen()->rooms[r];
            uint32_t last = facts->count;
            while (last && facts->list[last - 1].record)
                last--;
            uint64_t newest = last ? facts->list[last - 1].position : 0;
            holds(side->gen == story->gen, "node %u was not told that the log went back", i);
            holds(side->places[r].told >= newest || newest < kept_from(),
                  "node %u was shown room %u up to %" PRIu64 ", not to %" PRIu64, i, r,
                  side->places[r].told, newest);
            read_all(side, r);
        }
        const struct chi_js_epochs *epochs = &side->js->epochs,
                                   *first = &story->sides[0].js->epochs;
        holds(epochs->count && first->count &&
                  !strcmp(epochs->list[epochs->count - 1].name, first->list[first->count - 1].name),
              "nodes 0 and %u are in other epochs", i);
    }
    for (uint32_t n = 0; n < story->said_count; n++)
        holds(story->saids[n].fate != ACKED || story->saids[n].times || story->saids[n].lost,
              "m%u was acked, and is not there", n);
}

static void live(uint64_t seed, const struct plan *plan, uint32_t servers)
{
    struct story *s = story = calloc(1, sizeof *story);
    s->seed = seed;
    s->plan = plan;
    s->w = js_world_new(seed, NODES);
    s->w->faults = plan->faults;
    s->w->server.servers = servers;
    s->w->server.live = stored;
    s->w->step = step;
    s->w->step_due = s->w->server.now;
    s->next_back = s->w->server.now + 8000;
    static const char *const names[ROOMS] = {"general", "a.b>*", "\xc3\xa4 room"};
    for (uint32_t i = 0; i < ROOMS; i++)
        s->names[i] = chi_name_new(chi_span_of(names[i]), chi_span_of(names[i]));
    for (uint32_t i = 0; i < NODES; i++) {
        s->sides[i].index = i;
        s->sides[i].reborn = i * draw(3000);
    }
    s->until = s->w->server.now + 15000 + draw(30000);
    js_world_run(s->w, s->until);
    calm_down();
    check_end();
    if (getenv("JS_TELL"))
        printf("%s %" PRIu64 ": %u said, %" PRIu64 " acks (%" PRIu64 " repeats), %" PRIu64
               " shown, %" PRIu64 " pages, %" PRIu64 " erased, %u times back, %" PRIu64 " stored\n",
               plan->name, seed, s->said_count, s->acks, s->repeats, s->shown, s->pages, s->erased,
               s->gen, s->w->server.stored);
    for (uint32_t i = 0; i < NODES; i++)
        die(&s->sides[i]);
    js_world_free(s->w);
    for (uint32_t i = 0; i < ROOMS; i++)
        chi_name_unref(s->names[i]);
    for (uint32_t g = 0; g < GENS; g++)
        for (uint32_t r = 0; r < ROOMS; r++)
            free(s->gens[g].rooms[r].list);
    free(s);
}

/* ----------------------------------------------------------------------------------------- plans */

#define LOSSES                                                                                     \
    .lose_post = 10, .lose_ack = 30, .lose_live = 30, .lose_answer = 30, .double_live = 20,        \
    .double_answer = 20, .missed = 5
#define BREAKS  .often_break = 60, .break_ms = 4000
#define LEADERS .often_leaderless = 20, .leaderless_ms = 6000
#define LAGS    .often_lag = 50, .lag_ms = 3000, .often_consumers = 30
#define SLEEPS  .often_sleep = 20, .sleep_ms = 8000

static const struct plan plans[] = {
    {.name = "calm", .faults = {.delay = 5}, .shuts = 3, .window = 120000},
    {.name = "losses",
     .faults = {.delay = 20, LOSSES},
     .erasures = 20,
     .shuts = 3,
     .window = 120000},
    {.name = "breaks", .faults = {.delay = 20, BREAKS}, .erasures = 20, .window = 120000},
    {.name = "leaders", .faults = {.delay = 50, LEADERS, LAGS}, .erasures = 20, .window = 120000},
    {.name = "restarts", .faults = {.delay = 20, BREAKS}, .restarts = 2, .window = 30000},
    {.name = "trims",
     .faults = {.delay = 20, .lose_live = 30},
     .trims = 10,
     .shuts = 3,
     .window = 120000},
    {.name = "back", .faults = {.delay = 20}, .backs = 5, .erasures = 10, .window = 120000},
    {.name = "sleeps", .faults = {.delay = 20, SLEEPS, .lose_ack = 30}, .window = 20000},
    {.name = "wrong",
     .faults = {.delay = 20, .often_wrong = 300, .wrong_ms = 3000, .lose_live = 30},
     .erasures = 20,
     .shuts = 3,
     .window = 120000},
    {.name = "all",
     .faults = {.delay = 60, LOSSES, BREAKS, LEADERS, LAGS, SLEEPS},
     .restarts = 1,
     .erasures = 20,
     .trims = 2,
     .shuts = 3,
     .backs = 2,
     .window = 30000},
};

#define PLANS (sizeof plans / sizeof *plans)

static uint64_t number_of(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

START_TEST(all_nodes_hold_to_what_is_promised)
{
    uint64_t one = number_of("JS_SEED", 0), many = number_of("JS_SEEDS", 18);
    const char *wanted = getenv("JS_PLAN");
    for (uint64_t seed = one ? one : 1; seed <= (one ? one : many); seed++) {
        const struct plan *plan = &plans[seed % PLANS];
        if (!wanted || !strcmp(wanted, plan->name))
            live(seed, plan, plan->faults.often_wrong || seed / PLANS % 2 ? 3 : 1);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("js_whole");
    TCase *tcase = tcase_create("js_whole");
    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, all_nodes_hold_to_what_is_promised);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
