/* Any bytes as an HTTP request: answered by HTTP, or by nothing, and the connection closed. */
#include "talk.h"

#include <string.h>

static void check(const uint8_t *bytes, size_t len)
{
    static const char version[] = "HTTP/1.1 ";

    if (len == 0)
        return;
    REQUIRE(len > 12 && memcmp(bytes, version, 9) == 0);
    REQUIRE(bytes[9] >= '1' && bytes[9] <= '5');
    REQUIRE(memmem(bytes, len, "\r\n\r\n", 4));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct talk talk = {"ws", check};

    talk_once(&talk, "", data, size);
    return 0;
}
