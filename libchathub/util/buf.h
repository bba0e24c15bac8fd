/* A growable run of bytes with a bound that its owner states. */
#ifndef CHI_UTIL_BUF_H
#define CHI_UTIL_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct chi_buf {
    char *at;    /* the bytes, owned; NULL while nothing was ever reserved */
    size_t len;  /* bytes in use */
    size_t cap;  /* bytes allocated */
    bool failed; /* an append did not fit (no memory): the content is not to be used */
};

/* All zero is a valid empty buffer. Appends to a failed buffer do nothing, so that an encoder
 * appends without looking and asks `failed` once at its end. */
void chi_buf_init(struct chi_buf *buf);
void chi_buf_fini(struct chi_buf *buf);

/* Makes room for `more` bytes after the ones in use. Returns where they begin, or NULL (failed
 * is set). */
char *chi_buf_reserve(struct chi_buf *buf, size_t more);
/* In the header, because an encoder's many short appends are of known length. */
static inline void chi_buf_add(struct chi_buf *buf, const void *bytes, size_t len)
{
    if (!len)
        return;
    bool fits = buf->at && !buf->failed && len <= buf->cap - buf->len;
    char *to = fits ? buf->at + buf->len : chi_buf_reserve(buf, len);
    if (!to)
        return;
    memcpy(to, bytes, len);
    buf->len += len;
}

static inline void chi_buf_add_text(struct chi_buf *buf, const char *text) /* up to its NUL */
{
    chi_buf_add(buf, text, strlen(text));
}
void chi_buf_add_char(struct chi_buf *buf, char c);
void chi_buf_add_u64(struct chi_buf *buf, uint64_t number); /* in decimal */
/* Appends `text` as a JSON string with its quotes; valid UTF-8 in, ASCII controls escaped, the
 * rest unchanged. */
void chi_buf_add_json(struct chi_buf *buf, const char *text, size_t len);

/* Removes `n` bytes from the front. */
void chi_buf_consume(struct chi_buf *buf, size_t n);
/* Cuts back to `len` bytes and clears `failed`: undoes what was appended since. */
void chi_buf_truncate(struct chi_buf *buf, size_t len);
/* Empties it; keeps at most `keep` bytes allocated. */
void chi_buf_reset(struct chi_buf *buf, size_t keep);

#endif
