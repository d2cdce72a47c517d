/* A libnvidia-ml.so.1 for tests: the calls the agent makes, driven by a text file.
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
#define TEXT 96

enum {
    OK = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6,
    INSUFFICIENT_SIZE = 7, DRIVER_NOT_LOADED = 9, ARGUMENT_VERSION_MISMATCH = 25
};

typedef struct { uint64_t from_ms, milliwatts; } segment_t;
typedef struct { unsigned pid; unsigned long long bytes; unsigned instance, compute; } process_t;

typedef struct {
    char uuid[TEXT], name[TEXT], serial[TEXT], unsupported[512], forbidden[512];
    int error, hang, segments, processes, has_power, has_energy;
    segment_t segment[MAX_SEGMENTS];
    process_t process[MAX_PROCESSES];
    uint64_t base, power, energy, utilization, total, used, clock, throttle;
    uint64_t ecc_corrected, ecc_uncorrected, ecc_volatile, remap_pending, remap_failure, recovery;
    uint64_t limit;
    long long temperature, memory_temperature;
    double sm_activity, tensor_activity;
} device_t;

typedef struct { int count, driver, init_hang; device_t device[MAX_DEVICES]; } control_t;

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
        } else if (sscanf(line, "%63s %899s", key, value) == 2) {
            if (!strcmp(key, "count")) control.count = atoi(value);
            if (!strcmp(key, "driver")) control.driver = atoi(value);
            if (!strcmp(key, "init_hang")) control.init_hang = atoi(value);
        }
    }
    fclose(file);
    seen = found;
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

int nvmlInitWithFlags(unsigned flags)
{
    int driver, hang;
    (void)flags;
    do {
        pthread_mutex_lock(&lock);
        load_control();
        driver = control.driver;
        hang = control.init_hang;
        pthread_mutex_unlock(&lock);
        if (hang) usleep(20000);
    } while (hang);
    return driver;
}

int nvmlShutdown(void) { return OK; }

const char *nvmlErrorString(int code)
{
    return code == ARGUMENT_VERSION_MISMATCH ? "Argument Version Mismatch" : "Stand-in error";
}

int nvmlDeviceGetCount_v2(unsigned *count)
{
    pthread_mutex_lock(&lock);
    load_control();
    *count = (unsigned)control.count;
    pthread_mutex_unlock(&lock);
    return OK;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle)
{
    device_t d;
    *handle = (void *)((size_t)index + 1);
    return enter(*handle, "handle", &d);
}

int nvmlDeviceGetHandleByUUID(const char *uuid, void **handle)
{
    device_t d;
    for (size_t index = 0; index < MAX_DEVICES; index++) {
        pthread_mutex_lock(&lock);
        load_control();
        int found = (int)index < control.count && !strcmp(control.device[index].uuid, uuid);
        pthread_mutex_unlock(&lock);
        if (found) {
            *handle = (void *)(index + 1);
            return enter(*handle, "handle", &d);
        }
    }
    return NOT_FOUND;
}

static int text(void *handle, const char *what, size_t offset, char *buffer, unsigned size)
{
    device_t d;
    int code = enter(handle, what, &d);
    if (code == OK) snprintf(buffer, size, "%s", (const char *)&d + offset);
    return code;
}

int nvmlDeviceGetUUID(void *h, char *b, unsigned n) { return text(h, "uuid", offsetof(device_t, uuid), b, n); }
int nvmlDeviceGetName(void *h, char *b, unsigned n) { return text(h, "name", offsetof(device_t, name), b, n); }
int nvmlDeviceGetSerial(void *h, char *b, unsigned n) { return text(h, "serial", offsetof(device_t, serial), b, n); }

int nvmlDeviceGetMemoryInfo_v2(void *handle, void *out)
{
    struct { unsigned version; unsigned long long total, reserved, free, used; } *m = out;
    device_t d;
    int code = enter(handle, "memory", &d);
    if (code != OK) return code;
    if (m->version != 0x02000028) return ARGUMENT_VERSION_MISMATCH;
    m->total = d.total;
    m->reserved = 1 << 20;
    m->used = d.used;
    m->free = d.total - d.used - m->reserved;
    return OK;
}

int nvmlDeviceGetMemoryInfo(void *handle, void *out)
{
    struct { unsigned long long total, free, used; } *m = out;
    device_t d;
    int code = enter(handle, "memory", &d);
    if (code != OK) return code;
    m->total = d.total;
    m->used = d.used;
    m->free = d.total - d.used;
    return OK;
}

typedef struct {
    uint32_t id, scope;
    int64_t timestamp, latency;
    int type, code;
    union { double d; unsigned ui; unsigned long long ull; int si; } value;
} field_t;

enum { UNSIGNED_INT = 1, UNSIGNED_LONG_LONG = 3 };

static int field_code(const device_t *d, const char *what)
{
    if (listed(d->forbidden, what)) return NO_PERMISSION;
    return listed(d->unsupported, what) ? NOT_SUPPORTED : OK;
}

static void small_field(const device_t *d, field_t *f, const char *what, uint64_t value)
{
    f->code = field_code(d, what);
    f->type = UNSIGNED_INT;
    f->value.ui = (unsigned)value;
}

static void large_field(const device_t *d, field_t *f, const char *what, uint64_t value)
{
    f->code = field_code(d, what);
    f->type = UNSIGNED_LONG_LONG;
    f->value.ull = value;
}

int nvmlDeviceGetFieldValues(void *handle, int count, field_t *fields)
{
    device_t d;
    int code = enter(handle, "fields", &d);
    if (code != OK) return code;
    for (int i = 0; i < count; i++) {
        field_t *f = &fields[i];
        f->timestamp = (int64_t)now_ms(CLOCK_REALTIME) * 1000;
        switch (f->id) {
        case 4: large_field(&d, f, "ecc", d.ecc_volatile); break;
        case 5: large_field(&d, f, "ecc", d.ecc_corrected); break;
        case 6: large_field(&d, f, "ecc", d.ecc_uncorrected); break;
        case 82: small_field(&d, f, "memory_temperature", (uint64_t)d.memory_temperature); break;
        case 83:
            f->code = field_code(&d, "energy");
            if (f->code == OK) large_field(&d, f, "energy", energy_of(handle, &d));
            break;
        case 144: small_field(&d, f, "remap", d.remap_pending); break;
        case 145: small_field(&d, f, "remap", d.remap_failure); break;
        case 185: small_field(&d, f, "power_average", power_of(&d)); break;
        case 186: small_field(&d, f, "power_instant", power_of(&d)); break;
        case 230: small_field(&d, f, "recovery", d.recovery); break;
        default: f->code = INVALID_ARGUMENT;
        }
    }
    return OK;
}

int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts)
{
    device_t d;
    int code = enter(handle, "power", &d);
    if (code == OK) *milliwatts = (unsigned)power_of(&d);
    return code;
}

int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *millijoules)
{
    device_t d;
    int code = enter(handle, "energy", &d);
    if (code == OK) *millijoules = energy_of(handle, &d);
    return code;
}

int nvmlDeviceGetPowerManagementLimitConstraints(void *handle, unsigned *low, unsigned *high)
{
    device_t d;
    int code = enter(handle, "power_limit", &d);
    if (code != OK) return code;
    *low = 100000;
    *high = (unsigned)d.limit;
    return OK;
}

int nvmlDeviceGetEnforcedPowerLimit(void *handle, unsigned *milliwatts)
{
    device_t d;
    int code = enter(handle, "power_limit", &d);
    if (code == OK) *milliwatts = (unsigned)d.limit;
    return code;
}

int nvmlDeviceGetUtilizationRates(void *handle, unsigned rates[2])
{
    device_t d;
    int code = enter(handle, "utilization", &d);
    if (code != OK) return code;
    rates[0] = (unsigned)d.utilization;
    rates[1] = (unsigned)d.utilization / 2;
    return OK;
}

int nvmlDeviceGetTemperatureV(void *handle, void *out)
{
    struct { unsigned version; int sensor, temperature; } *t = out;
    device_t d;
    int code = enter(handle, "temperature", &d);
    if (code != OK) return code;
    if (t->version != 0x100000C) return ARGUMENT_VERSION_MISMATCH;
    t->temperature = (int)d.temperature;
    return OK;
}

int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned *celsius)
{
    device_t d;
    int code = enter(handle, "temperature", &d);
    (void)sensor;
    if (code == OK) *celsius = (unsigned)d.temperature;
    return code;
}

int nvmlDeviceGetClockInfo(void *handle, int kind, unsigned *megahertz)
{
    device_t d;
    int code = enter(handle, "clock", &d);
    if (code == OK) *megahertz = kind == 1 ? (unsigned)d.clock : 1;
    return code;
}

int nvmlDeviceGetCurrentClocksEventReasons(void *handle, unsigned long long *reasons)
{
    device_t d;
    int code = enter(handle, "throttle", &d);
    if (code == OK) *reasons = d.throttle;
    return code;
}

int nvmlDeviceGetCurrentClocksThrottleReasons(void *handle, unsigned long long *reasons)
{
    return nvmlDeviceGetCurrentClocksEventReasons(handle, reasons);
}

int nvmlDeviceGetTotalEccErrors(void *handle, int kind, int counter, unsigned long long *count)
{
    device_t d;
    int code = enter(handle, "ecc", &d);
    if (code != OK) return code;
    *count = kind == 0 ? d.ecc_corrected : counter == 0 ? d.ecc_volatile : d.ecc_uncorrected;
    return OK;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, process_t *out)
{
    device_t d;
    int code = enter(handle, "processes", &d);
    unsigned room = *count;
    if (code != OK) return code;
    *count = (unsigned)d.processes;
    if (room < *count) return INSUFFICIENT_SIZE;
    if (*count > 0) memcpy(out, d.process, *count * sizeof *out);
    return OK;
}

int nvmlDeviceGetComputeRunningProcesses_v2(void *handle, unsigned *count, process_t *out)
{
    return nvmlDeviceGetComputeRunningProcesses_v3(handle, count, out);
}

/* What a sample of activity is made of: the device and when it was taken. */
typedef struct { void *handle; uint64_t at_ms; } activity_t;
typedef struct { unsigned id; int code; double value; const char *info[3]; } metric_t;
typedef struct { unsigned version, count; activity_t *older, *newer; metric_t metric[]; } metrics_t;

