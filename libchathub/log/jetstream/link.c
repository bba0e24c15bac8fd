#include "log/jetstream/link.h"

#include <inttypes.h>
#include <nats/nats.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "chathub.h"
#include "util/buf.h"

#define RING       16384u      /* messages */
#define RING_BYTES (32u << 20) /* of them */
#define OVERHEAD   256u        /* bytes that a message takes beside its payload */
/* Of what libnats keeps before its callbacks ran, for each subscription. */
#define PENDING       RING
#define PENDING_BYTES (RING_BYTES / 4)

#define CONNECT_MS 2000 /* for one server */
#define WRITE_MS   1000
/* With two unanswered pings allowed a silent server is noticed after three to four of these. */
#define PING_MS    1200
#define PINGS      2
#define DELAY_MS   50u /* before the first attempt to connect anew; it doubles … */
#define DELAY_MOST 2000u

#define MOST (1u << 20) /* bytes of a message, while no server said it */
/* Of a message that can come back: the server answers with it in base64, and libnats throws away what
 * is more than PENDING_BYTES by itself. */
#define MOST_BACK ((PENDING_BYTES - 65536u) / 4 * 3)
/* A server closes the connection at a line of more than 4,096 bytes, which has an answer's subject and
 * numbers too. */
#define SUBJECT_MOST 2000u

#define SERVERS 64u /* that are tried */

/* One of the subscriptions. */
struct way {
    struct chi_js_link *link;
    enum chi_js_kind kind;
    char subject[64];
    natsSubscription *sub; /* the connecting thread's */
    bool open;             /* under lock: its callbacks may still come */
};

enum { LIVE, ANSWERS, BUS_ALL, BUS_NODE, WAYS };

struct slot {
    natsMsg *msg; /* owned */
    uint64_t number;
    size_t bytes;
    enum chi_js_kind kind;
};

/* Who pulled from a consumer last. */
struct puller {
    char consumer[64];
    uint32_t token;
};

struct chi_js_link {
    struct chi_js_link_parts parts;
    natsOptions *options;
    const char *servers[SERVERS]; /* into server_text: tried in turn */
    uint32_t server_count;
    uint32_t server;   /* the next to try */
    char *server_text; /* owned */
    struct way ways[WAYS];
    char inbox[32];   /* subject of answers, up to the token */
    char in[48];      /* "S.in." */
    size_t out_len;   /* of "S.out." */
    pthread_t thread; /* the one that connects */
    pthread_mutex_t lock;
    pthread_cond_t changed; /* closed, open, stopping */
    bool started;           /* there is a thread */

    /* under lock */
    bool stopping;
    bool closed; /* libnats is done with the connection, and calls back for it no more */
    bool missed;
    bool lasting;
    char problem[400];
    struct slot *ring; /* RING of them */
    uint32_t first, count;
    size_t bytes;

    _Atomic bool up;
    _Atomic uint64_t number;
    _Atomic uint32_t most;

    pthread_mutex_t sending; /* of `nc`, which the connecting thread sets and frees */
    natsConnection *nc;

    /* the log's thread's */
    uint64_t told; /* `number` as it was asked last */
    char said[400];
    struct chi_buf subject;                  /* with a NUL */
    struct puller pullers[CHI_JS_CONSUMERS]; /* replaced in turn */
    uint32_t next_puller;
    uint32_t last_puller; /* whose message came last */
};

/* ------------------------------------------------------------------------- libnats' callbacks */

static void wake(struct chi_js_link *link)
{
    link->parts.wake(link->parts.arg);
}

/* Under lock. */
static bool put(struct chi_js_link *link, natsMsg *msg, enum chi_js_kind kind)
{
    size_t bytes = (size_t)natsMsg_GetDataLength(msg) + OVERHEAD;
    if (link->count == RING || link->bytes + bytes > RING_BYTES || link->stopping)
        return false;
    link->ring[(link->first + link->count) % RING] =
        (struct slot){.msg = msg, .number = link->number, .bytes = bytes, .kind = kind};
    link->bytes += bytes;
    return link->count++ == 0 ? (wake(link), true) : true;
}

