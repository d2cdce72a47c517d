#pragma once

/* What the stand-in's devices show: the control file, and the energy that follows from it.
 *
 * METERHOUSE_STAND_IN_NVML names the control file, written by __init__.py beside this file and read
 * again whenever it changes. METERHOUSE_STAND_IN_NVML_LOG names the file to which each energy
 * reading served is appended: "index utc_ms monotonic_ms millijoules pid".
 * Energy is the integral of the power schedule over CLOCK_MONOTONIC, so it outlives the process.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_DEVICES 64
#define MAX_SEGMENTS 256
#define MAX_PROCESSES 16
#define MAX_EVENTS 512
#define MAX_MIGS 8
#define TEXT 96

enum {
    OK = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, ARGUMENT_VERSION_MISMATCH = 25
};

typedef struct { uint64_t from_ms, milliwatts; } segment_t;
typedef struct { uint64_t number, index, type, data; } event_t;
typedef struct { unsigned pid; unsigned long long bytes; unsigned instance, compute; } process_t;

typedef struct {
    unsigned instance, slices;
    unsigned long long process_bytes, used;
    double sm_activity;
    int error, hidden;
    char uuid[TEXT];
} mig_t;

typedef struct {
    char uuid[TEXT], name[TEXT], serial[TEXT], unsupported[512], forbidden[512];
    int error, hang, segments, processes, has_power, has_energy, register_error, mig, slices;
    mig_t part[MAX_MIGS];
    segment_t segment[MAX_SEGMENTS];
    process_t process[MAX_PROCESSES];
    uint64_t base, power, energy, utilization, total, used, clock, throttle;
    uint64_t ecc_corrected, ecc_uncorrected, ecc_volatile, remap_pending, remap_failure, recovery;
    uint64_t limit;
    long long temperature, memory_temperature;
    double sm_activity, tensor_activity;
} device_t;

typedef struct {
    int count, driver, init_hang, wait_error, events;
    event_t event[MAX_EVENTS];
    device_t device[MAX_DEVICES];
} control_t;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static control_t control;
static struct stat seen;
static uint64_t served[MAX_DEVICES];

static uint64_t now_ms(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void set_mig(device_t *d, const char *value)
{
    mig_t m = {0};
    unsigned place;
    if (sscanf(value, "%u %u %u %llu %llu %lf %d %d %95s", &place, &m.instance, &m.slices,
               &m.process_bytes, &m.used, &m.sm_activity, &m.error, &m.hidden, m.uuid) == 9
        && place < MAX_MIGS)
        d->part[place] = m;
}

static void set_device(device_t *d, const char *key, const char *value)
{
    struct { const char *key; uint64_t *field; } numbers[] = {
        {"energy_base", &d->base}, {"utilization", &d->utilization}, {"memory_total", &d->total},
        {"memory_used", &d->used}, {"clock", &d->clock}, {"throttle", &d->throttle},
        {"ecc_corrected", &d->ecc_corrected}, {"ecc_uncorrected", &d->ecc_uncorrected},
        {"ecc_volatile", &d->ecc_volatile}, {"remap_pending", &d->remap_pending},
        {"remap_failure", &d->remap_failure}, {"recovery", &d->recovery},
        {"power_limit", &d->limit}, {"power_reported", &d->power}, {"energy_reported", &d->energy},
    };
    struct { const char *key; char *field; size_t size; } texts[] = {
        {"uuid", d->uuid, TEXT}, {"name", d->name, TEXT}, {"serial", d->serial, TEXT},
        {"unsupported", d->unsupported, sizeof d->unsupported},
        {"forbidden", d->forbidden, sizeof d->forbidden},
    };
    if (!strcmp(key, "power_reported")) d->has_power = 1;
    if (!strcmp(key, "energy_reported")) d->has_energy = 1;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (!strcmp(key, numbers[i].key)) *numbers[i].field = strtoull(value, NULL, 10);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (!strcmp(key, texts[i].key)) snprintf(texts[i].field, texts[i].size, "%s", value);
    if (!strcmp(key, "error")) d->error = atoi(value);
    if (!strcmp(key, "hang")) d->hang = atoi(value);
    if (!strcmp(key, "register_error")) d->register_error = atoi(value);
    if (!strcmp(key, "mig_mode")) d->mig = atoi(value);
    if (!strcmp(key, "mig_slices")) d->slices = atoi(value);
    if (!strcmp(key, "mig")) set_mig(d, value);
    if (!strcmp(key, "temperature")) d->temperature = atoll(value);
    if (!strcmp(key, "memory_temperature")) d->memory_temperature = atoll(value);
    if (!strcmp(key, "sm_activity")) d->sm_activity = atof(value);
    if (!strcmp(key, "tensor_activity")) d->tensor_activity = atof(value);
    if (!strcmp(key, "power") && d->segments < MAX_SEGMENTS) {
        unsigned long long from = 0, milliwatts = 0;
        sscanf(value, "%llu %llu", &from, &milliwatts);
        d->segment[d->segments++] = (segment_t){from, milliwatts};
    }
    if (!strcmp(key, "process") && d->processes < MAX_PROCESSES) {
        process_t p = {0, 0, ~0u, ~0u};
        sscanf(value, "%u %llu", &p.pid, &p.bytes);
        d->process[d->processes++] = p;
    }
}

static void add_event(const char *value)
{
    unsigned long long number, index, type, data;
    if (control.events < MAX_EVENTS
        && sscanf(value, "%llu %llu %llu %llu", &number, &index, &type, &data) == 4)
        control.event[control.events++] = (event_t){number, index, type, data};
}

/* Called with the lock held. */
static void load_control(void)
{
    const char *path = getenv("METERHOUSE_STAND_IN_NVML");
    struct stat found;
    char line[1024], key[64], value[900];
    if (path == NULL || stat(path, &found) != 0) return;
    if (found.st_ino == seen.st_ino && found.st_size == seen.st_size
        && found.st_mtim.tv_sec == seen.st_mtim.tv_sec
        && found.st_mtim.tv_nsec == seen.st_mtim.tv_nsec) return;
    FILE *file = fopen(path, "r");
    if (file == NULL) return;
    memset(&control, 0, sizeof control);
    while (fgets(line, sizeof line, file) != NULL) {
        int index;
        line[strcspn(line, "\n")] = 0;
        if (sscanf(line, "device %d %63s %899[^\n]", &index, key, value) == 3) {
            if (index >= 0 && index < MAX_DEVICES) set_device(&control.device[index], key, value);
        } else if (!strncmp(line, "event ", 6)) {
            add_event(line + 6);
        } else if (sscanf(line, "%63s %899s", key, value) == 2) {
            if (!strcmp(key, "count")) control.count = atoi(value);
            if (!strcmp(key, "driver")) control.driver = atoi(value);
            if (!strcmp(key, "init_hang")) control.init_hang = atoi(value);
            if (!strcmp(key, "wait_error")) control.wait_error = atoi(value);
        }
    }
    fclose(file);
    seen = found;
}

