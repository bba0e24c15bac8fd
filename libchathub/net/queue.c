/* Happy path: events and their texts are appended to the side that fills; take swaps it with the
 * side that the host had last, and makes pointers of the places of its texts. Texts move while their
 * side grows, so that events hold offsets until then. The lock is held while a run of records is
 * copied, or two pointers are swapped. Failure modes: what finds no room or no memory is not taken;
 * whose it is comes again (inproc), waits (questions), or is counted (log records). */
#include "net/queue.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dialect/local.h"
#include "util/buf.h"
#include "util/list.h"

/* Allocated bytes that a side keeps in any case, and how often those that it had in use last. */
#define KEEP_MIN   ((size_t)1 << 16)
#define KEEP_TIMES 4u
/* Texts of an event, and those whose lengths it tells. */
#define TEXTS   10
#define CONTENT 3
#define JSON    9

/* One of the two. */
struct side {
    struct chi_buf events; /* struct chathub_event, with offsets in `texts` for pointers */
    struct chi_buf texts;  /* of each event ten texts with their NULs */
};

/* A question before the queue. */
struct waiting {
    struct chi_link link;
    uint64_t until; /* when the hub has decided by itself */
    size_t len;     /* of its texts */
    struct chathub_event event;
    char texts[]; /* what its pointers point at */
};

struct chi_queue {
    const uint64_t *limit; /* the hub's side looks at it */
    pthread_mutex_t mutex; /* of `fills`, `fd`, `told`, `refused` and the stop */
    struct side sides[2];
    int fills;              /* the side that events are added to; the other one is the host's */
    int fd;                 /* an eventfd; -1: nobody asked for it yet */
    bool told;              /* it is readable */
    bool refused;           /* something found no room since the last take */
    bool stopped;           /* nothing comes any more … */
    bool stop_taken;        /* … and this was taken … */
    uint64_t stop_count;    /* … with this count */
    bool news;              /* of the hub's side: something was added since the last tell */
    bool starved;           /* of the hub's side: there was no memory for what came last */
    struct chi_link asking; /* of the hub's side: waiting questions */
    size_t asking_bytes;    /* of the hub's side: theirs */
};

/* ------------------------------------------------------------------------------------ the sides */

static void side_fini(struct side *side)
{
    chi_buf_fini(&side->events);
    chi_buf_fini(&side->texts);
}

static size_t side_bytes(const struct side *side)
{
    return side->events.len + side->texts.len;
}

static uint32_t side_count(const struct side *side)
{
    return (uint32_t)(side->events.len / sizeof(struct chathub_event));
}

/* Empties a side; it keeps no more memory than some times what waits in the other one. */
static void side_clear(struct side *side, size_t waits)
{
    size_t keep = waits > KEEP_MIN / KEEP_TIMES ? waits * KEEP_TIMES : KEEP_MIN;
    chi_buf_reset(&side->events, keep);
    chi_buf_reset(&side->texts, keep);
}

/* The ten texts of an event, in the order in which they stand. */
static void list_texts(struct chathub_event *event, const char **texts[TEXTS])
{
    const char **all[TEXTS] = {&event->room, &event->sender, &event->sender_id, &event->content,
                               &event->cid,  &event->data,   &event->session,   &event->message,
                               &event->ref,  &event->json};
    memcpy(texts, all, sizeof(all));
}

/* Adds `by` to what the pointers to texts hold: from offsets to pointers and back, which is why it
 * is done in integers. */
static void move_texts(struct chathub_event *event, uintptr_t by)
{
    const char **texts[TEXTS];
    list_texts(event, texts);
    for (int i = 0; i < TEXTS; i++)
        *texts[i] = (const char *)((uintptr_t)*texts[i] + by);
}

/* Adds an event whose texts stand one behind the other, `len` bytes with their NULs. */
static bool side_add(struct side *side, const struct chathub_event *event, size_t len)
{
    chi_buf_truncate(&side->events, side->events.len); /* what failed before may work now */
    chi_buf_truncate(&side->texts, side->texts.len);
    char *to = chi_buf_reserve(&side->events, sizeof(*event));
    if (!to || !chi_buf_reserve(&side->texts, len))
        return false;
    struct chathub_event placed = *event;
    move_texts(&placed, side->texts.len - (uintptr_t)event->room);
    memcpy(to, &placed, sizeof(placed));
    side->events.len += sizeof(placed);
    chi_buf_add(&side->texts, event->room, len);
    return true;
}

/* --------------------------------------------------------------------------------------- events */

static size_t length_of(const struct chathub_event *event, int field, const char *text)
{
    if (field == CONTENT)
        return event->content_len;
    return field == JSON ? event->json_len : strlen(text);
}

/* Of texts that are somewhere; makes "" of NULL. */
static size_t texts_size(struct chathub_event *event)
{
    const char **texts[TEXTS];
    size_t size = TEXTS;
    list_texts(event, texts);
    for (int i = 0; i < TEXTS; i++) {
        if (!*texts[i])
            *texts[i] = "";
        size += length_of(event, i, *texts[i]);
    }
    return size;
}

