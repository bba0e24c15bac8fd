#include "proc.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The number after `skip` fields, or 0. The kernel's own texts are well formed. */
static unsigned long long field(const char *at, int skip, int base)
{
    for (; skip > 0; skip--) {
        at += strspn(at, " ");
        at += strcspn(at, " ");
    }
    return strtoull(at, NULL, base);
}

/* The first bytes of a file in /proc, as a text; "" if there are none. */
static void read_text(const char *path, char *out, size_t size)
{
    FILE *file = fopen(path, "re");
    size_t len = file ? fread(out, 1, size - 1, file) : 0;
    if (file) {
        fclose(file);
    }
    out[len] = 0;
}

/* utime and stime are fields 14 and 15 (proc(5)); the name, the second, is in brackets and may
 * hold anything. */
static void read_kinds(int pid, struct cb_cpu *out)
{
    char path[64], line[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    read_text(path, line, sizeof line);
    const char *close = strrchr(line, ')');
    if (close) {
        double tick = (double)sysconf(_SC_CLK_TCK);
        out->user += (double)field(close + 1, 11, 10) / tick;
        out->system += (double)field(close + 1, 12, 10) / tick;
    }
}

/* schedstat begins with the ns that the thread ran (Documentation/scheduler/sched-stats). */
static bool read_thread(int pid, const char *id, struct cb_thread *out)
{
    char path[320], text[128];
    snprintf(path, sizeof path, "/proc/%d/task/%s/schedstat", pid, id);
    read_text(path, text, sizeof text);
    if (!text[0]) {
        return false;
    }
    out->seconds = (double)field(text, 0, 10) / 1e9;
    out->id = (int)strtol(id, NULL, 10);
    snprintf(path, sizeof path, "/proc/%d/task/%s/comm", pid, id);
    read_text(path, out->name, sizeof out->name);
    out->name[strcspn(out->name, "\n")] = 0;
    return true;
}

static bool add_process(int pid, struct cb_cpu *out)
{
    char path[64];
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) < 0) {
        return false;
    }
    out->total += (double)t.tv_sec + (double)t.tv_nsec / 1e9;
    read_kinds(pid, out);
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks) {
        return false;
    }
    for (struct dirent *task; (task = readdir(tasks)) && out->count < CB_THREADS_MAX;) {
        bool found =
            task->d_name[0] != '.' && read_thread(pid, task->d_name, &out->threads[out->count]);
        out->count += found;
    }
    closedir(tasks);
    return true;
}

bool cb_proc_cpu(const int *pids, uint32_t count, struct cb_cpu *out)
{
    memset(out, 0, sizeof *out);
    bool well = true;
    for (uint32_t i = 0; i < count && well; i++) {
        well = add_process(pids[i], out);
    }
    return well;
}

double cb_proc_thread(const struct cb_cpu *before, const struct cb_thread *thread)
{
    for (uint32_t i = 0; i < before->count; i++) {
        if (before->threads[i].id == thread->id) {
            return thread->seconds - before->threads[i].seconds;
        }
    }
    return thread->seconds;
}

double cb_proc_log(const struct cb_cpu *before, const struct cb_cpu *after)
{
    static const char name[] = "chathub-log-";
    double seconds = 0;
    for (uint32_t i = 0; i < after->count; i++) {
        const struct cb_thread *thread = &after->threads[i];
        if (strncmp(thread->name, name, sizeof name - 1) == 0) {
            seconds += cb_proc_thread(before, thread);
        }
    }
    return seconds;
}

int64_t cb_proc_pss(int pid)
{
    char path[64], line[256];
    int64_t kib = -1;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    FILE *file = fopen(path, "re");
    while (file && kib < 0 && fgets(line, sizeof line, file)) {
        if (strncmp(line, "Pss:", 4) == 0) {
            kib = (int64_t)field(line, 1, 10);
        }
    }
    if (file) {
        fclose(file);
    }
    return kib < 0 ? -1 : kib * 1024;
}

/* A port is behind the colon of an address such as 0100007F:1F90. */
static unsigned long long after_colon(const char *at)
{
    const char *colon = strchr(at, ':');
    return colon ? field(colon + 1, 0, 16) : 0;
}

/* A line is `number: local remote state to_send:to_read …`, all in hexadecimal. */
bool cb_proc_queues(uint16_t local_port, uint16_t remote_port, uint32_t *to_send, uint32_t *to_read)
{
    char line[512];
    bool found = false;
    FILE *file = fopen("/proc/net/tcp", "re");
    while (file && !found && fgets(line, sizeof line, file)) {
        const char *local = strstr(line, ": "), *remote = local ? strchr(local + 2, ' ') : NULL;
        found =
            remote && after_colon(local + 2) == local_port && after_colon(remote) == remote_port;
        if (found) {
            *to_send = (uint32_t)field(remote, 2, 16);
            *to_read = (uint32_t)after_colon(strchr(remote, ':') + 1);
        }
    }
    if (file) {
        fclose(file);
    }
    return found;
}