/* Leaves a byte in the file METERHOUSE_STAND_IN_NVML_LOG + suffix: how often something was asked. */
static void note_byte(const char *suffix)
{
    const char *log = getenv("METERHOUSE_STAND_IN_NVML_LOG");
    char path[4096];
    if (log == NULL) return;
    snprintf(path, sizeof path, "%s%s", log, suffix);
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) return;
    if (write(file, ".", 1) != 1) abort();
    close(file);
}

static int listed(const char *list, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = strstr(list, word); at != NULL; at = strstr(at + 1, word))
        if ((at == list || at[-1] == ' ') && (at[length] == ' ' || at[length] == 0)) return 1;
    return 0;
}

/* Waits out a hang, then gives a copy of the device's state: each call starts with this. */
static int enter(void *handle, const char *what, device_t *copy)
{
    size_t index = (size_t)handle - 1;
    for (;;) {
        pthread_mutex_lock(&lock);
        load_control();
        if (handle == NULL || index >= (size_t)control.count) {
            pthread_mutex_unlock(&lock);
            return INVALID_ARGUMENT;
        }
        *copy = control.device[index];
        pthread_mutex_unlock(&lock);
        if (!copy->hang) break;
        usleep(20000);
    }
    if (copy->error) return copy->error;
    if (listed(copy->forbidden, what)) return NO_PERMISSION;
    return listed(copy->unsupported, what) ? NOT_SUPPORTED : OK;
}

static uint64_t power_of(const device_t *d)
{
    uint64_t now = now_ms(CLOCK_MONOTONIC), milliwatts = 0;
    if (d->has_power) return d->power;
    for (int i = 0; i < d->segments && d->segment[i].from_ms <= now; i++)
        milliwatts = d->segment[i].milliwatts;
    return milliwatts;
}

static uint64_t energy_of(void *handle, const device_t *d)
{
    size_t index = (size_t)handle - 1;
    const char *path = getenv("METERHOUSE_STAND_IN_NVML_LOG");
    char line[128];
    pthread_mutex_lock(&lock);
    uint64_t now = now_ms(CLOCK_MONOTONIC), microjoules = 0, millijoules;
    for (int i = 0; i < d->segments && d->segment[i].from_ms < now; i++) {
        uint64_t to = i + 1 < d->segments ? d->segment[i + 1].from_ms : now;
        microjoules += ((to < now ? to : now) - d->segment[i].from_ms) * d->segment[i].milliwatts;
    }
    millijoules = d->has_energy ? d->energy : d->base + microjoules / 1000;
    /* A schedule that was changed a moment late must not make the counter run backwards. */
    if (!d->has_energy && millijoules < served[index] && served[index] - millijoules < 100000)
        millijoules = served[index];
    served[index] = millijoules;
    if (path != NULL) {
        int file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        int length = snprintf(line, sizeof line, "%zu %llu %llu %llu %d\n", index,
                              (unsigned long long)now_ms(CLOCK_REALTIME), (unsigned long long)now,
                              (unsigned long long)millijoules, (int)getpid());
        if (file >= 0) {
            if (write(file, line, (size_t)length) != length) abort();
            close(file);
        }
    }
    pthread_mutex_unlock(&lock);
    return millijoules;
}
