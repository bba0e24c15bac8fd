/* The boundary: checks what hosts hand in and calls inward; nothing behind it is forgiving.
 *
 * Happy path: new makes options, start makes the world (clock, log, delivery, hub, net, driver)
 * and opens listeners, stop says bye, waits for what is under way, closes the net and then the
 * driver, and tells the host. Failure modes: a start that fails takes down what it had made; a
 * second stop, or free, ends at once. */
#include "chathub.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/fold.h"
#include "boundary.h"
#include "log/log.h"
#include "options.h"

/* --------------------------------------------------------------------------------------- errors */

int chi_problem(struct chathub *hub, int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(hub->problem, sizeof(hub->problem), format, args);
    va_end(args);
    return error;
}

int chi_plain(struct chathub *hub, int error)
{
    return error < 0 ? chi_problem(hub, error, "%s", chathub_strerror(error)) : error;
}

int chi_enter(const struct chathub *hub)
{
    if (!hub)
        return CHATHUB_EINVAL;
    return hub->pid == getpid() ? 0 : CHATHUB_EFORK;
}

int chi_enter_running(const struct chathub *hub)
{
    int error = chi_enter(hub);
    if (error)
        return error;
    return hub->state == STATE_RUNNING || hub->state == STATE_STOPPING ? 0 : CHATHUB_ESTOPPED;
}

int chi_enter_serving(struct chathub *hub)
{
    int error = chi_enter_running(hub);
    return error || hub->state == STATE_RUNNING ? error : chi_plain(hub, CHATHUB_ESTOPPED);
}

const char *chathub_problem(const struct chathub *hub)
{
    if (!hub || !hub->own)
        return hub ? hub->problem : "";
    return chi_own_problem(hub->own);
}

/* ------------------------------------------------------------------------------------ new, free */

int chathub_new(struct chathub **out)
{
    if (!out)
        return CHATHUB_EINVAL;
    struct chathub *hub = calloc(1, sizeof(*hub));
    if (!hub)
        return CHATHUB_ENOMEM;
    hub->pid = getpid();
    hub->world.settings = &hub->settings;
    hub->world.work = &hub->work;
    uint8_t secret[16];
    chi_world_random(secret, sizeof(secret));
    if (chi_options_defaults(&hub->settings) || chi_routes_new(secret, &hub->routes) ||
        chi_queue_new(&hub->settings.event_queue, &hub->queue)) {
        chi_routes_free(hub->routes);
        chi_options_fini(&hub->settings);
        free(hub);
        return CHATHUB_ENOMEM;
    }
    *out = hub;
    return 0;
}

static void on_timer_closed(uv_handle_t *handle)
{
    free(handle);
}

static void stop_timer_close(struct chathub *hub)
{
    if (hub->stop_timer)
        uv_close((uv_handle_t *)hub->stop_timer, on_timer_closed);
    hub->stop_timer = NULL;
}

/* Everything that start made, but for net and driver, which free themselves on the loop. The log's
 * threads may wake the driver until the log is freed. */
static void world_free(struct chathub *hub)
{
    if (hub->log)
        hub->log->free(hub->log);
    chi_inproc_free(hub->inproc);
    chi_carriers_free(hub->carriers);
    chi_hub_free(hub->hub);
    chi_delivery_free(hub->delivery);
    hub->log = NULL;
    hub->bus = NULL;
    hub->inproc = NULL;
    hub->carriers = NULL;
    hub->hub = NULL;
    hub->delivery = NULL;
}

static void own_loop_close(struct chathub *hub)
{
    if (!hub->own_loop)
        return;
    uv_run(hub->loop, UV_RUN_DEFAULT); /* only closing handles are left on it */
    uv_loop_close(hub->loop);
    hub->own_loop = false;
    hub->loop = NULL;
}

void chi_tear_down(struct chathub *hub)
{
    stop_timer_close(hub);
    if (hub->net)
        chi_net_close(hub->net, NULL, NULL);
    hub->net = NULL;
    world_free(hub);
    atomic_store(&hub->wakes, NULL);
    if (hub->driver)
        chi_driver_close(hub->driver, NULL, NULL);
    hub->driver = NULL;
    own_loop_close(hub);
}

