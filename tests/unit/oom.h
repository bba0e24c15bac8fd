/* Allocations that fail when a test wants it: for programs linked with --wrap for malloc, calloc and
 * realloc. */
#ifndef OOM_H
#define OOM_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the allocation that is asked for now fails: the test's own. */
static bool fails(void);

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *at, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *at, size_t size);

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *at, size_t size)
{
    return fails() ? NULL : __real_realloc(at, size);
}

#endif
