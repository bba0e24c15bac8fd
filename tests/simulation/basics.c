/* Randomness, bytes, interned words: what the simulation stands on. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "sim.h"

struct sim_world *sim_world;

uint64_t sim_next(struct sim_rng *rng)
{
    uint64_t z = rng->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint32_t sim_below(struct sim_rng *rng, uint32_t n)
{
    return n == 0 ? 0 : (uint32_t)(sim_next(rng) % n);
}

bool sim_one_in(struct sim_rng *rng, uint32_t n)
{
    return n != 0 && sim_below(rng, n) == 0;
}

uint64_t sim_hash(const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    uint64_t h = 0xcbf29ce484222325u ^ len;
    for (size_t i = 0; i < len; i++)
        h = (h ^ at[i]) * 0x100000001b3u;
    h ^= h >> 29;
    h *= 0xbf58476d1ce4e5b9u;
    return h ^ (h >> 32);
}

void sim_bytes_add(struct sim_bytes *bytes, const void *at, size_t len)
{
    if (bytes->len + len > bytes->cap) {
        bytes->cap = (bytes->len + len) * 2 + 64;
        bytes->at = sim_realloc(bytes->at, bytes->cap);
    }
    if (len)
        memcpy(bytes->at + bytes->len, at, len);
    bytes->len += len;
}

void sim_bytes_consume(struct sim_bytes *bytes, size_t n)
{
    bytes->len -= n;
    if (bytes->len)
        memmove(bytes->at, bytes->at + n, bytes->len);
}

void sim_bytes_fini(struct sim_bytes *bytes)
{
    sim_free(bytes->at);
    *bytes = (struct sim_bytes){0};
}

void sim_fail(struct sim_world *w, const char *format, ...)
{
    if (w->failed)
        return;
    w->failed = true;
    w->kind = format;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(w->what, sizeof w->what, format, args);
    va_end(args);
    SIM_TRACE(w, "FAILED: %s", w->what);
}

void sim_trace(struct sim_world *w, const char *format, ...)
{
    printf("%5u %6llu ms  ", w->step, (unsigned long long)w->now);
    va_list args;
    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    putchar('\n');
    (void)fflush(stdout);
}

static void intern_grow(struct sim_world *w)
{
    w->word_cap = w->word_cap ? w->word_cap * 2 : 512;
    w->words = sim_realloc(w->words, w->word_cap * sizeof *w->words);
    sim_free(w->word_slots);
    w->word_slots = sim_alloc((size_t)w->word_cap * 2 * sizeof *w->word_slots);
    for (uint32_t i = 1; i <= w->word_count; i++) {
        uint64_t at = sim_hash(w->words[i], strlen(w->words[i]));
        while (w->word_slots[at % (w->word_cap * 2)])
            at++;
        w->word_slots[at % (w->word_cap * 2)] = i;
    }
}

uint32_t sim_intern(struct sim_world *w, struct chi_span text)
{
    if (text.len == 0)
        return 0;
    if (w->word_count + 2 >= w->word_cap)
        intern_grow(w);
    uint64_t at = sim_hash(text.at, text.len);
    for (;; at++) {
        uint32_t found = w->word_slots[at % (w->word_cap * 2)];
        if (!found)
            break;
        const char *word = w->words[found];
        if (strlen(word) == text.len && memcmp(word, text.at, text.len) == 0)
            return found;
    }
    char *copy = sim_alloc(text.len + 1);
    memcpy(copy, text.at, text.len);
    w->words[++w->word_count] = copy;
    w->word_slots[at % (w->word_cap * 2)] = w->word_count;
    return w->word_count;
}

int sim_room_of(const struct sim_world *w, struct chi_span name)
{
    for (int i = 0; i < SIM_ROOMS; i++)
        if (strlen(w->rooms[i].name) == name.len &&
            strncasecmp(w->rooms[i].name, name.at, name.len) == 0)
            return i;
    return -1;
}

bool sim_faulty(const struct sim_world *w, enum sim_fault fault)
{
    return (w->faults & (uint32_t)fault) != 0;
}
