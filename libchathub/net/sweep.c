/* Deadlines and silence. Stamps are only stored where something happens; here they are judged.
 *
 * While bytes wait for a client, in delivery or in the kernel, only the stall time judges it:
 * any byte that it takes or sends is life. Otherwise a WebSocket that is silent is pinged and
 * has to answer; TCP's keepalive does for lines.
 *
 * No client has a timer. A look at an idle one takes some 60 instructions, so that 15,000 of them
 * are less than a million a second; a wheel would save that, and cost each client its place in it
 * and every byte that comes a move. */
#include "net/internal.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

/* Age of a stamp. */
static uint32_t age(uint32_t now, uint32_t stamp)
{
    return now - stamp;
}

/* ----------------------------------------------------------------------------- each second, all */

/* Whether the kernel still holds bytes that the peer did not take; fewer than last time count as
 * taken now. */
static bool kernel_holds(struct chi_conn *conn, uint32_t now)
{
    int held = 0;

    if (ioctl(chi_conn_fd(conn), SIOCOUTQ, &held) != 0 || held < 0)
        held = 0;
    if ((uint32_t)held < conn->unsent)
        conn->net->hot[conn->number].last_out = now;
    conn->unsent = (uint32_t)held;
    return held > 0;
}

static void judge_waiting(struct chi_conn *conn, uint32_t now)
{
    uint32_t silence = age(now, conn->last_in),
             stall = age(now, conn->net->hot[conn->number].last_out);

    if (conn->ping_sent)
        conn->pinged = now;
    if ((silence < stall ? silence : stall) < conn->net->parts.settings->stall_time)
        return;
    chi_conn_log(conn, CHATHUB_INFO, "slow", NULL, 0);
    chi_conn_end(conn, "slow");
}

static void judge_client(struct chi_conn *conn, uint32_t now)
{
    const struct chi_settings *settings = conn->net->parts.settings;
    struct chi_delivery *delivery = conn->net->parts.delivery;
    uint32_t slot = chi_hub_client_slot(conn->client);
    uint32_t silence = age(now, conn->last_in);

    if (silence < settings->ping_idle && silence < settings->stall_time)
        return;
    if (chi_delivery_blocked(delivery, slot) || (conn->ping_sent && kernel_holds(conn, now))) {
        judge_waiting(conn, now);
        return;
    }
    /* What it says is not read now, and so its silence is ours. */
    if (conn->paused || conn->starved || conn->resume) {
        conn->last_in = now;
        return;
    }
    if (!conn->websocket || conn->ping_due || silence < settings->ping_idle)
        return;
    if (!conn->ping_sent) {
        conn->ping_due = true;
        chi_delivery_poke(delivery, slot);
    } else if (age(now, conn->pinged) >= settings->pong_time) {
        chi_conn_end(conn, "no answer to a ping");
    }
}

/* A download may take its time while it goes on; a goodbye may not. */
static void judge_closing(struct chi_conn *conn, uint32_t now)
{
    const struct chi_net *net = conn->net;
    bool goes_on = conn->http && chi_conn_out(conn) &&
                   age(now, net->hot[conn->number].last_out) < net->parts.settings->stall_time;

    if (goes_on)
        conn->due = now + net->parts.settings->close_time;
    else if (chi_net_past(now, conn->due))
        chi_conn_end(conn, conn->http && chi_conn_out(conn) ? "slow" : "did not close in time");
}

void chi_sweep_all(struct chi_net *net)
{
    uint32_t now = chi_net_now(net);
    bool full = net->partial >= net->parts.settings->hub_partial_bytes;

    net->famine = net->famine && full;
    for (uint32_t i = 0; i < net->top && !net->closing; i++) {
        struct chi_conn *conn = chi_conn_at(net, i);
        if (conn->phase == CHI_PHASE_DEAD)
            continue;
        if (conn->starved && !full) {
            conn->starved = false;
            conn->resume = true;
            chi_conn_later(conn);
        }
        if (conn->phase == CHI_PHASE_CLOSING) {
            judge_closing(conn, now);
        } else if (conn->client) {
            judge_client(conn, now);
        }
    }
}

/* ----------------------------------------------------------------------------- often, the young */

static void head_late(struct chi_conn *conn)
{
    const struct chi_input *input = chi_conn_input(conn);

    if (input && input->bytes.len > 0)
        chi_http_refuse(conn, 408, "the head of the request was not complete in time", NULL);
    else
        chi_conn_end(conn, "said nothing");
}

static void judge_young(struct chi_conn *conn, uint32_t now)
{
    const struct chi_input *input = chi_conn_input(conn);
    bool late = input && input->begun && chi_net_past(now, input->due);

    if (late && conn->phase != CHI_PHASE_HEAD) {
        chi_conn_fail(conn, 1008, "message not complete in time");
        chi_input_free(conn);
        chi_conn_age(conn);
        if (conn->phase < CHI_PHASE_OPEN)
            chi_conn_phase(conn, CHI_PHASE_OPEN, 0);
        return;
    }
    if (!chi_net_past(now, conn->due) || conn->phase == CHI_PHASE_OPEN)
        return;
    if (conn->phase == CHI_PHASE_HEAD) {
        head_late(conn);
    } else if (conn->phase == CHI_PHASE_SILENT) {
        chi_conn_phase(conn, CHI_PHASE_OPEN, 0);
        chi_hub_observe(conn->net->parts.hub, conn->client);
    } else {
        chi_conn_phase(conn, CHI_PHASE_OPEN, 0);
        chi_conn_fail(conn, 1008, "no request in time");
    }
}

void chi_sweep_young(struct chi_net *net)
{
    uint32_t now = chi_net_now(net), keep = 0;

    /* Whose deadline went meanwhile leaves the list here. Judging may lengthen it. */
    for (uint32_t i = 0; i < net->young_count && !net->closing; i++) {
        uint32_t number = net->young[i];
        struct chi_conn *conn = chi_conn_at(net, number);
        if (chi_conn_is_young(conn))
            judge_young(conn, now);
        conn->young = chi_conn_is_young(conn);
        if (conn->young)
            net->young[keep++] = number;
    }
    if (!net->closing)
        net->young_count = keep;
}