static void on_message(natsConnection *nc, natsSubscription *sub, natsMsg *msg, void *closure)
{
    struct way *way = closure;
    (void)nc, (void)sub;
    pthread_mutex_lock(&way->link->lock);
    bool kept = put(way->link, msg, way->kind);
    if (!kept)
        way->link->missed = true;
    pthread_mutex_unlock(&way->link->lock);
    if (!kept)
        natsMsg_Destroy(msg);
}

/* The last message callback of this subscription has returned. */
static void on_complete(void *closure)
{
    struct way *way = closure;
    struct chi_js_link *link = way->link;
    pthread_mutex_lock(&link->lock);
    way->open = false;
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
}

static void on_lost(natsConnection *nc, void *closure)
{
    struct chi_js_link *link = closure;
    (void)nc;
    pthread_mutex_lock(&link->lock);
    link->up = false;
    wake(link);
    pthread_mutex_unlock(&link->lock);
}

/* The last callback of a connection. */
static void on_closed(natsConnection *nc, void *closure)
{
    struct chi_js_link *link = closure;
    (void)nc;
    pthread_mutex_lock(&link->lock);
    link->up = false;
    link->closed = true;
    pthread_cond_broadcast(&link->changed);
    wake(link);
    pthread_mutex_unlock(&link->lock);
}

static void on_error(natsConnection *nc, natsSubscription *sub, natsStatus status, void *closure)
{
    struct chi_js_link *link = closure;
    const char *text = NULL;
    (void)sub;
    if (status == NATS_NOT_PERMITTED)
        natsConnection_GetLastError(nc, &text);
    pthread_mutex_lock(&link->lock);
    if (status == NATS_SLOW_CONSUMER) {
        link->missed = true;
        wake(link);
    } else if (text) {
        snprintf(link->problem, sizeof link->problem,
                 "log jetstream:%s: the server forbids what is needed there (%.150s); allow its "
                 "user $JS.API.>, _INBOX.>, and the stream's own subjects",
                 link->parts.url->shown, text);
        link->lasting = true;
        wake(link);
    }
    pthread_mutex_unlock(&link->lock);
}

/* ---------------------------------------------------------------------------------- connecting */

/* Why there is no connection; "": there is one. */
__attribute__((format(printf, 3, 4))) static void explain(struct chi_js_link *link, bool lasting,
                                                          const char *format, ...)
{
    char why[256];
    va_list rest;
    va_start(rest, format);
    vsnprintf(why, sizeof why, format, rest);
    va_end(rest);
    pthread_mutex_lock(&link->lock);
    link->problem[0] = '\0';
    if (*why)
        snprintf(link->problem, sizeof link->problem, "log jetstream:%.120s%s",
                 link->parts.url->shown, why);
    link->lasting = lasting;
    wake(link);
    pthread_mutex_unlock(&link->lock);
}

static void explain_status(struct chi_js_link *link, natsStatus status)
{
    const char *text = nats_GetLastError(NULL);
    const char *place = text && *text == '(' ? strstr(text, "): ") : NULL; /* in its source */
    if (place)
        text = place + 3;
    switch (status) {
    case NATS_NO_SERVER:
    case NATS_TIMEOUT:
    case NATS_IO_ERROR:
        explain(link, false, ": no server can be reached; is nats-server running there?");
        break;
    case NATS_CONNECTION_AUTH_FAILED:
        explain(link, true,
                ": the server refuses this user (%.80s); check user, password or token in the URL, "
                "or nats-credentials",
                text ? text : "");
        break;
    case NATS_SECURE_CONNECTION_REQUIRED:
        explain(link, true, ": the server wants TLS; write tls://… and see nats-ca");
        break;
    case NATS_SECURE_CONNECTION_WANTED:
        explain(link, true, ": the server has no TLS; write nats://…, or give it a certificate");
        break;
    case NATS_SSL_ERROR:
        explain(link, true, ": TLS fails (%.150s); check nats-ca, nats-cert and nats-key",
                text ? text : "");
        break;
    default:
        explain(link, false, ": it cannot be used: %s%s%.120s", natsStatus_GetText(status),
                text ? ": " : "", text ? text : "");
    }
}