void chathub_free(struct chathub *hub)
{
    if (!hub || hub->pid != getpid())
        return;
    chi_own_end(hub);
    hub->state = STATE_STOPPED;
    chi_tear_down(hub);
    if (hub->stand_in)
        hub->stand_in->freed(hub->stand_in);
    chi_queue_free(hub->queue);
    chi_routes_free(hub->routes);
    chi_options_fini(&hub->settings);
    chi_world_fini(&hub->world);
    chi_buf_fini(&hub->text);
    chi_buf_fini(&hub->decoded);
    chi_buf_fini(&hub->record);
    chi_passed_close(hub->listening, hub->listening_count);
    free(hub->listening);
    free(hub);
}

/* -------------------------------------------------------------------------------------- options */

static int set_listen(struct chathub *hub, const char *url)
{
    struct chi_listening one = {.passed = {-1, -1}};
    int error = chi_address_parse(url, &one.address, hub->problem, sizeof(hub->problem));
    if (error)
        return error;
    struct chi_listening *all = realloc(hub->listening, (hub->listening_count + 1) * sizeof(*all));
    if (!all)
        return chi_plain(hub, CHATHUB_ENOMEM);
    all[hub->listening_count++] = one;
    hub->listening = all;
    return 0;
}

int chathub_listen(struct chathub *hub, const char *url)
{
    CHI_CALL(hub);
    int error = chi_enter(hub);
    if (error || !url)
        return error ? error : chi_plain(hub, CHATHUB_EINVAL);
    if (hub->state != STATE_NEW)
        return chi_plain(hub, CHATHUB_ESTARTED);
    return set_listen(hub, url);
}

int chathub_listen_fd(struct chathub *hub, int fd)
{
    CHI_CALL(hub);
    int error = chi_enter(hub);
    if (error)
        return error;
    if (hub->state != STATE_NEW)
        return chi_plain(hub, CHATHUB_ESTARTED);
    return chi_passed_give(hub->listening, hub->listening_count, fd, hub->problem,
                           sizeof(hub->problem));
}

int chathub_set(struct chathub *hub, const char *name, const char *value)
{
    CHI_CALL(hub);
    int error = chi_enter(hub);
    if (error || !name || !value)
        return error ? error : chi_plain(hub, CHATHUB_EINVAL);
    bool is_listen = false;
    error = chi_options_set(&hub->settings, name, value, hub->state != STATE_NEW, &is_listen,
                            hub->problem, sizeof(hub->problem));
    return error || !is_listen ? error : chathub_listen(hub, value);
}

int chathub_set_number(struct chathub *hub, const char *name, uint64_t value)
{
    CHI_CALL(hub);
    int error = chi_enter(hub);
    if (error || !name)
        return error ? error : chi_plain(hub, CHATHUB_EINVAL);
    return chi_options_set_number(&hub->settings, name, value, hub->state != STATE_NEW,
                                  hub->problem, sizeof(hub->problem));
}

int chathub_get(const struct chathub *hub, const char *name, char *out, size_t size)
{
    CHI_CALL(hub);
    int error = chi_enter(hub);
    if (error || !name)
        return error ? error : CHATHUB_EINVAL;
    return chi_options_get(&hub->settings, name, out, size);
}

int chathub_option_at(uint32_t index, struct chathub_option *out)
{
    if (!out || !CHI_HAS(out, struct chathub_option, reserved))
        return CHATHUB_EINVAL;
    struct chathub_option about;
    int error = chi_options_at(index, &about);
    if (error)
        return error;
    about.size = CHI_LESSER(out->size, (uint32_t)sizeof(about));
    memcpy(out, &about, about.size);
    return 0;
}

/* ------------------------------------------------------------------------- callbacks and routes */

int chathub_on_log(struct chathub *hub, int level, chathub_log_cb cb, void *arg)
{
    CHI_CALL(hub);
    int error = chi_enter(hub);
    if (error)
        return error;
    hub->world.sinks[CHI_SINK_HOST] = (struct chi_sink){.log = cb, .arg = arg, .level = level};
    return 0;
}

