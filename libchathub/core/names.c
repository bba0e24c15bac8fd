/* Names of people and rooms, session keys, and the names that the hub gives. */
#include "core/internal.h"

#include <stdlib.h>
#include <string.h>

#include "util/siphash.h"

struct chi_name *chi_name_new(struct chi_span shown, struct chi_span key)
{
    size_t key_len = chi_span_equal(shown, key) ? 0 : key.len;
    struct chi_name *name = malloc(sizeof *name + shown.len + key_len);
    if (!name)
        return NULL;
    name->refs = 1;
    name->shown_len = (uint16_t)shown.len;
    name->key_len = (uint16_t)key_len;
    memcpy(name->bytes, shown.at, shown.len);
    if (key_len)
        memcpy(name->bytes + shown.len, key.at, key_len);
    return name;
}

struct chi_name *chi_name_ref(struct chi_name *name)
{
    name->refs++;
    return name;
}

void chi_name_unref(struct chi_name *name)
{
    if (name && --name->refs == 0)
        free(name);
}

/* Longer ones are refused before they are folded, which may shorten them: 3 bytes to 1 in the
 * normal form. */
#define UNFOLDED_TIMES 4u

int chi_core_fold(struct chi_hub *hub, enum chi_fold_kind kind, struct chi_span text,
                  struct chi_folded *out)
{
    const struct chi_env *env = &hub->parts.env;
    bool is_room = kind == CHI_FOLD_ROOM;
    uint32_t max = is_room ? hub->parts.settings->max_room_name : hub->parts.settings->max_name;
    int bad = is_room ? CHATHUB_EROOMNAME : CHATHUB_ENAME;

    chi_buf_reset(&hub->shown, 1024);
    chi_buf_reset(&hub->key, 1024);
    if (text.len > (size_t)max * UNFOLDED_TIMES)
        return chi_core_problem(hub, bad, "a %s has at most %u bytes",
                                is_room ? "room's name" : "name", max);
    int r = env->ops->fold(env->self, kind, text, &hub->shown, &hub->key);
    if (r == CHATHUB_ENOMEM || hub->shown.failed || hub->key.failed)
        return CHATHUB_ENOMEM;
    if (r < 0)
        return bad;
    if (hub->shown.len > max || hub->shown.len + hub->key.len > UINT16_MAX)
        return chi_core_problem(hub, bad, "a %s has at most %u bytes",
                                is_room ? "room's name" : "name", max);
    out->shown = (struct chi_span){hub->shown.at, hub->shown.len};
    out->key = (struct chi_span){hub->key.at, hub->key.len};
    return 0;
}

static bool begins(struct chi_span text, const char *with)
{
    size_t len = strlen(with);
    return text.len >= len && memcmp(text.at, with, len) == 0;
}

bool chi_core_reserved(struct chi_span key)
{
    return chi_span_is(key, "system") || chi_span_is(key, "server") || begins(key, "system_msg") ||
           begins(key, "guest-");
}

/* One to one on 30 bits (a Feistel network), so that no number comes twice before all came once. */
static uint32_t shuffle(const uint8_t secret[16], uint32_t number)
{
    uint32_t left = number >> 15 & 0x7fff, right = number & 0x7fff;
    for (uint32_t i = 0; i < 6; i++) {
        uint32_t in[2] = {i, right};
        uint32_t next = left ^ ((uint32_t)chi_siphash(secret, in, sizeof in) & 0x7fff);
        left = right;
        right = next;
    }
    return left << 15 | right;
}

void chi_core_guest_name(struct chi_hub *hub, char out[CHI_GUEST_LEN + 1])
{
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
    uint32_t bits = shuffle(hub->secret, hub->guests++);
    memcpy(out, "guest-", 6);
    for (int i = 6; i < CHI_GUEST_LEN; i++, bits >>= 5)
        out[i] = digits[bits & 31];
    out[CHI_GUEST_LEN] = '\0';
}

/* As good as 16 random bytes for everybody without the secret, and it need not be kept; but the
 * newest one is, which is asked for twice: who gets it is told it. */
void chi_core_key(struct chi_hub *hub, uint64_t serial, char out[CHI_KEY_LEN + 1])
{
    uint8_t in[sizeof hub->secret + sizeof serial], digest[32];
    if (serial == hub->newest) {
        memcpy(out, hub->newest_key, sizeof hub->newest_key);
        return;
    }
    memcpy(in, hub->secret, sizeof hub->secret);
    memcpy(in + sizeof hub->secret, &serial, sizeof serial);
    hub->parts.env.ops->digest(hub->parts.env.self, in, sizeof in, digest);
    chi_base64url(digest, 16, out);
    hub->newest = serial;
    memcpy(hub->newest_key, out, sizeof hub->newest_key);
}

bool chi_core_key_valid(struct chi_span key)
{
    if (key.len < 22 || key.len > 64)
        return false;
    for (size_t i = 0; i < key.len; i++) {
        char c = key.at[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_'))
            return false;
    }
    return true;
}

void chi_core_user(struct chi_hub *hub, struct chi_span key, char user[CHI_USER_LEN])
{
    uint8_t digest[32];
    char text[CHI_BASE64URL_SIZE(12)];
    hub->parts.env.ops->digest(hub->parts.env.self, key.at, key.len, digest);
    chi_base64url(digest, 12, text);
    memcpy(user, text, CHI_USER_LEN);
}
