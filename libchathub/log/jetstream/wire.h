/* What stands in the stream and on the subjects, as bytes: names of subjects, entries as payloads, and
 * the server's own answers (JSON, ADR-1, "JetStream wire API"). Pure functions; believes nothing that
 * it reads. */
#ifndef CHI_LOG_JETSTREAM_WIRE_H
#define CHI_LOG_JETSTREAM_WIRE_H

#include <stdbool.h>

#include "core/entry.h"
#include "util/buf.h"

/* Subjects, S being the stream's name:
 *   S.in.room.R     entries of the room whose comparison key is encoded as R
 *   S.in.epoch      epochs                                             (stored, as the rooms')
 *   S.in.erased.P   that the entry at position P was erased; each has a subject of its own, so that a
 *                   bound on the entries of one room takes none away
 *   S.in.check      means nothing: stored to learn who leads the stream
 *   S.out.…         what the server sends on of each of these, once it is stored
 *   S.bus.all, S.bus.N      messages to all nodes, to node N (16 hexadecimal digits); never stored
 * A room's key stands as one token: ASCII letters, digits, '-' and '_' as they are, every other byte as
 * '=' and two lower-case hexadecimal digits, so that no name can reach beyond its own subject. */
#define CHI_JS_STREAM_MAX 32u /* bytes of a stream's name: letters, digits, '-', '_' */

void chi_js_room_token(struct chi_buf *out, struct chi_span key);
/* The key of a token, appended to `out`. CHATHUB_EREQUEST: no room's token, or not in its only form. */
int chi_js_room_key(struct chi_buf *out, struct chi_span token);

/* Where a room's entry stands among the others of its room, as far as its node knew: hints by which
 * pages are found from new to old without an index. Zeros where nothing was known. */
struct chi_js_hint {
    uint64_t before;  /* an entry of the room before this one, mostly the one right before it */
    uint64_t ordinal; /* entries of the room that there are at least before this one */
    uint64_t back64;  /* the newest before this one whose ordinal is a multiple of 64 … */
    uint64_t back4k;  /* … of 4,096 */
};
/* The hint of an entry that follows the one at `position` (0: none), which has `hint`. */
struct chi_js_hint chi_js_hint_after(uint64_t position, const struct chi_js_hint *hint);

/* An entry as payload: versioned, little-endian, all lengths checked. `nonce`: of the draft; the same
 * in each try to post it, and in no other draft. */
void chi_js_write_entry(struct chi_buf *out, const struct chi_entry *entry, uint64_t time,
                        uint64_t nonce, const struct chi_js_hint *hint);
struct chi_js_record {
    struct chi_entry
        *entry; /* a reference; time is set, position and prev are the caller's to fill */
    uint64_t nonce;
    struct chi_js_hint hint;
};
/* 0; CHATHUB_EREQUEST: no entry of a version that is known; CHATHUB_ENOMEM. A hint that cannot be true is
 * read as none: it is not what an entry is lost for. */
int chi_js_read_entry(struct chi_span payload, struct chi_js_record *out);

/* That an epoch begins: positions below `first` mean under former epochs what they meant. */
struct chi_js_epoch {
    char name[16]; /* CHI_EPOCH_LEN characters of base64url */
    uint64_t first;
};
void chi_js_write_epoch(struct chi_buf *out, const struct chi_js_epoch *epoch);
int chi_js_read_epoch(struct chi_span payload, struct chi_js_epoch *out);

/* That the entry at a position lost its texts. */
struct chi_js_erased {
    struct chi_span room; /* comparison key; read: into the payload */
    uint64_t position, prev, time;
    uint16_t type;
};
void chi_js_write_erased(struct chi_buf *out, const struct chi_js_erased *erased);
int chi_js_read_erased(struct chi_span payload, struct chi_js_erased *out);

/* Nats-Msg-Id: CHI_JS_ID_LEN characters and a NUL. Of a post with a cid: of room's key, user and cid
 * (SHA-256 by env, the same on every node); of one without: of its nonce. */
#define CHI_JS_ID_LEN 22u

/* ------------------------------------------------------------------------- the server's answers */

/* What every JSON answer may hold; absent fields are 0 or empty. What holds none of it, and no word of
 * success, is no answer. */
