#include "scale_heap.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct scale_heap scale_heap;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *at, size_t size);
void __real_free(void *at);
void *__real_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *at, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *at, size_t size);
void __wrap_free(void *at);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t max);
void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset);
int __wrap_munmap(void *at, size_t size);

static void note_size(size_t size, int64_t sign)
{
    if (size > SCALE_SIZES)
        scale_heap.large += sign * (int64_t)size;
    else if (size)
        scale_heap.count[size / 8] += sign;
}

static void note(void *at, int64_t sign)
{
    note_size(malloc_usable_size(at), sign); /* 0 of NULL */
}

void *__wrap_malloc(size_t size)
{
    void *at = __real_malloc(size);
    note(at, 1);
    return at;
}

void *__wrap_calloc(size_t count, size_t size)
{
    void *at = __real_calloc(count, size);
    note(at, 1);
    return at;
}

void *__wrap_realloc(void *at, size_t size)
{
    size_t was = malloc_usable_size(at);
    void *moved = __real_realloc(at, size);
    if (moved || !size) {
        note_size(was, -1);
        note(moved, 1);
    }
    return moved;
}

void __wrap_free(void *at)
{
    note(at, -1);
    __real_free(at);
}

char *__wrap_strndup(const char *text, size_t max)
{
    size_t len = strnlen(text, max);
    char *copy = __wrap_malloc(len + 1);
    if (copy) {
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    return copy;
}

char *__wrap_strdup(const char *text)
{
    return __wrap_strndup(text, SIZE_MAX);
}

void *__wrap_mmap64(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
    void *mapped = __real_mmap64(at, size, protection, flags, fd, offset);
    if (mapped != MAP_FAILED)
        scale_heap.mapped += (int64_t)size;
    return mapped;
}

int __wrap_munmap(void *at, size_t size)
{
    int error = __real_munmap(at, size);
    if (!error)
        scale_heap.mapped -= (int64_t)size;
    return error;
}
