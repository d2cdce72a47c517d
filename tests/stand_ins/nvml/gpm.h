#pragma once

/* The stand-in's activity (GPM), of devices and of GPU instances: that of its first MIG device. */
#include "mig.h"

/* What a sample of activity is made of: the device, or its instance, and when it was taken. */
typedef struct { void *handle; uint64_t at_ms; unsigned instance; } activity_t;
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
    if (code == OK) *sample = (activity_t){handle, now_ms(CLOCK_MONOTONIC), ~0u};
    return code;
}

static const mig_t *instance_of(const device_t *d, unsigned instance)
{
    for (unsigned i = 0; i < MAX_MIGS; i++)
        if (mig_at(d, i) && d->part[i].instance == instance) return &d->part[i];
    return NULL;
}

int nvmlGpmMigSampleGet(void *handle, unsigned instance, activity_t *sample)
{
    device_t d;
    int code = enter(handle, "mig_gpm", &d);
    if (code != OK) return code;
    if (instance_of(&d, instance) == NULL) return NOT_FOUND;
    *sample = (activity_t){handle, now_ms(CLOCK_MONOTONIC), instance};
    return OK;
}

/* Touches only `count` metrics: the length of the array differs between bindings. */
int nvmlGpmMetricsGet(metrics_t *m)
{
    device_t d;
    if (m->version != 1) return ARGUMENT_VERSION_MISMATCH;
    if (m->older->handle != m->newer->handle || m->newer->at_ms < m->older->at_ms + 100)
        return INVALID_ARGUMENT;
    if (m->older->instance != m->newer->instance) return INVALID_ARGUMENT;
    int code = enter(m->newer->handle, "gpm", &d);
    if (code != OK) return code;
    const mig_t *part = instance_of(&d, m->newer->instance);
    double sm_activity = part == NULL ? d.sm_activity : part->sm_activity;
    for (unsigned i = 0; i < m->count; i++) {
        m->metric[i].code = m->metric[i].id == 2 || m->metric[i].id == 5 ? OK : NOT_SUPPORTED;
        m->metric[i].value = m->metric[i].id == 2 ? sm_activity : d.tensor_activity;
    }
    return OK;
}
