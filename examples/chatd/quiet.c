#include "quiet.h"

#include <chathub.h>
#include <malloc.h>

/* Between two looks: nothing posted, delivered, opened or closed for so long is quiet. */
#define LOOK_MS 5000

static uint64_t doings(const struct chathub *hub)
{
    struct chathub_stats stats = {.size = sizeof(stats)};
    if (chathub_stats(hub, &stats) < 0)
        return 0;
    return stats.posts + stats.deliveries + stats.writes + (stats.connections << 32);
}

static void on_look(uv_timer_t *timer)
{
    struct quiet *quiet = timer->data;
    uint64_t now = doings(quiet->hub);
    bool still = now == quiet->seen;
    quiet->seen = now;
    if (still && !quiet->done)
        malloc_trim(0);
    quiet->done = still;
}

void quiet_start(struct quiet *quiet, uv_loop_t *loop, struct chathub *hub)
{
    quiet->hub = hub;
    uv_timer_init(loop, &quiet->timer);
    quiet->timer.data = quiet;
    uv_timer_start(&quiet->timer, on_look, LOOK_MS, LOOK_MS);
}

void quiet_stop(struct quiet *quiet)
{
    uv_handle_t *handle = (uv_handle_t *)&quiet->timer;
    if (quiet->hub && !uv_is_closing(handle))
        uv_close(handle, NULL);
}
