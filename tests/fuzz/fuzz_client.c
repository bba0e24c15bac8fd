/* What a server may send to the C client, and where it is to connect: by the first byte a frame of the
 * native protocol ('f'), the answer to an upgrade ('u') or a URL (any other). What is refused is told
 * in one line without controls; what is taken has texts that end. */
#include <stdlib.h>
#include <string.h>

#include "client/frame.h"
#include "client/target.h"
#include "client/upgrade.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

static void is_line(const char *problem)
{
    size_t len = strlen(problem);
    REQUIRE(len && chi_utf8_valid(problem, len) && !strchr(problem, '\n') && !strchr(problem, 27));
}

static void read_frame(struct chi_span text, struct chi_buf *scratch)
{
    char problem[200] = "";
    struct chi_frame frame;
    int error = chi_frame_read(text, scratch, &frame, problem, sizeof(problem));
    if (error) {
        is_line(problem);
        chi_frame_fini(&frame);
        return;
    }
    const struct chathub_event *event = &frame.event;
    const char *texts[] = {event->room, event->sender,  event->sender_id, event->content,
                           event->cid,  event->session, event->message,   event->data,
                           event->ref,  event->json};
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        REQUIRE(chi_utf8_valid(texts[i], strlen(texts[i])));
    REQUIRE(event->content[event->content_len] == '\0' && event->json[event->json_len] == '\0');
    REQUIRE(strlen(frame.epoch) <= CHI_EPOCH_MAX);
    REQUIRE(!frame.is_entry || event->position > 0);
    chi_frame_fini(&frame);
}

static void read_answer(struct chi_span text)
{
    char problem[200] = "";
    int head = chi_upgrade_read(text, KEY, problem, sizeof(problem));
    if (head < 0)
        is_line(problem);
    REQUIRE(head <= 0 || ((size_t)head <= text.len && head <= (int)CHI_UPGRADE_MAX));
}

static void read_url(struct chi_span text, struct chi_buf *scratch)
{
    char problem[200] = "";
    struct chi_target target;
    chi_buf_reset(scratch, SIZE_MAX);
    chi_buf_add(scratch, text.at, text.len);
    chi_buf_add_char(scratch, '\0');
    if (scratch->failed)
        return;
    if (chi_target_parse(scratch->at, &target, problem, sizeof(problem)))
        REQUIRE(problem[0]); /* the host's own URL is quoted as it is */
    else
        REQUIRE(target.host[0] && target.port[0] && strlen(target.path) < sizeof(target.path));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chi_buf scratch;
    if (!size)
        return 0;
    /* A copy of its own, so that a read behind its end is seen. */
    char *copy = malloc(size);
    REQUIRE(copy);
    memcpy(copy, data, size);
    struct chi_span text = {copy + 1, size - 1};
    chi_buf_init(&scratch);
    if (*copy == 'u')
        read_answer(text);
    else if (*copy != 'f')
        read_url(text, &scratch);
    else if (chi_utf8_valid(text.at, text.len))
        read_frame(text, &scratch);
    chi_buf_fini(&scratch);
    free(copy);
    return 0;
}
