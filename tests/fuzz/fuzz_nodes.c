/* Any bytes as messages of other nodes, to a hub with people of its own: what it holds about itself
 * agrees afterwards, and its own people are still there. The first byte of each message is its
 * length / 4; the head is made valid, so that what is behind it is read. */
#define CLIENTS 16
#include "../unit/core_world.h"

#include "core/nodes_wire.h"

#define REQUIRE(holds)                                                                             \
    do {                                                                                           \
        if (!(holds))                                                                              \
            abort();                                                                               \
    } while (0)

static struct chi_bus_up up;

static void bind(struct chi_bus *bus, const struct chi_bus_up *to)
{
    (void)bus;
    up = *to;
}

static int drop(struct chi_bus *bus, uint64_t node, struct chi_span bytes)
{
    (void)node;
    REQUIRE(bytes.len <= bus->most);
    return 0;
}

static struct chi_bus bus = {.node = 50, .most = 2048, .bind = bind, .send = drop};

/* Of exactly the size: nothing beyond is looked at. */
static void hear_message(const uint8_t *bytes, size_t len)
{
    char *message = malloc(CHI_WIRE_HEAD + len);
    REQUIRE(message);
    memset(message, 0, CHI_WIRE_HEAD);
    message[0] = CHI_WIRE_VERSION;
    message[1] = (char)(1 + bytes[0] % 8);
    message[2] = (char)(40 + bytes[1] % 20); /* below and above its own id */
    message[10] = (char)bytes[2];
    memcpy(message + CHI_WIRE_HEAD - CHI_EPOCH_LEN, world->epoch, CHI_EPOCH_LEN);
    memcpy(message + CHI_WIRE_HEAD, bytes + 3, len - 3);
    up.heard(up.hub, (struct chi_span){message, CHI_WIRE_HEAD + len - 3});
    free(message);
}

static void ask_for_place(const char *name)
{
    char key[64];
    snprintf(key, sizeof key, "key-of-%s-0000000000000000000", name);
    hello(opened(false), NULL, key);
}

static void start(void)
{
    world_new(1);
    world->parts.bus = &bus;
    world->settings.max_remote = 20;
    world->settings.node_lease = 6000;
    world->settings.replay_names = 10;
    world->settings.replay_time = 1000;
    REQUIRE(world_start() == 0);
    person("ann", "tea");
    person("bob", "milk");
}

static void hear_all(const uint8_t *data, size_t size)
{
    while (size) {
        size_t len = (size_t)data[0] * 4;
        data++;
        size--;
        len = len < size ? len : size;
        if (len >= 3)
            hear_message(data, len);
        else
            up.heard(up.hub, (struct chi_span){(const char *)data, len});
        data += len;
        size -= len;
        REQUIRE(!chi_hub_check(world->hub));
        world->now += 500;
        chi_hub_turn(world->hub);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chi_hub_counts counts;

    start();
    hear_all(data, size);
    ask_for_place("cid");
    turns();
    chi_hub_counts(world->hub, &counts);
    REQUIRE(counts.remote <= 20 && counts.clients <= 3);
    world->now += 60000;
    turns(); /* nobody is heard of any more */
    chi_hub_counts(world->hub, &counts);
    REQUIRE(counts.remote == 0 || counts.nodes);
    world_free();
    return 0;
}
