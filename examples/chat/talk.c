/* What the hub says, as lines on the screen. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "chat.h"

#define PEOPLE_MAX 60 /* names in one line */

int chat_room_find(const struct chat *chat, const char *name)
{
    for (int i = 0; i < chat->room_count; i++)
        if (strcasecmp(chat->rooms[i], name) == 0)
            return i;
    return -1;
}

/* The minute in which it was said, and of other days the day. */
static void put_time(uint64_t ms)
{
    time_t said = (time_t)(ms / 1000), now = time(NULL);
    struct tm then, today;
    char text[40];

    if (!localtime_r(&said, &then) || !localtime_r(&now, &today))
        return;
    bool same = then.tm_yday == today.tm_yday && then.tm_year == today.tm_year;
    strftime(text, sizeof(text), same ? "%H:%M " : "%Y-%m-%d %H:%M ", &then);
    chat_put(CHAT_DIM, text);
}

static void put_room(const struct chat *chat, const char *room)
{
    if (chat->interactive && chat->room_count < 2)
        return;
    chat_put(CHAT_DIM, "[");
    chat_put(CHAT_DIM, room);
    chat_put(CHAT_DIM, "] ");
}

static bool is_action(const struct chathub_event *event)
{
    json_error_t wrong;
    json_t *data = event->data[0]
                       ? json_loads(event->data, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &wrong)
                       : NULL;
    bool action = json_is_true(json_object_get(data, "me"));

    json_decref(data);
    return action;
}

static void show_message(const struct chat *chat, const struct chathub_event *event)
{
    bool action = is_action(event), said_to_me = event->type == CHATHUB_EVENT_PRIVATE;

    chat_begin();
    if (chat->interactive)
        put_time(event->time);
    put_room(chat, event->room);
    if (action)
        chat_put(CHAT_PLAIN, "* ");
    chat_put_name(event->sender[0] ? event->sender : "(erased)", event->sender_id);
    chat_put(CHAT_DIM, said_to_me ? " to you alone: " : action ? " " : ": ");
    chat_put(CHAT_PLAIN, event->content[0] || !event->data[0] ? event->content : event->data);
    chat_end();
}

/* --------------------------------------------------------------------------------------- presence */

/* " ann, bob and 3 others" of a list of people. */
static void put_people(const json_t *list)
{
    size_t count = json_array_size(list), shown = count < PEOPLE_MAX ? count : PEOPLE_MAX;
    char text[40];

    for (size_t i = 0; i < shown; i++) {
        const json_t *who = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(who, "sender"));
        const char *id = json_string_value(json_object_get(who, "sender_id"));
        const char *status = json_string_value(json_object_get(who, "status"));
        chat_put(CHAT_DIM, i ? ", " : " ");
        chat_put_name(name ? name : "?", id ? id : "");
        if (status && *status) {
            chat_put(CHAT_DIM, " (");
            chat_put(CHAT_DIM, status);
            chat_put(CHAT_DIM, ")");
        }
    }
    snprintf(text, sizeof(text), " and %zu more", count - shown);
    if (count > shown)
        chat_put(CHAT_DIM, text);
}

static void show_people(const struct chat *chat, const char *room, const json_t *list,
                        const char *verb)
{
    if (json_array_size(list) == 0)
        return;
    chat_begin();
    chat_put(CHAT_DIM, "*");
    put_people(list);
    chat_put(CHAT_DIM, verb);
    if (chat->room_count > 1)
        chat_put(CHAT_DIM, room);
    chat_end();
}

static void show_renamed(const struct chat *chat, const json_t *list)
{
    size_t index;
    const json_t *who;

    json_array_foreach(list, index, who)
    {
        const char *name = json_string_value(json_object_get(who, "sender"));
        const char *was = json_string_value(json_object_get(who, "was"));
        if (name && was && strcmp(name, chat->name) != 0)
            chat_note("%s is now %s", was, name);
    }
}

static json_t *parse(const struct chathub_event *event)
{
    json_error_t wrong;
    return json_loadb(event->json, event->json_len, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL,
                      &wrong);
}

static void show_presence(const struct chat *chat, const struct chathub_event *event)
{
    json_t *frame = parse(event);
    bool more = chat->room_count > 1;

    show_people(chat, event->room, json_object_get(frame, "joined"), more ? " joined " : " joined");
    show_people(chat, event->room, json_object_get(frame, "left"), more ? " left " : " left");
    show_renamed(chat, json_object_get(frame, "renamed"));
    json_decref(frame);
}

static void show_who(const struct chathub_event *event)
{
    json_t *frame = parse(event);
    char text[60];

    chat_begin();
    chat_put(CHAT_DIM, "* ");
    chat_put(CHAT_BOLD, event->room);
    snprintf(text, sizeof(text), ", %llu here:", (unsigned long long)event->count);
    chat_put(CHAT_DIM, text);
    put_people(json_object_get(frame, "members"));
    if (json_is_true(json_object_get(frame, "more")))
        chat_put(CHAT_DIM, " …");
    chat_end();
    json_decref(frame);
}

