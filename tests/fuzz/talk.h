/* A whole hub in memory, to which fuzz targets talk over one Unix socket at a time. */
#ifndef FUZZ_TALK_H
#define FUZZ_TALK_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

struct talk {
    const char *scheme; /* of the listener: "ws" or "tcp" */
    /* What the server said within this connection, all of it; the server has closed. */
    void (*check)(const uint8_t *said, size_t len);
};

/* Connects, sends `opening` as it is and then `data` in pieces (its first byte says how they are
 * cut), reads until the server has closed, and looks whether the hub kept nothing of the
 * connection. */
void talk_once(const struct talk *talk, const char *opening, const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
