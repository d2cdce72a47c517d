#pragma once

/* The stand-in's events: those of the control file that came after a device was registered.
 *
 * Each line "event NUMBER INDEX TYPE DATA" is one, numbered from 1. A lost device that is
 * registered makes a wait fail once nothing is left to tell, and so does the key "wait_error".
 * Each wait leaves a byte in the file METERHOUSE_STAND_IN_NVML_LOG + ".waits".
 */
#include "state.h"

typedef struct { uint64_t types[MAX_DEVICES], after[MAX_DEVICES], told; } event_set_t;
typedef struct {
    void *device;
    unsigned long long type, data;
    unsigned instance, compute;
} event_data_t;

enum { XID_CRITICAL_ERROR = 8, TIMEOUT = 10, GPU_IS_LOST = 15 };

/* Called with the lock held. */
static int next_event(event_set_t *set, event_data_t *data)
{
    for (int i = 0; i < control.events; i++) {
        const event_t *e = &control.event[i];
        int stranger = e->index >= (uint64_t)control.count;
        if (e->number <= set->told) continue;
        set->told = e->number;
        if (!stranger && (!(set->types[e->index] & e->type) || e->number <= set->after[e->index]))
            continue;
        *data = (event_data_t){(void *)(size_t)(e->index + 1), e->type, e->data, ~0u, ~0u};
        return OK;
    }
    for (int i = 0; i < control.count; i++)
        if (set->types[i] && control.device[i].error == GPU_IS_LOST) return GPU_IS_LOST;
    return control.wait_error ? control.wait_error : TIMEOUT;
}