static natsStatus subscribe(natsConnection *nc, struct way *way)
{
    natsStatus status = natsConnection_Subscribe(&way->sub, nc, way->subject, on_message, way);
    if (status != NATS_OK)
        return status;
    way->open = true;
    status = natsSubscription_SetOnCompleteCB(way->sub, on_complete, way);
    if (status != NATS_OK)
        way->open = false;
    else
        natsSubscription_SetPendingLimits(way->sub, PENDING, PENDING_BYTES);
    return status;
}

/* There is a connection, all but its subscriptions. */
static natsStatus begin(struct chi_js_link *link, natsConnection *nc)
{
    natsStatus status = NATS_OK;
    int64_t most = natsConnection_GetMaxPayload(nc);
    /* Before anything of it can come in. */
    explain(link, false, "%s", "");
    link->number++;
    for (unsigned i = 0; i < WAYS && status == NATS_OK; i++)
        status = subscribe(nc, &link->ways[i]);
    /* The server knows of them when it answers. */
    if (status == NATS_OK)
        status = natsConnection_FlushTimeout(nc, CONNECT_MS);
    if (status != NATS_OK)
        return status;
    link->most = most <= 0 ? MOST : most < MOST_BACK ? (uint32_t)most : MOST_BACK;
    pthread_mutex_lock(&link->sending);
    link->nc = nc;
    pthread_mutex_unlock(&link->sending);
    pthread_mutex_lock(&link->lock);
    link->up = !link->closed;
    wake(link);
    pthread_mutex_unlock(&link->lock);
    return NATS_OK;
}

/* Under lock. */
static bool is_open(const struct chi_js_link *link)
{
    bool open = !link->closed;
    for (unsigned i = 0; i < WAYS; i++)
        open |= link->ways[i].open;
    return open;
}

/* Nothing is called back any more when it returns. */
static void end(struct chi_js_link *link, natsConnection *nc)
{
    pthread_mutex_lock(&link->sending);
    link->nc = NULL;
    pthread_mutex_unlock(&link->sending);
    link->up = false;
    natsConnection_Close(nc);
    pthread_mutex_lock(&link->lock);
    while (is_open(link))
        pthread_cond_wait(&link->changed, &link->lock);
    pthread_mutex_unlock(&link->lock);
    for (unsigned i = 0; i < WAYS; i++) {
        natsSubscription_Destroy(link->ways[i].sub);
        link->ways[i].sub = NULL;
    }
    natsConnection_Destroy(nc);
}

static bool stops(struct chi_js_link *link)
{
    pthread_mutex_lock(&link->lock);
    bool stopping = link->stopping;
    pthread_mutex_unlock(&link->lock);
    return stopping;
}

/* To the first that takes it, beginning with the one behind the last that was tried. One at a time:
 * libnats tries a whole list in one call, seconds for each that is silent, in which the link could not
 * end. NULL: none. */
static natsConnection *connect_to_one(struct chi_js_link *link)
{
    natsConnection *nc = NULL;
    natsStatus status = NATS_NO_SERVER;
    for (uint32_t i = 0; i < link->server_count && !nc && !stops(link); i++) {
        const char **server = &link->servers[link->server++ % link->server_count];
        link->closed = false;
        status = natsOptions_SetServers(link->options, server, 1);
        if (status == NATS_OK)
            status = natsConnection_Connect(&nc, link->options);
    }
    if (!nc)
        explain_status(link, status);
    return nc;
}

