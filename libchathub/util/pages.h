/* Memory in whole pages, from the system and back to it: for what is large, comes and goes, and
 * would leave holes in the heap. */
#ifndef CHI_UTIL_PAGES_H
#define CHI_UTIL_PAGES_H

#include <stddef.h>

#define CHI_PAGE 4096u

/* `size` is a multiple of CHI_PAGE. Zeroed or not. NULL if there is no memory. */
void *chi_pages_take(size_t size);
void *chi_pages_zeroed(size_t size);
void chi_pages_give(void *pages, size_t size); /* NULL is allowed */

#endif