int chathub_on_wake(struct chathub *hub, chathub_wake_cb cb, void *arg)
{
    CHI_CALL(hub);
    int error = chi_enter(hub);
    if (error)
        return error;
    hub->woken = cb;
    hub->woken_arg = arg;
    return 0;
}

int chathub_on_authorize(struct chathub *hub, uint32_t actions, chathub_authorize_cb cb, void *arg)
{
    CHI_CALL(hub);
    int error = chi_enter(hub);
    if (error)
        return error;
    if (hub->state != STATE_NEW)
        return chi_plain(hub, CHATHUB_ESTARTED);
    hub->questions = false;
    hub->authorize = cb;
    hub->authorize_arg = arg;
    hub->authorize_actions = actions;
    return 0;
}

int chathub_asset(struct chathub *hub, const char *path, const char *type, const void *bytes,
                  size_t len)
{
    CHI_CALL(hub);
    int error = chi_enter(hub);
    if (error)
        return error;
    if (!path || path[0] != '/' || !type || (!bytes && len))
        return chi_problem(hub, CHATHUB_EINVAL,
                           "an asset needs a path that begins with /, a type and its bytes");
    return chi_plain(hub, chi_routes_asset(hub->routes, path, type, bytes, len));
}

int chathub_route_methods(struct chathub *hub, const char *path, uint32_t methods,
                          chathub_route_cb cb, void *arg)
{
    CHI_CALL(hub);
    int error = chi_enter(hub);
    if (error)
        return error;
    if (!path || path[0] != '/' || !cb || !methods)
        return chi_problem(
            hub, CHATHUB_EINVAL,
            "a route needs a path that begins with /, a method or more, and a callback");
    return chi_plain(hub, chi_routes_callback(hub->routes, path, methods, cb, arg));
}

int chathub_route(struct chathub *hub, const char *path, chathub_route_cb cb, void *arg)
{
    return chathub_route_methods(hub, path, CHI_METHOD(GET), cb, arg);
}

int chathub_http_body(struct chathub *hub, const char *type, const void *bytes, size_t len)
{
    CHI_CALL(hub);
    int error = chi_enter(hub);
    if (error)
        return error;
    struct chi_http_body *body = chi_routes_current(hub->routes);
    if (!body || !type || (!bytes && len))
        return chi_problem(hub, CHATHUB_EINVAL,
                           "a body is set inside a route's callback, with a type and its bytes");
    char *copy = malloc(len ? len : 1);
    char *its_type = chi_span_dup(chi_span_of(type));
    if (!copy || !its_type) {
        free(copy);
        free(its_type);
        return chi_plain(hub, CHATHUB_ENOMEM);
    }
    if (len)
        memcpy(copy, bytes, len);
    free(body->bytes);
    free(body->type);
    *body = (struct chi_http_body){.type = its_type, .bytes = copy, .len = len};
    return 0;
}

/* ------------------------------------------------------------------------------------ authorize */

/* Appends a text and its NUL to hub->text; its offset is noted before. */
static size_t keep_text(struct chathub *hub, struct chi_span text)
{
    size_t at = hub->text.len;
    if (text.len)
        chi_buf_add(&hub->text, text.at, text.len);
    chi_buf_add_char(&hub->text, '\0');
    return at;
}

static int ask_host(void *ctx, const struct chi_question *question)
{
    struct chathub *hub = ctx;
    chi_buf_reset(&hub->text, SIZE_MAX);
    size_t user = keep_text(hub, question->user), name = keep_text(hub, question->name);
    size_t room = keep_text(hub, question->room), content = keep_text(hub, question->content);
    if (hub->text.failed)
        return CHATHUB_DENY;
    const char *texts = hub->text.at;
    struct chathub_question asked = {
        .size = sizeof(asked),
        .action = question->action,
        .id = question->id,
        .client = question->client,
        .user = texts + user,
        .name = texts + name,
        .room = texts + room,
        .content = texts + content,
        .content_len = question->content.len,
    };
    return hub->questions ? chi_queue_question(hub, &asked)
                          : hub->authorize(hub, &asked, hub->authorize_arg);
}

