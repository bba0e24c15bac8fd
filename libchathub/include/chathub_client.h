/* chathub_client.h: a client for hubs elsewhere, which loses nothing.
 *
 * A connection is one participant of a hub that runs in another process, over WebSocket or TCP
 * lines. It keeps itself connected: after a loss it comes back as the same participant, goes on in
 * its rooms after the last entry that was received, and sends again what was not acked.
 *
 *     struct chathub_connection_options options = {sizeof(options)};
 *     options.url = "ws://localhost:8080/ws";
 *     options.name = "ann";
 *     options.on_event = on_event;
 *     if (chathub_connect(loop, &options, &connection) == 0) {
 *         chathub_connection_join(connection, "tea", CHATHUB_START_DEFAULT, 0, NULL);
 *         chathub_connection_post(connection, "tea", "hi", CHATHUB_NUL, NULL);
 *     }
 *
 * LIFE CYCLE
 *     connect → join, post, request … → close → (ENDED) → free. Nobody need wait for anything: what
 *     is asked for before the connection stands, or while it is lost, is done once it stands (but
 *     see chathub_connection_request). States are told as they change:
 *
 *         CONNECTING ⇄ WAITING        looking for the hub; waiting before the next attempt
 *         CONNECTING → CONNECTED      the hub has said welcome
 *         CONNECTING → REFUSED        it did not take the hello (a taken name, for instance);
 *                                     chathub_connection_rename leads on
 *         any        → ENDED          for good; chathub_connection_free is all that is left to do
 *
 * WHAT IS PROMISED
 *     Each post that was taken is answered by exactly one event, CHATHUB_EVENT_ACK or
 *     CHATHUB_EVENT_ERROR with its cid, however often the connection is lost meanwhile, unless the
 *     connection is freed before. An acked post is in the room's log, once. Posts are sent in the
 *     order in which they were made; where the hub's log cannot take one, all that were not sent
 *     before wait for it.
 *     The entries of a room are told in order, none twice, from where it was joined. What is missing
 *     between two (since the hub does not keep it any more, or is another one now) is told by
 *     CHATHUB_EVENT_GAP before anything newer. What is no entry (presence, typing, status, private
 *     messages) may get lost with a connection; a new CHATHUB_EVENT_JOINED tells who is there.
 *     Whatever the other side sends, memory stays bounded, and nothing but JSON objects of at most
 *     `max_frame` bytes in valid UTF-8 is ever told.
 *
 * LOOP AND THREADS
 *     All happens on the libuv loop that the host hands over and runs, and every function is called
 *     on that loop's thread. It uses libuv's threads to look names up, and no others. After fork() a
 *     child must not touch its parent's connections.
 *
 * CALLBACKS
 *     None is called from inside a call of the host's: they come from the loop. Inside a callback
 *     every function may be called, chathub_connection_free, too: nothing is called back after it.
 *     What a callback is handed is valid until it returns, or until it frees the connection.
 *
 * OWNERSHIP
 *     The host owns the connection, and frees it before it closes the loop. All that is passed in is
 *     copied.
 *
 * ERRORS
 *     As in chathub.h: 0, or a negative error of enum chathub_error, of which
 *     chathub_connection_problem says more. A call that returned an error changed nothing and calls
 *     nothing back.
 *
 * There is no TLS in this client yet: wss:// is refused. Words are those of chathub.h; the wire
 * protocol is described in docs/protocol.md; docs/client.md shows how it goes together. */
#ifndef CHATHUB_CLIENT_H
#define CHATHUB_CLIENT_H

#include "chathub.h"

