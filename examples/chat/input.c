/* Lines in: from a person, by libedit where there is it, so that the line that is being typed stays
 * while others are shown above it; else from a pipe, a file, or a terminal as it is.
 *
 * A pipe may bring lines faster than the hub takes them: it is read no further while many posts wait
 * for their answers. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef HAVE_LIBEDIT
#include <histedit.h>
#include <sys/ioctl.h>
#include <wchar.h>
#endif

#include "chat.h"

#define LINE_MAX_BYTES 65536
static struct chat *the_chat;
static uv_poll_t poll_in;       /* of a terminal or pipe */
static uv_fs_t file_in;         /* of a file */
static uv_signal_t interrupted; /* Ctrl-C */
static bool is_file, open_in, paused, reading;
static char held[LINE_MAX_BYTES + 1]; /* read, and not a whole line yet */
static size_t held_len;
static bool too_long; /* what is held is the rest of a line that is left out */

static void read_file(void);

static void leave_out(const char *what)
{
    chat_complain("a line %s is left out", what);
    the_chat->failed++;
}

/* The line at the beginning of what is held. */
static void take_line(size_t len)
{
    bool rest = too_long;

    held[len] = '\0';
    too_long = false;
    if (len > 0 && held[len - 1] == '\r')
        held[--len] = '\0';
    if (!rest && strlen(held) < len)
        leave_out("with a NUL byte");
    else if (!rest)
        chat_line(the_chat, held);
}

static void end_of_input(void)
{
    size_t len = held_len;

    held_len = 0;
    if (len > 0)
        take_line(len);
    if (open_in && !is_file)
        uv_poll_stop(&poll_in);
    reading = false;
    open_in = false;
    chat_end_of_input(the_chat);
}

/* ------------------------------------------------------------------------------------ plain lines */

static bool many_wait(void)
{
    return chathub_connection_unanswered(the_chat->connection) >= CHAT_POSTS;
}

/* Hands on the whole lines that are held; all of them when there is no room for more. */
static void take_lines(void)
{
    char *end;

    while (!many_wait() && (end = memchr(held, '\n', held_len))) {
        size_t len = (size_t)(end - held);
        take_line(len);
        held_len -= len + 1;
        memmove(held, end + 1, held_len);
    }
    if (held_len == LINE_MAX_BYTES && !memchr(held, '\n', held_len)) {
        if (!too_long)
            leave_out("of more than 65536 bytes");
        too_long = true;
        held_len = 0;
    }
    paused = many_wait() || held_len == LINE_MAX_BYTES;
}

static void on_bytes(ssize_t n)
{
    if (n == 0) {
        end_of_input();
        return;
    }
    held_len += (size_t)n;
    take_lines();
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)events;
    ssize_t n = status < 0 ? 0 : read(STDIN_FILENO, held + held_len, LINE_MAX_BYTES - held_len);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    on_bytes(n < 0 ? 0 : n);
    if (paused && open_in)
        uv_poll_stop(poll);
}

static void on_file(uv_fs_t *read)
{
    ssize_t n = read->result;

    uv_fs_req_cleanup(read);
    reading = false;
    if (!open_in)
        return;
    on_bytes(n < 0 ? 0 : n);
    if (open_in && !paused)
        read_file();
}

static void read_file(void)
{
    uv_buf_t room = uv_buf_init(held + held_len, (unsigned)(LINE_MAX_BYTES - held_len));

    if (reading)
        return;
    reading = true;
    uv_fs_read(the_chat->loop, &file_in, STDIN_FILENO, &room, 1, -1, on_file);
}

void chat_input_resume(struct chat *chat)
{
    if (!open_in || !paused || chat->interactive)
        return;
    take_lines();
    if (paused)
        return;
    if (is_file)
        read_file();
    else
        uv_poll_start(&poll_in, UV_READABLE, on_poll);
}

/* ----------------------------------------------------------------------------- with a line editor */

#ifdef HAVE_LIBEDIT
static EditLine *editor;
static History *history_;
static bool hidden;
static wchar_t *kept; /* the line while it is hidden */
static int kept_from_end;
static uv_signal_t resized, continued;
static uv_prepare_t before_wait; /* shows the line again */

static char *prompt(EditLine *el)
{
    static char text[700];
    const struct chat *chat = the_chat;
    const char *room = chat->here < 0 ? "" : chat->rooms[chat->here];

    (void)el;
    snprintf(text, sizeof(text), "%s%s> ", room,
             chat->state == CHATHUB_STATE_CONNECTED ? "" : " (not connected)");
    return text;
}

/* Columns of the terminal that a text takes. */
static int width_of(const wchar_t *from, const wchar_t *to)
{
    int columns = 0;

    for (; from < to && *from; from++)
        columns += wcwidth(*from) > 0 ? wcwidth(*from) : 0;
    return columns;
}

