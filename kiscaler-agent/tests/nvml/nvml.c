/* As much of NVML as the exporter calls, with two GPUs: enough for the real bindings to run against.
 *
 * Signatures and numbers are those of NVIDIA's nvml.h. NVML_TEST_FAULT says what goes wrong:
 *   no-driver    nvmlInit fails with DRIVER_NOT_LOADED
 *   gpu-lost     GPU 1 fell off the bus: everything about it fails with GPU_IS_LOST
 *   old          GPU 1 supports neither utilization nor energy
 *   unloaded     the driver goes away after the first reading
 */
#include <stdlib.h>
#include <string.h>

typedef int nvmlReturn_t;
typedef struct gpu *nvmlDevice_t;

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
       DRIVER_NOT_LOADED = 9, GPU_IS_LOST = 15 };

struct gpu {
    unsigned index;
    const char *name, *uuid, *bus_id;
    unsigned gpu_util, memory_util, milliwatts, celsius, sm_mhz, memory_mhz;
    unsigned long long used_mib, free_mib, reserved_mib, millijoules;
};

static struct gpu gpus[] = {
    {0, "NVIDIA Test A", "GPU-11111111-2222-3333-4444-555555555555", "00000000:17:00.0", 37, 12, 61250, 41, 1410, 1215,
     1000, 14000, 360, 123456789},
    {1, "NVIDIA Test B", "GPU-66666666-7777-8888-9999-aaaaaaaaaaaa", "00000000:65:00.0", 0, 0, 9000, 30, 300, 405,
     3, 15357, 0, 1000},
};

static int initialized, readings;

static int fault(const char *name) {
    const char *found = getenv("NVML_TEST_FAULT");
    return found && strcmp(found, name) == 0;
}

static nvmlReturn_t usable(nvmlDevice_t device) {
    if (!initialized) return UNINITIALIZED;
    if (device != &gpus[0] && device != &gpus[1]) return INVALID_ARGUMENT;
    return device->index == 1 && fault("gpu-lost") ? GPU_IS_LOST : SUCCESS;
}

static nvmlReturn_t text(const char *value, char *buffer, unsigned length) {
    if (strlen(value) + 1 > length) return INSUFFICIENT_SIZE;
    strcpy(buffer, value);
    return SUCCESS;
}

#define USABLE(device) do { nvmlReturn_t r = usable(device); if (r) return r; } while (0)

nvmlReturn_t nvmlInit_v2(void) {
    if (fault("no-driver")) return DRIVER_NOT_LOADED;
    initialized = 1;
    return SUCCESS;
}
nvmlReturn_t nvmlShutdown(void) {
    if (!initialized) return UNINITIALIZED;
    initialized = 0;
    return SUCCESS;
}
nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned length) { return text("570.86.15", version, length); }
nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count) {
    if (!initialized || (fault("unloaded") && readings++)) return DRIVER_NOT_LOADED;
    *count = 2;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device) {
    if (index > 1) return INVALID_ARGUMENT;
    *device = &gpus[index];
    return usable(*device);
}
nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t d, char *uuid, unsigned length) { USABLE(d); return text(d->uuid, uuid, length); }
nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t d, char *name, unsigned length) { USABLE(d); return text(d->name, name, length); }
nvmlReturn_t nvmlDeviceGetMinorNumber(nvmlDevice_t d, unsigned *minor) { USABLE(d); *minor = d->index; return SUCCESS; }

struct pci { char legacy[16]; unsigned domain, bus, device, id, subsystem; char bus_id[32]; };
nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t d, struct pci *pci) {
    USABLE(d);
    memset(pci, 0, sizeof *pci);
    return text(d->bus_id, pci->bus_id, sizeof pci->bus_id);
}

struct utilization { unsigned gpu, memory; };
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t d, struct utilization *u) {
    USABLE(d);
    if (d->index == 1 && fault("old")) return NOT_SUPPORTED;
    u->gpu = d->gpu_util;
    u->memory = d->memory_util;
    return SUCCESS;
}

struct memory { unsigned version; unsigned long long total, reserved, free, used; };
nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t d, struct memory *m) {
    USABLE(d);
    if (m->version != (sizeof *m | 2u << 24)) return INVALID_ARGUMENT;
    m->used = d->used_mib << 20;
    m->free = d->free_mib << 20;
    m->reserved = d->reserved_mib << 20;
    m->total = m->used + m->free + m->reserved;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t d, unsigned *mw) { USABLE(d); *mw = d->milliwatts; return SUCCESS; }
nvmlReturn_t nvmlDeviceGetTotalEnergyConsumption(nvmlDevice_t d, unsigned long long *mj) {
    USABLE(d);
    if (d->index == 1 && fault("old")) return NOT_SUPPORTED;
    *mj = d->millijoules;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t d, unsigned sensor, unsigned *celsius) {
    USABLE(d);
    if (sensor != 0) return INVALID_ARGUMENT;
    *celsius = d->celsius;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t d, unsigned clock, unsigned *mhz) {
    USABLE(d);
    if (clock != 1 && clock != 2) return INVALID_ARGUMENT;
    *mhz = clock == 1 ? d->sm_mhz : d->memory_mhz;
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetEncoderUtilization(nvmlDevice_t d, unsigned *use, unsigned *period) {
    USABLE(d);
    *use = 0;
    *period = 167000;
    return SUCCESS;
}
/* Left out, as an old library would: nvmlDeviceGetDecoderUtilization. */
nvmlReturn_t nvmlDeviceGetPcieReplayCounter(nvmlDevice_t d, unsigned *replays) { USABLE(d); *replays = 0; return SUCCESS; }
