/* What is said to some alone: to those in a room who have a name, and back to who says it. It is in
 * no log: who is not there does not get it. */
#include "core/nodes.h"

struct whisper {
    struct chi_reply reply;
    const struct chi_room *room;
    uint32_t heard, busy;
};

static void whisper(struct chi_hub *hub, struct whisper *w, struct chi_session *session)
{
    struct chi_client *client = session->client;

    if ((!client && !session->remote) || !chi_core_member(hub, session, w->room))
        return;
    if (session->remote) {
        int r = chi_nodes_private(hub, session, &w->reply);
        w->heard += r == 0;
        w->busy += r < 0 && r != CHATHUB_ENOENT;
        return;
    }
    if (client->full) {
        w->busy++;
        return;
    }
    chi_core_reply(hub, client, &w->reply);
    w->heard++;
}

int chi_core_post_privately(struct chi_hub *hub, struct chi_job *job, struct chi_member *member)
{
    struct chi_session *own = member->session;
    struct chi_folded to;
    struct whisper w = {
        .room = member->room,
        .reply = {.type = CHI_REPLY_PRIVATE,
                  .room = chi_name_shown(member->room->name),
                  .name = chi_name_shown(own->name),
                  .user = chi_session_user(own),
                  .message = job->request->content,
                  .number = ++hub->numbered,
                  .time = chi_core_wall(hub)},
    };
    int r = chi_core_fold(hub, CHI_FOLD_NAME, job->request->to, &to);
    struct chi_session *first = r == 0 ? chi_session_by_name(hub, to.key) : NULL;
    if (r == CHATHUB_ENOMEM)
        return r;
    const struct chi_chained same = CHI_SESSIONS(hub, same);
    for (struct chi_session *session = first; session;
         session = chi_chain_next(same, first->slot.number + 1, session)) {
        if (session != own)
            whisper(hub, &w, session);
    }
    if (!w.heard)
        return w.busy ? CHATHUB_EAGAIN
                      : chi_core_problem(hub, CHATHUB_ENOENT,
                                         "nobody else of that name is in the room; what begins "
                                         "with @NAME is for NAME alone");
    chi_core_reply(hub, job->client, &w.reply); /* one is owed to it, however many wait */
    return 0;
}
