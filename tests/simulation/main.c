/* Runs seeds, replays one, or makes a failing one small.
 *
 *     simulation --seeds 500 --from 1     500 seeds; the first that fails is shrunk
 *     simulation --seed 42 --verbose      one seed, every event
 *     simulation --seed 42 --shrink       the smallest run that still fails */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim.h"

/* Long enough for the slowest seed under sanitizers; a run that hangs ends itself. */
#define SEED_SECONDS 60

static struct {
    struct sim_config config; /* what a crash is told with */
    bool quiet;
} running;

static const struct {
    uint32_t bit;
    const char *word;
} faults[] = {
#define FAULT(name, bit, word) {1u << (bit), word},
    SIM_FAULTS(FAULT)
#undef FAULT
};
#define FAULT_COUNT (sizeof faults / sizeof faults[0])

static void describe(FILE *out, const struct sim_config *c)
{
    (void)fprintf(out, "--seed %llu --steps %u --actors %u --faults ", (unsigned long long)c->seed,
                  c->steps, c->actors);
    const char *comma = "";
    for (size_t i = 0; i < FAULT_COUNT; i++)
        if (c->faults & faults[i].bit) {
            (void)fprintf(out, "%s%s", comma, faults[i].word);
            comma = ",";
        }
    (void)fprintf(out, "%s\n", *comma ? "" : "none");
}

/* A crash is told with its seed. */
static void died(void)
{
    if (running.quiet)
        return;
    (void)fprintf(stderr, "crashed at step %u: ", sim_world ? sim_world->step : 0);
    describe(stderr, &running.config);
}

static void on_signal(int number)
{
    died();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void watch_crashes(void)
{
    (void)signal(SIGABRT, on_signal);
    (void)signal(SIGALRM, on_signal);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(died);
    else
        (void)signal(SIGSEGV, on_signal);
}

static struct sim_outcome run(const struct sim_config *config)
{
    running.config = *config;
    (void)alarm(SEED_SECONDS);
    struct sim_outcome out = sim_run(config);
    (void)alarm(0);
    return out;
}

/* How it fails, in a process of its own, silent: NULL if it does not, CRASHED, or the format of
 * what is said. */
static const char CRASHED[] = "crashed";

static const char *fails(const struct sim_config *config)
{
    int ends[2];
    const char *kind = NULL;
    (void)fflush(stdout);
    if (pipe(ends))
        return NULL;
    pid_t child = fork();
    if (child == 0) {
        running.quiet = true;
        if (!freopen("/dev/null", "w", stderr) || !freopen("/dev/null", "w", stdout))
            _exit(0);
        struct sim_outcome out = run(config);
        _exit(out.ok ? 0 : write(ends[1], &out.kind, sizeof out.kind) > 0);
    }
    (void)close(ends[1]);
    bool told = read(ends[0], &kind, sizeof kind) == sizeof kind;
    (void)close(ends[0]);
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || status == 0)
        return NULL;
    return told ? kind : CRASHED;
}

static const char *shrinking; /* how it has to fail */

static bool try_smaller(struct sim_config *best, struct sim_config smaller)
{
    if (fails(&smaller) != shrinking)
        return false;
    *best = smaller;
    return true;
}

static void shrink_steps(struct sim_config *best)
{
    for (uint32_t cut = best->steps / 2; cut > 0; cut /= 2)
        while (best->steps > cut) {
            struct sim_config smaller = *best;
            smaller.steps -= cut;
            if (!try_smaller(best, smaller))
                break;
        }
}

/* Fewer kinds of faults, fewer people, fewer steps, as long as it fails in the same way. */
static struct sim_config shrink(struct sim_config best)
{
    shrink_steps(&best);
    for (size_t i = 0; i < FAULT_COUNT; i++) {
        struct sim_config smaller = best;
        smaller.faults &= ~faults[i].bit;
        if (smaller.faults != best.faults)
            (void)try_smaller(&best, smaller);
    }
    while (best.actors > 1) {
        struct sim_config smaller = best;
        smaller.actors--;
        if (!try_smaller(&best, smaller))
            break;
    }
    shrink_steps(&best);
    return best;
}

static void tell(const struct sim_config *config, const struct sim_outcome *out)
{
    printf("seed %llu failed at step %u: %s\n", (unsigned long long)config->seed, out->step,
           out->what);
    printf("replay: ");
    describe(stdout, config);
}

static void tell_shrunk(struct sim_config config)
{
    config.verbose = false;
    shrinking = fails(&config);
    if (!shrinking) {
        printf("does not fail\n");
        return;
    }
    config = shrink(config);
    printf("shrunk to: ");
    describe(stdout, &config);
    struct sim_outcome out = run(&config);
    printf("  %s\n", out.what);
}

