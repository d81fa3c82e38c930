// What libtorch's allocator of a GPU holds, and the order to give back what it only keeps for later: tch has neither.
// Nothing here names CUDA, so this compiles and links where libtorch has no such half.

#include <ATen/DeviceAccelerator.h>

#include <cstdint>

namespace {

constexpr auto ALL = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);

// libtorch throws; nothing may be thrown through Rust.
template <typename Work>
int guarded(Work work) {
  try {
    work();
    return 0;
  } catch (...) {
    return 1;
  }
}

}  // namespace

extern "C" {

struct PeriluneMemory {
  int64_t allocated;
  int64_t reserved;
  int64_t most_allocated;
  int64_t most_reserved;
};

int perilune_memory(int device, PeriluneMemory* out) {
  return guarded([&] {
    const auto stats = at::accelerator::getDeviceStats(static_cast<c10::DeviceIndex>(device));
    *out = {stats.allocated_bytes[ALL].current, stats.reserved_bytes[ALL].current, stats.allocated_bytes[ALL].peak,
            stats.reserved_bytes[ALL].peak};
  });
}

int perilune_forget_peaks(int device) {
  return guarded([&] { at::accelerator::resetPeakStats(static_cast<c10::DeviceIndex>(device)); });
}

int perilune_give_back() {
  return guarded([] { at::accelerator::emptyCache(); });
}
}
