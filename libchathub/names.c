/* The boundary for names. */
#include <string.h>

#include "auth/fold.h"
#include "boundary.h"

/* Whole characters, as many as there is room for, and a NUL. */
static void copy_cut(const struct chi_buf *text, char *out, size_t size)
{
    if (!size)
        return;
    size_t len = chi_utf8_cut((struct chi_span){text->at, text->len}, size - 1);
    if (len)
        memcpy(out, text->at, len);
    out[len] = '\0';
}

/* Reads nothing of the hub that changes once it has started, so that any thread may call. */
int chathub_fold(const struct chathub *hub, const char *name, char *out, size_t size)
{
    int error = chi_enter(hub);
    if (error)
        return error;
    if (!name || (size && !out))
        return CHATHUB_EINVAL;
    struct chi_buf shown = {0}, key = {0};
    error = chi_fold(hub->settings.ascii_names, CHI_FOLD_NAME, chi_span_of(name), &shown, &key);
    if (!error) {
        copy_cut(&key, out, size);
        error = (int)key.len;
    }
    chi_buf_fini(&shown);
    chi_buf_fini(&key);
    return error;
}