int chathub_answer(struct chathub *hub, uint64_t question, int allow, const char *message)
{
    CHI_CALL(hub);
    int error = chi_enter_running(hub);
    if (error)
        return error;
    const struct chi_span words = chi_span_of(message);
    if (!chi_utf8_valid(words.at, words.len))
        return chi_problem(hub, CHATHUB_EINVAL, "the message has to be UTF-8");
    return chi_plain(hub, chi_hub_answer(hub->hub, question, allow != 0, words));
}

/* ---------------------------------------------------------------------------------------- start */

static void stop_step(struct chathub *hub);

static void after_turn(void *arg)
{
    struct chathub *hub = arg;
    if (hub->state == STATE_STOPPING)
        stop_step(hub);
}

static void on_woken(void *arg)
{
    struct chathub *hub = arg;
    if (hub->woken)
        hub->woken(hub, hub->woken_arg);
}

static int make_log(struct chathub *hub, struct chi_env env)
{
    if (hub->stand_in)
        return chi_plain(hub,
                         hub->stand_in->make_log(hub->stand_in, &hub->settings, env, &hub->log));
    const char *path = chi_sqlite_path(hub->settings.log);
    const char *servers = chi_jetstream_servers(hub->settings.log);
    if (servers)
        return chi_log_jetstream_new(&hub->settings, env, servers, &hub->log, &hub->bus,
                                     hub->problem, sizeof(hub->problem));
    if (!path)
        return chi_plain(hub, chi_log_memory_new(&hub->settings, env, &hub->log));
    return chi_log_sqlite_new(&hub->settings, env, path, &hub->log, hub->problem,
                              sizeof(hub->problem));
}

static int make_hub(struct chathub *hub, struct chi_env env)
{
    int error = make_log(hub, env);
    if (error)
        return error;
    error = chi_delivery_new(&hub->settings, env, hub->log, &hub->delivery);
    if (error)
        return chi_plain(hub, error);
    bool asks = hub->authorize || hub->questions;
    struct chi_hub_parts parts = {
        .settings = &hub->settings,
        .env = env,
        .log = hub->log,
        .bus = hub->bus,
        .delivery_ops = &chi_delivery_ops,
        .delivery = hub->delivery,
        .authorize = asks ? ask_host : NULL,
        .authorize_ctx = hub,
        .ask = asks ? hub->authorize_actions : 0,
    };
    error = chi_hub_new(&parts, &hub->hub);
    if (error)
        return chi_plain(hub, error);
    hub->log->bind(hub->log, chi_hub_log_up(hub->hub));
    chi_delivery_bind(hub->delivery, chi_hub_delivery_up(hub->hub));
    struct chi_inproc_parts inproc = {
        .hub = hub->hub, .delivery = hub->delivery, .queue = hub->queue, .owner = hub, .env = env};
    const struct chi_carriers_parts carriers = {&hub->settings, env, hub->hub, hub->delivery};
    error = chi_inproc_new(&inproc, &hub->inproc);
    return chi_plain(hub, error ? error : chi_carriers_new(&carriers, &hub->carriers));
}

static int make_net(struct chathub *hub, struct chi_env env)
{
    struct chi_net_parts parts = {
        .loop = hub->loop,
        .settings = &hub->settings,
        .env = env,
        .hub = hub->hub,
        .delivery = hub->delivery,
        .routes = hub->routes,
        .owner = hub,
    };
    int error = chi_net_new(&parts, &hub->net);
    if (error)
        return chi_plain(hub, error);
    for (uint32_t i = 0; !error && i < hub->listening_count; i++)
        error = chi_net_listen(hub->net, &hub->listening[i], hub->problem, sizeof(hub->problem));
    return error;
}

static void start_driver(struct chathub *hub)
{
    struct chi_driver_parts parts = {
        .env = chi_world_env(&hub->world),
        .hub = hub->hub,
        .delivery = hub->delivery,
        .inproc = hub->inproc,
        .carriers = hub->carriers,
        .after = after_turn,
        .woken = on_woken,
        .arg = hub,
    };
    chi_driver_start(hub->driver, &parts, &hub->work);
}

static int make_loop(struct chathub *hub, uv_loop_t *loop)
{
    if (hub->stand_in)
        return 0;
    hub->loop = loop ? loop : &hub->the_loop;
    hub->own_loop = !loop;
    int error = loop ? 0 : uv_loop_init(hub->loop);
    if (!error)
        return 0;
    hub->own_loop = false;
    return chi_problem(hub, CHATHUB_EIO, "cannot make an event loop: %s", uv_strerror(error));
}

