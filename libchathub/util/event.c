#include "util/event.h"

struct chathub_event chi_event_of(uint32_t type)
{
    return (struct chathub_event){
        .size = sizeof(struct chathub_event),
        .type = type,
        .room = "",
        .sender = "",
        .sender_id = "",
        .content = "",
        .cid = "",
        .data = "",
        .session = "",
        .message = "",
        .ref = "",
        .json = "",
    };
}