/* One connection's life. False: there was none. */
static bool live(struct chi_js_link *link)
{
    natsConnection *nc = connect_to_one(link);
    if (!nc)
        return false;
    natsStatus status = begin(link, nc);
    pthread_mutex_lock(&link->lock);
    while (status == NATS_OK && !link->closed && !link->stopping)
        pthread_cond_wait(&link->changed, &link->lock);
    bool stopping = link->stopping;
    pthread_mutex_unlock(&link->lock);
    end(link, nc);
    if (!stopping)
        explain(link, false, ": the connection is lost");
    return status == NATS_OK;
}

/* False: it is to end. */
static bool nap(struct chi_js_link *link, uint32_t ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + (uint64_t)ms * 1000000;
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    pthread_mutex_lock(&link->lock);
    while (!link->stopping && !pthread_cond_timedwait(&link->changed, &link->lock, &until)) {
    }
    bool goes_on = !link->stopping;
    pthread_mutex_unlock(&link->lock);
    return goes_on;
}

static void *keep_connected(void *arg)
{
    struct chi_js_link *link = arg;
    unsigned seed = (unsigned)link->parts.node;
    uint32_t delay = DELAY_MS;
    do {
        delay = live(link) ? DELAY_MS : delay * 2 < DELAY_MOST ? delay * 2 : DELAY_MOST;
        /* Not all nodes at once. */
    } while (nap(link, delay / 2 + (uint32_t)rand_r(&seed) % (delay / 2)));
    return NULL;
}

/* ------------------------------------------------------------------------------------- options */

/* All nodes have the same list: each begins somewhere else in it. */
static natsStatus add_servers(struct chi_js_link *link)
{
    char *rest = NULL;
    unsigned seed = (unsigned)(link->parts.node ^ link->parts.node >> 32);
    link->server_text = strdup(link->parts.url->servers);
    if (!link->server_text)
        return NATS_NO_MEMORY;
    for (char *at = strtok_r(link->server_text, ",", &rest); at && link->server_count < SERVERS;
         at = strtok_r(NULL, ",", &rest))
        link->servers[link->server_count++] = at;
    link->server = (uint32_t)rand_r(&seed) % (link->server_count ? link->server_count : 1);
    return natsOptions_SetServers(link->options, link->servers, (int)link->server_count);
}

static natsStatus set_manners(struct chi_js_link *link, natsOptions *o)
{
    char name[80];
    snprintf(name, sizeof name, "chathub %.60s",
             link->parts.settings->name ? link->parts.settings->name : "");
    natsStatus s = add_servers(link); /* as a check of all */
#define SET(call) s = s == NATS_OK ? (call) : s
    SET(natsOptions_SetName(o, name));
    SET(natsOptions_SetTimeout(o, CONNECT_MS));
    SET(natsOptions_SetAllowReconnect(o, false));
    SET(natsOptions_SetWriteDeadline(o, WRITE_MS));
    SET(natsOptions_SetPingInterval(o, PING_MS));
    SET(natsOptions_SetMaxPingsOut(o, PINGS));
    /* What the server sends on and answers is not ours in its eyes, but what we tell the bus. */
    SET(natsOptions_SetNoEcho(o, true));
    /* Not at once, but by libnats' flusher, 1 ms after the first: at 10,000 posts a second half the
     * CPU of a system call for each, and the server answers in batches too. */
    SET(natsOptions_SetSendAsap(o, false));
    /* One thread for all subscriptions: fewer wake-ups, and answers stay in order with the rest. */
    SET(natsOptions_UseGlobalMessageDelivery(o, true));
    SET(natsOptions_SetDisconnectedCB(o, on_lost, link));
    SET(natsOptions_SetClosedCB(o, on_closed, link));
    SET(natsOptions_SetErrorHandler(o, on_error, link));
    return s;
}

static int refuse(char *problem, size_t size, const char *option, const char *file)
{
    const char *text = nats_GetLastError(NULL);
    snprintf(problem, size, "option %s: %s cannot be used%s%s", option, file, text ? ": " : "",
             text ? text : "");
    return CHATHUB_EIO;
}

