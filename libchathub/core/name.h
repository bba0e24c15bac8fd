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
    uint16_t key_len; /* 0: it equals the shown form */
    char bytes[];     /* the shown form, and the key unless it is the same */
};

static inline struct chi_span chi_name_shown(const struct chi_name *name)
{
    return (struct chi_span){name->bytes, name->shown_len};
}
static inline struct chi_span chi_name_key(const struct chi_name *name)
{
    return name->key_len ? (struct chi_span){name->bytes + name->shown_len, name->key_len}
                         : chi_name_shown(name);
}

/* With one reference; NULL: no memory. */
struct chi_name *chi_name_new(struct chi_span shown, struct chi_span key);
struct chi_name *chi_name_ref(struct chi_name *name);
void chi_name_unref(struct chi_name *name); /* NULL is allowed */

#endif
