/* Frames of what a dialect wrote. */
#include "delivery/internal.h"

#include <string.h>

/* Makes frames of the texts in `texts`, behind what `buf` holds. */
static void frame_each(const struct chi_framing *framing, struct chi_buf *buf,
                       struct chi_span texts)
{
    while (texts.len) {
        const char *apart = memchr(texts.at, CHI_FRAME_APART, texts.len);
        size_t len = apart ? (size_t)(apart - texts.at) : texts.len, start = buf->len;
        chi_buf_add(buf, texts.at, len);
        if (buf->len > start)
            framing->frame(buf, start);
        len += apart != NULL;
        texts = (struct chi_span){texts.at + len, texts.len - len};
    }
}

void chi_frame_texts(const struct chi_encoding *how, struct chi_buf *buf, size_t start)
{
    if (buf->failed || buf->len == start)
        return;
    if (!how->dialect->several || !memchr(buf->at + start, CHI_FRAME_APART, buf->len - start)) {
        how->framing->frame(buf, start);
        return;
    }
    struct chi_buf texts = {0};
    chi_buf_add(&texts, buf->at + start, buf->len - start);
    chi_buf_truncate(buf, start);
    frame_each(how->framing, buf, (struct chi_span){texts.at, texts.len});
    buf->failed = buf->failed || texts.failed;
    chi_buf_fini(&texts);
}
