#include "util/pages.h"

#include <stdlib.h>
#include <sys/mman.h>

/* AddressSanitizer watches the heap's memory only. */
#if defined(__SANITIZE_ADDRESS__)
#define FROM_HEAP 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FROM_HEAP 1
#endif
#endif

void *chi_pages_take(size_t size)
{
#ifdef FROM_HEAP
    return malloc(size);
#else
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
#endif
}

void *chi_pages_zeroed(size_t size)
{
#ifdef FROM_HEAP
    return calloc(1, size);
#else
    return chi_pages_take(size); /* the system hands out no other, and only what is touched costs */
#endif
}

void chi_pages_give(void *pages, size_t size)
{
#ifdef FROM_HEAP
    (void)size;
    free(pages);
#else
    /* A hole between others is a mapping more, of which a process may have so many: then the memory
     * goes back, and the addresses stay. */
    if (pages && munmap(pages, size))
        madvise(pages, size, MADV_DONTNEED);
#endif
}
