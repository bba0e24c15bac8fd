/* chat: a terminal client for people. main.c: settings and the end; talk.c: what the hub says;
 * commands.c: what the person says; screen.c: lines out; input.c: lines in, and the one that is being
 * typed. */
#ifndef CHAT_H
#define CHAT_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include <chathub_client.h>

#define CHAT_ROOMS 64  /* as many as a connection may be in */
#define CHAT_POSTS 256 /* unanswered, beyond which no input is read */

struct chat_settings {
    const char *url;
    const char *name;              /* NULL: a guest's */
    const char *session;           /* NULL: a new one */
    const char *rooms[CHAT_ROOMS]; /* to join; NULL: the default room */
    int room_count;
    int last;   /* entries of each room to begin with; negative: as the hub has it */
    bool plain; /* no colours */
};

struct chat {
    struct chat_settings settings;
    uv_loop_t *loop;
    struct chathub_connection *connection;
    char name[260];              /* as the hub wrote it; "" before the first welcome */
    char rooms[CHAT_ROOMS][520]; /* joined, as the hub wrote them */
    int room_count;
    int here;         /* the room that is talked in, an index; -1: none yet */
    int state;        /* enum chathub_state */
    bool was_welcome; /* once at least */
    bool interactive; /* a person types; else lines come from a pipe or file */
    bool ending;      /* no more input */
    int failed;       /* posts that were refused for good */
};

/* ---- screen.c: where text of others goes, it may hold anything: it is shown, and controls nothing */

enum chat_style { CHAT_PLAIN, CHAT_DIM, CHAT_BOLD, CHAT_ERROR, CHAT_NAME };

/* Whether there are colours. */
void chat_screen_open(const struct chat *chat);
/* A line in parts: begin, puts, end. `seed` chooses a name's colour. */
void chat_begin(void);
void chat_put(enum chat_style style, const char *text);
void chat_put_name(const char *name, const char *seed);
void chat_end(void);
/* A line of the program's own: "* …", or of an error: "! …". */
__attribute__((format(printf, 1, 2))) void chat_note(const char *format, ...);
__attribute__((format(printf, 1, 2))) void chat_complain(const char *format, ...);
/* ---- input.c */

/* Takes the terminal, or the pipe. 0 or -1 (said on stderr). */
int chat_input_open(struct chat *chat);
/* Gives it back. */
void chat_input_close(struct chat *chat);
/* Before a line is shown: takes the one that is being typed away. It comes back before the loop
 * waits. */
void chat_input_hide(void);
/* The prompt shows where one talks, and whether it is heard. */
void chat_prompt_changed(struct chat *chat);
/* A post was answered: input that waited for room in the outbox goes on. */
void chat_input_resume(struct chat *chat);

/* ---- talk.c */

void chat_on_event(struct chathub *hub, const struct chathub_event *event, void *arg);
void chat_on_state(struct chathub_connection *connection, const struct chathub_state_change *change,
                   void *arg);
/* Index of a room that is joined, in any case of its letters; -1: none. */
int chat_room_find(const struct chat *chat, const char *name);

/* ---- commands.c */

/* A line that was typed or came by the pipe, without its newline. */
void chat_line(struct chat *chat, const char *line);
/* There is no more input: ends once all is answered. */
void chat_end_of_input(struct chat *chat);

#endif