#ifdef __cplusplus
extern "C" {
#endif

struct chathub_connection;

/* --------------------------------------------------------------------------------------- states */

/* What a connection is doing. */
enum chathub_state {
    CHATHUB_STATE_CONNECTING = 1, /* an attempt begins */
    CHATHUB_STATE_CONNECTED = 2,  /* welcomed; CHATHUB_EVENT_WELCOME follows */
    CHATHUB_STATE_WAITING = 3,    /* why in code and message, until the next attempt in wait_ms */
    CHATHUB_STATE_REFUSED = 4,    /* the hub did not take the hello: code, message */
    CHATHUB_STATE_ENDED = 5       /* why in code (0: it was closed by the host) and message */
};

/* What it does from now on, and why. */
struct chathub_state_change {
    uint32_t size;       /* of this struct, set by the library */
    int32_t state;       /* enum chathub_state */
    int32_t code;        /* enum chathub_error */
    uint32_t attempts;   /* that failed since it was last connected */
    uint64_t wait_ms;    /* WAITING: until the next attempt */
    const char *message; /* one line for a person; "" where there is nothing to say. It may quote
                            what the other side sent, with nothing that controls a terminal */
};
/* The state has changed. Both pointers hold until this returns. */
typedef void (*chathub_state_cb)(struct chathub_connection *connection,
                                 const struct chathub_state_change *change, void *arg);

/* ----------------------------------------------------------------------------------- life cycle */

/* Set `size` and what is to differ from 0. Later versions add fields at the end. */
struct chathub_connection_options {
    uint32_t size; /* of this struct, set by the caller */
    /* A wait between attempts is random, between 0 and this in ms (0: 1000), twice as much after
     * each further failure, up to retry_max_ms (0: 30000). */
    uint32_t retry_ms;
    uint32_t retry_max_ms; /* see above */
    /* After so much silence in ms (0: 20000) the hub is asked whether it is there; it counts as
     * lost if nothing comes for timeout_ms after that. */
    uint32_t heartbeat_ms;
    uint32_t timeout_ms;   /* for each step of connecting, and as above; 0: 10000 */
    uint32_t outbox_posts; /* that may wait for their acks; 0: 1024 */
    uint32_t outbox_bytes; /* of them on the wire; 0: 4 MiB */
    uint32_t max_frame;    /* bytes that one frame of the hub may have; 0: 1 MiB */
    /* Where the hub is: ws://HOST:PORT/PATH (:80 and /ws if not said) or tcp://HOST:PORT. HOST is a
     * name, an address, or an [IPv6] address; its addresses are tried one after the other. */
    const char *url;
    const char *name; /* NULL: the hub makes a guest's name */
    /* The key that says who this is, 22 to 64 characters of A-Z a-z 0-9 - _: keep it like a password
     * to be the same participant in another process. NULL: a new one (CHATHUB_EVENT_WELCOME tells
     * it). */
    const char *session;
    /* The events of enum chathub_event_type, as in-process clients get them: its `hub` is NULL, and
     * so is `client` in the event. Where the hub is older or newer than this library, events have
     * what it sent. */
    chathub_event_cb on_event;
    chathub_state_cb on_state; /* may be NULL */
    void *arg;                 /* for both */
    /* If chathub_connect answers an error, one line for a person about what was wrong is written
     * here, with its NUL, cut to problem_size. May be NULL. */
    char *problem;
    size_t problem_size; /* bytes of problem */
};

/* Makes a connection, which begins to connect when the loop runs. *connection is set only on
 * success. CHATHUB_EINVAL (no loop, url or on_event; numbers beyond their bounds), CHATHUB_EADDRESS
 * (the URL), CHATHUB_EFEATURE (wss), CHATHUB_ESESSION, CHATHUB_ETEXT (a name that is not UTF-8),
 * CHATHUB_EIO, CHATHUB_ENOMEM. */
CHATHUB_API int chathub_connect(struct uv_loop_s *loop,
                                const struct chathub_connection_options *options,
                                struct chathub_connection **connection);

/* Ends in good order: takes no more posts, waits up to `timeout_ms` until those that were made are
 * answered (0: not at all), says goodbye, by which the session ends at once instead of lingering
 * (over tcp:// its rooms are left at once, and its name is free when it has lingered), and tells the
 * state ENDED. What is not answered by then is told by errors: CHATHUB_EUNKNOWN if it
 * may have been committed, CHATHUB_EGONE if not. A second call with a shorter time makes it end
 * sooner. CHATHUB_EGONE: it has ended. */
CHATHUB_API int chathub_connection_close(struct chathub_connection *connection, int timeout_ms);

/* Ends whatever still goes on, without a word to the hub, and frees the connection: at any time, in
 * its callbacks, too. Its handles are gone from the loop once that has run their closing callbacks:
 * run it once more before uv_loop_close. NULL is allowed. */
CHATHUB_API void chathub_connection_free(struct chathub_connection *connection);

/* Does not wait any longer in state WAITING, but tries at once: for hosts that learn that the
 * network is back. Harmless in other states. CHATHUB_EGONE. */
CHATHUB_API int chathub_connection_retry(struct chathub_connection *connection);

/* What was wrong with the last call on this connection that answered an error: one line for a
 * person. "" if there was none. Valid until the next call. */
CHATHUB_API const char *chathub_connection_problem(const struct chathub_connection *connection);

/* ---------------------------------------------------------------------------------------- rooms */

/* Enters a room, and keeps it over reconnects until it is left. `room` NULL: the hub's default
 * room. `start` is one of enum chathub_start_at, with the position or count in `from`;
 * CHATHUB_START_AFTER also needs the `epoch` under which that position was read (see
 * chathub_connection_place), which is NULL otherwise. Answered by CHATHUB_EVENT_JOINED, again
 * after each reconnect, or CHATHUB_EVENT_ERROR with the room. If a room cannot be entered again
 * after a reconnect, CHATHUB_EVENT_LEFT follows its error. CHATHUB_EROOMS: 64 rooms, or as many
 * joins that wait; CHATHUB_EROOMNAME, CHATHUB_EPOSITION, CHATHUB_EINVAL, CHATHUB_EGONE,
 * CHATHUB_ENOMEM. */
CHATHUB_API int chathub_connection_join(struct chathub_connection *connection, const char *room,
                                        int start, uint64_t from, const char *epoch);

/* Leaves a room, once the posts that were made before are answered: CHATHUB_EVENT_LEFT. Names of
 * rooms are compared as the hub wrote them (in the room of an event). CHATHUB_ENOTMEMBER,
 * CHATHUB_EGONE. */
CHATHUB_API int chathub_connection_leave(struct chathub_connection *connection, const char *room);

/* Where to go on in a room in another process: the position of the last entry that was told, and
 * its epoch, with its NUL, cut to `size` (65 bytes always do). Store both with what you keep of the
 * room, before the callback returns that told the entry. CHATHUB_ENOTMEMBER, CHATHUB_EINVAL. */
CHATHUB_API int chathub_connection_place(const struct chathub_connection *connection,
                                         const char *room, uint64_t *position, char *epoch,
                                         size_t size);

/* ------------------------------------------------------------------------------ posts, requests */

/* Takes a post into the outbox. `room` NULL: the default room, which needs no join. `cid` names the
 * post: 1 to 64 printable ASCII characters, new for each; NULL: a random one is made. Hosts that
 * keep their posts on disk choose it themselves, and post again with the same one in another
 * process (of the same session). CHATHUB_EAGAIN: the outbox is full; try again when some are
 * answered. CHATHUB_ECIDREUSED: a post with this cid is in the outbox; CHATHUB_ETEXT,
 * CHATHUB_EEMPTY, CHATHUB_ECID, CHATHUB_ETOOLONG, CHATHUB_EROOMNAME, CHATHUB_EGONE,
 * CHATHUB_ENOMEM. */
CHATHUB_API int chathub_connection_post(struct chathub_connection *connection, const char *room,
                                        const char *content, size_t len, const char *cid);

/* The cid of the latest post that was taken, "" before the first. Valid until the next call. */
CHATHUB_API const char *chathub_connection_cid(const struct chathub_connection *connection);

/* How many posts are not answered yet. */
CHATHUB_API uint32_t chathub_connection_unanswered(const struct chathub_connection *connection);

/* Any request of the native protocol as its JSON text, at most 64 KiB. A post (that has `data`, for
 * instance) is taken into the outbox, with a cid of its own if it has none. `hello`, `join` and
 * `leave` have functions of their own (CHATHUB_EREQUEST). All others (who, history, typing, status,
 * ping) are sent if the connection stands now, and forgotten if it is lost before the answer; give
 * them a `ref` to know it by. CHATHUB_EAGAIN: it does not stand, or much waits to be sent;
 * CHATHUB_EJSON, CHATHUB_ETEXT, CHATHUB_ETOOLONG, CHATHUB_EGONE, CHATHUB_ENOMEM, and as for
 * posts. */
CHATHUB_API int chathub_connection_request(struct chathub_connection *connection, const char *json,
                                           size_t len);

/* Takes another name: CHATHUB_EVENT_WELCOME, or CHATHUB_EVENT_ERROR and all is as it was. While it
 * is not connected, the next hello asks for it. CHATHUB_ENAME, CHATHUB_ETEXT, CHATHUB_EGONE,
 * CHATHUB_ENOMEM. */
CHATHUB_API int chathub_connection_rename(struct chathub_connection *connection, const char *name);

#ifdef __cplusplus
}
#endif

#endif
