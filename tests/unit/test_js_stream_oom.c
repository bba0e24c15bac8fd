/* There is no memory to say that the log went back: it is said once there is. */
#include "js_shown.h"

static unsigned failing; /* tasks that are not made */

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *at, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *at, size_t size);

void *__wrap_malloc(size_t size)
{
    return __real_malloc(size);
}

void *__wrap_realloc(void *at, size_t size)
{
    return __real_realloc(at, size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    if (failing && n == 1 && size == sizeof(struct chi_js_task)) {
        failing--;
        return NULL;
    }
    return __real_calloc(n, size);
}

START_TEST(whoever_takes_over_an_epoch_tells_of_it)
{
    struct shows *s = shows_new(1, 2);
    for (uint32_t i = 0; i < 100; i++)
        shows_post(s, i % ROOMS);
    shows_run(s, 1000);
    for (uint32_t i = 0; i < 2; i++)
        js_world_break(s->world, i, 1000);
    shows_put_back(s, 50);
    failing = 5;
    shows_settle(s);
    ck_assert_uint_eq(failing, 0);
    for (uint32_t i = 0; i < 2; i++) {
        ck_assert_uint_eq(s->viewers[i].backs, 1);
        ck_assert_uint_eq(s->world->nodes[i].js->epochs.count, 2);
    }
    shows_free(s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("js_stream_oom");
    TCase *tcase = tcase_create("js_stream_oom");
    tcase_add_test(tcase, whoever_takes_over_an_epoch_tells_of_it);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
