// Torch's tensors through its stable C interface: owned, looked at, made, taken from a call's stack and given back.
#pragma once
#include <stdint.h>

#include <stdexcept>
#include <string>

#include "torch_shim.h"
#include "views.h"

namespace gatewise {
namespace {

using namespace torch;

Shims shim;
int32_t type_float32, type_bfloat16, device_cpu;

constexpr int64_t grain = 32768;  // numbers a thread takes at least

[[noreturn]] void fail(const std::string& what) { throw std::runtime_error(what); }
void check(int32_t error, const char* name) {
    if (error != 0) fail(std::string("gatewise: ") + name + " failed");
}

struct Owned {
    Tensor handle = nullptr;
    Owned() = default;
    explicit Owned(Tensor h) : handle(h) {}
    Owned(const Owned&) = delete;
    Owned& operator=(const Owned&) = delete;
    Owned(Owned&& other) noexcept : handle(other.release()) {}
    Owned& operator=(Owned&& other) noexcept {
        reset(other.release());
        return *this;
    }
    ~Owned() { reset(nullptr); }
    void reset(Tensor h) {
        if (handle) shim.aoti_torch_delete_tensor_object(handle);
        handle = h;
    }
    Tensor release() {
        Tensor h = handle;
        handle = nullptr;
        return h;
    }
};

View view(Tensor t) {
    View v;
    int64_t *sizes, *strides;
    void* data;
    check(shim.aoti_torch_get_dim(t, &v.dims), "get_dim");
    check(shim.aoti_torch_get_sizes(t, &sizes), "get_sizes");
    check(shim.aoti_torch_get_strides(t, &strides), "get_strides");
    check(shim.aoti_torch_get_data_ptr(t, &data), "get_data_ptr");
    v.sizes = sizes;
    v.strides = strides;
    v.data = static_cast<char*>(data);
    return v;
}

int32_t dtype(Tensor t) {
    int32_t type;
    check(shim.aoti_torch_get_dtype(t, &type), "get_dtype");
    return type;
}

bool on_cpu(Tensor t) {
    int32_t type;
    check(shim.aoti_torch_get_device_type(t, &type), "get_device_type");
    return type == device_cpu;
}

Owned contiguous(Tensor t) {
    Tensor copy;
    check(shim.aoti_torch_new_tensor_handle(t, &copy), "new_tensor_handle");
    StableIValue stack[2] = {reinterpret_cast<StableIValue>(copy),
                             static_cast<StableIValue>(shim.aoti_torch_memory_format_contiguous_format())};
    check(shim.torch_call_dispatcher("aten::contiguous", "", stack, abi_version), "contiguous");
    return Owned(reinterpret_cast<Tensor>(stack[0]));
}

Owned empty(const View& like, const int64_t* strides, int32_t type) {
    Tensor t;
    check(shim.aoti_torch_empty_strided(like.dims, like.sizes, strides, type, device_cpu, 0, &t), "empty_strided");
    return Owned(t);
}

// to[:] = from
void copy(Tensor to, Tensor from) {
    Tensor both[2];
    check(shim.aoti_torch_new_tensor_handle(to, &both[0]), "new_tensor_handle");
    check(shim.aoti_torch_new_tensor_handle(from, &both[1]), "new_tensor_handle");
    StableIValue stack[3] = {reinterpret_cast<StableIValue>(both[0]), reinterpret_cast<StableIValue>(both[1]), 0};
    check(shim.torch_call_dispatcher("aten::copy_", "", stack, abi_version), "copy_");
    Owned(reinterpret_cast<Tensor>(stack[0]));
}

Owned take(StableIValue value) { return Owned(reinterpret_cast<Tensor>(value)); }
StableIValue give(Owned& tensor) { return reinterpret_cast<StableIValue>(tensor.release()); }
bool flag(StableIValue value) { return (value & 0xff) != 0; }

}  // namespace
}  // namespace gatewise
