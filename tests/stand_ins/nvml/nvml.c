/* A libnvidia-ml.so.1 for tests: the calls the agent makes, of devices that a text file describes. */
#include "events.h"
#include "gpm.h"
#include "mig.h"
#include "state.h"

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

int nvmlDeviceGetUUID(void *h, char *b, unsigned n)
{
    device_t d;
    mig_t part;
    if (h == gpu_of(h)) return text(h, "uuid", offsetof(device_t, uuid), b, n);
    int code = enter_mig(h, "mig_uuid", &d, &part);
    if (code == OK) snprintf(b, n, "%s", part.uuid);
    return code;
}

int nvmlDeviceGetName(void *h, char *b, unsigned n) { return text(h, "name", offsetof(device_t, name), b, n); }
int nvmlDeviceGetSerial(void *h, char *b, unsigned n) { return text(h, "serial", offsetof(device_t, serial), b, n); }

int nvmlDeviceGetMemoryInfo_v2(void *handle, void *out)
{
    struct { unsigned version; unsigned long long total, reserved, free, used; } *m = out;
    device_t d;
    mig_t part;
    int is_mig = handle != gpu_of(handle);
    int code = is_mig ? enter_mig(handle, "mig_memory", &d, &part) : enter(handle, "memory", &d);
    if (code != OK) return code;
    if (m->version != 0x02000028) return ARGUMENT_VERSION_MISMATCH;
    m->total = d.total;
    m->reserved = 1 << 20;
    m->used = is_mig ? part.used : d.used;
    m->free = d.total - m->used - m->reserved;
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
    if (d.mig) return NOT_SUPPORTED;
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

static int processes_of_mig(void *handle, unsigned *count, process_t *out)
{
    device_t d;
    mig_t part;
    int code = enter_mig(handle, "mig_processes", &d, &part);
    unsigned room = *count;
    if (code != OK) return code;
    *count = part.process_bytes != 0;
    if (room < *count) return INSUFFICIENT_SIZE;
    if (*count) *out = (process_t){4242, part.process_bytes, part.instance, 0};
    return OK;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *handle, unsigned *count, process_t *out)
{
    device_t d;
    if (handle != gpu_of(handle)) return processes_of_mig(handle, count, out);
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

int nvmlDeviceGetSupportedEventTypes(void *handle, unsigned long long *types)
{
    device_t d;
    int code = enter(handle, "events", &d);
    if (code == OK) *types = listed(d.unsupported, "xid") ? 0x4 : 0x4 | XID_CRITICAL_ERROR;
    return code;
}

int nvmlEventSetCreate(event_set_t **set)
{
    *set = calloc(1, sizeof **set);
    return *set == NULL ? INVALID_ARGUMENT : OK;
}

int nvmlEventSetFree(event_set_t *set)
{
    free(set);
    return OK;
}

int nvmlDeviceRegisterEvents(void *handle, unsigned long long types, event_set_t *set)
{
    device_t d;
    size_t index = (size_t)handle - 1;
    int code = enter(handle, "events", &d);
    if (code != OK) return code;
    if (d.register_error) return d.register_error;
    pthread_mutex_lock(&lock);
    set->types[index] = types;
    set->after[index] = control.events ? control.event[control.events - 1].number : 0;
    pthread_mutex_unlock(&lock);
    return OK;
}

/* Never waits: the agent asks for what is there. */
int nvmlEventSetWait_v2(event_set_t *set, event_data_t *data, unsigned milliseconds)
{
    if (milliseconds != 0) return INVALID_ARGUMENT;
    note_byte(".waits");
    pthread_mutex_lock(&lock);
    load_control();
    int code = next_event(set, data);
    pthread_mutex_unlock(&lock);
    return code;
}
