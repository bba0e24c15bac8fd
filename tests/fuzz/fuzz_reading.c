/* Reads any text as a JSON object twice, in one pass and by jansson: what the first takes, the second
 * takes with the same members. */
#include "same_reading.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size ? size : 1); /* of exactly the size: nothing beyond is looked at */
    SAME(text);
    if (size)
        memcpy(text, data, size);
    if (chi_utf8_valid(text, size))
        read_twice((struct chi_span){text, size});
    free(text);
    return 0;
}