/* How many lines of the terminal are above that of a place in what is being typed. */
static int rows_above(const wchar_t *place)
{
    wchar_t wide[700];
    struct winsize size;
    size_t n = mbstowcs(wide, prompt(editor), sizeof(wide) / sizeof(wide[0]));

    if (n == (size_t)-1 || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return 0;
    return (width_of(wide, wide + n) + width_of(el_wline(editor)->buffer, place)) / size.ws_col;
}

/* Takes what is shown of the line away, from a cursor that stands so many lines below its first. */
static void wipe(int above)
{
    putchar('\r');
    if (above > 0)
        printf("\033[%dA", above);
    printf("\033[J");
    fflush(stdout);
}

void chat_input_hide(void)
{
    if (!editor || hidden)
        return;
    const LineInfoW *info = el_wline(editor);
    size_t len = (size_t)(info->lastchar - info->buffer);
    int above = rows_above(info->cursor);

    hidden = true;
    kept_from_end = (int)(info->lastchar - info->cursor);
    kept = calloc(len + 1, sizeof(*kept));
    if (kept)
        wmemcpy(kept, info->buffer, len);
    el_set(editor, EL_UNBUFFERED, 0);
    wipe(above);
}

/* Once for all that was shown in a turn of the loop. */
static void show(uv_prepare_t *prepare)
{
    (void)prepare;
    if (!hidden)
        return;
    hidden = false;
    el_set(editor, EL_UNBUFFERED, 1);
    if (kept && *kept) {
        el_winsertstr(editor, kept);
        el_cursor(editor, -kept_from_end);
        putchar('\r'); /* the refresh begins anew, with the prompt */
        el_set(editor, EL_REFRESH);
    }
    free(kept);
    kept = NULL;
}

/* A line that is complete: the editor begins another one. */
static void take_typed(const char *typed, size_t len)
{
    int rows = rows_above(el_wline(editor)->lastchar - 1) + 1; /* and the newline's */
    char *copy = strndup(typed, len);
    HistEvent event;

    if (!copy)
        return;
    if (*copy)
        history(history_, &event, H_ENTER, copy);
    el_set(editor, EL_UNBUFFERED, 0);
    if (copy[0] != '/') /* what is said comes back from the hub */
        wipe(rows);
    hidden = true;
    chat_line(the_chat, copy);
    free(copy);
}

static void on_key(uv_poll_t *poll, int status, int events)
{
    int count = 0;

    (void)poll;
    (void)events;
    const char *typed = status < 0 ? NULL : el_gets(editor, &count);
    if (status < 0 || count < 0) {
        end_of_input();
    } else if (typed && count == 1 && typed[0] == 4) { /* Ctrl-D on an empty line */
        el_deletestr(editor, 1);
        end_of_input();
    } else if (typed && count > 0 && (typed[count - 1] == '\n' || typed[count - 1] == '\r')) {
        take_typed(typed, (size_t)count - 1);
    }
}

static void on_redraw(uv_signal_t *signal, int number)
{
    (void)signal;
    (void)number;
    chat_input_hide();
}

static int open_editor(void)
{
    HistEvent event;

    editor = el_init("chat", stdin, stdout, stderr);
    history_ = editor ? history_init() : NULL;
    if (!history_) {
        fputs("chat: the terminal cannot be used\n", stderr);
        return -1;
    }
    history(history_, &event, H_SETSIZE, 500);
    history(history_, &event, H_SETUNIQUE, 1);
    el_set(editor, EL_EDITOR, "emacs");
    el_set(editor, EL_PROMPT, prompt);
    el_set(editor, EL_HIST, history, history_);
    el_set(editor, EL_SIGNAL, 0);
    el_source(editor, NULL);
    el_set(editor, EL_UNBUFFERED, 1);
    uv_signal_init(the_chat->loop, &resized);
    uv_signal_start(&resized, on_redraw, SIGWINCH);
    uv_signal_init(the_chat->loop, &continued);
    uv_signal_start(&continued, on_redraw, SIGCONT);
    uv_prepare_init(the_chat->loop, &before_wait);
    uv_prepare_start(&before_wait, show);
    return uv_poll_start(&poll_in, UV_READABLE, on_key);
}

static void close_editor(void)
{
    if (!editor)
        return;
    chat_input_hide();
    el_end(editor);
    history_end(history_);
    free(kept);
    editor = NULL;
    uv_close((uv_handle_t *)&resized, NULL);
    uv_close((uv_handle_t *)&continued, NULL);
    uv_close((uv_handle_t *)&before_wait, NULL);
}
#else
void chat_input_hide(void)
{
}

static int open_editor(void)
{
    return uv_poll_start(&poll_in, UV_READABLE, on_poll);
}

static void close_editor(void)
{
}
#endif

/* ------------------------------------------------------------------------------------- the face */

void chat_prompt_changed(struct chat *chat)
{
    if (chat->interactive && open_in)
        chat_input_hide();
}

/* Drops what was typed; with nothing typed, ends. */
static void on_interrupt(uv_signal_t *signal, int number)
{
    (void)signal;
    (void)number;
#ifdef HAVE_LIBEDIT
    if (editor && el_wline(editor)->lastchar != el_wline(editor)->buffer) {
        chat_input_hide();
        free(kept);
        kept = NULL;
        return;
    }
#endif
    chat_end_of_input(the_chat);
}

int chat_input_open(struct chat *chat)
{
    int error = 0;

    the_chat = chat;
    open_in = true;
    is_file = uv_guess_handle(STDIN_FILENO) == UV_FILE;
    uv_signal_init(chat->loop, &interrupted);
    uv_signal_start(&interrupted, on_interrupt, SIGINT);
    if (is_file) {
        read_file();
        return 0;
    }
    int flags = fcntl(STDIN_FILENO, F_GETFL);
    error = uv_poll_init(chat->loop, &poll_in, STDIN_FILENO);
    if (flags >= 0) /* libuv has it not block; others have this terminal, too */
        fcntl(STDIN_FILENO, F_SETFL, flags);
    if (!error)
        error = chat->interactive ? open_editor() : uv_poll_start(&poll_in, UV_READABLE, on_poll);
    if (error)
        fprintf(stderr, "chat: the input cannot be read: %s\n", uv_strerror(error));
    return error ? -1 : 0;
}

void chat_input_close(struct chat *chat)
{
    static bool closed;

    if (closed || !the_chat)
        return;
    closed = true;
    open_in = false;
    close_editor();
    if (!is_file && !uv_is_closing((uv_handle_t *)&poll_in))
        uv_close((uv_handle_t *)&poll_in, NULL);
    uv_close((uv_handle_t *)&interrupted, NULL);
    (void)chat;
}
