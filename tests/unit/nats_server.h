/* A nats-server of a test's own, with JetStream, on a free port of 127.0.0.1 and in a folder of its
 * own, which the test kills, starts again, freezes and thaws. */
#ifndef NATS_SERVER_H
#define NATS_SERVER_H

#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct nats_server {
    char folder[64];
    int port;
    pid_t pid;     /* 0: it does not run */
    char url[160]; /* nats://127.0.0.1:port */
};

#define NATS_SERVER_DEADLINE_MS                                                                    \
    20000 /* far beyond what anything takes: of the test, not a measure */

static inline uint64_t nats_server_now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000 + (uint64_t)at.tv_nsec / 1000000;
}

/* Whether there is one on this machine. */
static inline bool nats_server_there(void)
{
    return access("/usr/sbin/nats-server", X_OK) == 0 ||
           access("/usr/local/bin/nats-server", X_OK) == 0 ||
           access("/usr/bin/nats-server", X_OK) == 0;
}

static inline struct sockaddr_in nats_server_address(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* A port that nobody had just now. */
static inline int nats_server_free_port(void)
{
    struct sockaddr_in at = nats_server_address(0);
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    close(fd);
    return ntohs(at.sin_port);
}

/* It greets whoever connects. */
static inline bool nats_server_greets(const struct nats_server *s)
{
    struct sockaddr_in at = nats_server_address(s->port);
    char greeting[4] = "";
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool greets = connect(fd, (struct sockaddr *)&at, sizeof at) == 0 &&
                  poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 1000) == 1 &&
                  read(fd, greeting, sizeof greeting) == sizeof greeting &&
                  memcmp(greeting, "INFO", sizeof greeting) == 0;
    close(fd);
    return greets;
}

static inline void nats_server_run(const struct nats_server *s)
{
    char config[128], log[128];
    snprintf(config, sizeof config, "%s/nats.conf", s->folder);
    snprintf(log, sizeof log, "%s/log", s->folder);
    /* It does not outlive a test that dies. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(fd, 1);
    dup2(fd, 2);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    char *const args[] = {(char *)"nats-server", (char *)"-c", config, NULL};
    execvp("nats-server", args);
    execv("/usr/sbin/nats-server", args);
    _exit(127);
}

/* Starts it (again, with all that it kept), and waits until it greets. */
static inline void nats_server_start(struct nats_server *s)
{
    uint64_t deadline = nats_server_now() + NATS_SERVER_DEADLINE_MS;
    ck_assert_int_eq(s->pid, 0);
    s->pid = fork();
    ck_assert_int_ge(s->pid, 0);
    if (s->pid == 0)
        nats_server_run(s);
    while (!nats_server_greets(s)) {
        ck_assert_msg(waitpid(s->pid, NULL, WNOHANG) == 0, "nats-server ended; see %s/log",
                      s->folder);
        ck_assert_msg(nats_server_now() < deadline, "nats-server does not greet");
        poll(NULL, 0, 5);
    }
}

/* kill -9. */
static inline void nats_server_kill(struct nats_server *s)
{
    if (!s->pid)
        return;
    kill(s->pid, SIGKILL);
    waitpid(s->pid, NULL, 0);
    s->pid = 0;
}

/* It runs on and answers nobody. */
static inline void nats_server_freeze(struct nats_server *s)
{
    int status;
    ck_assert_int_eq(kill(s->pid, SIGSTOP), 0);
    ck_assert_int_eq(waitpid(s->pid, &status, WUNTRACED), s->pid);
    ck_assert(WIFSTOPPED(status));
}

static inline void nats_server_thaw(struct nats_server *s)
{
    ck_assert_int_eq(kill(s->pid, SIGCONT), 0);
}

static inline int nats_server_remove(const char *path, const struct stat *is, int type,
                                     struct FTW *at)
{
    (void)is, (void)type, (void)at;
    return remove(path);
}

/* All that it kept is lost; it must not run. */
static inline void nats_server_forget(struct nats_server *s)
{
    char store[128];
    ck_assert_int_eq(s->pid, 0);
    snprintf(store, sizeof store, "%s/store", s->folder);
    nftw(store, nats_server_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* Makes one and starts it. `more`: further lines of its configuration, or NULL. */
static inline void nats_server_new(struct nats_server *s, bool jetstream, const char *more)
{
    char path[128];
    *s = (struct nats_server){.port = nats_server_free_port()};
    snprintf(s->folder, sizeof s->folder, "/tmp/chathub-nats-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(s->folder));
    snprintf(s->url, sizeof s->url, "nats://127.0.0.1:%d", s->port);
    snprintf(path, sizeof path, "%s/nats.conf", s->folder);
    FILE *config = fopen(path, "we");
    ck_assert_ptr_nonnull(config);
    fprintf(config, "listen: \"127.0.0.1:%d\"\n", s->port);
    if (jetstream)
        fprintf(config, "jetstream { store_dir: \"%s/store\" }\n", s->folder);
    if (more)
        fprintf(config, "%s\n", more);
    ck_assert_int_eq(fclose(config), 0);
    nats_server_start(s);
}

/* Ends it and removes all of it. */
static inline void nats_server_free(struct nats_server *s)
{
    nats_server_kill(s);
    nftw(s->folder, nats_server_remove, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
