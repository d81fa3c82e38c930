/* A stand-in for libnvidia-ml.so.1, for tests of the telemetry without a GPU.
 *
 * The text file `state` beside this library drives it. It is read again on every call, so that a test can
 * pull a GPU out mid-run. Where a file `calls` stands beside it, each call is noted there: `<gpu> <call>`.
 * A line of the state is `<gpu>.<key>=<number>`; gpu 99 is the system, and the slices of GPU g are 16 + 8g and up:
 *
 *   99.init=18   nvmlInit fails with this code       99.count=2     number of GPUs
 *   99.sys=9     every device call fails             0.handle=4     getting the handle fails
 *   0.err=15     every query of it fails             0.ret.power=3  one query fails, named as in ask()
 *   0.stall=1    every query of it hangs while this stands
 *   0.bus=65     its PCI bus                         0.used_mib 0.total_mib 0.util 0.mw 0.temp 0.fans 0.cc=89
 *   0.nproc=1    compute processes: 0.pid0 0.mib0    0.ngfx=1       graphics processes: 0.gpid0 0.gmib0
 *   0.xid=79     it has this fault, told once for each number in 0.xids
 *   1.migcap=1   it could be split                   1.mig=1        it is split; 1.slice0=1 1.slice2=1 exist
 *
 * Symbols that are not here are missing, as in an old driver. There is no soname on purpose: a program that
 * asks for libnvidia-ml.so.1 by name must not be given a stub that another test has loaded. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef unsigned ret;
enum { SYSTEM = 99, SLICES = 16, SLICES_PER_GPU = 8, DEVICES = 144, OLD_DRIVER_CUDA = 13000 };
enum { OK = 0, INVALID = 2, UNSUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7, WRONG_VERSION = 25 };

static struct { unsigned idx; } dev[DEVICES];
#define IDX(d) (((unsigned *)(d))[0])

static const char *beside(const char *name) {
  static __thread char path[4096];
  Dl_info info;
  if (!dladdr((void *)beside, &info)) return "";
  snprintf(path, sizeof path, "%s", info.dli_fname);
  char *slash = strrchr(path, '/');
  snprintf(slash ? slash + 1 : path, 32, "%s", name);
  return path;
}

static long v(unsigned i, const char *key, long otherwise) {
  FILE *f = fopen(beside("state"), "r");
  if (!f) return otherwise;
  char line[256], want[64];
  long found = otherwise;
  size_t n = (size_t)snprintf(want, sizeof want, "%u.%s=", i, key);
  while (fgets(line, sizeof line, f))
    if (!strncmp(line, want, n)) found = strtol(line + n, 0, 0);
  fclose(f);
  return found;
}

static void note(unsigned i, const char *call) {
  if (access(beside("calls"), F_OK)) return;
  FILE *f = fopen(beside("calls"), "a");
  if (!f) return;
  fprintf(f, "%u %s\n", i, call);
  fclose(f);
}

/* The fate of a query: hangs while told so, then fails or not. */
static ret ask(void *d, const char *call) {
  char key[64];
  unsigned i = IDX(d);
  note(i, call);
  while (v(i, "stall", 0)) usleep(2000);
  ret r = (ret)v(SYSTEM, "sys", 0);
  if (!r) r = (ret)v(i, "err", 0);
  snprintf(key, sizeof key, "ret.%s", call);
  return r ? r : (ret)v(i, key, 0);
}
#define ASK(d, call) do { ret r_ = ask(d, call); if (r_) return r_; } while (0)

ret nvmlInit_v2(void) {
  note(SYSTEM, "init");
  for (unsigned i = 0; i < DEVICES; i++) dev[i].idx = i;
  return (ret)v(SYSTEM, "init", 0);
}
ret nvmlShutdown(void) { note(SYSTEM, "shutdown"); return OK; }
const char *nvmlErrorString(ret r) { (void)r; return "stub error"; }
ret nvmlSystemGetDriverVersion(char *s, unsigned n) { snprintf(s, n, "580.%ld.05", v(SYSTEM, "driver", 95)); return OK; }
ret nvmlSystemGetNVMLVersion(char *s, unsigned n) { snprintf(s, n, "13.580.95.05"); return OK; }
ret nvmlSystemGetCudaDriverVersion(int *o) { *o = OLD_DRIVER_CUDA; return OK; }
ret nvmlSystemGetCudaDriverVersion_v2(int *o) { *o = OLD_DRIVER_CUDA; return OK; }

