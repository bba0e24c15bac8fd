/* The connection to NATS: the only file that knows libnats, and the only one of its threads' callbacks.
 *
 * Happy path: a thread of the link's own connects and subscribes to what the stream sends on, to
 * answers, and to the bus. The subscriptions' callbacks run on libnats' threads and do one thing: put
 * the message into a bounded ring (or throw it away where that is full, and note it). The log's thread
 * takes from there, and publishes.
 * Failure modes: libnats says that the connection is lost (a server that is silent is noticed by pings,
 * after 3 to 5 s). Then it is freed as a whole and the thread makes another one, and so on for ever,
 * 50 ms to 2 s apart: libnats' own reconnecting gives up at some errors, blocks whoever publishes
 * meanwhile, and keeps what was published for later. */
#ifndef CHI_LOG_JETSTREAM_LINK_H
#define CHI_LOG_JETSTREAM_LINK_H

#include "core/settings.h"
#include "log/handover.h"
#include "log/jetstream/port.h"

/* Of "nats://user:pass@a:4222,nats://b:4222/STREAM": servers and the stream's name ("chathub" without
 * one). tls:// too; one scheme for all. */
struct chi_js_url {
    char *servers; /* as libnats takes them; owned. May hold secrets: never shown */
    char *shown;   /* the same without user, password and token; owned */
    char stream[33];
    bool tls;
};
/* 0; CHATHUB_EVALUE with a line in `problem` (which names no secret); CHATHUB_ENOMEM. */
int chi_js_url_read(const char *text, struct chi_js_url *out, char *problem, size_t size);
void chi_js_url_free(struct chi_js_url *url);

struct chi_js_link;

struct chi_js_link_parts {
    const struct chi_js_url *url;        /* outlives it */
    const struct chi_settings *settings; /* files of keys and credentials; outlives it */
    uint64_t node;                       /* of the bus and of the answers' subject */
    /* Something is in the ring that was empty, or the connection changed; from any thread but the
     * log's, not to call back. */
    void (*wake)(void *arg);
    void *arg;
};
/* Begins to connect, and goes on for ever. 0, or an error with `problem` (files that cannot be read,
 * no memory). */
int chi_js_link_new(const struct chi_js_link_parts *parts, struct chi_js_link **out, char *problem,
                    size_t size);
/* Closes and waits until no callback runs any more. NULL is allowed. */
void chi_js_link_free(struct chi_js_link *link);
struct chi_js_port chi_js_link_port(struct chi_js_link *link);
/* Takes up to `most` messages from the ring and hands each to `each`; how many. None of a connection
 * later than port.number last said. *missed: whether some were thrown away since the last call. */
uint32_t chi_js_link_take(struct chi_js_link *link, uint32_t most,
                          void (*each)(void *arg, const struct chi_js_in *in), void *arg,
                          bool *missed);
/* Whether there is something in the ring: `wake` does not come again before it was empty. */
bool chi_js_link_waits(struct chi_js_link *link);
/* Why there is no connection, or what the server forbids on it, for a person, without secrets; "" if
 * all is well. Valid until the next call. *lasting: trying again will hardly help (a wrong password,
 * TLS on one side alone). */
const char *chi_js_link_problem(struct chi_js_link *link, bool *lasting);
/* Bytes to another node, or to all (0), over the bus. As chi_js_port.send. */
int chi_js_link_tell(struct chi_js_link *link, uint64_t node, struct chi_span bytes);

/* --- thread.c: the log's thread, "chathub-log-n" */

/* It has the link and the logic (js.h), and carries between them and the hub's thread: takes tasks and
 * messages, has a round done, gives back what is finished. What the hub's thread sends to the bus it
 * tells the link at once. */
struct chi_js;
struct chi_js_parts;
struct chi_js_thread;
struct chi_js_orders;
struct chi_js_news;
struct chi_js_epochs;

struct chi_js_thread_parts {
    struct chi_js_link_parts link;      /* wake and arg are the thread's to fill */
    const struct chi_js_parts *js;      /* its port is the thread's to fill; copied */
    const struct chi_js_orders *orders; /* until the first exchange; copied */
    void (*wake)(void *arg); /* the hub's thread, after tasks were finished or news changed */
    void *wake_arg;
};
/* Starts it, and waits until the stream is open, for CHI_JS_OPEN_MS at most; then the problem says
 * what was still missing. 0, CHATHUB_EIO, CHATHUB_ENOMEM, or what stream.c says. */
#define CHI_JS_OPEN_MS 15000u
int chi_js_thread_start(const struct chi_js_thread_parts *parts, struct chi_js_thread **out,
                        char *problem, size_t size);
/* Ends it; unfinished tasks are in `left`. NULL is allowed. */
void chi_js_thread_stop(struct chi_js_thread *thread, struct chi_works *left);
void chi_js_thread_put(struct chi_js_thread *thread, struct chi_works *tasks);
void chi_js_thread_collect(struct chi_js_thread *thread, struct chi_works *tasks);
/* Both ways, under one lock. Before chi_js_thread_collect: what was collected after the news came is
 * all that they speak of. */
void chi_js_thread_exchange(struct chi_js_thread *thread, const struct chi_js_orders *orders,
                            struct chi_js_news *news);
/* A copy of the epochs in force. 0 or CHATHUB_ENOMEM. */
int chi_js_thread_epochs(struct chi_js_thread *thread, struct chi_js_epochs *out);

#endif