struct chi_js_answer {
    uint16_t code;         /* error.code; 0: no error */
    uint32_t err_code;     /* error.err_code */
    char description[160]; /* error.description, cut */
    /* PubAck */
    uint64_t seq; /* of it, or of the message that was asked for */
    bool duplicate;
    /* STREAM.MSG.GET */
    struct chi_buf subject; /* of the message; owned by the answer (chi_js_answer_fini) */
    struct chi_buf data;    /* of the message, decoded */
    uint64_t time;          /* when the server stored it, Unix ms; 0: it does not say */
    /* STREAM.INFO, STREAM.CREATE */
    uint64_t first_seq, last_seq, messages;
    char created[40]; /* when the stream was made, as the server writes it */
    struct chi_js_config {
        uint32_t replicas;
        uint64_t duplicates; /* ms of the duplicate window */
        uint64_t max_age;    /* ms; 0: no bound, here and below */
        uint64_t max_bytes;
        uint64_t room_entries; /* max_msgs_per_subject */
        bool republishes;      /* S.in.> to S.out.> */
        bool takes;            /* its subjects are S.in.> alone */
        bool acks;             /* posts are answered */
        bool file;             /* storage */
        bool limits;           /* retention by limits, the oldest go first */
        bool deletes;          /* messages can be deleted */
    } config;
    /* CONSUMER.CREATE */
    char consumer[64];
    uint64_t pending; /* num_pending: messages that it has ahead */
};
/* Zeroed `out` first. 0; CHATHUB_EREQUEST: not such an answer; CHATHUB_ENOMEM. To be fini'd in any
 * case. `stream` tells which subjects are meant in `config`. */
int chi_js_read_answer(struct chi_span json, const char *stream, struct chi_js_answer *out);
void chi_js_answer_fini(struct chi_js_answer *answer);
/* An error, and it is that there is no such message (any more): of STREAM.MSG.GET or DELETE. */
bool chi_js_answer_misses(const struct chi_js_answer *answer);

/* error.err_code of the server. */
enum {
    CHI_JS_NO_JETSTREAM_ACCOUNT = 10039, /* not enabled for the account */
    CHI_JS_NO_JETSTREAM = 10076,         /* not enabled */
    CHI_JS_NO_STREAM = 10059,
    CHI_JS_NO_MESSAGE = 10037,
    CHI_JS_NO_SEQUENCE = 10043, /* what is to be deleted is gone … */
    CHI_JS_NOT_DELETED = 10057, /* … or that failed; its description says why */
    CHI_JS_WRONG_LAST = 10071,  /* wrong last sequence */
    CHI_JS_NAME_TAKEN = 10058,  /* a stream of that name has another configuration */
    CHI_JS_NO_CONSUMER = 10014,
};

/* The requests. Each appends JSON to `out`. */
void chi_js_ask_create(struct chi_buf *out, const char *stream, const struct chi_js_config *config);
void chi_js_ask_get(struct chi_buf *out, uint64_t seq);
void chi_js_ask_last(struct chi_buf *out, struct chi_span subject);
/* The first of the subject from `seq` on. */
void chi_js_ask_next(struct chi_buf *out, uint64_t seq, struct chi_span subject);
/* An ephemeral pull consumer without acks, in memory, one replica, gone after 10 s without a pull.
 * `subject` empty: all. Begins at `seq`, or where that is 0 at the first message not before `time`
 * (Unix ms). */
void chi_js_ask_consumer(struct chi_buf *out, const char *stream, struct chi_span subject,
                         uint64_t seq, uint64_t time);
/* At most `batch` messages and `bytes` (of subject, head and payload); without waiting for more. Ends
 * with `batch` messages and no status, or before with 404 or 408 (there are no more now) or 409 (the
 * next one would be too many bytes; where none came, `bytes` is too few for it alone). */
void chi_js_ask_pull(struct chi_buf *out, uint32_t batch, uint32_t bytes);
/* The server overwrites its bytes. Never for a sequence above the stream's last: nats-server 2.9.10 with
 * replicas does not answer that, and resets the stream's state on its nodes. */
void chi_js_ask_delete(struct chi_buf *out, uint64_t seq);

#endif
