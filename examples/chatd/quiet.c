#include "quiet.h"

#include <malloc.h>

/* Between two looks: nothing posted, delivered, opened or closed for so long is quiet. */
#define LOOK_MS 5000

static void on_look(uv_timer_t *timer)
{
    struct quiet *quiet = timer->data;
    uint64_t now = quiet->doings(quiet->arg);
    bool still = now == quiet->seen;
    quiet->seen = now;
    if (still && !quiet->done)
        malloc_trim(0);
    quiet->done = still;
}

void quiet_start(struct quiet *quiet, uv_loop_t *loop, uint64_t (*doings)(void *arg), void *arg)
{
    quiet->doings = doings;
    quiet->arg = arg;
    uv_timer_init(loop, &quiet->timer);
    quiet->timer.data = quiet;
    uv_timer_start(&quiet->timer, on_look, LOOK_MS, LOOK_MS);
}

void quiet_stop(struct quiet *quiet)
{
    uv_handle_t *handle = (uv_handle_t *)&quiet->timer;
    if (quiet->doings && !uv_is_closing(handle))
        uv_close(handle, NULL);
}
