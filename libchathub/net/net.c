/* The net's life, and its one place in the loop: an epoll set of its own, which holds all listeners
 * and connections (newcomers in another set within it), is watched by one uv_poll_t. That costs a
 * connection nothing but its own struct, and libuv's watchers are not touched for each of them.
 *
 * Happy path: new → listen → (loop: ready, timers) → stop_accepting → close → freed by the last
 * handle's callback. Failure modes: chi_net_close may come from within a callback of ours (a
 * route's): everything is only marked and its sockets closed then, and freed once no frame of
 * ours can be on the stack. */
#include "net/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define SWEEP_MS 1000
#define FINE_MS  50
/* In an event's data: a listener's socket; else a connection's number. */
#define IS_LISTENER (1ull << 63)

/* ----------------------------------------------------------------------------------- from libuv */

static void dispatch(struct chi_net *net, const struct epoll_event *event)
{
    uint64_t data = event->data.u64;

    if (data & IS_LISTENER) {
        chi_listener_ready(net, (uint32_t)(data & UINT32_MAX) / 2, (int)(data & 1));
    } else if (data < net->top) {
        chi_conn_ready(chi_conn_at(net, (uint32_t)data), event->events);
    }
}

/* A share of the reports, so that who posts much does not keep those waiting to whom something is
 * to be sent. What is left over comes first the next time: epoll asked anew would begin with the
 * same ones again. It does not sleep meanwhile, since these are still ready. */
static void take_share(struct chi_net *net, struct chi_reports *reports, unsigned us)
{
    uint64_t end = 0; /* the clock is looked at only where there is more than one */

    if (reports->at == reports->count) {
        reports->at = 0;
        reports->count = epoll_wait(reports->epoll, reports->events, CHI_EVENT_BATCH, 0);
        if (reports->count < 0)
            reports->count = 0;
    }
    while (reports->at < reports->count && !net->closing) {
        if (!end && reports->count - reports->at > 1)
            end = uv_hrtime() + us * 1000u;
        dispatch(net, &reports->events[reports->at++]);
        if (reports->at < reports->count && uv_hrtime() >= end)
            return;
    }
}

/* Who comes has a share of its own, and is no reason for those who are there to wait: a handshake
 * and a first request cost as much as many posts, and thousands may come at once. */
static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct chi_net *net = poll->data;

    (void)status;
    (void)events;
    take_share(net, &net->all, CHI_INPUT_US);
    if (net->mute && !net->closing)
        take_share(net, &net->newcomers, CHI_NEWCOMERS_US);
}

static void void_reports(struct chi_reports *reports, uint32_t number)
{
    for (int i = reports->at; i < reports->count; i++)
        if (reports->events[i].data.u64 == number)
            reports->events[i].data.u64 = UINT32_MAX; /* no connection has it */
}

void chi_net_void(struct chi_net *net, uint32_t number)
{
    void_reports(&net->all, number);
    void_reports(&net->newcomers, number);
}

static void on_sweep(uv_timer_t *timer)
{
    struct chi_net *net = timer->data;

    chi_sweep_all(net);
    chi_listener_follow(net);
    chi_listener_resume(net);
}

static void on_fine(uv_timer_t *timer)
{
    struct chi_net *net = timer->data;

    chi_sweep_young(net);
    if (net->young_count == 0)
        uv_timer_stop(timer);
}

static void on_soon(uv_timer_t *timer)
{
    chi_conn_work_later(timer->data);
}

/* ----------------------------------------------------------------------------------------- life */

static void free_all(struct chi_net *net)
{
    for (uint32_t i = 0; i < net->top; i++)
        chi_conn_fini(chi_conn_at(net, i));
    for (uint32_t i = 0; i < net->listener_count; i++)
        free(net->listeners[i]);
    chi_frames_free(net->spare);
    chi_buf_fini(&net->scratch);
    chi_paged_fini(&net->conns);
    free(net->hot);
    free(net->young);
    free(net->buffer);
    if (net->newcomers.epoll >= 0)
        close(net->newcomers.epoll);
    if (net->all.epoll >= 0)
        close(net->all.epoll);
    free(net);
}

static void on_handle_closed(uv_handle_t *handle)
{
    struct chi_net *net = handle->data;
    void (*done)(void *arg) = net->done;
    void *arg = net->done_arg;

    if (--net->handles > 0)
        return;
    free_all(net);
    if (done)
        done(arg);
}

