/* What is on the heap: every allocation that this program's own objects made (the library's are
 * among them: it is linked in), told apart by size; and what they have mapped. Wants the linker's
 * --wrap for the functions of malloc, for munmap, and for mmap64, which is mmap with 64-bit offsets. */
#ifndef SCALE_HEAP_H
#define SCALE_HEAP_H

#include <stdint.h>

/* Sizes are counted up to this; the larger ones only in `large`. */
#define SCALE_SIZES 1024

struct scale_heap {
    int64_t count[SCALE_SIZES / 8 + 1]; /* live allocations by usable size / 8 */
    int64_t large;                      /* bytes in larger ones */
    int64_t mapped;                     /* bytes, whether they were touched or not */
};

extern struct scale_heap scale_heap;

#endif
