/* chathub_testing.h: what a host tests its own bots and hooks with.
 *
 * A hub that is attached to a test lives in it: its time moves only when the test moves it, its
 * randomness comes from a seed, its log is in the test's memory and fails when told to, and people
 * come to it over wires of the test's own. It opens no socket, no file and no thread, and the same
 * test is the same to the byte, every time. What the host has written calls chathub.h as ever:
 *
 *     struct chathub_testing *test;
 *     struct chathub *hub;
 *     uint32_t ann;
 *     struct chathub_event event;
 *     chathub_testing_new(1, 0, &test);
 *     chathub_new(&hub);
 *     my_setup(hub);                                options, hooks: the host's own
 *     chathub_testing_attach(test, hub);
 *     chathub_start(hub, NULL);
 *     my_bot(hub);                                  the host's own bot joins
 *     chathub_testing_enter(test, "ann", NULL, &ann);
 *     chathub_testing_post(test, ann, NULL, "!help", NULL);
 *     chathub_testing_settle(test);                 until nothing is left to do
 *     while (chathub_testing_next(test, ann, &event) == 1)
 *         ...                                       what ann was sent, one event for each frame
 *
 * LINKING
 *     A test links libchathub-testing (pkg-config chathub-testing) in place of libchathub: it is
 *     the same library, and this besides.
 *
 * TIME
 *     Two clocks stand still until chathub_testing_advance: milliseconds of the test, and Unix
 *     time. All that a hub does by the clock happens at its moment on the way: typing that ends,
 *     questions that are denied since nobody answered, sessions that end, slow clients that are
 *     closed. A host's own delays are set by chathub_testing_after.
 *
 * WHAT THE HUB DOES NOT DO
 *     It opens none of its listeners, whatever the option listen says, and its log is the test's,
 *     whatever the option log says; chathub_check looks at both as ever. The loop that
 *     chathub_start is handed is not used. chathub_start_thread, chathub_run, chathub_step and
 *     chathub_adopt answer CHATHUB_EINVAL, and chathub_queue_fd is not watched: the test calls
 *     chathub_testing_step, chathub_testing_settle and chathub_testing_advance, then chathub_take.
 *     Callbacks of the host come from these three, never from another call.
 *
 * RULES
 *     All functions of a test are called on one thread, the three above not from callbacks.
 *     Structures, texts and errors are as in chathub.h; chathub_testing_problem says what was
 *     wrong. Everything is bounded, and says so where a bound is met. */
#ifndef CHATHUB_TESTING_H
#define CHATHUB_TESTING_H

#include "chathub.h"

