/* Allocation faults: the linker sends the library's malloc and its kin here (--wrap). */
#include <stdlib.h>
#include <string.h>

#include "sim.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *at, size_t size);
void __real_free(void *at);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *at, size_t size);
void __wrap_free(void *at);
void *__wrap_chi_pages_take(size_t size);
void *__wrap_chi_pages_zeroed(size_t size);
void __wrap_chi_pages_give(void *pages, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t n);

static struct {
    struct sim_rng rng; /* which allocation fails */
    uint32_t one_in;    /* 0: none */
    int64_t live;       /* allocations not freed */
} heap;

void sim_alloc_begin(uint64_t seed, uint32_t one_in)
{
    heap.rng.state = seed ^ 0xa110c;
    heap.one_in = one_in;
    heap.live = 0;
}

void sim_alloc_rate(uint32_t one_in)
{
    heap.one_in = one_in;
}

int64_t sim_alloc_live(void)
{
    return heap.live;
}

static void *counted(void *at)
{
    if (at)
        heap.live++;
    return at;
}

static bool fails(void)
{
    return heap.one_in != 0 && sim_one_in(&heap.rng, heap.one_in);
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : counted(__real_malloc(size));
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : counted(__real_calloc(n, size));
}

void *__wrap_realloc(void *at, size_t size)
{
    if (fails())
        return NULL;
    return at ? __real_realloc(at, size) : counted(__real_realloc(NULL, size));
}

void __wrap_free(void *at)
{
    if (at)
        heap.live--;
    __real_free(at);
}

/* Pages too are counted and fail, and come from the heap in every build, so that seeds mean the
 * same. */
void *__wrap_chi_pages_take(size_t size)
{
    return __wrap_malloc(size);
}

void *__wrap_chi_pages_zeroed(size_t size)
{
    return __wrap_calloc(1, size);
}

void __wrap_chi_pages_give(void *pages, size_t size)
{
    (void)size;
    __wrap_free(pages);
}

char *__wrap_strndup(const char *text, size_t n)
{
    size_t len = strnlen(text, n);
    char *copy = __wrap_malloc(len + 1);
    if (!copy)
        return NULL;
    memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *__wrap_strdup(const char *text)
{
    return __wrap_strndup(text, strlen(text));
}

static void *must(void *at)
{
    if (!at)
        abort();
    return at;
}

void *sim_alloc(size_t size)
{
    return must(__real_calloc(1, size ? size : 1));
}

void *sim_realloc(void *at, size_t size)
{
    return must(__real_realloc(at, size));
}

void sim_free(void *at)
{
    __real_free(at);
}
