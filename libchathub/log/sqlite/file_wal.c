/* What is in the WAL of an SQLite log's file (sqlite.org/walformat.html): as much of it as it takes
 * to see that it is whole and belongs to its file, which SQLite does not look at. */
#include "log/sqlite/file_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chathub.h"

#define FRAME_BYTES 24         /* before each page */
#define LOCK_BYTE   0x40000000 /* of the file: the page with it is never written */

uint32_t chi_big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static uint32_t word_of(const uint8_t *at, bool big)
{
    return big ? chi_big_endian(at)
               : (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
}

/* Goes on with a checksum; `len` is a multiple of 8. */
static void add_up(uint32_t sum[2], const uint8_t *at, int64_t len, bool big)
{
    for (int64_t i = 0; i < len; i += 8) {
        sum[0] += word_of(at + i, big) + sum[1];
        sum[1] += word_of(at + i + 4, big) + sum[0];
    }
}

static bool is_sum(const uint32_t sum[2], const uint8_t *at)
{
    return sum[0] == chi_big_endian(at) && sum[1] == chi_big_endian(at + 4);
}

static bool is_sound(struct chi_wal *wal)
{
    uint32_t magic = chi_big_endian(wal->head), sum[2] = {0, 0};
    wal->big = magic & 1;
    wal->page_bytes = chi_big_endian(wal->head + 8);
    add_up(sum, wal->head, 24, wal->big);
    return (magic & ~1u) == 0x377f0682 && is_sum(sum, wal->head + 24) && wal->page_bytes >= 512 &&
           wal->page_bytes <= 65536 && wal->page_bytes % 8 == 0;
}

/* 1: it is sound; 0: there is none, or it was cut away by a hub that writes; CHATHUB_EIO. What
 * looks unsound is looked at again: that hub may have been in the midst of writing it. */
static int read_head(struct chi_wal *wal)
{
    uint8_t before[CHI_WAL_HEAD] = {0};
    for (;;) {
        struct stat is;
        memcpy(before, wal->head, CHI_WAL_HEAD);
        memset(wal->head, 0, CHI_WAL_HEAD);
        if (fstat(wal->fd, &is) || is.st_size <= CHI_WAL_HEAD ||
            pread(wal->fd, wal->head, CHI_WAL_HEAD, 0) != CHI_WAL_HEAD)
            return 0;
        if (is_sound(wal)) {
            wal->frames = ((int64_t)is.st_size - CHI_WAL_HEAD) / (FRAME_BYTES + wal->page_bytes);
            return 1;
        }
        if (memcmp(before, wal->head, CHI_WAL_HEAD) == 0)
            return CHATHUB_EIO;
    }
}

int chi_wal_open(const char *real, struct chi_wal *wal)
{
    *wal = (struct chi_wal){.fd = -1};
    char *name = chi_file_beside(real, "-wal");
    if (!name)
        return CHATHUB_ENOMEM;
    wal->fd = open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    free(name);
    if (wal->fd < 0)
        return 0; /* there is none, or SQLite will say why it cannot be read */
    int sound = read_head(wal);
    return sound < 0 ? sound : 0;
}

void chi_wal_close(struct chi_wal *wal)
{
    if (wal->fd >= 0)
        close(wal->fd);
    wal->fd = -1;
}

/* Reads the first `len` bytes of a frame; false: it is of an earlier round of the WAL, or not
 * there. */
static bool read_frame(const struct chi_wal *wal, int64_t frame, uint8_t *at, int64_t len)
{
    off_t place = (off_t)(CHI_WAL_HEAD + frame * (FRAME_BYTES + wal->page_bytes));
    return pread(wal->fd, at, (size_t)len, place) == (ssize_t)len &&
           memcmp(at + 8, wal->head + 16, 8) == 0;
}

int chi_wal_left(const struct chi_wal *wal, int64_t pages)
{
    int64_t len = FRAME_BYTES + wal->page_bytes;
    bool any = false, found = false;
    uint32_t sum[2] = {chi_big_endian(wal->head + 24), chi_big_endian(wal->head + 28)};
    uint8_t *frame = malloc((size_t)len);
    if (!frame)
        return CHATHUB_ENOMEM;
    for (int64_t i = 0; i < wal->frames && !found && read_frame(wal, i, frame, len); i++) {
        add_up(sum, frame, 8, wal->big);
        add_up(sum, frame + FRAME_BYTES, wal->page_bytes, wal->big);
        if (!is_sum(sum, frame + 16))
            break;
        uint32_t left = chi_big_endian(frame + 4); /* 0: this is not the end of a commit */
        any |= left != 0;
        found = left && left == pages;
    }
    free(frame);
    return found || !any;
}

int chi_wal_has(const struct chi_wal *wal, int64_t first, int64_t last)
{
    int64_t count = last - first + 1;
    uint8_t head[FRAME_BYTES];
    bool has = count <= wal->frames;
    uint8_t *there = has ? calloc(1, (size_t)count + 1) : NULL;
    if (has && !there)
        return CHATHUB_ENOMEM;
    for (int64_t i = 0; has && i < wal->frames && read_frame(wal, i, head, FRAME_BYTES); i++) {
        int64_t page = (int64_t)chi_big_endian(head) - first;
        if (page >= 0 && page < count)
            there[page] = 1;
    }
    for (int64_t i = 0; has && i < count; i++)
        has = there[i] || first + i == LOCK_BYTE / wal->page_bytes + 1;
    free(there);
    return has;
}
