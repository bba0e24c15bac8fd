/* An intrusive doubly linked list: removal anywhere in O(1), no allocation. */
#ifndef CHI_UTIL_LIST_H
#define CHI_UTIL_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct chi_link {
    struct chi_link *prev; /* itself in an empty list's head; NULL in a node that is in no list */
    struct chi_link *next;
};

#define CHI_CONTAINER(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void chi_list_init(struct chi_link *head)
{
    head->prev = head->next = head;
}

static inline bool chi_list_empty(const struct chi_link *head)
{
    return head->next == head;
}

/* Whether a node (zeroed at first) is in a list. */
static inline bool chi_list_linked(const struct chi_link *node)
{
    return node->next != NULL;
}

static inline void chi_list_append(struct chi_link *head, struct chi_link *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

/* Harmless on a node that is in no list. */
static inline void chi_list_remove(struct chi_link *node)
{
    if (!node->next)
        return;
    node->prev->next = node->next;
    node->next->prev = node->prev;
    node->prev = node->next = NULL;
}

/* Takes the first node out; NULL if there is none. */
static inline struct chi_link *chi_list_take(struct chi_link *head)
{
    struct chi_link *node = head->next;
    if (node == head)
        return NULL;
    head->next = node->next;
    node->next->prev = head;
    node->prev = node->next = NULL;
    return node;
}

#endif
