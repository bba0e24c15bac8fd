/* Happy path: requests came in while the loop polled; uv_check runs the hub's turn and one slice
 * of the flush. What a host's timer posted is done in uv_prepare, before the loop would sleep.
 * While a slice leaves something over, an idle handle makes the loop poll without waiting, and the
 * next slice comes behind the poll, so that reads are served between any two. One timer wakes the hub
 * for its own deadlines. Without a loop, whoever has the driver in hand asks when, and runs the same
 * turn. Failure modes: none of its own; handles that cannot be made fail the start. */
#include "net/driver.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <uv.h>

#define TICK_MS 1000u

struct chi_driver {
    struct chi_driver_parts parts;
    bool by_hand; /* without a loop: there are none of the handles below */
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;
    uv_timer_t timer;
    uv_async_t async;
    atomic_bool host; /* chi_driver_wake was called and not passed on yet */
    atomic_bool turn; /* chi_driver_want_turn was */
    atomic_bool over; /* chi_driver_close was */
    bool *work;       /* somebody asked for a turn */
    bool busy;        /* the last flush left something */
    bool running;     /* inside a turn: a nested loop does not start another */
    uint64_t ticked;  /* when delivery last kept house */
    uint64_t due;     /* what the timer is set for, while it runs */
    uint32_t handles; /* not yet closed */
    void (*done)(void *arg);
    void *done_arg;
};

static uint64_t clock_us(void *ctx)
{
    (void)ctx;
    return uv_hrtime() / 1000;
}

static void on_idle(uv_idle_t *idle)
{
    (void)idle; /* its being there is what counts */
}

static void keep_idle(struct chi_driver *driver)
{
    if (driver->busy || *driver->work)
        uv_idle_start(&driver->idle, on_idle);
    else
        uv_idle_stop(&driver->idle);
}

static void on_timer(uv_timer_t *timer)
{
    struct chi_driver *driver = timer->data;
    *driver->work = true;
}

static void set_timer(struct chi_driver *driver, uint64_t now)
{
    uint64_t due = chi_hub_next(driver->parts.hub);
    uint64_t carriers = chi_carriers_next(driver->parts.carriers);
    uint64_t inproc = chi_inproc_next(driver->parts.inproc);
    if (chi_delivery_warm(driver->parts.delivery) && driver->ticked + TICK_MS < due)
        due = driver->ticked + TICK_MS;
    due = carriers < due ? carriers : due;
    due = inproc < due ? inproc : due;
    if (due == driver->due && !driver->by_hand && uv_is_active((uv_handle_t *)&driver->timer))
        return;
    driver->due = due;
    if (driver->by_hand)
        return;
    if (due == UINT64_MAX)
        uv_timer_stop(&driver->timer);
    else
        uv_timer_start(&driver->timer, on_timer, due > now ? due - now : 0, 0);
}

static void turn(struct chi_driver *driver)
{
    if (driver->running || !(*driver->work || driver->busy))
        return;
    driver->running = true;
    *driver->work = false;
    uint64_t now = driver->parts.env.ops->now(driver->parts.env.self);
    chi_inproc_turn(driver->parts.inproc);
    chi_carriers_turn(driver->parts.carriers);
    chi_hub_turn(driver->parts.hub);
    if (now - driver->ticked >= TICK_MS) {
        driver->ticked = now;
        chi_delivery_tick(driver->parts.delivery);
    }
    /* by hand time stands still in a turn: slices end by their bytes alone */
    driver->busy =
        chi_delivery_flush(driver->parts.delivery, driver->by_hand ? NULL : clock_us, NULL);
    chi_inproc_flushed(driver->parts.inproc);
    set_timer(driver, now);
    driver->running = false;
    driver->parts.after(driver->parts.arg); /* may close the driver */
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct chi_driver *driver = prepare->data;
    if (!driver->busy) /* else what is left is for the check behind the poll: one slice for each */
        turn(driver);
    if (!uv_is_closing((uv_handle_t *)prepare))
        keep_idle(driver);
}

