#pragma once

/* The stand-in's MIG devices. A handle of one is its GPU's, with its place above the lower 16 bits.
 *
 * Each line "device INDEX mig PLACE INSTANCE SLICES PROCESS_BYTES MEMORY_USED ACTIVITY ERROR HIDDEN
 * UUID" is one. ERROR is what each call with its handle answers, HIDDEN what asking for the handle
 * does. Each call for the MIG mode leaves a byte in the file METERHOUSE_STAND_IN_NVML_LOG + ".mig".
 */
#include "state.h"

#define PLACE_BITS 16

static void *mig_handle(void *gpu, unsigned place)
{
    return (void *)((size_t)gpu | (size_t)(place + 1) << PLACE_BITS);
}

static void *gpu_of(void *handle) { return (void *)((size_t)handle & ((1 << PLACE_BITS) - 1)); }

static const mig_t *mig_at(const device_t *d, unsigned place)
{
    return d->mig && place < MAX_MIGS && d->part[place].slices ? &d->part[place] : NULL;
}

/* As enter, for the handle of a MIG device: those of devices that are gone mean nothing any more. */
static int enter_mig(void *handle, const char *what, device_t *d, mig_t *copy)
{
    size_t place = (size_t)handle >> PLACE_BITS;
    int code = enter(gpu_of(handle), what, d);
    const mig_t *found = code == OK && place ? mig_at(d, (unsigned)place - 1) : NULL;
    if (code != OK) return code;
    if (found == NULL) return INVALID_ARGUMENT;
    *copy = *found;
    return found->error;
}

int nvmlDeviceGetMigMode(void *handle, unsigned *current, unsigned *pending)
{
    device_t d;
    int code = enter(handle, "mig", &d);
    note_byte(".mig");
    if (code == OK) *current = *pending = (unsigned)d.mig;
    return code;
}

int nvmlDeviceGetMaxMigDeviceCount(void *handle, unsigned *count)
{
    device_t d;
    int code = enter(handle, "mig_count", &d);
    if (code == OK) *count = d.mig ? (unsigned)d.slices : 0;
    return code;
}

int nvmlDeviceGetMigDeviceHandleByIndex(void *handle, unsigned index, void **found)
{
    device_t d;
    int code = enter(handle, "mig_handle", &d);
    const mig_t *part = mig_at(&d, index);
    if (code != OK) return code;
    if (part == NULL) return NOT_FOUND;
    *found = mig_handle(handle, index);
    return part->hidden;
}

int nvmlDeviceGetGpuInstanceId(void *handle, unsigned *id)
{
    device_t d;
    mig_t part;
    int code = enter_mig(handle, "mig_instance", &d, &part);
    if (code == OK) *id = part.instance;
    return code;
}

int nvmlDeviceGetAttributes_v2(void *handle, void *out)
{
    struct {
        unsigned multiprocessors, copy, decoder, encoder, jpeg, ofa, gpu_slices, compute_slices;
        unsigned long long megabytes;
    } *a = out;
    device_t d;
    mig_t part;
    int code = enter_mig(handle, "mig_attributes", &d, &part);
    if (code != OK) return code;
    memset(a, 0, sizeof *a);
    a->multiprocessors = part.slices * 16;
    a->compute_slices = part.slices;
    for (unsigned i = 0; i < MAX_MIGS; i++)
        if (d.part[i].slices && d.part[i].instance == part.instance)
            a->gpu_slices += d.part[i].slices;
    return OK;
}
