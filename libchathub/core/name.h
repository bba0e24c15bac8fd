/* Checked names of people and rooms: as they are shown and as they are compared, in one place for
 * all who need them. */
#ifndef CHI_CORE_NAME_H
#define CHI_CORE_NAME_H

#include "util/text.h"

/* Counted, and never changed. References are taken and given back on the hub's thread alone;
 * threads of logs may read the bytes while the hub's side holds one. */
struct chi_name {
    uint32_t refs;
    uint16_t shown_len;
    uint16_t key_len;
    uint16_t key_at; /* where in `bytes` the key begins: 0 where it equals the shown form */
    char bytes[];
};

static inline struct chi_span chi_name_shown(const struct chi_name *name)
{
    return (struct chi_span){name->bytes, name->shown_len};
}
static inline struct chi_span chi_name_key(const struct chi_name *name)
{
    return (struct chi_span){name->bytes + name->key_at, name->key_len};
}

/* With one reference; NULL: no memory. */
struct chi_name *chi_name_new(struct chi_span shown, struct chi_span key);
struct chi_name *chi_name_ref(struct chi_name *name);
void chi_name_unref(struct chi_name *name); /* NULL is allowed */

#endif
