/* The one table of options: names, types, defaults, bounds, start or live, help. */
#ifndef CHI_OPTIONS_H
#define CHI_OPTIONS_H

#include "chathub.h"
#include "core/settings.h"

/* Fills in every default. 0 or CHATHUB_ENOMEM. */
int chi_options_defaults(struct chi_settings *settings);
void chi_options_fini(struct chi_settings *settings);
/* Sets by text. `started`: options of `start` are refused. problem: one line on an error, naming
 * the option, the value, what would fit, and for an unknown name the nearest known one. `listen`
 * is not in the settings: CHATHUB_OK with *is_listen set, and the caller adds the listener. */
int chi_options_set(struct chi_settings *settings, const char *name, const char *value,
                    bool started, bool *is_listen, char *problem, size_t size);
int chi_options_set_number(struct chi_settings *settings, const char *name, uint64_t value,
                           bool started, char *problem, size_t size);
int chi_options_get(const struct chi_settings *settings, const char *name, char *out, size_t size);
/* The file's path in a value of the option log; NULL: it is no SQLite log. */
const char *chi_sqlite_path(const char *log);
/* The servers in a value of the option log; NULL: it is no JetStream log. They may hold secrets. */
const char *chi_jetstream_servers(const char *log);
/* As chathub_option_at. */
int chi_options_at(uint32_t index, struct chathub_option *out);

#endif
