/* A host for tests of the public face: hubs, in-process clients that note what they hear, and plain
 * sockets. */
#ifndef FACE_WORLD_H
#define FACE_WORLD_H

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "chathub.h"

#define EVENTS 256

/* What one in-process client was told. */
struct heard {
    uint32_t types[EVENTS];
    int32_t codes[EVENTS];
    uint64_t positions[EVENTS];
    char texts[EVENTS][64]; /* content or message */
    uint32_t count;
    char json[32768]; /* of the last history */
};

/* As ck_assert, for what is looked at thousands of times: check notes each of its own. */
#define must(holds)                                                                                \
    do {                                                                                           \
        if (!(holds))                                                                              \
            ck_abort_msg("%s", #holds);                                                            \
    } while (0)

static bool inside_call; /* the host is in a call into the hub: nothing may call back */
static int answer_of_call;
#define CALL(expression)                                                                           \
    (inside_call = true, answer_of_call = (expression), inside_call = false, answer_of_call)

static void on_event(struct chathub *hub, const struct chathub_event *event, void *arg)
{
    struct heard *heard = arg;
    (void)hub;
    must(!inside_call);
    must(heard->count < EVENTS);
    heard->types[heard->count] = event->type;
    heard->codes[heard->count] = event->code;
    heard->positions[heard->count] = event->position;
    const char *text = event->content[0] ? event->content : event->message;
    snprintf(heard->texts[heard->count++], sizeof(heard->texts[0]), "%s", text);
    if (event->type == CHATHUB_EVENT_HISTORY)
        snprintf(heard->json, sizeof(heard->json), "%s", event->json);
}

static inline bool has(const struct heard *heard, uint32_t type, const char *text)
{
    for (uint32_t i = 0; i < heard->count; i++)
        if (heard->types[i] == type && (!text || strcmp(heard->texts[i], text) == 0))
            return true;
    return false;
}

static inline struct chathub *hub_new(void)
{
    struct chathub *hub = NULL;
    ck_assert_int_eq(chathub_new(&hub), 0);
    /* What an end waits for has to come by itself. */
    ck_assert_int_eq(chathub_set(hub, "stop-time", "10m"), 0);
    ck_assert_int_eq(chathub_set(hub, "close-time", "10m"), 0);
    return hub;
}

static inline struct chathub *hub_started(void)
{
    struct chathub *hub = hub_new();
    ck_assert_int_eq(CALL(chathub_start(hub, NULL)), 0);
    return hub;
}

static inline void until(struct chathub *hub, const struct heard *heard, uint32_t type,
                         const char *text)
{
    while (!has(heard, type, text))
        ck_assert_int_eq(chathub_step(hub, -1), 1);
}

static inline uint64_t client(struct chathub *hub, const char *name, struct heard *heard)
{
    uint64_t id = 0;
    ck_assert_int_eq(CALL(chathub_client(hub, name, on_event, heard, &id)), 0);
    return id;
}

static inline void stopped(void *arg)
{
    *(bool *)arg = true;
}

/* Stops in good order, and frees. */
static inline void hub_end(struct chathub *hub)
{
    bool done = false;
    ck_assert_int_eq(CALL(chathub_stop(hub, stopped, &done)), 0);
    while (!done)
        chathub_step(hub, 10);
    chathub_free(hub);
}

#endif
