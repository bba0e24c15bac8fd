#include "proc.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* utime and stime are fields 14 and 15 (proc(5)); the name before them is in brackets and may hold anything. */
static bool read_stat(const char *path, struct cb_thread *out)
{
    char line[1024];
    FILE *file = fopen(path, "re");
    size_t len = file ? fread(line, 1, sizeof line - 1, file) : 0;
    if (file) {
        fclose(file);
    }
    line[len] = 0;
    char *open = strchr(line, '('), *close = strrchr(line, ')');
    unsigned long user, system;
    if (!open || !close ||
        sscanf(close + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) !=
            2) {
        return false;
    }
    double tick = (double)sysconf(_SC_CLK_TCK);
    snprintf(out->name, sizeof out->name, "%.*s", (int)(close - open - 1), open + 1);
    out->user = (double)user / tick;
    out->system = (double)system / tick;
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
    if (!file) {
        return -1;
    }
    while (kib < 0 && fgets(line, sizeof line, file)) {
        if (sscanf(line, "Pss: %" SCNd64, &kib) != 1) {
            kib = -1;
        }
    }
    fclose(file);
    return kib < 0 ? -1 : kib * 1024;
}

bool cb_proc_queues(uint16_t local_port, uint16_t remote_port, uint32_t *to_send, uint32_t *to_read)
{
    char line[512];
    bool found = false;
    FILE *file = fopen("/proc/net/tcp", "re");
    while (file && !found && fgets(line, sizeof line, file)) {
        unsigned local, remote;
        found = sscanf(line, "%*d: %*8x:%x %*8x:%x %*x %x:%x", &local, &remote, to_send, to_read) ==
                    4 &&
                local == local_port && remote == remote_port;
    }
    if (file) {
        fclose(file);
    }
    return found;
}
