/* Any bytes on the port for lines: the server speaks in whole lines of clean UTF-8. */
#include "talk.h"

#include <string.h>

#include "util/text.h"

static void check(const uint8_t *bytes, size_t len)
{
    /* What does not fit into the socket's buffer at once may be cut where the client went. */
    if (len == 0 || len > 65536)
        return;
    REQUIRE(bytes[len - 1] == '\n');
    REQUIRE(chi_utf8_valid(bytes, len) && chi_text_clean((const char *)bytes, len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct talk talk = {"tcp", check};

    talk_once(&talk, "", data, size);
    return 0;
}
