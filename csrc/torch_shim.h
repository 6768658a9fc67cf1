// The few functions of libtorch's stable C interface that the operators need, declared here and bound at run time:
// building needs no torch, and the library loads (for tests) without one. All exist since torch 2.10. Signatures from
// torch/csrc/stable/c/shim.h and torch/csrc/inductor/aoti_torch/c/shim.h.
#pragma once
#include <stdint.h>

namespace gatewise::torch {

using StableIValue = uint64_t;
using Tensor = struct TensorOpaque*;
using Library = struct LibraryOpaque*;
using Boxed = void (*)(StableIValue* stack, uint64_t num_in, uint64_t num_out);
using Work = void (*)(int64_t begin, int64_t end, void* context);

// result, name, arguments. A result of int32_t is an error code, 0 for success, where the name does not say otherwise.
#define GATEWISE_SHIMS(X)                                                                                           \
    X(int32_t, aoti_torch_library_init_impl, (const char*, const char*, const char*, uint32_t, Library*))           \
    X(int32_t, torch_library_impl, (Library, const char*, Boxed, uint64_t))                                         \
    X(int32_t, aoti_torch_delete_tensor_object, (Tensor))                                                           \
    X(int32_t, aoti_torch_get_dim, (Tensor, int64_t*))                                                              \
    X(int32_t, aoti_torch_get_sizes, (Tensor, int64_t**))                                                           \
    X(int32_t, aoti_torch_get_strides, (Tensor, int64_t**))                                                         \
    X(int32_t, aoti_torch_get_dtype, (Tensor, int32_t*))                                                            \
    X(int32_t, aoti_torch_get_device_type, (Tensor, int32_t*))                                                      \
    X(int32_t, aoti_torch_get_data_ptr, (Tensor, void**))                                                           \
    X(int32_t, aoti_torch_empty_strided,                                                                            \
      (int64_t, const int64_t*, const int64_t*, int32_t, int32_t, int32_t, Tensor*))                                \
    X(int32_t, aoti_torch__reinterpret_tensor,                                                                      \
      (Tensor, int64_t, const int64_t*, const int64_t*, int64_t, Tensor*))                                          \
    X(int32_t, aoti_torch_new_tensor_handle, (Tensor, Tensor*))                                                     \
    X(int32_t, torch_call_dispatcher, (const char*, const char*, StableIValue*, uint64_t))                          \
    X(int32_t, torch_parallel_for, (int64_t, int64_t, int64_t, Work, void*))                                        \
    X(int32_t, aoti_torch_dtype_float32, ())                                                                        \
    X(int32_t, aoti_torch_dtype_bfloat16, ())                                                                       \
    X(int32_t, aoti_torch_device_type_cpu, ())                                                                      \
    X(int32_t, aoti_torch_memory_format_contiguous_format, ())

struct Shims {
#define X(result, name, arguments) result(*name) arguments;
    GATEWISE_SHIMS(X)
#undef X
};

// The interface version that the values on the stack follow: 2.10.0.
constexpr uint64_t abi_version = (uint64_t{2} << 56) | (uint64_t{10} << 48);

}  // namespace gatewise::torch
