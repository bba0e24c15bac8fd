/* The bytes of a room's newest entries, as the first member that got them saw them.
 *
 * A room's entries are the same bytes for all its members. The first member's are parsed and
 * checked one by one, and kept here; whoever else stands at an entry that is kept has its bytes
 * compared, all that it read at once. What is equal is right, since it was checked before; what
 * differs is parsed by itself. So comparing never decides that something is wrong.
 *
 * All kept entries follow each other without a hole. Kept is what a reading member still needs,
 * up to CB_STREAM_ROOM bytes a room and CB_STREAM_ALL in all; who is behind that (one that
 * stalled) has its entries parsed again. */
#ifndef CB_STREAM_H
#define CB_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CB_STREAM_ROOM (16u << 20)
#define CB_STREAM_ALL  (256u << 20)

struct cb_bench;
struct cb_client;
struct cb_frame;

/* What is to be known of an entry whose bytes were compared. */
struct cb_mark {
    uint64_t end; /* offset behind its frame, counted from the first frame of all */
    uint64_t due; /* when it was due, ns; 0: it is none of this run's */
};

struct cb_stream {
    char *bytes;           /* the frames of entries `kept` and on */
    size_t cap;            /* allocated there */
    uint64_t base, end;    /* offsets of the first kept byte, and behind the last */
    uint32_t kept;         /* the first entry of the reference whose frame is kept */
    uint32_t count;        /* marks, one for each entry of the reference */
    uint32_t marks_cap;    /* allocated */
    struct cb_mark *marks; /* by number in the reference */
};

/* Adds the frame of the entry that was just added to the room's reference; `follows`: its prev is
 * the reference's entry before. False: out of memory. */
bool cb_stream_add(struct cb_bench *bench, uint32_t room, const struct cb_frame *frame,
                   uint64_t due, bool follows);
/* Takes the whole frames at the beginning of `bytes` that are the client's next entries, byte for
 * byte; answers their length, 0 if there are none. */
size_t cb_stream_match(struct cb_bench *bench, struct cb_client *client, const char *bytes,
                       size_t len);
void cb_stream_fini(struct cb_stream *stream);

#endif
