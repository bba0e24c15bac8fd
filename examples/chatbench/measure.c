/* What is looked at from outside of the run: memory, lag, what each member has. */
#include "bench.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>

static uint32_t max_of(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

int64_t cb_pss(const struct cb_bench *bench)
{
    const struct cb_options *o = &bench->options;
    int64_t sum = o->pid_count ? 0 : -1;
    for (uint32_t i = 0; i < o->pid_count && sum >= 0; i++) {
        int64_t one = cb_proc_pss(o->pids[i]);
        sum = one < 0 ? -1 : sum + one;
    }
    return sum;
}

uint64_t cb_count_caught_up(const struct cb_bench *bench)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < bench->options.clients; i++) {
        n += bench->clients[i].entries >= bench->options.behind;
    }
    return n;
}

void cb_count_frames(const struct cb_bench *bench, struct cb_measures *m)
{
    uint64_t presence = 0, all = 0;
    for (uint32_t i = 0; i < bench->options.clients; i++) {
        const struct cb_client *client = &bench->clients[i];
        presence += client->presence;
        all += client->frames;
        m->presence_max = max_of(client->presence, m->presence_max);
        m->join_frames_max = max_of(client->frames, m->join_frames_max);
    }
    m->presence_mean = (double)presence / bench->options.clients;
    m->join_frames_mean = (double)all / bench->options.clients;
}

/* Posts acked in each room; to be freed. NULL: out of memory. */
static uint64_t *acked_in_rooms(const struct cb_bench *bench)
{
    const struct cb_options *o = &bench->options;
    uint64_t *acked = calloc(o->rooms, sizeof *acked);
    for (uint32_t i = 0; acked && i < o->posters; i++) {
        acked[i % o->rooms] += bench->clients[i].acked;
    }
    return acked;
}

/* For each room, when the oldest of its posts was due that nobody has got; `now` if there is none.
 * To be freed. NULL: out of memory. */
static uint64_t *oldest_unseen(const struct cb_bench *bench, uint64_t now)
{
    const struct cb_options *o = &bench->options;
    uint64_t *oldest = malloc(o->rooms * sizeof *oldest);
    for (uint32_t room = 0; oldest && room < o->rooms; room++) {
        oldest[room] = now;
    }
    for (uint32_t i = 0; oldest && i < o->posters; i++) {
        uint64_t k = (uint64_t)bench->next[i] * o->posters + i;
        uint64_t *room = &oldest[i % o->rooms];
        if (k < bench->sent && bench->due[k] < *room) {
            *room = bench->due[k];
        }
    }
    return oldest;
}

/* When the oldest of the posts was due that others have got, and this member has not; or
 * `unseen`. */
static uint64_t oldest_missing(const struct cb_room *room, const struct cb_member *member,
                               uint64_t unseen)
{
    for (uint32_t i = member->index; i < room->stream.count; i++) {
        if (room->stream.marks[i].due) {
            return room->stream.marks[i].due;
        }
    }
    return unseen;
}

bool cb_look_at_lag(const struct cb_bench *bench, struct cb_measures *m)
{
    uint64_t now = cb_clock();
    uint64_t *acked = acked_in_rooms(bench), *unseen = oldest_unseen(bench, now);
    bool ok = acked && unseen;
    for (uint32_t i = 0; ok && i < bench->options.clients; i++) {
        const struct cb_client *client = &bench->clients[i];
        uint32_t room = i % bench->options.rooms;
        if (client->state != CB_LIVE || client->paused) {
            continue;
        }
        uint64_t has = (uint64_t)client->member.got + client->member.gapped;
        uint64_t due = oldest_missing(&bench->rooms[room], &client->member, unseen[room]);
        if (acked[room] > has && acked[room] - has > m->lag_max) {
            m->lag_max = acked[room] - has;
        }
        if (due < now && now - due > m->lag_ns) {
            m->lag_ns = now - due;
        }
    }
    free(acked);
    free(unseen);
    return ok;
}

/* Entries of this run in the room of this client, as far as anybody saw or was acked. */
static uint32_t run_entries(const uint64_t *acked_in_room, const struct cb_bench *bench,
                            uint32_t room)
{
    uint32_t seen = 0;
    for (uint32_t i = 0; i < bench->rooms[room].count; i++) {
        seen += bench->rooms[room].entries[i].poster != CB_FOREIGN;
    }
    return acked_in_room[room] > seen ? (uint32_t)acked_in_room[room] : seen;
}

static uint16_t own_port(int fd)
{
    struct sockaddr_in own = {0};
    socklen_t len = sizeof own;
    return getsockname(fd, (struct sockaddr *)&own, &len) == 0 && own.sin_family == AF_INET
               ? ntohs(own.sin_port)
               : 0;
}

/* How far behind the slow clients are, and how much of that the kernel holds. */
void cb_look_at_slow(struct cb_bench *bench, struct cb_measures *m)
{
    const struct cb_options *o = &bench->options;
    m->lag_min = UINT32_MAX;
    for (uint32_t i = o->clients - o->stall; i < o->clients; i++) {
        const struct cb_client *client = &bench->clients[i];
        uint32_t lag = bench->rooms[i % o->rooms].count - client->member.index;
        m->lag_min = lag < m->lag_min ? lag : m->lag_min;
        uint16_t port = client->state == CB_LIVE ? own_port(client->fd) : 0;
        const struct sockaddr_storage *to = &o->to[i / o->rooms % o->nodes];
        uint16_t server = ntohs(((const struct sockaddr_in *)to)->sin_port);
        uint32_t sent, unsent, read, unread;
        if (port && cb_proc_queues(server, port, &unsent, &read) &&
            cb_proc_queues(port, server, &sent, &unread)) {
            int64_t held = (int64_t)unsent + unread;
            m->kernel_max = held > m->kernel_max ? held : m->kernel_max;
        }
    }
}

double cb_own_cpu(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

bool cb_add_up(struct cb_bench *bench, struct cb_measures *m)
{
    const struct cb_options *o = &bench->options;
    uint64_t *acked = acked_in_rooms(bench);
    if (!acked) {
        return false;
    }
    for (uint32_t room = 0; room < o->rooms; room++) {
        acked[room] = run_entries(acked, bench, room);
    }
    for (uint32_t i = 0; i < o->clients; i++) {
        const struct cb_member *member = &bench->clients[i].member;
        uint64_t has = (uint64_t)member->got + member->gapped, wanted = acked[i % o->rooms];
        m->expected += wanted;
        m->gapped += member->gapped;
        m->lost += wanted > has ? wanted - has : 0;
    }
    free(acked);
    return true;
}

bool cb_all_well(const struct cb_bench *bench, const struct cb_measures *m)
{
    const struct cb_faults *f = &bench->faults;
    return bench->live == bench->options.clients && m->caught_up == bench->live && !m->lost &&
           !f->holes && !f->doubled && !f->disorder && !f->altered && !bench->refused &&
           !bench->errors && (bench->options.gaps_ok || !bench->gaps);
}