/* A NUL within would end a text: hosts split them there. */
static void copy_text(char *to, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        to[i] = text[i] ? text[i] : ' ';
    to[len] = '\0';
}

/* Copies the texts to `to`, one behind the other, and points at them there. */
static void put_together(struct chathub_event *event, char *to)
{
    const char **texts[TEXTS];
    list_texts(event, texts);
    for (int i = 0; i < TEXTS; i++) {
        size_t len = length_of(event, i, *texts[i]);
        copy_text(to, *texts[i], len);
        *texts[i] = to;
        to += len + 1;
    }
}

/* ------------------------------------------------------------------------------ the hub's side */

int chi_queue_new(const uint64_t *limit, struct chi_queue **out)
{
    struct chi_queue *queue = calloc(1, sizeof(*queue));
    if (!queue)
        return CHATHUB_ENOMEM;
    if (pthread_mutex_init(&queue->mutex, NULL)) {
        free(queue);
        return CHATHUB_ENOMEM;
    }
    queue->limit = limit;
    queue->fd = -1;
    chi_list_init(&queue->asking);
    *out = queue;
    return 0;
}

static void waiting_free(struct chi_queue *queue, struct waiting *waiting)
{
    chi_list_remove(&waiting->link);
    queue->asking_bytes -= sizeof(*waiting) + waiting->len;
    free(waiting);
}

void chi_queue_free(struct chi_queue *queue)
{
    if (!queue)
        return;
    for (struct chi_link *link = queue->asking.next, *next; link != &queue->asking; link = next) {
        next = link->next;
        waiting_free(queue, CHI_CONTAINER(link, struct waiting, link));
    }
    side_fini(&queue->sides[0]);
    side_fini(&queue->sides[1]);
    if (queue->fd >= 0)
        close(queue->fd);
    pthread_mutex_destroy(&queue->mutex);
    free(queue);
}

/* Under the lock. */
static bool is_full(struct chi_queue *queue)
{
    bool full = side_bytes(&queue->sides[queue->fills]) >= *queue->limit;
    queue->refused |= full;
    return full;
}

bool chi_queue_has_room(struct chi_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    bool full = is_full(queue);
    pthread_mutex_unlock(&queue->mutex);
    return !full && chi_list_empty(&queue->asking);
}

/* It is not asked afterwards whether there is room: the host may have made some meanwhile. */
bool chi_queue_is_starved(const struct chi_queue *queue)
{
    return queue->starved;
}

/* Under the lock. */
static size_t add_records(struct chi_queue *queue, uint64_t client, const char *records, size_t len,
                          bool beyond)
{
    struct side *side = &queue->sides[queue->fills];
    size_t done = 0;
    while (done < len && (beyond || !is_full(queue))) {
        struct chathub_event event;
        size_t size = chi_local_read(records + done, &event);
        event.client = client;
        queue->starved =
            !side_add(side, &event, (size_t)(event.json + event.json_len + 1 - event.room));
        if (queue->starved)
            break;
        done += size;
    }
    return done;
}

size_t chi_queue_add_records(struct chi_queue *queue, uint64_t client, const char *records,
                             size_t len, bool beyond)
{
    queue->starved = false;
    if (!beyond && !chi_list_empty(&queue->asking))
        return 0;
    pthread_mutex_lock(&queue->mutex);
    size_t done = add_records(queue, client, records, len, beyond);
    pthread_mutex_unlock(&queue->mutex);
    queue->news |= done > 0;
    return done;
}

/* Whose `len` bytes of texts stand one behind the other. */
static bool add_placed(struct chi_queue *queue, const struct chathub_event *event, size_t len,
                       bool beyond)
{
    pthread_mutex_lock(&queue->mutex);
    bool fits = !queue->stopped && (beyond || !is_full(queue));
    bool added = fits && side_add(&queue->sides[queue->fills], event, len);
    queue->starved = fits && !added;
    pthread_mutex_unlock(&queue->mutex);
    queue->news |= added;
    return added;
}

bool chi_queue_add(struct chi_queue *queue, const struct chathub_event *event, bool beyond)
{
    struct chathub_event placed = *event;
    if (!beyond && !chi_list_empty(&queue->asking))
        return false;
    placed.size = sizeof(placed);
    size_t len = texts_size(&placed);
    char *texts = malloc(len);
    if (!texts)
        return false;
    put_together(&placed, texts);
    bool added = add_placed(queue, &placed, len, beyond);
    free(texts);
    return added;
}

/* ------------------------------------------------------------------------------------- questions */

static bool ask_later(struct chi_queue *queue, const struct chathub_event *event, uint64_t until)
{
    struct chathub_event placed = *event;
    placed.size = sizeof(placed);
    size_t len = texts_size(&placed), bytes = sizeof(struct waiting) + len;
    if (queue->asking_bytes + bytes > *queue->limit)
        return false;
    struct waiting *waiting = calloc(1, bytes);
    if (!waiting)
        return false;
    put_together(&placed, waiting->texts);
    waiting->event = placed;
    waiting->until = until;
    waiting->len = len;
    queue->asking_bytes += bytes;
    chi_list_append(&queue->asking, &waiting->link);
    return true;
}