int chi_check_named_room(struct chathub *hub, const char *where, struct chi_span name)
{
    struct chi_buf shown = {0}, key = {0};
    int error = chi_fold(hub->settings.ascii_names, CHI_FOLD_ROOM, name, &shown, &key);
    if (!error && shown.len > hub->settings.max_room_name)
        error = CHATHUB_ETOOLONG;
    chi_buf_fini(&shown);
    chi_buf_fini(&key);
    if (!error || error == CHATHUB_ENOMEM)
        return chi_plain(hub, error);
    char line[65];
    line[chi_utf8_line(name, line, sizeof(line) - 1)] = '\0';
    return chi_problem(hub, CHATHUB_EVALUE, "%s: '%s' cannot be a room's name (%s)", where, line,
                       chathub_strerror(error == CHATHUB_ENAME ? CHATHUB_EROOMNAME : error));
}

static int check_rooms(struct chathub *hub)
{
    int error =
        chi_check_named_room(hub, "option default-room", chi_span_of(hub->settings.default_room));
    const char *at = hub->settings.rooms ? hub->settings.rooms : "";
    for (uint32_t i = 0; !error && i < hub->listening_count; i++)
        if (*hub->listening[i].address.room)
            error =
                chi_check_named_room(hub, "listen", chi_span_of(hub->listening[i].address.room));
    while (!error && *at) {
        size_t len = strcspn(at, ",");
        error = chi_check_named_room(hub, "option rooms", (struct chi_span){at, len});
        at += len + (at[len] == ',');
    }
    return error;
}

int chathub_check(struct chathub *hub)
{
    CHI_CALL(hub);
    int error = chi_enter(hub);
    for (uint32_t i = 0; !error && i < hub->listening_count; i++)
        if (!hub->settings.insecure && !chi_address_is_local(&hub->listening[i].address))
            error =
                chi_problem(hub, CHATHUB_EINSECURE,
                            "listen %s: whoever reaches this address gets in, for nobody has to "
                            "prove who they are; listen at localhost, or consent by the option "
                            "insecure (chatd: --insecure)",
                            hub->listening[i].address.host);
    if (!error && chi_sqlite_path(hub->settings.log) && chathub_has("sqlite") != 1)
        error = chi_problem(hub, CHATHUB_EFEATURE,
                            "option log: this build has no SQLite; use memory, or build with "
                            "-Dsqlite=enabled");
    if (!error && chi_jetstream_servers(hub->settings.log) && chathub_has("nats") != 1)
        error = chi_problem(hub, CHATHUB_EFEATURE,
                            "option log: this build has no NATS; use memory or sqlite:PATH, or "
                            "build with -Dnats=enabled");
    return error ? error : check_rooms(hub);
}

int chathub_start(struct chathub *hub, struct uv_loop_s *loop)
{
    CHI_CALL(hub);
    int error = chi_enter(hub);
    if (error)
        return error;
    if (hub->state != STATE_NEW)
        return chi_plain(hub, CHATHUB_ESTARTED);
    error = chathub_check(hub);
    if (!error)
        error = make_loop(hub, loop);
    if (error)
        return error;
    struct chi_env env = chi_world_env(&hub->world);
    error = chi_plain(hub, chi_driver_new(hub->loop, &hub->driver));
    hub->world.loop = hub->loop;
    hub->world.driver = hub->driver;
    if (!error)
        error = make_hub(hub, env);
    if (!error && !hub->stand_in)
        error = make_net(hub, env);
    if (error) {
        chi_tear_down(hub);
        return error;
    }
    chi_passed_close(hub->listening, hub->listening_count); /* the listeners have theirs */
    start_driver(hub);
    atomic_store(&hub->wakes, hub->driver);
    hub->state = STATE_RUNNING;
    return 0;
}

/* ----------------------------------------------------------------------------------------- stop */

