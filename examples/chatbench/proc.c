#include "proc.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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

/* utime and stime are fields 14 and 15 (proc(5)); the name, the second, is in brackets and may
 * hold anything. */
static bool read_stat(const char *path, struct cb_thread *out)
{
    char line[1024];
    FILE *file = fopen(path, "re");
    size_t len = file ? fread(line, 1, sizeof line - 1, file) : 0;
    if (file) {
        fclose(file);
    }
    line[len] = 0;
    const char *open = strchr(line, '('), *close = strrchr(line, ')');
    if (!open || !close) {
        return false;
    }
    double tick = (double)sysconf(_SC_CLK_TCK);
    snprintf(out->name, sizeof out->name, "%.*s", (int)(close - open - 1), open + 1);
    out->user = (double)field(close + 1, 11, 10) / tick;
    out->system = (double)field(close + 1, 12, 10) / tick;
    return true;
}

bool cb_proc_cpu(int pid, struct cb_cpu *out)
{
    char path[320];
    struct cb_thread all;
    memset(out, 0, sizeof *out);
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    if (!read_stat(path, &all)) {
        return false;
    }
    out->user = all.user;
    out->system = all.system;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *tasks = opendir(path);
    if (!tasks) {
        return false;
    }
    for (struct dirent *task; (task = readdir(tasks)) && out->count < CB_THREADS_MAX;) {
        snprintf(path, sizeof path, "/proc/%d/task/%s/stat", pid, task->d_name);
        if (task->d_name[0] != '.' && read_stat(path, &out->threads[out->count])) {
            out->count++;
        }
    }
    closedir(tasks);
    return true;
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