bool chi_queue_ask(struct chi_queue *queue, const struct chathub_event *event, uint64_t until)
{
    return chi_queue_add(queue, event, false) || ask_later(queue, event, until);
}

bool chi_queue_turn(struct chi_queue *queue, uint64_t now)
{
    for (struct chi_link *link = queue->asking.next, *next; link != &queue->asking; link = next) {
        struct waiting *waiting = CHI_CONTAINER(link, struct waiting, link);
        next = link->next;
        if (waiting->until > now && !add_placed(queue, &waiting->event, waiting->len, false))
            return !queue->starved;
        waiting_free(queue, waiting);
    }
    return true;
}

/* -------------------------------------------------------------------------------- the descriptor */

/* Under the lock. */
static bool is_empty(const struct chi_queue *queue)
{
    return !queue->sides[queue->fills].events.len && (!queue->stopped || queue->stop_taken);
}

/* Under the lock: makes the descriptor readable. */
static void tell(struct chi_queue *queue)
{
    static const uint64_t one = 1;
    if (queue->fd < 0 || queue->told || is_empty(queue))
        return;
    queue->told = write(queue->fd, &one, sizeof(one)) == (ssize_t)sizeof(one);
}

/* Under the lock: makes it silent. */
static void untell(struct chi_queue *queue)
{
    uint64_t count;
    if (queue->told && is_empty(queue))
        queue->told = read(queue->fd, &count, sizeof(count)) < 0 && errno != EAGAIN;
}

void chi_queue_tell(struct chi_queue *queue)
{
    if (!queue->news)
        return;
    queue->news = false;
    pthread_mutex_lock(&queue->mutex);
    tell(queue);
    pthread_mutex_unlock(&queue->mutex);
}

void chi_queue_stop(struct chi_queue *queue, uint64_t count)
{
    pthread_mutex_lock(&queue->mutex);
    queue->stop_count = count;
    queue->stopped = true;
    tell(queue);
    pthread_mutex_unlock(&queue->mutex);
}

int chi_queue_fd(struct chi_queue *queue)
{
    pthread_mutex_lock(&queue->mutex);
    if (queue->fd < 0)
        queue->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    tell(queue);
    int fd = queue->fd;
    pthread_mutex_unlock(&queue->mutex);
    return fd < 0 ? CHATHUB_EIO : fd;
}

/* ----------------------------------------------------------------------------------------- take */

/* Under the lock: the last event of all, which has no bound and waits as a flag until it is asked
 * for. */
static void add_stopped(struct chi_queue *queue)
{
    static const char empty[TEXTS] = {0};
    struct chathub_event event = {
        .type = CHATHUB_EVENT_STOPPED, .size = sizeof(event), .count = queue->stop_count};
    const char **texts[TEXTS];
    if (!queue->stopped || queue->stop_taken)
        return;
    list_texts(&event, texts);
    for (int i = 0; i < TEXTS; i++)
        *texts[i] = empty + i;
    queue->stop_taken = side_add(&queue->sides[queue->fills], &event, sizeof(empty));
}

/* The side that fills is the host's from now on, which gives the other one back. */
static struct side *swap(struct chi_queue *queue, bool *drained)
{
    struct side *old = &queue->sides[!queue->fills];
    pthread_mutex_lock(&queue->mutex);
    add_stopped(queue);
    size_t waits = side_bytes(&queue->sides[queue->fills]);
    pthread_mutex_unlock(&queue->mutex);
    side_clear(old, waits); /* the host's side alone touches it, and freeing takes its time */
    pthread_mutex_lock(&queue->mutex);
    struct side *side = &queue->sides[queue->fills];
    queue->fills = !queue->fills;
    *drained = queue->refused;
    queue->refused = false;
    untell(queue);
    pthread_mutex_unlock(&queue->mutex);
    return side;
}

int chi_queue_take(struct chi_queue *queue, struct chathub_batch *out, bool *drained)
{
    *drained = false;
    struct side *side = swap(queue, drained);
    struct chathub_event *events = (struct chathub_event *)(void *)side->events.at;
    uint32_t count = side_count(side);
    for (uint32_t i = 0; i < count; i++)
        move_texts(&events[i], (uintptr_t)side->texts.at);
    *out = (struct chathub_batch){.size = out->size,
                                  .count = count,
                                  .events = events,
                                  .texts = side->texts.at,
                                  .texts_len = side->texts.len};
    if (count)
        return (int)count;
    pthread_mutex_lock(&queue->mutex);
    bool left = !is_empty(queue); /* no memory for the last event */
    pthread_mutex_unlock(&queue->mutex);
    return left ? CHATHUB_ENOMEM : 0;
}