/* Nothing of the hub is on the loop any more. */
static void on_driver_closed(void *arg)
{
    struct chathub *hub = arg;
    atomic_store(&hub->wakes, NULL);
    hub->driver = NULL;
    hub->state = STATE_STOPPED;
    chi_queue_stop(hub->queue, hub->lost_records);
    if (hub->stopped)
        hub->stopped(hub->stopped_arg);
}

/* In-process clients hear their end here at the latest, carriers theirs. */
static void on_net_closed(void *arg)
{
    struct chathub *hub = arg;
    hub->net = NULL;
    chi_inproc_turn(hub->inproc);
    chi_carriers_end(hub->carriers);
    world_free(hub);
    chi_driver_close(hub->driver, on_driver_closed, hub);
}

static void say_goodbye(struct chathub *hub)
{
    if (!hub->said_goodbye)
        chi_hub_close_all(hub->hub, 1001, CHI_SPAN("Server shutting down"));
    hub->said_goodbye = true;
}

static void stop_end(struct chathub *hub)
{
    hub->state = STATE_CLOSING;
    say_goodbye(hub); /* no client is left that could be sent anything by a net that is gone */
    stop_timer_close(hub);
    if (hub->net)
        chi_net_close(hub->net, on_net_closed, hub);
    else
        on_net_closed(hub);
}

/* Whether posts are committed and what can be sent was sent. */
static bool is_done(struct chathub *hub)
{
    struct chi_delivery_counts counts;
    if (!chi_hub_idle(hub->hub) || chi_driver_busy(hub->driver))
        return false;
    chi_delivery_counts(hub->delivery, &counts);
    return !counts.behind && !counts.held_bytes;
}

/* Between two looks of a stop at what is still under way, ms. */
#define STOP_STEP_MS 10

/* Between turns, never inside a callback of the host's. What in-process clients asked before the
 * stop is heard first. Half of the time is for what is under way, the other half for connections to
 * close. */
static void stop_step(struct chathub *hub)
{
    uint64_t now = chi_world_now(&hub->world), half = hub->settings.stop_time / 2;
    hub->stop_due = now + STOP_STEP_MS;
    if (!hub->told_stop) {
        chi_net_stop_accepting(hub->net);
        if (chi_inproc_waiting(hub->inproc) && !hub->end_now && now + half < hub->stop_at)
            return;
        hub->told_stop = true;
        chi_hub_stop(hub->hub);
        hub->work = true;
        if (!hub->end_now)
            return;
    }
    if (!hub->said_goodbye && (is_done(hub) || now + half >= hub->stop_at))
        say_goodbye(hub);
    bool all_gone =
        hub->said_goodbye && !chi_net_connections(hub->net) && !chi_carriers_count(hub->carriers);
    if (all_gone || hub->end_now || now >= hub->stop_at)
        stop_end(hub);
}

static void on_stop_timer(uv_timer_t *timer)
{
    struct chathub *hub = timer->data;
    hub->work = true; /* stop_step follows the turn */
}

/* By hand nothing but chi_hand_due is needed. */
static int start_stop_timer(struct chathub *hub)
{
    if (hub->stand_in)
        return 0;
    hub->stop_timer = calloc(1, sizeof(*hub->stop_timer));
    if (!hub->stop_timer)
        return CHATHUB_ENOMEM;
    uv_update_time(hub->loop);
    uv_timer_init(hub->loop, hub->stop_timer);
    hub->stop_timer->data = hub;
    uv_timer_start(hub->stop_timer, on_stop_timer, STOP_STEP_MS, STOP_STEP_MS);
    return 0;
}

int chathub_stop(struct chathub *hub, chathub_stop_cb done, void *arg)
{
    CHI_CALL(hub);
    int error = chi_enter_running(hub);
    if (error)
        return error;
    hub->work = true;
    if (hub->state == STATE_STOPPING) {
        hub->end_now = true;
        return 0;
    }
    error = start_stop_timer(hub);
    if (error)
        return chi_plain(hub, error);
    hub->state = STATE_STOPPING;
    hub->stopped = done;
    hub->stopped_arg = arg;
    hub->stop_due = chi_world_now(&hub->world);
    hub->stop_at = hub->stop_due + hub->settings.stop_time;
    return 0;
}

/* --------------------------------------------------------------------------------- its own loop */

