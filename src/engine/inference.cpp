// libtorch's inference mode, entered and left: tch has only the mode without gradients, in which every operation still passes
// through what would record them.

#include <c10/core/InferenceMode.h>

extern "C" {

void* perilune_enter_inference() {
  try {
    return new c10::InferenceMode();
  } catch (...) {
    return nullptr;
  }
}

void perilune_leave_inference(void* mode) { delete static_cast<c10::InferenceMode*>(mode); }
}
