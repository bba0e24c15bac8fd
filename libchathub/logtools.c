/* The public tools for logs: the boundary of log/sqlite/tools.h, which knows files and entries, and
 * of the dialect, which knows them as lines. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "auth/fold.h"
#include "boundary.h"
#include "dialect/native.h"
#include "dialect/record.h"
#include "log/sqlite/tools.h"
#include "options.h"

/* 0, and *out is what a tool needs. */
static int begin(struct chathub *hub, chathub_progress_cb progress, void *arg, struct chi_tool *out)
{
    CHI_CALL(hub);
    int error = chi_enter(hub);
    if (error)
        return error;
    if (hub->state != STATE_NEW)
        return chi_plain(hub, CHATHUB_ESTARTED);
    const char *path = chi_sqlite_path(hub->settings.log);
    if (!path)
        return chi_problem(hub, CHATHUB_EVALUE,
                           "option log: %s has no file that could be worked on; name one, as in "
                           "sqlite:PATH",
                           chi_jetstream_servers(hub->settings.log) ? "jetstream"
                                                                    : hub->settings.log);
    hub->problem[0] = '\0';
    *out = (struct chi_tool){.path = path,
                             .problem = hub->problem,
                             .size = sizeof(hub->problem),
                             .progress = progress,
                             .arg = arg};
    return 0;
}

int chathub_log_backup(struct chathub *hub, const char *file, chathub_progress_cb progress,
                       void *arg)
{
    struct chi_tool tool;
    int error = begin(hub, progress, arg, &tool);
    if (!error && !file)
        error = chi_plain(hub, CHATHUB_EINVAL);
    return error ? error : chi_tool_backup(&tool, file);
}

int chathub_log_check(struct chathub *hub, chathub_line_cb fault, chathub_progress_cb progress,
                      void *arg)
{
    struct chi_tool tool;
    int error = begin(hub, progress, arg, &tool);
    if (!error && !fault)
        error = chi_plain(hub, CHATHUB_EINVAL);
    return error ? error : chi_tool_check(&tool, fault, arg);
}

/* --------------------------------------------------------------------------------------- export */

struct exporting {
    struct chathub *hub;
    chathub_line_cb line;
    void *arg;
    struct chi_buf text; /* of the line at hand */
};

static int hand_out(void *arg, struct chi_span room, const struct chi_entry *entry)
{
    struct exporting *x = arg;
    chi_buf_reset(&x->text, SIZE_MAX);
    chi_native_encode_entry(&x->text, room, entry);
    chi_buf_add_char(&x->text, '\0');
    if (x->text.failed)
        return chi_plain(x->hub, CHATHUB_ENOMEM);
    return x->line(x->text.at, x->text.len - 1, x->arg);
}

/* The key of a room's name. */
static int fold_room(struct chathub *hub, const char *name, struct chi_buf *key)
{
    struct chi_buf shown = {0};
    struct chi_span text = chi_span_of(name);
    int error = CHATHUB_ENAME;
    if (chi_utf8_valid(text.at, text.len))
        error = chi_fold(hub->settings.ascii_names, CHI_FOLD_ROOM, text, &shown, key);
    chi_buf_fini(&shown);
    return chi_plain(hub, error == CHATHUB_ENAME ? CHATHUB_EROOMNAME : error);
}

int chathub_log_export(struct chathub *hub, const char *room, chathub_line_cb line,
                       chathub_progress_cb progress, void *arg)
{
    struct chi_tool tool;
    struct exporting x = {.hub = hub, .line = line, .arg = arg};
    struct chi_buf key = {0};
    int result = begin(hub, progress, arg, &tool);
    if (!result && !line)
        result = chi_plain(hub, CHATHUB_EINVAL);
    if (!result && room)
        result = fold_room(hub, room, &key);
    if (!result)
        result = chi_tool_export(&tool, (struct chi_span){key.at, key.len}, hand_out, &x);
    chi_buf_fini(&key);
    chi_buf_fini(&x.text);
    return result;
}

/* --------------------------------------------------------------------------------------- import */

struct importing {
    struct chathub *hub;
    struct chi_import *import;
    chathub_next_line_cb next;
    void *arg;
    uint64_t number;           /* of the line at hand */
    uint64_t added;            /* entries */
    struct chi_buf scratch;    /* the line's texts */
    struct chi_buf shown, key; /* of its room */
    struct chi_buf sender;     /* shown */
    struct chi_buf sender_key;
};

__attribute__((format(printf, 3, 4))) static int wrong(struct importing *in, int error,
                                                       const char *format, ...)
{
    char text[sizeof(in->hub->problem) - 32];
    va_list rest;
    va_start(rest, format);
    vsnprintf(text, sizeof(text), format, rest);
    va_end(rest);
    return chi_problem(in->hub, error, "line %llu: %s", (unsigned long long)in->number, text);
}