static void show_history(const struct chathub_event *event)
{
    json_t *frame = parse(event), *entries = json_object_get(frame, "entries");
    size_t index;
    const json_t *entry;

    chat_note("what was said in %s before%s", event->room,
              json_array_size(entries) ? ":" : ": nothing");
    json_array_foreach(entries, index, entry)
    {
        const char *sender = json_string_value(json_object_get(entry, "sender"));
        const char *id = json_string_value(json_object_get(entry, "sender_id"));
        const char *content = json_string_value(json_object_get(entry, "content"));
        const char *time = json_string_value(json_object_get(entry, "timestamp"));
        chat_begin();
        chat_put(CHAT_DIM, time ? time : "");
        chat_put(CHAT_DIM, " ");
        chat_put_name(sender ? sender : "", id ? id : "");
        chat_put(CHAT_DIM, ": ");
        chat_put(CHAT_PLAIN, content ? content : "");
        chat_end();
    }
    json_decref(frame);
}

/* ------------------------------------------------------------------------------------------ rooms */

static void on_joined(struct chat *chat, const struct chathub_event *event)
{
    int known = chat_room_find(chat, event->room);

    if (known < 0 && chat->room_count < CHAT_ROOMS) {
        known = chat->room_count++;
        snprintf(chat->rooms[known], sizeof(chat->rooms[known]), "%s", event->room);
        if (chat->here < 0 || chat->room_count > chat->settings.room_count)
            chat->here = known;
        if (chat->interactive)
            show_who(event);
    }
    chat_prompt_changed(chat);
}

static void on_left(struct chat *chat, const struct chathub_event *event)
{
    int gone = chat_room_find(chat, event->room);

    chat_note("you left %s%s%s", event->room, *event->message ? ": " : "", event->message);
    if (gone < 0)
        return;
    chat->room_count--;
    memmove(chat->rooms[gone], chat->rooms[gone + 1],
            (size_t)(chat->room_count - gone) * sizeof(chat->rooms[0]));
    if (chat->here >= gone && chat->here > 0)
        chat->here--;
    if (chat->room_count == 0)
        chat->here = -1;
    chat_prompt_changed(chat);
}

/* ----------------------------------------------------------------------------------------- events */

static void on_welcome(struct chat *chat, const struct chathub_event *event)
{
    bool other = strcmp(chat->name, event->sender) != 0;

    snprintf(chat->name, sizeof(chat->name), "%s", event->sender);
    if (other && chat->interactive)
        chat_note("you are %s", chat->name);
    chat_prompt_changed(chat);
}

static void on_error(struct chat *chat, const struct chathub_event *event)
{
    chat->failed += event->cid[0] != '\0' || !chat->interactive;
    chat_input_resume(chat);
    if (event->cid[0])
        chat_complain("not said: %s", event->message);
    else if (event->room[0])
        chat_complain("%s: %s", event->room, event->message);
    else if (chat->state != CHATHUB_STATE_REFUSED) /* that was said as it was told */
        chat_complain("%s", event->message);
}

void chat_on_event(struct chathub *hub, const struct chathub_event *event, void *arg)
{
    struct chat *chat = arg;

    (void)hub;
    switch (event->type) {
    case CHATHUB_EVENT_WELCOME:
        on_welcome(chat, event);
        break;
    case CHATHUB_EVENT_MESSAGE:
    case CHATHUB_EVENT_PRIVATE:
        show_message(chat, event);
        break;
    case CHATHUB_EVENT_ERROR:
        on_error(chat, event);
        break;
    case CHATHUB_EVENT_ACK:
        chat_input_resume(chat);
        break;
    case CHATHUB_EVENT_JOINED:
        on_joined(chat, event);
        break;
    case CHATHUB_EVENT_LEFT:
        on_left(chat, event);
        break;
    case CHATHUB_EVENT_PRESENCE:
        if (chat->interactive)
            show_presence(chat, event);
        break;
    case CHATHUB_EVENT_GAP:
        chat_note("something that was said in %s is not kept any more", event->room);
        break;
    case CHATHUB_EVENT_HISTORY:
        show_history(event);
        break;
    case CHATHUB_EVENT_WHO:
        show_who(event);
        break;
    default:
        break;
    }
}

/* ----------------------------------------------------------------------------------------- states */

static void on_waiting(struct chat *chat, const struct chathub_state_change *change)
{
    if (!chat->interactive && !chat->was_welcome) { /* a script wants to know it */
        chat_complain("%s", change->message);
        chat->failed++;
        chathub_connection_close(chat->connection, 0);
    } else if (change->attempts == 1 || chat->interactive) {
        chat_complain("%s; trying again in %.1f s", change->message,
                      (double)change->wait_ms / 1000);
    }
}

static void on_refused(struct chat *chat, const struct chathub_state_change *change)
{
    chat_complain("%s", change->message);
    if (chat->interactive) {
        chat_note("choose another name: /nick NAME");
        return;
    }
    chat->failed++;
    chathub_connection_close(chat->connection, 0);
}

void chat_on_state(struct chathub_connection *connection, const struct chathub_state_change *change,
                   void *arg)
{
    struct chat *chat = arg;
    int before = chat->state;

    (void)connection;
    chat->state = change->state;
    if (change->state == CHATHUB_STATE_WAITING)
        on_waiting(chat, change);
    if (change->state == CHATHUB_STATE_REFUSED)
        on_refused(chat, change);
    if (change->state == CHATHUB_STATE_CONNECTED) {
        if (chat->was_welcome && before != CHATHUB_STATE_REFUSED && chat->interactive)
            chat_note("connected again");
        chat->was_welcome = true;
    }
    if (change->state == CHATHUB_STATE_ENDED) {
        if (change->code) {
            chat_complain("%s", change->message);
            chat->failed++;
        }
        chat_input_close(chat);
        return;
    }
    chat_prompt_changed(chat);
}
