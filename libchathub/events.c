/* The boundary of the queue of events. */
#include <string.h>

#include "boundary.h"

int chathub_queue_fd(struct chathub *hub)
{
    int error = chi_enter(hub);
    return error ? error : chi_queue_fd(hub->queue);
}

int chathub_take(struct chathub *hub, struct chathub_batch *out)
{
    bool drained;
    int error = chi_enter(hub);
    if (error)
        return error;
    if (!out || !CHI_HAS(out, struct chathub_batch, texts_len))
        return CHATHUB_EINVAL;
    struct chathub_batch batch = {.size = CHI_LESSER(out->size, (uint32_t)sizeof(batch))};
    int count = chi_queue_take(hub->queue, &batch, &drained);
    memcpy(out, &batch, batch.size);
    if (drained)
        chi_call_turn(hub);
    return count;
}

/* ----------------------------------------------------------------------------------- questions */

int chathub_queue_questions(struct chathub *hub, uint32_t actions)
{
    CHI_CALL(hub);
    int error = chi_enter(hub);
    if (error)
        return error;
    if (hub->state != STATE_NEW)
        return chi_plain(hub, CHATHUB_ESTARTED);
    hub->questions = actions != 0;
    hub->authorize_actions = actions;
    hub->authorize = NULL;
    return 0;
}

int chi_queue_question(struct chathub *hub, const struct chathub_question *question)
{
    struct chathub_event event = {
        .type = CHATHUB_EVENT_QUESTION,
        .id = question->id,
        .code = question->action,
        .client = question->client,
        .room = question->room,
        .sender = question->name,
        .sender_id = question->user,
        .content = question->content,
        .content_len = question->content_len,
    };
    uint64_t until = chi_world_now(&hub->world) + hub->settings.authorize_timeout;
    if (chi_queue_ask(hub->queue, &event, until))
        return CHATHUB_LATER;
    struct chi_env env = chi_world_env(&hub->world);
    struct chi_field fields[] = {
        {"why", CHI_SPAN("too many questions wait for the host, which takes no events")}};
    env.ops->log(env.self, CHATHUB_WARNING, "denied", fields, 1);
    return CHATHUB_DENY;
}

/* ------------------------------------------------------------------------------------- records */

int chathub_queue_log(struct chathub *hub, int level)
{
    CHI_CALL(hub);
    int error = chi_enter(hub);
    if (error)
        return error;
    bool on = level <= CHATHUB_ERROR;
    hub->world.sinks[CHI_SINK_QUEUE] =
        (struct chi_sink){.log = on ? chi_queue_record : NULL, .arg = hub, .level = level};
    return 0;
}

/* Values may hold anything that a peer sent, and be cut in the middle of a character. */
static void add_value(struct chi_buf *out, const char *at, size_t len)
{
    if (chi_utf8_valid(at, len)) {
        chi_buf_add_json(out, at, len);
        return;
    }
    struct chi_buf valid = {0};
    while (len) {
        size_t n = 1;
        while (n < 4 && n < len && !chi_utf8_valid(at, n))
            n++;
        bool is = chi_utf8_valid(at, n);
        chi_buf_add(&valid, is ? at : "\xef\xbf\xbd", is ? n : 3);
        at += is ? n : 1;
        len -= is ? n : 1;
    }
    chi_buf_add_json(out, valid.at, valid.len);
    out->failed |= valid.failed;
    chi_buf_fini(&valid);
}

static void add_fields(struct chi_buf *out, const struct chathub_record *record)
{
    chi_buf_reset(out, SIZE_MAX);
    chi_buf_add_char(out, '{');
    for (size_t i = 0; i < record->count; i++) {
        if (i)
            chi_buf_add_char(out, ',');
        chi_buf_add_json(out, record->fields[i].key, strlen(record->fields[i].key));
        chi_buf_add_char(out, ':');
        add_value(out, record->fields[i].value, record->fields[i].len);
    }
    chi_buf_add_char(out, '}');
}

void chi_queue_record(const struct chathub_record *record, void *arg)
{
    struct chathub *hub = arg;
    add_fields(&hub->record, record);
    struct chathub_event event = {
        .type = CHATHUB_EVENT_LOG,
        .code = record->level,
        .count = hub->lost_records,
        .message = record->event,
        .json = hub->record.at,
        .json_len = hub->record.len,
    };
    if (hub->record.failed || !chi_queue_add(hub->queue, &event, false))
        hub->lost_records++;
    else
        hub->lost_records = 0;
    chi_queue_tell(hub->queue);
}
