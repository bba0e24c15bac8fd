/* Where there is no libFuzzer: runs a target over files, or over all files of folders. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path, long size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = malloc((size_t)size + 1);
    size_t got = file && data ? fread(data, 1, (size_t)size, file) : 0;

    if (file)
        fclose(file);
    if (got == (size_t)size)
        LLVMFuzzerTestOneInput(data, got);
    free(data);
    return got == (size_t)size ? 1 : -1;
}

/* Inputs that were run, or -1. */
static int replay(const char *path)
{
    struct stat st;
    char inner[4096];
    int count = 0;

    if (stat(path, &st) != 0)
        return -1;
    if (!S_ISDIR(st.st_mode))
        return replay_file(path, (long)st.st_size);
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && count >= 0 && (entry = readdir(folder));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
        int one = replay(inner);
        count = one < 0 ? -1 : count + one;
    }
    if (folder)
        closedir(folder);
    return folder ? count : -1;
}

int main(int argc, char **argv)
{
    int count = 0;

    for (int i = 1; i < argc; i++) {
        int one = replay(argv[i]);
        if (one < 0) {
            fprintf(stderr, "%s: cannot be read\n", argv[i]);
            return 1;
        }
        count += one;
    }
    printf("%d inputs\n", count);
    return count > 0 ? 0 : 1;
}
