/* What the hub says to one client, and what it writes into the log of the process. */
#include "core/internal.h"

#include <stdarg.h>
#include <stdio.h>

void chi_core_reply(struct chi_hub *hub, struct chi_client *client, const struct chi_reply *reply)
{
    if (client->fail) /* it is about to be closed: what follows a lost reply would mislead it */
        return;
    int r = CHI_DELIVERY(hub, reply, client->slot.number, reply);
    if (r > 0)
        client->full = true;
    if (r >= 0)
        return;
    client->fail = (int8_t)r;
    chi_core_todo(hub, client);
}

int chi_core_problem(struct chi_hub *hub, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(hub->problem, sizeof hub->problem, format, args);
    va_end(args);
    return code;
}

int chi_core_unreadable(struct chi_hub *hub)
{
    return chi_core_problem(hub, CHATHUB_ELOG, "the log cannot be read now; try again later");
}

void chi_core_error(struct chi_hub *hub, struct chi_client *client, struct chi_reply *error)
{
    error->type = CHI_REPLY_ERROR;
    error->time = chi_core_wall(hub);
    error->number = ++hub->numbered;
    error->message = chi_span_of(hub->problem[0] ? hub->problem : chathub_strerror(error->code));
    chi_core_reply(hub, client, error);
    hub->problem[0] = '\0';
    hub->counts.refused++;
    chi_core_log(hub, CHATHUB_INFO, "refused", client,
                 (struct chi_field){"code", chi_span_of(chathub_errname(error->code))},
                 (struct chi_field){error->room.len ? "room" : NULL, error->room});
}

void chi_core_welcome(struct chi_hub *hub, struct chi_client *client, struct chi_span ref,
                      struct chi_span key, bool renamed)
{
    const struct chi_session *session = client->session;
    struct chi_log *log = hub->parts.log;
    struct chi_reply welcome = {
        .type = CHI_REPLY_WELCOME,
        .ref = ref,
        .epoch = log->epoch(log),
        .session = key,
        .renamed = renamed,
        .time = chi_core_wall(hub),
        .horizon = log->horizon(log),
        .max_content = hub->parts.settings->max_content,
        .max_message = hub->parts.settings->max_message,
        .server = chi_span_of(hub->parts.settings->name),
        .default_room = chi_name_shown(chi_core_home(hub, client)->room),
    };
    if (session) {
        welcome.name = chi_name_shown(session->name);
        welcome.user = chi_session_user(session);
    }
    client->welcome = false;
    chi_core_reply(hub, client, &welcome);
}

void chi_core_log(struct chi_hub *hub, int level, const char *event,
                  const struct chi_client *client, struct chi_field one, struct chi_field two)
{
    struct chi_field fields[5];
    size_t n = 0;
    char id[24];

    if (!chi_env_logs(&hub->parts.env, level))
        return;
    snprintf(id, sizeof id, "%llu", (unsigned long long)chi_core_client_id(client));
    fields[n++] = (struct chi_field){"client", chi_span_of(id)};
    if (client->session) {
        fields[n++] = (struct chi_field){"user", chi_session_user(client->session)};
        fields[n++] = (struct chi_field){"name", chi_name_shown(client->session->name)};
    }
    if (one.key)
        fields[n++] = one;
    if (two.key)
        fields[n++] = two;
    hub->parts.env.ops->log(hub->parts.env.self, level, event, fields, n);
}
