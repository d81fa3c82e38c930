/* What nvtop and nvitop ask of the NVIDIA library beyond what perilune asks, for the tests' stub of it.
 * Compiled together with tests/it/support/nvml_stub.c. */
typedef unsigned ret;
enum { OK = 0, UNSUPPORTED = 3 };

typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2;
typedef struct { unsigned long long total, free, used; } memory;
ret nvmlInit_v2(void);
ret nvmlDeviceGetMemoryInfo_v2(void *d, memory_v2 *m);
ret nvmlDeviceGetFanSpeed_v2(void *d, unsigned fan, unsigned *s);
ret nvmlDeviceGetEnforcedPowerLimit(void *d, unsigned *o);
ret nvmlDeviceGetCount_v2(unsigned *c);
ret nvmlDeviceGetHandleByIndex_v2(unsigned i, void **d);

ret nvmlInit(void) { return nvmlInit_v2(); }
ret nvmlInitWithFlags(unsigned flags) { (void)flags; return nvmlInit_v2(); }
ret nvmlDeviceGetCount(unsigned *c) { return nvmlDeviceGetCount_v2(c); }
ret nvmlDeviceGetHandleByIndex(unsigned i, void **d) { return nvmlDeviceGetHandleByIndex_v2(i, d); }
ret nvmlDeviceGetMemoryInfo(void *d, memory *m) {
  memory_v2 all = {.version = sizeof(memory_v2) | (2u << 24)};
  ret r = nvmlDeviceGetMemoryInfo_v2(d, &all);
  m->total = all.total;
  m->free = all.free;
  m->used = all.used + all.reserved;
  return r;
}
ret nvmlDeviceGetFanSpeed(void *d, unsigned *s) { return nvmlDeviceGetFanSpeed_v2(d, 0, s); }
ret nvmlDeviceGetPowerManagementLimit(void *d, unsigned *o) { return nvmlDeviceGetEnforcedPowerLimit(d, o); }

#define CONSTANT(symbol, value) ret symbol(void *d, unsigned *o) { (void)d; *o = value; return OK; }
CONSTANT(nvmlDeviceGetPersistenceMode, 1)
CONSTANT(nvmlDeviceGetDisplayActive, 0)
CONSTANT(nvmlDeviceGetComputeMode, 0)
CONSTANT(nvmlDeviceIsMigDeviceHandle, 0)
ret nvmlDeviceGetMinorNumber(void *d, unsigned *o) { *o = *(unsigned *)d; return OK; }
ret nvmlDeviceGetEncoderUtilization(void *d, unsigned *o, unsigned *us) { (void)d; *o = 0; *us = 166000; return OK; }
ret nvmlDeviceGetDecoderUtilization(void *d, unsigned *o, unsigned *us) { (void)d; *o = 0; *us = 166000; return OK; }

#define NEVER(symbol) ret symbol(void) { return UNSUPPORTED; }
NEVER(nvmlDeviceGetCurrentDriverModel)
NEVER(nvmlDeviceGetDriverModel)
NEVER(nvmlDeviceGetDriverModel_v2)
NEVER(nvmlDeviceGetConfComputeMemSizeInfo)
NEVER(nvmlDeviceGetProcessUtilization)
NEVER(nvmlDeviceGetMPSComputeRunningProcesses_v3)

/* Of before the lists had versions; nvtop does not start without them, and asks them where it finds no newer ones. */
ret nvmlDeviceGetComputeRunningProcesses(void *d, unsigned *n, void *o) { (void)d; (void)o; *n = 0; return OK; }
ret nvmlDeviceGetGraphicsRunningProcesses(void *d, unsigned *n, void *o) { (void)d; (void)o; *n = 0; return OK; }