static unsigned count(void) { return (unsigned)v(SYSTEM, "count", 2); }
static unsigned bus(unsigned i) { return (unsigned)v(i, "bus", i + 1); }
static ret handle(unsigned i, void **d) {
  note(i, "handle");
  ret r = (ret)v(SYSTEM, "sys", 0);
  if (!r) r = (ret)v(i, "handle", 0);
  *d = &dev[i];
  return r;
}
ret nvmlDeviceGetCount_v2(unsigned *c) { *c = count(); return (ret)v(SYSTEM, "sys", 0); }
ret nvmlDeviceGetHandleByIndex_v2(unsigned i, void **d) { return i < count() ? handle(i, d) : INVALID; }
ret nvmlDeviceGetHandleByUUID(const char *uuid, void **d) {
  for (unsigned i = 0; i < count(); i++) {
    char mine[64];
    snprintf(mine, sizeof mine, "GPU-00000000-0000-0000-0000-%012u", i);
    if (!strcmp(mine, uuid)) return handle(i, d);
  }
  return NOT_FOUND;
}
ret nvmlDeviceGetHandleByPciBusId_v2(const char *address, void **d) {
  unsigned domain, at, slot;
  if (sscanf(address, "%x:%x:%x", &domain, &at, &slot) != 3) return INVALID;
  for (unsigned i = 0; i < count(); i++)
    if (bus(i) == at) return handle(i, d);
  return NOT_FOUND;
}
ret nvmlDeviceGetIndex(void *d, unsigned *i) { ASK(d, "index"); *i = IDX(d); return OK; }
ret nvmlDeviceGetName(void *d, char *s, unsigned n) {
  ASK(d, "name");
  snprintf(s, n, IDX(d) < SLICES ? "Stub RTX %u" : "Stub MIG 1g.6gb %u", IDX(d));
  return OK;
}
ret nvmlDeviceGetUUID(void *d, char *s, unsigned n) {
  ASK(d, "uuid");
  snprintf(s, n, "%s-00000000-0000-0000-0000-%012u", IDX(d) < SLICES ? "GPU" : "MIG", IDX(d));
  return OK;
}

typedef struct { char legacy[16]; unsigned domain, bus, device, id, subsystem; char address[32]; } pci_info;
ret nvmlDeviceGetPciInfo_v3(void *d, pci_info *p) {
  ASK(d, "pci");
  if (IDX(d) >= SLICES) return UNSUPPORTED;
  memset(p, 0, sizeof *p);
  p->bus = bus(IDX(d));
  p->id = 0x268410de;
  snprintf(p->address, 32, "00000000:%02X:00.0", p->bus);
  return OK;
}

typedef struct { unsigned version; unsigned long long total, reserved, free, used; } memory_v2;
ret nvmlDeviceGetMemoryInfo_v2(void *d, memory_v2 *m) {
  ASK(d, "memory");
  if (m->version != (sizeof(memory_v2) | (2u << 24))) return WRONG_VERSION;
  unsigned long long reserved = 300;
  unsigned long long total = (unsigned long long)v(IDX(d), "total_mib", IDX(d) < SLICES ? 24576 : 6144);
  unsigned long long used = (unsigned long long)v(IDX(d), "used_mib", 1024);
  m->total = total << 20;
  m->reserved = reserved << 20;
  m->used = used << 20;
  m->free = total > used + reserved ? (total - used - reserved) << 20 : 0;
  return OK;
}
typedef struct { unsigned gpu, memory; } utilization;
ret nvmlDeviceGetUtilizationRates(void *d, utilization *u) {
  ASK(d, "util");
  if (v(IDX(d), "mig", 0)) return UNSUPPORTED;
  u->gpu = (unsigned)v(IDX(d), "util", 42);
  u->memory = 10;
  return OK;
}

ret nvmlDeviceGetCudaComputeCapability(void *d, int *major, int *minor) {
  ASK(d, "capability");
  *major = (int)v(IDX(d), "cc", 89) / 10;
  *minor = (int)v(IDX(d), "cc", 89) % 10;
  return OK;
}

#define NUMBER(symbol, call, key, otherwise) \
  ret symbol(void *d, unsigned *o) { ASK(d, call); *o = (unsigned)v(IDX(d), key, otherwise); return OK; }
NUMBER(nvmlDeviceGetPowerUsage, "power", "mw", 312500)
NUMBER(nvmlDeviceGetEnforcedPowerLimit, "limit", "limit_mw", 450000)
NUMBER(nvmlDeviceGetNumFans, "fans", "fans", 1)
NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, "gen", "gen", 4)
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, "width", "width", 16)
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, "max_gen", "max_gen", 5)
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, "max_width", "max_width", 16)
NUMBER(nvmlDeviceGetPerformanceState, "pstate", "pstate", 2)

ret nvmlDeviceGetMaxClockInfo(void *d, unsigned kind, unsigned *c) {
  ASK(d, "max_clock");
  *c = kind == 2 ? 10501 : 3105;
  return OK;
}
ret nvmlDeviceGetTemperatureThreshold(void *d, unsigned kind, unsigned *t) {
  ASK(d, "threshold");
  *t = kind == 0 ? 95 : 90; /* 0 shuts down, 1 slows down */
  return OK;
}
ret nvmlDeviceGetCurrentClocksThrottleReasons(void *d, unsigned long long *reasons) {
  ASK(d, "throttle");
  *reasons = (unsigned long long)v(IDX(d), "throttle", 4); /* the power cap */
  return OK;
}
ret nvmlDeviceGetEccMode(void *d, unsigned *current, unsigned *pending) {
  ASK(d, "ecc");
  *current = *pending = (unsigned)v(IDX(d), "ecc", 1);
  return OK;
}
ret nvmlDeviceGetTotalEccErrors(void *d, unsigned kind, unsigned counter, unsigned long long *n) {
  (void)counter;
  ASK(d, "ecc_errors");
  *n = kind == 0 ? 7 : 0; /* corrected, uncorrected */
  return OK;
}

