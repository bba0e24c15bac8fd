/* What the person types: text, which is said where one is, and commands. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "chat.h"

#define DRAIN_MS 10000 /* that the last posts may take */

static const char *here(const struct chat *chat)
{
    return chat->here < 0 ? NULL : chat->rooms[chat->here];
}

static void report(struct chat *chat, int error)
{
    if (!error)
        return;
    chat->failed += !chat->interactive;
    chat_complain("%s", chathub_connection_problem(chat->connection));
}

/* Sends a request, which is freed. */
static void ask(struct chat *chat, json_t *request)
{
    char *text = json_dumps(request, JSON_COMPACT);

    if (text)
        report(chat, chathub_connection_request(chat->connection, text, CHATHUB_NUL));
    else
        chat_complain("that is no text");
    free(text);
    json_decref(request);
}

/* A request of this type about a room: the one that is named, or the one where one is. */
static json_t *about(const struct chat *chat, const char *type, const char *room)
{
    json_t *request = json_pack("{s:s}", "type", type);

    room = *room ? room : here(chat);
    if (room)
        json_object_set_new(request, "room", json_string(room));
    return request;
}

static void say(struct chat *chat, const char *text)
{
    const char *room = here(chat);

    /* a pipe's lines may come before the room is joined */
    if (!room)
        room = chat->settings.rooms[0];
    int error = chathub_connection_post(chat->connection, room, text, CHATHUB_NUL, NULL);
    report(chat, error);
    if (!error && chat->interactive && chat->state != CHATHUB_STATE_CONNECTED)
        chat_note("it is sent once you are connected");
}

/* --------------------------------------------------------------------------------------- commands */

static void command_help(struct chat *chat, const char *rest);

static void command_join(struct chat *chat, const char *rest)
{
    int known = chat_room_find(chat, rest);

    if (known >= 0) {
        chat->here = known;
        chat_prompt_changed(chat);
        return;
    }
    report(chat, chathub_connection_join(chat->connection, *rest ? rest : NULL,
                                         CHATHUB_START_DEFAULT, 0, NULL));
}

static void command_leave(struct chat *chat, const char *rest)
{
    int known = *rest ? chat_room_find(chat, rest) : chat->here;

    if (known < 0)
        chat_complain("you are not in that room; /rooms says where you are");
    else
        report(chat, chathub_connection_leave(chat->connection, chat->rooms[known]));
}

static void command_next(struct chat *chat, const char *rest)
{
    (void)rest;
    if (chat->room_count > 0)
        chat->here = (chat->here + 1) % chat->room_count;
    chat_prompt_changed(chat);
}

static void command_rooms(struct chat *chat, const char *rest)
{
    (void)rest;
    if (chat->room_count == 0)
        chat_note("you are in no room; /join ROOM enters one");
    for (int i = 0; i < chat->room_count; i++)
        chat_note("%s%s", chat->rooms[i], i == chat->here ? " (you talk here)" : "");
}

static void command_nick(struct chat *chat, const char *rest)
{
    report(chat, chathub_connection_rename(chat->connection, rest));
}

static void command_who(struct chat *chat, const char *rest)
{
    ask(chat, about(chat, "who", rest));
}

static void command_history(struct chat *chat, const char *rest)
{
    json_t *request = about(chat, "history", "");
    int count = *rest ? (int)strtol(rest, NULL, 10) : 20;

    json_object_set_new(request, "limit", json_integer(count > 0 ? count : 20));
    ask(chat, request);
}

static void command_me(struct chat *chat, const char *rest)
{
    json_t *request = about(chat, "post", "");

    json_object_set_new(request, "content", json_string(rest));
    json_object_set_new(request, "data", json_pack("{s:b}", "me", 1));
    ask(chat, request);
}

static void command_status(struct chat *chat, const char *rest)
{
    ask(chat, json_pack("{s:s, s:s}", "type", "status", "status", rest));
}

static void command_reconnect(struct chat *chat, const char *rest)
{
    (void)rest;
    report(chat, chathub_connection_retry(chat->connection));
}

static void command_quit(struct chat *chat, const char *rest)
{
    (void)rest;
    chat_end_of_input(chat);
}

static const struct {
    const char *name;
    const char *help;
    bool needs; /* something behind it */
    void (*run)(struct chat *chat, const char *rest);
} COMMANDS[] = {
    {"join", "/join ROOM       enters a room, or talks on in one", true, command_join},
    {"leave", "/leave [ROOM]    leaves a room", false, command_leave},
    {"next", "/next            talks on in the next room", false, command_next},
    {"rooms", "/rooms           the rooms that you are in", false, command_rooms},
    {"who", "/who [ROOM]      who is there", false, command_who},
    {"nick", "/nick NAME       takes another name", true, command_nick},
    {"me", "/me TEXT         says what you do", true, command_me},
    {"status", "/status [TEXT]   shows a text with your name", false, command_status},
    {"history", "/history [COUNT] what was said last", false, command_history},
    {"reconnect", "/reconnect       tries at once, while it waits", false, command_reconnect},
    {"help", "/help            this", false, command_help},
    {"quit", "/quit            the end; so does Ctrl-D", false, command_quit},
};
#define COMMAND_COUNT (sizeof(COMMANDS) / sizeof(COMMANDS[0]))

static void command_help(struct chat *chat, const char *rest)
{
    (void)chat;
    (void)rest;
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        chat_note("%s", COMMANDS[i].help);
    chat_note("//TEXT           says a text that begins with a slash");
}

static void run(struct chat *chat, const char *line)
{
    size_t len = strcspn(line, " ");
    const char *rest = line + len + strspn(line + len, " ");

    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strlen(COMMANDS[i].name) != len || strncmp(COMMANDS[i].name, line, len) != 0)
            continue;
        if (COMMANDS[i].needs && !*rest)
            chat_complain("it is used so: %s", COMMANDS[i].help);
        else
            COMMANDS[i].run(chat, rest);
        return;
    }
    chat_complain("there is no command /%.*s; type /help, or // to say a text that begins with a "
                  "slash",
                  (int)len, line);
}

void chat_line(struct chat *chat, const char *line)
{
    if (!*line)
        return;
    if (!chat->interactive || line[0] != '/')
        say(chat, line);
    else if (line[1] == '/')
        say(chat, line + 1);
    else
        run(chat, line + 1);
}

void chat_end_of_input(struct chat *chat)
{
    uint32_t left = chathub_connection_unanswered(chat->connection);

    if (chat->ending) { /* twice: at once */
        chathub_connection_close(chat->connection, 0);
        return;
    }
    chat->ending = true;
    if (chat->interactive && left)
        chat_note("waiting for %u posts to be taken; once more ends it at once", left);
    chathub_connection_close(chat->connection, DRAIN_MS);
}
