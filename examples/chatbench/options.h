/* What chatbench is asked to do. */
#ifndef CB_OPTIONS_H
#define CB_OPTIONS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* Bytes of content: a post has as many, neither more nor less. */
#define CB_SIZE_MIN 16u
#define CB_SIZE_MAX 65536u

/* Nodes of one chat that a run may use. */
#define CB_NODES_MAX 8u

struct cb_options {
    const char *url;                          /* as given; one, or several with commas between */
    bool websocket;                           /* else lines */
    char host[256];                           /* as in the URL, for Host: */
    char path[256];                           /* of the WebSocket */
    struct sockaddr_storage to[CB_NODES_MAX]; /* where they lead */
    socklen_t to_len[CB_NODES_MAX];           /* its length */
    uint32_t nodes;  /* URLs: client i goes to number i / rooms % nodes, so that a room is on all */
    bool has_source; /* source is set */
    struct in_addr source;   /* first own address, good for CB_PORTS connections; then the next */
    bool plain;              /* WebSocket without subprotocol chathub.v1 */
    const char *prefix;      /* room names begin with it */
    uint32_t clients, rooms; /* how many; client i is in room i % rooms */
    uint32_t posters;        /* clients 0 … posters - 1 post, each in its room */
    uint32_t ramp;           /* connections being made at a time */
    uint32_t size;           /* bytes of content */
    double rate;             /* posts a second of all posters; 0: by outstanding */
    uint32_t outstanding;    /* posts without ack of all posters */
    double seconds;          /* how long to post */
    uint64_t posts;          /* how many posts in all; 0: by time */
    double settle;           /* seconds between the last join and the first post */
    double idle;             /* seconds of silence at the end */
    double drain; /* seconds without progress after which what is missing counts as lost */
    int pids[CB_NODES_MAX]; /* of the server's processes */
    uint32_t pid_count;     /* 0: not known */
    uint32_t stall;         /* the last so many clients stop reading */
    double stall_seconds;   /* for so long from the first post on; 0: do not wait */
    bool gaps_ok;           /* a told gap is no loss */
    const char *epoch;      /* join after `after`, read under this epoch; NULL: from now on */
    uint64_t after;         /* a position */
    uint32_t behind;        /* entries that each client then has to catch up on; 0: none */
    bool json;              /* report as JSON */
};

/* Reads the command line. 0: go on; 1: help was printed; -1: a mistake, told on stderr. */
int cb_options_read(struct cb_options *options, int argc, char **argv);

#endif
