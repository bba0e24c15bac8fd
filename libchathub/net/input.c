/* What a connection has read and not used up yet: made, counted and freed. */
#include "net/internal.h"

#include <stdlib.h>

struct chi_input *chi_input_get(struct chi_conn *conn)
{
    struct chi_unfinished *all = chi_conn_unfinished(conn);

    if (all && !all->input)
        all->input = calloc(1, sizeof(*all->input));
    return all ? all->input : NULL;
}

void chi_input_free(struct chi_conn *conn)
{
    struct chi_input *input = chi_conn_input(conn);

    if (!input)
        return;
    conn->net->partial -= input->counted;
    chi_buf_fini(&input->bytes);
    chi_buf_fini(&input->rest);
    chi_frames_free(input->frames);
    free(input);
    conn->unfinished->input = NULL;
    chi_conn_settle(conn);
}

void chi_input_settle(struct chi_conn *conn)
{
    struct chi_input *input = chi_conn_input(conn);

    if (!input)
        return;
    if (!input->begun && !input->message && !input->frames && input->bytes.len == 0 &&
        input->rest.len == 0) {
        chi_input_free(conn);
    } else {
        size_t size = sizeof(*input) + input->bytes.cap + input->rest.cap +
                      (input->frames ? chi_frames_size() : 0);
        conn->net->partial -= input->counted;
        conn->net->partial += size;
        input->counted = size;
    }
    chi_conn_age(conn);
}

void chi_input_begin(struct chi_input *input, struct chi_conn *conn)
{
    if (input->begun)
        return;
    input->begun = true;
    input->due = chi_net_now(conn->net) + conn->net->parts.settings->message_time;
}

void chi_input_finish(struct chi_input *input)
{
    chi_buf_reset(&input->bytes, 0);
    input->utf8 = 0;
    input->fragments = 0;
    input->begun = false;
    input->message = false;
}