/* libnats reads it when it connects, and says less then. */
static int set_credentials(natsOptions *o, const char *file, char *problem, size_t size)
{
    FILE *readable = fopen(file, "re");
    if (!readable) {
        snprintf(problem, size, "option nats-credentials: %s: %m", file);
        return CHATHUB_EIO;
    }
    fclose(readable);
    return natsOptions_SetUserCredentialsFromFiles(o, file, NULL) == NATS_OK
               ? 0
               : refuse(problem, size, "nats-credentials", file);
}

static int set_files(struct chi_js_link *link, natsOptions *o, char *problem, size_t size)
{
    const struct chi_settings *s = link->parts.settings;
    if (link->parts.url->tls && natsOptions_SetSecure(o, true) != NATS_OK)
        return refuse(problem, size, "log", "tls://");
    if (s->nats_ca && natsOptions_LoadCATrustedCertificates(o, s->nats_ca) != NATS_OK)
        return refuse(problem, size, "nats-ca", s->nats_ca);
    if (s->nats_cert && s->nats_key &&
        natsOptions_LoadCertificatesChain(o, s->nats_cert, s->nats_key) != NATS_OK)
        return refuse(problem, size, "nats-cert", s->nats_cert);
    return s->nats_credentials ? set_credentials(o, s->nats_credentials, problem, size) : 0;
}

static int make_options(struct chi_js_link *link, char *problem, size_t size)
{
    if (natsOptions_Create(&link->options) != NATS_OK)
        return CHATHUB_ENOMEM;
    natsStatus status = set_manners(link, link->options);
    if (status == NATS_NO_MEMORY)
        return CHATHUB_ENOMEM;
    if (status != NATS_OK) {
        snprintf(problem, size, "log jetstream:%s: libnats refuses it: %s", link->parts.url->shown,
                 natsStatus_GetText(status));
        return CHATHUB_EIO;
    }
    return set_files(link, link->options, problem, size);
}

/* ---------------------------------------------------------------------------------------- life */

static void name_subjects(struct chi_js_link *link)
{
    const char *stream = link->parts.url->stream;
    uint64_t node = link->parts.node;
    static const enum chi_js_kind kinds[WAYS] = {CHI_JS_LIVE, CHI_JS_REPLY, CHI_JS_BUS, CHI_JS_BUS};
    for (unsigned i = 0; i < WAYS; i++)
        link->ways[i] = (struct way){.link = link, .kind = kinds[i]};
    snprintf(link->inbox, sizeof link->inbox, "_INBOX.%016" PRIx64 ".", node);
    snprintf(link->in, sizeof link->in, "%s.in.", stream);
    link->out_len = strlen(stream) + strlen(".out.");
#define SUBJECT(way, ...)                                                                          \
    snprintf(link->ways[way].subject, sizeof link->ways[way].subject, __VA_ARGS__)
    SUBJECT(LIVE, "%s.out.>", stream);
    SUBJECT(ANSWERS, "%s*", link->inbox);
    SUBJECT(BUS_ALL, "%s.bus.all", stream);
    SUBJECT(BUS_NODE, "%s.bus.%016" PRIx64, stream, node);
}

static int make_locks(struct chi_js_link *link)
{
    pthread_mutex_init(&link->lock, NULL);
    pthread_mutex_init(&link->sending, NULL);
    return chi_monotonic_cond(&link->changed);
}

/* The host's signals are not for libnats' threads, which are made here and by the connecting thread:
 * all inherit that they are blocked. */