/* The poll handle is the one whose start can fail; until then nothing is on the loop that needs
 * closing. */
static int start_handles(struct chi_net *net)
{
    uv_timer_t *timers[] = {&net->sweep, &net->fine, &net->soon};

    if (uv_poll_init(net->parts.loop, &net->poll, net->all.epoll) != 0)
        return CHATHUB_EIO;
    net->poll.data = net;
    for (size_t i = 0; i < sizeof(timers) / sizeof(timers[0]); i++) {
        uv_timer_init(net->parts.loop, timers[i]);
        timers[i]->data = net;
    }
    net->handles = 4;
    uv_timer_start(&net->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    uv_poll_start(&net->poll, UV_READABLE, on_poll);
    return 0;
}

static int open_sets(struct chi_net *net)
{
    struct epoll_event wakes = {.events = EPOLLIN, .data.u64 = UINT32_MAX}; /* no connection's */

    net->all.epoll = epoll_create1(EPOLL_CLOEXEC);
    net->newcomers.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (net->all.epoll < 0 || net->newcomers.epoll < 0 ||
        epoll_ctl(net->all.epoll, EPOLL_CTL_ADD, net->newcomers.epoll, &wakes) != 0)
        return CHATHUB_EIO;
    return 0;
}

int chi_net_new(const struct chi_net_parts *parts, struct chi_net **out)
{
    struct chi_net *net = calloc(1, sizeof(*net));
    int error;

    if (!net)
        return CHATHUB_ENOMEM;
    net->parts = *parts;
    net->accepting = true;
    chi_paged_init(&net->conns, sizeof(struct chi_conn));
    net->buffer = malloc(CHI_READ_SIZE);
    chi_transport_init(net);
    error = open_sets(net);
    if (error == 0)
        error = net->buffer ? start_handles(net) : CHATHUB_ENOMEM;
    if (error) {
        free_all(net);
        return error;
    }
    *out = net;
    return 0;
}

void chi_net_fine(struct chi_net *net)
{
    if (!net->closing && !uv_is_active((uv_handle_t *)&net->fine))
        uv_timer_start(&net->fine, on_fine, FINE_MS, FINE_MS);
}

void chi_net_soon(struct chi_net *net)
{
    if (!net->closing && !uv_is_active((uv_handle_t *)&net->soon))
        uv_timer_start(&net->soon, on_soon, 0, 0);
}

/* libuv runs a timer of 0 ms that is set within a timer's turn in the same turn. */
void chi_net_rest(struct chi_net *net)
{
    if (!net->closing)
        uv_timer_start(&net->soon, on_soon, 1, 0);
}

int chi_net_epoll(struct chi_net *net, int fd, bool on, uint32_t listener, int which)
{
    struct epoll_event event = {.events = EPOLLIN,
                                .data.u64 = IS_LISTENER | (listener * 2u + (unsigned)which)};

    return epoll_ctl(net->all.epoll, on ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, fd, &event) == 0
               ? 0
               : CHATHUB_EIO;
}

uint32_t chi_net_connections(const struct chi_net *net)
{
    return net ? net->count : 0;
}

void chi_net_stop_accepting(struct chi_net *net)
{
    if (!net)
        return;
    net->stopped = true;
    chi_listener_close_all(net);
    for (uint32_t i = 0; i < net->top; i++)
        if (chi_conn_at(net, i)->phase == CHI_PHASE_HEAD)
            chi_conn_end(chi_conn_at(net, i), "shutting down");
}

void chi_net_close(struct chi_net *net, void (*done)(void *arg), void *arg)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&net->poll, (uv_handle_t *)&net->sweep,
                              (uv_handle_t *)&net->fine, (uv_handle_t *)&net->soon};

    net->done = done;
    net->done_arg = arg;
    if (net->closing)
        return;
    net->closing = net->stopped = true;
    chi_listener_close_all(net);
    for (uint32_t i = 0; i < net->top; i++)
        chi_conn_end(chi_conn_at(net, i), "shutting down");
    for (size_t i = 0; i < sizeof(handles) / sizeof(handles[0]); i++)
        uv_close(handles[i], on_handle_closed);
}