static int check_no_thread(struct chathub *hub, const char *function)
{
    if (hub->stand_in)
        return chi_problem(hub, CHATHUB_EINVAL,
                           "%s is not for a hub in a test: chathub_testing_settle runs it, and "
                           "chathub_testing_advance moves its time",
                           function);
    if (!hub->own)
        return 0;
    return chi_problem(
        hub, CHATHUB_EINVAL,
        "%s is not for a hub that chathub_start_thread started: its own thread runs it", function);
}

int chathub_run(struct chathub *hub)
{
    CHI_CALL(hub);
    int error = chi_enter(hub);
    if (!error && hub->state == STATE_NEW)
        error = chathub_start(hub, NULL);
    if (error || (error = check_no_thread(hub, "chathub_run")))
        return error;
    if (!hub->own_loop)
        return chi_problem(
            hub, CHATHUB_EINVAL,
            "chathub_run needs a hub with a loop of its own; run the host's loop instead");
    while ((error = chathub_step(hub, -1)) > 0) {
    }
    return error;
}

static void on_step_timer(uv_timer_t *timer)
{
    (void)timer; /* its firing ends the wait */
}

/* One round of the loop that waits at most `timeout_ms`. */
static int step_within(struct chathub *hub, int timeout_ms)
{
    uv_timer_t timer;
    uv_timer_init(hub->loop, &timer);
    uv_update_time(hub->loop);
    uv_timer_start(&timer, on_step_timer, (uint64_t)timeout_ms, 0);
    uv_unref((uv_handle_t *)&timer);
    int alive = uv_run(hub->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(hub->loop, UV_RUN_NOWAIT); /* it is on the stack: gone from the loop before we return */
    return alive;
}

void chi_loop_round(struct chathub *hub)
{
    uv_run(hub->loop, UV_RUN_NOWAIT);
}

uint64_t chi_loop_due(const struct chathub *hub)
{
    if (hub->driver && chi_driver_busy(hub->driver))
        return 0;
    int wait = uv_backend_timeout(hub->loop);
    return wait < 0 ? UINT64_MAX : uv_now(hub->loop) + (uint64_t)wait;
}

int chathub_step(struct chathub *hub, int timeout_ms)
{
    CHI_CALL(hub);
    int error = chi_enter(hub);
    if (error || (error = check_no_thread(hub, "chathub_step")))
        return error;
    if (hub->state == STATE_NEW)
        return chi_plain(hub, CHATHUB_ESTOPPED);
    if (hub->state == STATE_STOPPED)
        return 0;
    if (!hub->own_loop)
        return chi_problem(hub, CHATHUB_EINVAL,
                           "chathub_step needs a hub that was started with its own loop (NULL)");
    if (timeout_ms > 0)
        step_within(hub, timeout_ms);
    else
        uv_run(hub->loop, timeout_ms ? UV_RUN_ONCE : UV_RUN_NOWAIT);
    return hub->state != STATE_STOPPED;
}

int chathub_fd(const struct chathub *hub)
{
    CHI_CALL(hub);
    int error = chi_enter(hub);
    if (error)
        return error;
    return hub->own_loop && !hub->own ? uv_backend_fd(hub->loop) : CHATHUB_ESTOPPED;
}

int chathub_timeout(const struct chathub *hub)
{
    CHI_CALL(hub);
    if (chi_enter(hub) || !hub->own_loop || hub->own)
        return -1;
    uv_update_time(hub->loop);
    uint64_t due = chi_loop_due(hub), now = uv_now(hub->loop);
    if (due == UINT64_MAX)
        return -1;
    return due > now ? (int)(due - now) : 0;
}

int chathub_wake(struct chathub *hub)
{
    int error = chi_enter(hub);
    if (error)
        return error;
    if (hub->own)
        return chi_own_wake(hub->own);
    struct chi_driver *driver = atomic_load(&hub->wakes);
    if (!driver)
        return CHATHUB_ESTOPPED;
    chi_driver_wake(driver);
    return 0;
}

int chathub_listener(const struct chathub *hub, uint32_t index, char *out, size_t size)
{
    CHI_CALL(hub);
    int error = chi_enter_running(hub);
    return error ? error : chi_net_listener(hub->net, index, out, size);
}
