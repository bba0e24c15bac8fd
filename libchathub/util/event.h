/* Events as hosts get them. */
#ifndef CHI_UTIL_EVENT_H
#define CHI_UTIL_EVENT_H

#include "chathub.h"

/* One of this type, of which nothing more is said: its texts are "". */
struct chathub_event chi_event_of(uint32_t type);

#endif
