// The product of oneDNN with weights as they lie in memory. libtorch has the operation for its compiler alone: its own
// linear() asks MKL for fp32, and tch knows neither.

#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>
#include <string_view>

namespace {

using Product = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, c10::string_view,
                           c10::List<std::optional<at::Scalar>>, std::optional<c10::string_view>);

const c10::TypedOperatorHandle<Product>& product() {
  static const auto handle = c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "").typed<Product>();
  return handle;
}

}  // namespace

extern "C" {

// A new tensor, or nothing where there is no such operation or it fails; nothing may be thrown through Rust.
void* perilune_product(const void* x, const void* weight, const void* bias) {
  try {
    std::optional<at::Tensor> added;
    if (bias != nullptr) added = *static_cast<const at::Tensor*>(bias);
    const c10::List<std::optional<at::Scalar>> nothing;
    return new at::Tensor(
        product().call(*static_cast<const at::Tensor*>(x), *static_cast<const at::Tensor*>(weight), added, "none", nothing, ""));
  } catch (...) {
    return nullptr;
  }
}
}