/* The normal form of a name and its key, as for somebody who came with it. */
static int fold(struct importing *in, enum chi_fold_kind kind, const char *field,
                struct chi_span text, size_t most, struct chi_buf *shown, struct chi_buf *key)
{
    chi_buf_reset(shown, SIZE_MAX);
    chi_buf_reset(key, SIZE_MAX);
    int error = chi_fold(in->hub->settings.ascii_names, kind, text, shown, key);
    if (error == CHATHUB_ENAME && kind == CHI_FOLD_ROOM)
        error = CHATHUB_EROOMNAME;
    if (!error && shown->len > most)
        return wrong(in, CHATHUB_ETOOLONG, "\"%s\" has %zu bytes, and may have %zu", field,
                     shown->len, most);
    return error ? wrong(in, error, "\"%s\": %s", field, chathub_strerror(error)) : 0;
}

static int check_length(struct importing *in, const char *field, struct chi_span text, size_t most)
{
    if (text.len <= most)
        return 0;
    return wrong(in, CHATHUB_ETOOLONG,
                 "\"%s\" has %zu bytes, and may have %zu; option max-%s for the import allows more",
                 field, text.len, most, field);
}

static bool is_plain(struct chi_span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] < ' ' || text.at[i] > '~')
            return false;
    return text.len != 0;
}

/* What a post has to be like. */
static int check_parts(struct importing *in, const struct chi_entry_parts *parts)
{
    const struct chi_settings *settings = &in->hub->settings;
    if (!is_plain(parts->user) || parts->user.len > 64)
        return wrong(in, CHATHUB_EREQUEST,
                     "\"sender_id\" has to be 1 to 64 printable ASCII characters");
    if (!chi_text_clean(parts->content.at, parts->content.len))
        return wrong(in, CHATHUB_ETEXT, "\"content\": %s", chathub_strerror(CHATHUB_ETEXT));
    if (parts->cid.at && !is_plain(parts->cid))
        return wrong(in, CHATHUB_ECID, "\"cid\": %s", chathub_strerror(CHATHUB_ECID));
    int error = check_length(in, "content", parts->content, settings->max_content);
    if (!error)
        error = check_length(in, "data", parts->data, settings->max_data);
    return error ? error : check_length(in, "cid", parts->cid, settings->max_cid);
}

static int check(struct importing *in, struct chi_record *record)
{
    const struct chi_settings *settings = &in->hub->settings;
    int error = fold(in, CHI_FOLD_ROOM, "room", record->room, settings->max_room_name, &in->shown,
                     &in->key);
    if (error || record->redacted)
        return error;
    error = fold(in, CHI_FOLD_NAME, "sender", record->parts.sender, settings->max_name, &in->sender,
                 &in->sender_key);
    record->parts.sender = (struct chi_span){in->sender.at, in->sender.len};
    return error ? error : check_parts(in, &record->parts);
}

static int add(struct importing *in, const struct chi_record *record)
{
    struct chi_entry *entry = chi_entry_new(record->type, &record->parts);
    if (!entry)
        return chi_plain(in->hub, CHATHUB_ENOMEM);
    entry->time = record->time;
    int result = chi_import_add(in->import, (struct chi_span){in->key.at, in->key.len}, entry);
    chi_entry_unref(entry);
    if (result == CHATHUB_EREQUEST || result == CHATHUB_ECIDREUSED || result == CHATHUB_EFULL) {
        char text[sizeof(in->hub->problem)];
        snprintf(text, sizeof(text), "%s", in->hub->problem);
        return wrong(in, result, "%s", text);
    }
    if (result > 0)
        in->added++;
    return result < 0 ? result : 0;
}

static int take_line(struct importing *in, struct chi_span line)
{
    struct chi_record record;
    struct chi_decode_error error;
    if (!chi_utf8_valid(line.at, line.len))
        return wrong(in, CHATHUB_ETEXT, "it is not UTF-8");
    int result = chi_record_decode(&in->scratch, line, &record, &error);
    if (result < 0)
        return wrong(in, result, "%s", error.message);
    if (!result)
        return 0;
    result = check(in, &record);
    return result ? result : add(in, &record);
}

static int take_lines(struct importing *in)
{
    const char *line;
    size_t len;
    int result;
    while ((result = in->next(&line, &len, in->arg)) > 0) {
        in->number++;
        struct chi_span text = {line, len == CHATHUB_NUL ? strlen(line) : len};
        int error = take_line(in, text);
        if (error)
            return error;
    }
    if (result < 0)
        chi_problem(in->hub, result, "it was ended early, as was asked for");
    return result;
}

int chathub_log_import(struct chathub *hub, chathub_next_line_cb next, void *arg, uint64_t *added)
{
    struct chi_tool tool;
    struct importing in = {.hub = hub, .next = next, .arg = arg};
    if (added)
        *added = 0;
    int error = begin(hub, NULL, NULL, &tool);
    if (!error && !next)
        error = chi_plain(hub, CHATHUB_EINVAL);
    if (!error)
        error = chi_import_begin(&tool, &hub->settings, chi_world_env(&hub->world), &in.import);
    if (!error)
        error = take_lines(&in);
    if (!error)
        error = chi_import_commit(in.import);
    chi_import_free(in.import);
    chi_buf_fini(&in.scratch);
    chi_buf_fini(&in.shown);
    chi_buf_fini(&in.key);
    chi_buf_fini(&in.sender);
    chi_buf_fini(&in.sender_key);
    if (!error && added)
        *added = in.added;
    return error;
}
