/* Texts that several dialects write: names and contents as plain text, and what is said of coming
 * and going. */
#ifndef CHI_DIALECT_TEXTS_H
#define CHI_DIALECT_TEXTS_H

#include "core/ports.h"

/* Appends a text as one line that controls nothing: line breaks become a sign, control characters
 * and those that turn the direction of text are escaped. */
void chi_text_line(struct chi_buf *out, struct chi_span text);
/* A name of a user or room on such a line. One that could pass for more than a name (a sender with
 * his text, the end of a list) stands in quotes. */
void chi_text_name(struct chi_buf *out, struct chi_span name);
/* In quotes, whatever it is. */
void chi_text_quoted(struct chi_buf *out, struct chi_span name);
/* Without the blanks (space, tab, CR) around it. */
struct chi_span chi_text_trim(struct chi_span text);

/* Somebody's name within a text of the system: as it is, unless it could pass for more than a name;
 * then in quotes. */
void chi_text_who(struct chi_buf *out, struct chi_span name);
/* "alice", "alice and bob", "alice, bob and 310 others". */
void chi_text_people(struct chi_buf *out, const struct chi_present *list, uint32_t count);

/* How a dialect tells coming and going. */
struct chi_news {
    const char *came, *went; /* " joined the chat" … */
    /* Appends one frame that says `text`, which is raw UTF-8. */
    void (*say)(struct chi_buf *out, const struct chi_signal *signal, struct chi_span text);
};
/* Appends what a presence signal means to people: a frame for each who came, went or was renamed
 * ("alice is now bob"), CHI_FRAME_APART between them; where the signal is summed one for all who
 * came and one for all who went; of a snapshot "12 here: alice, bob and 10 others"; and where
 * there are only numbers "310 people joined". */
void chi_text_news(struct chi_buf *out, const struct chi_signal *signal,
                   const struct chi_news *news);

/* Appends what people are told of a reply in a line of the system, raw: of an error, of a
 * membership that was taken away, of a gap; of others nothing. */
void chi_text_told(struct chi_buf *out, const struct chi_reply *reply);

/* Appends a JSON member with a text: `key` with its colon and what stands before it, as in `{"a":`
 * or `,"a":`. */
void chi_text_member(struct chi_buf *out, const char *key, struct chi_span text);
/* Appends a JSON member with a time, RFC 3339 in UTC with milliseconds. */
void chi_text_time(struct chi_buf *out, const char *key, uint64_t unix_ms);

#endif
