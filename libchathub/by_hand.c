/* The boundary for hubs that a test has in its hands (tests/kit): what a loop's handles do for others. */
#include "boundary.h"

bool chi_hand_turn(struct chathub *hub)
{
    if (!hub->driver)
        return false;
    if (hub->state == STATE_STOPPING && hub->stop_due <= chi_world_now(&hub->world))
        hub->work = true;
    return chi_driver_turn(hub->driver);
}

uint64_t chi_hand_due(const struct chathub *hub)
{
    if (!hub->driver)
        return UINT64_MAX;
    uint64_t due = chi_driver_due(hub->driver);
    return hub->state == STATE_STOPPING ? CHI_LESSER(due, hub->stop_due) : due;
}