ret nvmlDeviceGetTemperature(void *d, unsigned sensor, unsigned *t) {
  (void)sensor;
  ASK(d, "temp");
  *t = (unsigned)v(IDX(d), "temp", 61);
  return OK;
}
ret nvmlDeviceGetClockInfo(void *d, unsigned kind, unsigned *c) {
  ASK(d, "clock");
  *c = kind == 2 ? 10501 : 2520;
  return OK;
}
ret nvmlDeviceGetFanSpeed_v2(void *d, unsigned fan, unsigned *s) {
  ASK(d, "fan");
  if (fan >= (unsigned)v(IDX(d), "fans", 1)) return UNSUPPORTED;
  *s = 44 + fan;
  return OK;
}
ret nvmlDeviceGetPcieThroughput(void *d, unsigned counter, unsigned *o) {
  ASK(d, "throughput");
  *o = counter ? 9000000 : 2000000; /* kB/s: 0 sends, 1 receives */
  return OK;
}

typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } process;
static ret processes(void *d, const char *number, const char *pid, const char *mib, unsigned *n, process *o) {
  unsigned have = (unsigned)v(IDX(d), number, 0);
  if (have && (!o || *n < have)) { *n = have; return TOO_SMALL; }
  for (unsigned i = 0; i < have; i++) {
    char key[32];
    snprintf(key, sizeof key, "%s%u", pid, i);
    o[i].pid = (unsigned)v(IDX(d), key, 1);
    snprintf(key, sizeof key, "%s%u", mib, i);
    long used = v(IDX(d), key, 512);
    o[i].used = used < 0 ? ~0ull : (unsigned long long)used << 20;
    o[i].gpu_instance = o[i].compute_instance = ~0u;
  }
  *n = have;
  return OK;
}
ret nvmlDeviceGetComputeRunningProcesses_v3(void *d, unsigned *n, process *o) {
  ASK(d, "compute");
  if (v(IDX(d), "mig", 0)) return UNSUPPORTED;
  return processes(d, "nproc", "pid", "mib", n, o);
}
ret nvmlDeviceGetGraphicsRunningProcesses_v3(void *d, unsigned *n, process *o) {
  ASK(d, "graphics");
  if (v(IDX(d), "mig", 0)) return UNSUPPORTED;
  return processes(d, "ngfx", "gpid", "gmib", n, o);
}

ret nvmlDeviceGetMigMode(void *d, unsigned *now, unsigned *pending) {
  ASK(d, "mig");
  if (!v(IDX(d), "migcap", 0)) return UNSUPPORTED;
  *now = *pending = (unsigned)v(IDX(d), "mig", 0);
  return OK;
}
ret nvmlDeviceGetMaxMigDeviceCount(void *d, unsigned *n) { ASK(d, "migcount"); *n = SLICES_PER_GPU - 1; return OK; }
ret nvmlDeviceGetMigDeviceHandleByIndex(void *d, unsigned place, void **slice) {
  char key[32];
  ASK(d, "slice");
  snprintf(key, sizeof key, "slice%u", place);
  if (!v(IDX(d), key, 0)) return NOT_FOUND;
  *slice = &dev[SLICES + SLICES_PER_GPU * IDX(d) + place];
  return OK;
}

/* Faults: a set of events is for one device here, and tells of a fault once. */
enum { TIMED_OUT = 10, XID_EVENTS = 8 };
typedef struct { void *device; long told; } ears;
typedef struct { void *device; unsigned long long kind, data; unsigned gpu_instance, compute_instance; } event;
ret nvmlEventSetCreate(void **set) {
  *set = calloc(1, sizeof(ears));
  return *set ? OK : INVALID;
}
ret nvmlEventSetFree(void *set) { free(set); return OK; }
ret nvmlDeviceGetSupportedEventTypes(void *d, unsigned long long *kinds) {
  ASK(d, "events");
  *kinds = XID_EVENTS;
  return OK;
}
ret nvmlDeviceRegisterEvents(void *d, unsigned long long kinds, void *set) {
  ASK(d, "register");
  if (kinds != XID_EVENTS) return INVALID;
  ((ears *)set)->device = d;
  return OK;
}
ret nvmlEventSetWait_v2(void *set, event *e, unsigned ms) {
  ears *s = set;
  if ((ret)v(SYSTEM, "sys", 0)) return (ret)v(SYSTEM, "sys", 0);
  unsigned i = IDX(s->device);
  long xids = v(i, "xids", 0);
  if (xids <= s->told) {
    usleep(ms * 1000);
    return TIMED_OUT;
  }
  s->told = xids;
  memset(e, 0, sizeof *e);
  e->device = s->device;
  e->kind = XID_EVENTS;
  e->data = (unsigned long long)v(i, "xid", 0);
  e->gpu_instance = e->compute_instance = ~0u;
  return OK;
}
