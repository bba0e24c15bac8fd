/* The whole way, sockets included: WebSocket clients of chi_net at a Unix socket, in this process. What
 * the kernel does is in no count of instructions. */
#ifndef INSTRUCTIONS_WAY_H
#define INSTRUCTIONS_WAY_H

#include "scale_world.h"

struct way;

/* The world is open. `count`: connections, which are open when it returns. */
struct way *way_new(struct scale_world *w, uint32_t count);
/* Before the world is closed. */
void way_free(struct way *way);
/* The client sends these bytes; they are read by the next way_poll. */
void way_send(struct way *way, uint32_t conn, struct chi_span bytes);
/* One round of the loop, which waits for nothing. */
void way_poll(struct way *way);
/* All clients receive what came; answers how many bytes. */
uint64_t way_receive(struct way *way);
/* Appends the frame of a client for this text. */
void way_frame(struct chi_buf *out, struct chi_span text);

#endif