static void on_check(uv_check_t *check)
{
    struct chi_driver *driver = check->data;
    turn(driver);
    if (!uv_is_closing((uv_handle_t *)check)) /* whoever asks for the loop's timeout now is told */
        keep_idle(driver);
}

static void hear_wakes(struct chi_driver *driver)
{
    if (atomic_exchange(&driver->turn, false) && driver->work)
        *driver->work = true;
    if (atomic_exchange(&driver->host, false))
        driver->parts.woken(driver->parts.arg);
}

static void on_async(uv_async_t *async)
{
    hear_wakes(async->data);
}

int chi_driver_new(struct uv_loop_s *loop, struct chi_driver **out)
{
    struct chi_driver *driver = calloc(1, sizeof(*driver));
    if (!driver)
        return CHATHUB_ENOMEM;
    driver->due = UINT64_MAX;
    driver->by_hand = !loop;
    if (driver->by_hand) {
        *out = driver;
        return 0;
    }
    if (uv_async_init(loop, &driver->async, on_async)) {
        free(driver);
        return CHATHUB_EIO;
    }
    uv_prepare_init(loop, &driver->prepare);
    uv_check_init(loop, &driver->check);
    uv_idle_init(loop, &driver->idle);
    uv_timer_init(loop, &driver->timer);
    driver->handles = 5;
    driver->async.data = driver->prepare.data = driver->check.data = driver->idle.data =
        driver->timer.data = driver;
    *out = driver;
    return 0;
}

void chi_driver_start(struct chi_driver *driver, const struct chi_driver_parts *parts, bool *work)
{
    driver->parts = *parts;
    driver->work = work;
    *work = true;
    if (driver->by_hand)
        return;
    uv_prepare_start(&driver->prepare, on_prepare);
    uv_check_start(&driver->check, on_check);
}

static void end(struct chi_driver *driver)
{
    if (driver->done)
        driver->done(driver->done_arg);
    free(driver);
}

static void on_closed(uv_handle_t *handle)
{
    struct chi_driver *driver = handle->data;
    if (--driver->handles == 0)
        end(driver);
}

void chi_driver_close(struct chi_driver *driver, void (*done)(void *arg), void *arg)
{
    driver->done = done;
    driver->done_arg = arg;
    if (driver->by_hand) {
        end(driver);
        return;
    }
    if (uv_is_closing((uv_handle_t *)&driver->prepare))
        return;
    atomic_store(&driver->over, true);
    uv_close((uv_handle_t *)&driver->prepare, on_closed);
    uv_close((uv_handle_t *)&driver->check, on_closed);
    uv_close((uv_handle_t *)&driver->idle, on_closed);
    uv_close((uv_handle_t *)&driver->timer, on_closed);
    uv_close((uv_handle_t *)&driver->async, on_closed);
}

void chi_driver_wake(struct chi_driver *driver)
{
    atomic_store(&driver->host, true);
    if (!driver->by_hand && !atomic_load(&driver->over))
        uv_async_send(&driver->async);
}

void chi_driver_want_turn(struct chi_driver *driver)
{
    if (!atomic_exchange(&driver->turn, true) && !driver->by_hand)
        uv_async_send(&driver->async);
}

bool chi_driver_busy(const struct chi_driver *driver)
{
    return driver->busy || *driver->work;
}

bool chi_driver_turn(struct chi_driver *driver)
{
    bool woken = atomic_load(&driver->host);
    hear_wakes(driver);
    if (driver->due <= driver->parts.env.ops->now(driver->parts.env.self))
        *driver->work = true;
    bool wanted = chi_driver_busy(driver);
    turn(driver);
    return wanted || woken;
}

uint64_t chi_driver_due(const struct chi_driver *driver)
{
    bool now = atomic_load(&driver->host) || atomic_load(&driver->turn) || chi_driver_busy(driver);
    return now ? 0 : driver->due;
}