#ifdef __cplusplus
extern "C" {
#endif

struct chathub_testing;

/* ------------------------------------------------------------------------------------- the test */

/* Makes a test. All that is random in it comes from `seed`: session keys, epochs, guests' names.
 * `unix_ms` is the Unix time at which it begins; 0: 1st January 2000. *test is set only on success.
 * CHATHUB_EINVAL, CHATHUB_ENOMEM. */
CHATHUB_API int chathub_testing_new(uint64_t seed, uint64_t unix_ms, struct chathub_testing **test);
/* Frees the test. The hub is the host's, and freed before; one that is still attached is ended at
 * once, and nothing but chathub_free may be called for it any more. NULL is allowed. */
CHATHUB_API void chathub_testing_free(struct chathub_testing *test);
/* What was wrong with the last call that answered an error: one line for a person. "" if there was
 * none. Valid until the next call. */
CHATHUB_API const char *chathub_testing_problem(const struct chathub_testing *test);

/* Has `hub`, which was not started yet, live in this test until it is freed. One hub at a time:
 * when it was freed (with chathub_stop before: in good order; without: as in a crash), another may
 * be attached, and finds the log as it was left. CHATHUB_ESTARTED, CHATHUB_EINUSE (another hub is
 * attached, or this one to another test), CHATHUB_EINVAL. */
CHATHUB_API int chathub_testing_attach(struct chathub_testing *test, struct chathub *hub);

/* ----------------------------------------------------------------------------------------- time */

/* Does the next thing that is to be done at this time: a callback of chathub_testing_after that is
 * due, or else one turn of the hub. 1, or 0 if there is nothing to do. CHATHUB_EAGAIN: called from
 * a callback. */
CHATHUB_API int chathub_testing_step(struct chathub_testing *test);
/* Steps until there is nothing to do. 0; CHATHUB_EBUSY: after 10,000 steps there still is (does a
 * bot answer itself?), and another call goes on; CHATHUB_EAGAIN as above. */
CHATHUB_API int chathub_testing_settle(struct chathub_testing *test);
/* Settles, then moves time by `ms`, and settles at each moment for which something was set, and at
 * the end. The errors are those of chathub_testing_settle; time stands where it was met. */
CHATHUB_API int chathub_testing_advance(struct chathub_testing *test, uint64_t ms);
/* How far the nearest moment lies ahead for which something is set, in ms: 0: there is something to
 * do now; UINT64_MAX: there is none. */
CHATHUB_API uint64_t chathub_testing_due(const struct chathub_testing *test);
/* Milliseconds by which the test was advanced since it was made. */
CHATHUB_API uint64_t chathub_testing_elapsed(const struct chathub_testing *test);
/* The Unix time in ms, as the hub sees it. */
CHATHUB_API uint64_t chathub_testing_time(const struct chathub_testing *test);
/* Sets the Unix time, also back, as an operator or NTP does; milliseconds of the test go on as they
 * were. CHATHUB_EINVAL: before 1970 ended, or after the year 9999. */
CHATHUB_API int chathub_testing_set_time(struct chathub_testing *test, uint64_t unix_ms);

/* The time of chathub_testing_after has come. */
typedef void (*chathub_testing_cb)(void *arg);
/* Calls `cb` once, when the test has been advanced by `ms` (0: at the next step): a stand-in for
 * timers, and answers from elsewhere, of the host's. What is set for one time is called in the
 * order in which it was set, before the hub's turn. CHATHUB_EFULL: 1,024 are set already;
 * CHATHUB_EINVAL, CHATHUB_ENOMEM. */
CHATHUB_API int chathub_testing_after(struct chathub_testing *test, uint64_t ms,
                                      chathub_testing_cb cb, void *arg);

/* ------------------------------------------------------------------------- people on the wire */

/* A peer stands for somebody at the other end of a connection that carries lines. It is known by a
 * number, 1, 2 …, which is never used again in this test. What it is sent waits until the test
 * takes it, up to 1 MiB; beyond, it takes no more, as any slow client. */

/* A peer that is connected, and says nothing. `url`: as for chathub_carry, such as
 * "tcp://?dialect=human&room=lobby"; NULL: native, without wishes. CHATHUB_EFULL: 1,024 peers were
 * made; CHATHUB_ESTOPPED (no hub runs), CHATHUB_EADDRESS, CHATHUB_ENOMEM. */
CHATHUB_API int chathub_testing_connect(struct chathub_testing *test, const char *url,
                                        uint32_t *peer);
/* The same for somebody who says hello as `name` (NULL: none, and the hub makes one up) and joins
 * `room` (NULL: the default room), natively. What answers waits for the test. */
CHATHUB_API int chathub_testing_enter(struct chathub_testing *test, const char *name,
                                      const char *room, uint32_t *peer);

/* Sends one line, without its newline, as the peer: a frame, or what a person types. It is heard by
 * the hub's next turn. CHATHUB_EAGAIN: so much waits already that the hub does not read on, settle
 * first; CHATHUB_EGONE: it is not connected; CHATHUB_ETOOLONG, CHATHUB_EINVAL, CHATHUB_ENOMEM. */
CHATHUB_API int chathub_testing_send(struct chathub_testing *test, uint32_t peer, const char *text,
                                     size_t len);
/* Sends a native `post`. room NULL: the default room; cid NULL: none. CHATHUB_ETEXT: a text is no
 * UTF-8; other errors as above. */
CHATHUB_API int chathub_testing_post(struct chathub_testing *test, uint32_t peer, const char *room,
                                     const char *content, const char *cid);

/* Takes the oldest line that the peer was sent and did not take, without its newline; valid until
 * the next call for this peer. NULL: none waits. *len (may be NULL) is its length. */
CHATHUB_API const char *chathub_testing_take(struct chathub_testing *test, uint32_t peer,
                                             size_t *len);
/* The same, read as a frame of the native protocol: 1 and *event, whose `json` is the text and
 * whose `client` is 0; `type` is 0 for frames that chathub.h has no word for. out->size is set by
 * the caller. 0: none waits. CHATHUB_EPROTOCOL: it is no such frame (it was taken all the same);
 * CHATHUB_EGONE: there is no such peer; CHATHUB_EINVAL, CHATHUB_ENOMEM. */
CHATHUB_API int chathub_testing_next(struct chathub_testing *test, uint32_t peer,
                                     struct chathub_event *event);
/* Takes frames up to the first of `type` (enum chathub_event_type), and answers as
 * chathub_testing_next for that one: 0: there is none, and all were taken. */
CHATHUB_API int chathub_testing_find(struct chathub_testing *test, uint32_t peer, uint32_t type,
                                     struct chathub_event *event);

/* on 1: the peer takes no byte from now on, as one whose network or program hangs; 0: it goes on.
 * CHATHUB_EGONE. */
CHATHUB_API int chathub_testing_stall(struct chathub_testing *test, uint32_t peer, int on);
/* The connection is lost, and with it what was not sent to the peer yet. What it said is heard.
 * What it had been sent waits as before, but for the beginning of a line that was cut.
 * CHATHUB_EGONE: it is not connected. */
CHATHUB_API int chathub_testing_cut(struct chathub_testing *test, uint32_t peer);
/* The peer says goodbye, as a WebSocket that is closed with 1000: its session ends. CHATHUB_EGONE.
 * */
CHATHUB_API int chathub_testing_leave(struct chathub_testing *test, uint32_t peer);
/* The peer is connected again (its old connection, if it is there still, stays half-open until the
 * hub closes it) and says hello with the session and the name that its last `welcome` told, and for
 * each room that it was in the last position that it was sent: as a client that loses nothing does.
 * Only for peers that spoke natively and were welcomed (CHATHUB_ESESSION), also with another hub
 * than before. Other errors as of chathub_testing_connect. */
CHATHUB_API int chathub_testing_resume(struct chathub_testing *test, uint32_t peer);

/* How it goes with a peer. */
struct chathub_testing_peer {
    uint32_t size;          /* of this struct, set by the caller */
    uint32_t connected;     /* 1: neither side has ended it */
    int32_t code;           /* with which the hub closed it, as in RFC 6455; 0: it did not */
    uint32_t stalled;       /* 1: by chathub_testing_stall */
    uint64_t client;        /* the hub's number of its last connection, as in questions */
    uint64_t waiting;       /* whole lines that it was sent and did not take */
    uint64_t waiting_bytes; /* of all that it was sent and did not take */
    const char *reason;     /* of the hub's close, "" if none; valid until the next call */
    const char *session;    /* the key that it was told last, "" if none; the same */
};
/* Fills as much as out->size has room for. CHATHUB_EGONE: there is no such peer. CHATHUB_EINVAL. */
CHATHUB_API int chathub_testing_peer(const struct chathub_testing *test, uint32_t peer,
                                     struct chathub_testing_peer *out);

/* ----------------------------------------------------------------------- the log and its faults */

/* The log is in the test's memory and outlives its hubs: each that starts finds the entries of the
 * one before, under a new epoch. Bounds are those of the options (as for the log in memory); over
 * all hubs it takes 100,000 entries of 64 MiB, then its disk is full. */

/* What may go wrong with a log. What the poster is told is in parentheses. */
enum chathub_testing_fault {
    CHATHUB_TESTING_FAIL = 1, /* a post cannot be committed (log_failed) */
    CHATHUB_TESTING_FULL = 2, /* the same, since the disk is full (log_failed, which says so) */
    CHATHUB_TESTING_LOST = 3, /* a commit timed out, and had not come about (unknown) */
    CHATHUB_TESTING_KEPT =
        4, /* a commit timed out, and had come about (unknown); it is shown next */
    CHATHUB_TESTING_BUSY = 5, /* the log takes no post for now (busy) */
    CHATHUB_TESTING_PAGE = 6  /* older entries cannot be read (log_failed, or later, to a reader) */
};
/* The next `count` posts that reach the log (PAGE: the next reads) go wrong so. Several calls for
 * posts count one behind the other; 0 takes back what was set for posts, or for pages.
 * CHATHUB_EFULL: 64 wait already; CHATHUB_EINVAL. */
CHATHUB_API int chathub_testing_fault(struct chathub_testing *test, int fault, uint32_t count);
/* on 1: the log is slow: posts wait in it, uncommitted, until chathub_testing_commit; 0: those that
 * wait are committed by the next turn, and those to come at once. */
CHATHUB_API int chathub_testing_hold(struct chathub_testing *test, int on);
/* The oldest `count` posts that wait are committed (or go wrong, as was set when they came) by the
 * next turn. Answers how many there were. */
CHATHUB_API int chathub_testing_commit(struct chathub_testing *test, uint32_t count);
/* Posts that wait in the log. */
CHATHUB_API uint32_t chathub_testing_held(const struct chathub_testing *test);
/* Takes the newest `count` entries from the log, of all rooms, as a loss of power does to one that
 * did not sync, or an older copy of it: the next hub begins with what is left. Answers how many
 * were there. CHATHUB_EINUSE: a hub runs with it; free that first. */
CHATHUB_API int chathub_testing_lose(struct chathub_testing *test, uint32_t count);
/* How many entries the log holds, of all rooms, whatever the options keep of them. */
CHATHUB_API uint32_t chathub_testing_entries(const struct chathub_testing *test);

#ifdef __cplusplus
}
#endif

#endif
