/* The two programs in `scale`, and what they are told. */
#ifndef SCALE_H
#define SCALE_H

#include <stdbool.h>
#include <stdint.h>

struct scale_options {
    uint32_t count;       /* rooms, or members */
    uint32_t name_length; /* of rooms' names, bytes */
    const char *log;      /* file of an SQLite log; NULL: the one in memory */
    bool quick;           /* only what does not depend on the machine */
};

/* Answer the program's exit status. */
int scale_rooms(const struct scale_options *options);
int scale_members(const struct scale_options *options);

#endif