int nvmlGpmQueryDeviceSupport(void *handle, unsigned support[2])
{
    device_t d;
    int code = enter(handle, "handle", &d);
    if (code == OK) support[1] = !listed(d.unsupported, "gpm");
    return code;
}

int nvmlGpmSampleAlloc(activity_t **sample)
{
    *sample = calloc(1, sizeof **sample);
    return *sample == NULL ? INVALID_ARGUMENT : OK;
}

int nvmlGpmSampleFree(activity_t *sample)
{
    free(sample);
    return OK;
}

int nvmlGpmSampleGet(void *handle, activity_t *sample)
{
    device_t d;
    int code = enter(handle, "gpm", &d);
    if (code == OK) *sample = (activity_t){handle, now_ms(CLOCK_MONOTONIC)};
    return code;
}

/* Touches only `count` metrics: the length of the array differs between bindings. */
int nvmlGpmMetricsGet(metrics_t *m)
{
    device_t d;
    if (m->version != 1) return ARGUMENT_VERSION_MISMATCH;
    if (m->older->handle != m->newer->handle || m->newer->at_ms < m->older->at_ms + 100)
        return INVALID_ARGUMENT;
    int code = enter(m->newer->handle, "gpm", &d);
    if (code != OK) return code;
    for (unsigned i = 0; i < m->count; i++) {
        m->metric[i].code = m->metric[i].id == 2 || m->metric[i].id == 5 ? OK : NOT_SUPPORTED;
        m->metric[i].value = m->metric[i].id == 2 ? d.sm_activity : d.tensor_activity;
    }
    return OK;
}
