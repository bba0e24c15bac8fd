/* What is looked at from outside of the run: memory, lag, what each member has. */
#include "bench.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>

int64_t cb_pss(const struct cb_bench *bench)
{
    return bench->options.pid ? cb_proc_pss(bench->options.pid) : -1;
}

uint64_t cb_count_caught_up(const struct cb_bench *bench)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < bench->options.clients; i++) {
        n += bench->clients[i].entries >= bench->options.behind;
    }
    return n;
}

void cb_count_presence(struct cb_bench *bench, struct cb_measures *m)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < bench->options.clients; i++) {
        uint32_t n = bench->clients[i].presence;
        sum += n;
        m->presence_max = n > m->presence_max ? n : m->presence_max;
    }
    m->presence_mean = (double)sum / bench->options.clients;
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
        uint16_t server = ntohs(((const struct sockaddr_in *)&o->to)->sin_port);
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

/* What each member should have and has. */
bool cb_add_up(struct cb_bench *bench, struct cb_measures *m)
{
    const struct cb_options *o = &bench->options;
    uint64_t *acked = calloc(o->rooms, sizeof *acked);
    if (!acked) {
        return false;
    }
    for (uint32_t i = 0; i < o->posters; i++) {
        acked[i % o->rooms] += bench->clients[i].acked;
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
           !f->holes && !f->doubled && !f->disorder && !bench->refused && !bench->errors &&
           (bench->options.gaps_ok || !bench->gaps);
}