static int start(struct chi_js_link *link, char *problem, size_t size)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &before);
    int error = make_options(link, problem, size);
    if (!error) {
        link->started = pthread_create(&link->thread, NULL, keep_connected, link) == 0;
        error = link->started ? 0 : CHATHUB_EIO;
        if (error)
            snprintf(problem, size, "log jetstream: no thread can be made");
        else
            pthread_setname_np(link->thread, "chathub-nats");
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

int chi_js_link_new(const struct chi_js_link_parts *parts, struct chi_js_link **out, char *problem,
                    size_t size)
{
    struct chi_js_link *link = calloc(1, sizeof *link);
    snprintf(problem, size, "log jetstream: out of memory");
    if (!link)
        return CHATHUB_ENOMEM;
    link->parts = *parts;
    link->closed = true;
    link->most = MOST;
    link->ring = malloc(RING * sizeof *link->ring);
    name_subjects(link);
    int error = make_locks(link);
    if (!error)
        error = link->ring ? start(link, problem, size) : CHATHUB_ENOMEM;
    if (error)
        chi_js_link_free(link);
    else
        *out = link;
    return error;
}

static void stop(struct chi_js_link *link)
{
    pthread_mutex_lock(&link->lock);
    link->stopping = true;
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
    pthread_join(link->thread, NULL);
}

void chi_js_link_free(struct chi_js_link *link)
{
    if (!link)
        return;
    if (link->started)
        stop(link);
    for (; link->ring && link->count; link->count--)
        natsMsg_Destroy(link->ring[link->first++ % RING].msg);
    natsOptions_Destroy(link->options);
    pthread_cond_destroy(&link->changed);
    pthread_mutex_destroy(&link->sending);
    pthread_mutex_destroy(&link->lock);
    chi_buf_fini(&link->subject);
    free(link->server_text);
    free(link->ring);
    free(link);
}

/* ------------------------------------------------------------------------------------- sending */

static int code_of(natsStatus status)
{
    switch (status) {
    case NATS_OK:
        return 0;
    case NATS_NO_MEMORY:
        return CHATHUB_ENOMEM;
    case NATS_MAX_PAYLOAD:
        return CHATHUB_EVALUE;
    default:
        return CHATHUB_EAGAIN;
    }
}

/* Remembers who pulls, if it is a pull. */
static void note_pull(struct chi_js_link *link, const struct chi_js_out *out)
{
    struct chi_span pull = CHI_SPAN("$JS.API.CONSUMER.MSG.NEXT.");
    const char *subject = link->subject.at;
    if (!out->token || strncmp(subject, pull.at, pull.len) != 0)
        return;
    const char *consumer = strrchr(subject, '.') + 1;
    struct puller *puller = NULL;
    for (uint32_t i = 0; i < CHI_JS_CONSUMERS && !puller; i++)
        if (strcmp(link->pullers[i].consumer, consumer) == 0)
            puller = &link->pullers[i];
    if (!puller)
        puller = &link->pullers[link->next_puller++ % CHI_JS_CONSUMERS];
    snprintf(puller->consumer, sizeof puller->consumer, "%s", consumer);
    puller->token = out->token;
}

static natsStatus publish_with_headers(natsConnection *nc, const struct chi_js_out *out,
                                       const char *subject, const char *reply)
{
    natsMsg *msg = NULL;
    char expected[24];
    natsStatus s = natsMsg_Create(&msg, subject, reply, out->data.at, (int)out->data.len);
    if (s == NATS_OK && out->id)
        s = natsMsgHeader_Set(msg, "Nats-Msg-Id", out->id);
    if (s == NATS_OK && out->expects) {
        snprintf(expected, sizeof expected, "%" PRIu64, out->expected);
        s = natsMsgHeader_Set(msg, "Nats-Expected-Last-Subject-Sequence", expected);
    }
    if (s == NATS_OK)
        s = natsConnection_PublishMsg(nc, msg);
    natsMsg_Destroy(msg);
    return s;
}

/* `sending` is held, and there is a connection. */
static natsStatus publish(struct chi_js_link *link, const struct chi_js_out *out)
{
    char reply[48];
    const char *subject = link->subject.at;
    snprintf(reply, sizeof reply, "%s%" PRIu32, link->inbox, out->token);
    if (out->id || out->expects)
        return publish_with_headers(link->nc, out, subject, out->token ? reply : NULL);
    if (out->token)
        return natsConnection_PublishRequest(link->nc, subject, reply, out->data.at,
                                             (int)out->data.len);
    return natsConnection_Publish(link->nc, subject, out->data.at, (int)out->data.len);
}

static int port_send(void *self, const struct chi_js_out *out)
{
    struct chi_js_link *link = self;
    natsStatus status = NATS_CONNECTION_DISCONNECTED;
    if (!link->up || link->told != link->number)
        return CHATHUB_EAGAIN;
    if (out->data.len > link->most || out->subject.len > SUBJECT_MOST)
        return CHATHUB_EVALUE;
    chi_buf_reset(&link->subject, 256);
    chi_buf_add(&link->subject, out->subject.at, out->subject.len);
    chi_buf_add_char(&link->subject, '\0');
    if (link->subject.failed)
        return CHATHUB_ENOMEM;
    note_pull(link, out);
    pthread_mutex_lock(&link->sending);
    if (link->nc && link->told == link->number)
        status = publish(link, out);
    pthread_mutex_unlock(&link->sending);
    return code_of(status);
}

static bool port_up(void *self)
{
    struct chi_js_link *link = self;
    return link->up;
}

static uint64_t port_number(void *self)
{
    struct chi_js_link *link = self;
    link->told = link->number;
    return link->told;
}

/* libnats' flusher does it: nothing that waits for it blocks less than a round trip. */
static void port_flush(void *self)
{
    (void)self;
}

static uint32_t port_most(void *self)
{
    struct chi_js_link *link = self;
    return link->most;
}

struct chi_js_port chi_js_link_port(struct chi_js_link *link)
{
    return (struct chi_js_port){.up = port_up,
                                .number = port_number,
                                .send = port_send,
                                .flush = port_flush,
                                .most = port_most,
                                .self = link};
}

int chi_js_link_tell(struct chi_js_link *link, uint64_t node, struct chi_span bytes)
{
    char subject[64];
    if (node)
        snprintf(subject, sizeof subject, "%s.bus.%016" PRIx64, link->parts.url->stream, node);
    else
        snprintf(subject, sizeof subject, "%s.bus.all", link->parts.url->stream);
    return port_send(link, &(struct chi_js_out){.subject = chi_span_of(subject), .data = bytes});
}

/* -------------------------------------------------------------------------------------- taking */

static struct chi_span header(natsMsg *msg, const char *key)
{
    const char *value = NULL;
    return natsMsgHeader_Get(msg, key, &value) == NATS_OK ? chi_span_of(value)
                                                          : (struct chi_span){NULL, 0};
}

static uint64_t number_of(struct chi_span text)
{
    uint64_t number;
    return chi_parse_u64(text, 0, UINT64_MAX, &number) ? number : 0;
}

static bool read_live(struct chi_js_link *link, natsMsg *msg, struct chi_js_in *in)
{
    in->subject = chi_span_of(natsMsg_GetSubject(msg) + link->out_len);
    in->seq = number_of(header(msg, "Nats-Sequence"));
    in->last = number_of(header(msg, "Nats-Last-Sequence"));
    return in->seq > 0;
}

static uint32_t token_of(struct chi_js_link *link, struct chi_span consumer)
{
    for (uint32_t i = 0; i < CHI_JS_CONSUMERS; i++) {
        uint32_t at = (link->last_puller + i) % CHI_JS_CONSUMERS;
        if (chi_span_is(consumer, link->pullers[at].consumer)) {
            link->last_puller = at;
            return link->pullers[at].token;
        }
    }
    return 0;
}

/* A stored message, by a consumer. Its reply subject is (ADR-15)
 * $JS.ACK.STREAM.CONSUMER.DELIVERED.STREAM_SEQ.CONSUMER_SEQ.TIME.PENDING or
 * $JS.ACK.DOMAIN.ACCOUNT.STREAM.… with or without something random behind PENDING. */
static bool read_consumed(struct chi_js_link *link, natsMsg *msg, struct chi_js_in *in)
{
    struct chi_span tokens[12];
    const char *subject = natsMsg_GetSubject(msg), *at = natsMsg_GetReply(msg);
    size_t count = 0;
    while (at && count < 12) {
        size_t len = strcspn(at, ".");
        tokens[count++] = (struct chi_span){at, len};
        at = at[len] ? at + len + 1 : NULL;
    }
    if ((count != 9 && count < 11) || !chi_span_is(tokens[1], "ACK"))
        return false;
    const struct chi_span *of = tokens + (count == 9 ? 2 : 4);
    if (strncmp(subject, link->in, strlen(link->in)) != 0)
        return false;
    in->subject = chi_span_of(subject + strlen(link->in));
    in->token = token_of(link, of[1]);
    in->seq = number_of(of[3]);
    in->nth = number_of(of[4]);
    in->pending = number_of(of[6]);
    return in->token && in->seq;
}

static bool read_reply(struct chi_js_link *link, natsMsg *msg, struct chi_js_in *in)
{
    const char *subject = natsMsg_GetSubject(msg);
    size_t len = strlen(link->inbox);
    if (strncmp(subject, link->inbox, len) != 0)
        return read_consumed(link, msg, in);
    in->token = (uint32_t)number_of(chi_span_of(subject + len));
    in->status = (uint16_t)number_of(header(msg, "Status"));
    return in->token;
}

static void hand_out(struct chi_js_link *link, const struct slot *slot,
                     void (*each)(void *arg, const struct chi_js_in *in), void *arg)
{
    struct chi_js_in in = {.kind = slot->kind};
    natsMsg *msg = slot->msg;
    in.data = (struct chi_span){natsMsg_GetData(msg), (size_t)natsMsg_GetDataLength(msg)};
    bool known = slot->kind == CHI_JS_LIVE    ? read_live(link, msg, &in)
                 : slot->kind == CHI_JS_REPLY ? read_reply(link, msg, &in)
                                              : true;
    if (known)
        each(arg, &in);
    natsMsg_Destroy(msg);
}

/* Under lock: how many there are at the front without going round, of connections that are known. */
static uint32_t ready(struct chi_js_link *link, uint32_t most)
{
    uint32_t n = 0;
    while (n < most && n < link->count && link->first + n < RING &&
           link->ring[link->first + n].number <= link->told)
        n++;
    return n;
}

uint32_t chi_js_link_take(struct chi_js_link *link, uint32_t most,
                          void (*each)(void *arg, const struct chi_js_in *in), void *arg,
                          bool *missed)
{
    uint32_t done = 0, n;
    pthread_mutex_lock(&link->lock);
    while ((n = ready(link, most - done)) > 0) {
        /* Only this thread takes away what is in the ring. */
        pthread_mutex_unlock(&link->lock);
        size_t bytes = 0;
        for (uint32_t i = 0; i < n; i++) {
            bytes += link->ring[link->first + i].bytes;
            hand_out(link, &link->ring[link->first + i], each, arg);
        }
        pthread_mutex_lock(&link->lock);
        link->first = (link->first + n) % RING;
        link->count -= n;
        link->bytes -= bytes;
        done += n;
    }
    *missed = link->missed;
    link->missed = false;
    pthread_mutex_unlock(&link->lock);
    return done;
}

bool chi_js_link_waits(struct chi_js_link *link)
{
    pthread_mutex_lock(&link->lock);
    bool waits = link->count > 0;
    pthread_mutex_unlock(&link->lock);
    return waits;
}

const char *chi_js_link_problem(struct chi_js_link *link, bool *lasting)
{
    pthread_mutex_lock(&link->lock);
    snprintf(link->said, sizeof link->said, "%s", link->problem);
    *lasting = link->lasting;
    pthread_mutex_unlock(&link->lock);
    return link->said;
}
