/* The boundary for hubs with a thread of their own. */
#include "boundary.h"

struct chi_own *chi_call_begin(const struct chathub *hub)
{
    return hub ? hub->own : NULL;
}

void chi_call_end(struct chi_own **own)
{
    (void)own;
}