static uint32_t read_faults(const char *text)
{
    uint32_t set = 0;
    for (size_t i = 0; i < FAULT_COUNT; i++) {
        const char *at = strstr(text, faults[i].word);
        size_t len = strlen(faults[i].word);
        while (at && ((at != text && at[-1] != ',') || (at[len] && at[len] != ',')))
            at = strstr(at + 1, faults[i].word);
        if (at)
            set |= faults[i].bit;
    }
    return set;
}

struct options {
    uint64_t from, seeds;
    uint32_t steps, actors, faults;
    bool one, verbose, shrink, no_shrink, has_faults, keep_going, twice;
};

static struct sim_config config_of(const struct options *o, uint64_t seed)
{
    struct sim_config config;
    sim_config_default(&config, seed);
    if (o->steps)
        config.steps = o->steps;
    if (o->actors)
        config.actors = o->actors < SIM_ACTORS ? o->actors : SIM_ACTORS;
    if (o->has_faults)
        config.faults = o->faults;
    config.verbose = o->verbose;
    return config;
}

/* The same seed again must give the same frames: else a failure could not be replayed. */
static bool repeats(const struct sim_config *config, const struct sim_outcome *out)
{
    return run(config).trace == out->trace;
}

static int run_all(const struct options *o)
{
    uint64_t failures = 0, frames = 0, done = 0;
    for (uint64_t i = 0; i < o->seeds; i++) {
        struct sim_config config = config_of(o, o->from + i);
        struct sim_outcome out = run(&config);
        done++;
        frames += out.frames;
        if (out.ok && o->twice && !repeats(&config, &out)) {
            out.ok = false;
            (void)snprintf(out.what, sizeof out.what, "a second run of the seed went another way");
        }
        if (out.ok)
            continue;
        failures++;
        tell(&config, &out);
        if (o->keep_going)
            continue;
        if (!o->no_shrink)
            tell_shrunk(config);
        break;
    }
    printf("%llu seeds, %llu failures, %llu frames checked\n", (unsigned long long)done,
           (unsigned long long)failures, (unsigned long long)frames);
    return failures ? 1 : 0;
}

static int run_one(const struct options *o)
{
    struct sim_config config = config_of(o, o->from);
    if (o->shrink) {
        tell_shrunk(config);
        return 0;
    }
    struct sim_outcome out = run(&config);
    if (out.ok)
        printf("seed %llu: %u steps, %llu frames checked, no failure\n",
               (unsigned long long)config.seed, out.step, (unsigned long long)out.frames);
    else
        tell(&config, &out);
    return out.ok ? 0 : 1;
}

static int usage(void)
{
    (void)fprintf(
        stderr,
        "usage: simulation [--seeds N] [--from SEED] [--keep-going | --no-shrink] [--twice]\n"
        "       simulation --seed SEED [--verbose | --shrink]\n"
        "       with: [--steps N] [--actors N] [--faults none|NAME,NAME…]\n"
        "faults:");
    for (size_t i = 0; i < FAULT_COUNT; i++)
        (void)fprintf(stderr, " %s", faults[i].word);
    (void)fprintf(stderr, "\n");
    return 2;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {
        {"seeds", required_argument, NULL, 'n'},  {"from", required_argument, NULL, 'f'},
        {"seed", required_argument, NULL, 's'},   {"steps", required_argument, NULL, 't'},
        {"actors", required_argument, NULL, 'a'}, {"faults", required_argument, NULL, 'x'},
        {"verbose", no_argument, NULL, 'v'},      {"shrink", no_argument, NULL, 'k'},
        {"no-shrink", no_argument, NULL, 'z'},    {"keep-going", no_argument, NULL, 'g'},
        {"twice", no_argument, NULL, '2'},        {NULL, 0, NULL, 0}};
    /* set by tests/run --long */
    struct options o = {.from = 1, .seeds = getenv("CHATHUB_LONG") ? 30000 : 2000};
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        if (option == '?')
            return usage();
        unsigned long long n = optarg ? strtoull(optarg, NULL, 10) : 0;
        o.seeds = option == 'n' ? n : o.seeds;
        o.from = option == 'f' || option == 's' ? n : o.from;
        o.one = o.one || option == 's';
        o.steps = option == 't' ? (uint32_t)n : o.steps;
        o.actors = option == 'a' ? (uint32_t)n : o.actors;
        o.faults = option == 'x' ? read_faults(optarg) : o.faults;
        o.has_faults = o.has_faults || option == 'x';
        o.verbose = o.verbose || option == 'v';
        o.shrink = o.shrink || option == 'k';
        o.no_shrink = o.no_shrink || option == 'z';
        o.keep_going = o.keep_going || option == 'g';
        o.twice = o.twice || option == '2';
    }
    watch_crashes();
    int status = o.one ? run_one(&o) : run_all(&o);
    (void)fflush(stdout);
    if (status)
        _exit(status); /* what a failed run left behind is no leak worth a report */
    return 0;
}
