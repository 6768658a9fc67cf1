// The kernels as implementations of torch operators, through libtorch's stable C interface. The operators themselves are
// defined in Python, from the same table (gatewise_function_name); this file gives them their CPU implementation:
//   f(Tensor x, bool high) -> Tensor                         f_backward(Tensor grad, Tensor x, bool high) -> Tensor
//   f(Tensor gate, Tensor up, bool high) -> Tensor           f_backward(Tensor grad, Tensor gate, Tensor up, bool high)
//                                                              -> (Tensor, Tensor)
//   f_out(the same, Tensor(a!) out) -> ()
#include <stdio.h>

#include <stdexcept>
#include <string>

#include "dispatch.h"
#include "torch_shim.h"

namespace gatewise {
namespace {

using namespace torch;

Shims shim;
int32_t type_float32, type_bfloat16, device_cpu;

constexpr int max_dims = 16;
constexpr int max_tensors = 5;                   // three inputs, two outputs
constexpr int64_t grain = 32768;                 // numbers a thread takes at least
constexpr int64_t stream_bytes = int64_t{1} << 24;  // an output from this size on is written around the caches

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

struct View {
    int64_t dims = 0;
    const int64_t *sizes = nullptr, *strides = nullptr;
    char* data = nullptr;
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

std::string shape(const View& v) {
    std::string s = "(";
    for (int64_t i = 0; i < v.dims; ++i) s += (i ? ", " : "") + std::to_string(v.sizes[i]);
    return s + ")";
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

int64_t numel(const View& v) {
    int64_t n = 1;
    for (int64_t i = 0; i < v.dims; ++i) n *= v.sizes[i];
    return n;
}

Owned contiguous(Tensor t) {
    Tensor copy;
    check(shim.aoti_torch_new_tensor_handle(t, &copy), "new_tensor_handle");
    StableIValue stack[2] = {reinterpret_cast<StableIValue>(copy),
                             static_cast<StableIValue>(shim.aoti_torch_memory_format_contiguous_format())};
    check(shim.torch_call_dispatcher("aten::contiguous", "", stack, abi_version), "contiguous");
    return Owned(reinterpret_cast<Tensor>(stack[0]));
}

// The same rows for all tensors: cols numbers next to each other, and a stride for each tensor. False where there are
// none, because a tensor's numbers are not next to each other or the tensors differ in more than two dimensions.
struct Rows {
    int64_t count = 1, cols = 1, stride[max_tensors] = {};
};

bool rows(const View* v, int num, Rows& result) {
    const int64_t dims = v[0].dims;
    if (dims > max_dims) return false;
    int order[max_dims];
    int used = 0;
    for (int d = 0; d < dims; ++d) {
        if (v[0].sizes[d] == 1) continue;
        int at = used++;  // by falling stride of the first tensor, so that a transposed tensor is rows as well
        for (; at > 0 && v[0].strides[order[at - 1]] < v[0].strides[d]; --at) order[at] = order[at - 1];
        order[at] = d;
    }
    int groups = 0;
    int64_t stride[max_tensors] = {};  // of the innermost number of the current group
    int64_t size = 1;
    result = Rows();
    for (int i = used - 1; i >= 0; --i) {
        const int d = order[i];
        bool joins = groups > 0;
        for (int t = 0; t < num && joins; ++t) joins = v[t].strides[d] == stride[t] * size;
        if (joins) {
            size *= v[0].sizes[d];
        } else {
            if (groups == 1) result.cols = size;
            if (++groups > 2) return false;
            size = v[0].sizes[d];
            for (int t = 0; t < num; ++t) {
                stride[t] = v[t].strides[d];
                if (groups == 1 && stride[t] != 1) return false;
                if (groups == 2) result.stride[t] = stride[t];
            }
        }
    }
    (groups == 2 ? result.count : result.cols) = size;
    return true;
}

struct Task {
    Kernel kernel;
    Call call;
};
void work(int64_t begin, int64_t end, void* context) {
    const Task& task = *static_cast<Task*>(context);
    task.kernel(task.call, begin, end);
}

void compute(int function, int direction, bool high, int32_t type, const View* views, int num_in, int num_out,
             const Rows& r) {
    const int precision = type == type_bfloat16 ? bfloat16 : high ? float32_high : float32;
    Task task{current().kernels->kernel[function][direction][precision], {}};
    const int64_t total = r.count * r.cols;
    task.call.cols = r.cols;
    for (int i = 0; i < num_in; ++i) task.call.in[i] = views[i].data, task.call.in_stride[i] = r.stride[i];
    for (int i = 0; i < num_out; ++i) {
        task.call.out[i] = views[num_in + i].data;
        task.call.out_stride[i] = r.stride[num_in + i];
    }
    task.call.stream = total * (type == type_bfloat16 ? 2 : 4) >= stream_bytes;
    if (total <= grain) {
        task.kernel(task.call, 0, total);
    } else {
        check(shim.torch_parallel_for(0, total, grain, work, &task), "parallel_for");
    }
}

void same(const char* name, const Tensor* in, const View* v, int num) {
    const int32_t type = dtype(in[0]);
    if (type != type_float32 && type != type_bfloat16)
        fail(std::string("gatewise::") + name + ": float32 or bfloat16 expected");
    for (int i = 1; i < num; ++i) {
        bool equal = v[i].dims == v[0].dims;
        for (int64_t d = 0; equal && d < v[0].dims; ++d) equal = v[i].sizes[d] == v[0].sizes[d];
        if (!equal) fail(std::string("gatewise::") + name + ": shapes " + shape(v[0]) + " and " + shape(v[i]) + " differ");
        if (dtype(in[i]) != type) fail(std::string("gatewise::") + name + ": the dtypes of the tensors differ");
        if (!on_cpu(in[i])) fail(std::string("gatewise::") + name + ": every tensor has to be on the CPU");
    }
}

// Strides of a new output: the inputs' where all are alike and dense, else contiguous.
void new_strides(const View* v, int num, int64_t* strides) {
    int64_t step = 1;
    for (int64_t d = v[0].dims - 1; d >= 0; --d) {
        strides[d] = step;
        step *= v[0].sizes[d] > 1 ? v[0].sizes[d] : 1;
    }
    bool usual = true;
    for (int64_t d = 0; d < v[0].dims; ++d) usual = usual && (v[0].sizes[d] == 1 || v[0].strides[d] == strides[d]);
    if (usual) return;
    for (int i = 1; i < num; ++i)
        for (int64_t d = 0; d < v[0].dims; ++d)
            if (v[i].strides[d] != v[0].strides[d]) return;
    Rows r;
    if (rows(v, 1, r) && r.count == 1)
        for (int64_t d = 0; d < v[0].dims; ++d) strides[d] = v[0].strides[d];
}

void run(int function, int direction, const char* name, Owned* in, int num_in, bool high, Owned* out, int num_out) {
    Tensor handles[max_tensors];
    View v[max_tensors];
    for (int i = 0; i < num_in; ++i) v[i] = view(handles[i] = in[i].handle);
    same(name, handles, v, num_in);
    if (v[0].dims > max_dims) fail(std::string("gatewise::") + name + ": more than 16 dimensions");
    const int32_t type = dtype(in[0].handle);
    int64_t strides[max_dims];
    new_strides(v, num_in, strides);
    for (int i = 0; i < num_out; ++i) {
        Tensor t;
        check(shim.aoti_torch_empty_strided(v[0].dims, v[0].sizes, strides, type, device_cpu, 0, &t), "empty_strided");
        out[i].reset(t);
        v[num_in + i] = view(t);
    }
    if (numel(v[0]) == 0) return;
    Rows r;
    Owned copies[max_tensors];
    if (!rows(v, num_in + num_out, r)) {
        for (int i = 0; i < num_in; ++i) {
            copies[i] = contiguous(in[i].handle);
            v[i] = view(copies[i].handle);
        }
        if (!rows(v, num_in + num_out, r)) fail(std::string("gatewise::") + name + ": no rows");
    }
    compute(function, direction, high, type, v, num_in, num_out, r);
}

// Do the rows of a and b touch? Both have the shape that `r` was made for.
bool overlap(const View& a, int64_t stride_a, const View& b, int64_t stride_b, const Rows& r, int64_t size) {
    const int64_t end_a = ((r.count - 1) * stride_a + r.cols) * size, end_b = ((r.count - 1) * stride_b + r.cols) * size;
    if (a.data + end_a <= b.data || b.data + end_b <= a.data) return false;
    if (stride_a != stride_b || stride_a <= 0 || r.count == 1) return true;
    const int64_t period = stride_a * size;  // side by side in the same rows, as the halves of one projection are
    int64_t apart = (b.data - a.data) % period;
    if (apart < 0) apart += period;
    return apart < r.cols * size || period - apart < r.cols * size;
}

void run_out(int function, const char* name, Owned* in, int num_in, bool high, Owned& out) {
    Tensor handles[max_tensors];
    View v[max_tensors];
    for (int i = 0; i < num_in; ++i) handles[i] = in[i].handle;
    handles[num_in] = out.handle;
    for (int i = 0; i <= num_in; ++i) v[i] = view(handles[i]);
    same(name, handles, v, num_in + 1);
    if (numel(v[0]) == 0) return;
    const int32_t type = dtype(out.handle);
    Rows r;
    Owned copies[max_tensors];
    if (!rows(v, num_in + 1, r)) {
        for (int i = 0; i < num_in; ++i) {
            copies[i] = contiguous(in[i].handle);
            v[i] = view(copies[i].handle);
        }
        if (!rows(v, num_in + 1, r)) fail(std::string("gatewise::") + name + ": out has to lie in rows of the shape " + shape(v[0]));
    }
    const int64_t size = type == type_bfloat16 ? 2 : 4;
    for (int i = 0; i < num_in; ++i) {
        const bool in_place = v[i].data == v[num_in].data && (r.stride[i] == r.stride[num_in] || r.count == 1);
        if (!in_place && overlap(v[i], r.stride[i], v[num_in], r.stride[num_in], r, size))
            fail(std::string("gatewise::") + name + ": out overlaps an input " + shape(v[i]) + " without being it");
    }
    compute(function, forward, high, type, v, num_in, 1, r);
}

Owned take(StableIValue value) { return Owned(reinterpret_cast<Tensor>(value)); }
StableIValue give(Owned& tensor) { return reinterpret_cast<StableIValue>(tensor.release()); }
bool flag(StableIValue value) { return (value & 0xff) != 0; }

template <int function>
void boxed_forward(StableIValue* stack, uint64_t, uint64_t) {
    const int num = function_is_gate[function] ? 2 : 1;
    Owned in[2], out[1];
    for (int i = 0; i < num; ++i) in[i] = take(stack[i]);
    run(function, forward, function_names[function], in, num, flag(stack[num]), out, 1);
    stack[0] = give(out[0]);
}

template <int function>
void boxed_out(StableIValue* stack, uint64_t, uint64_t) {
    const int num = function_is_gate[function] ? 2 : 1;
    Owned in[2];
    for (int i = 0; i < num; ++i) in[i] = take(stack[i]);
    Owned out = take(stack[num + 1]);
    run_out(function, function_names[function], in, num, flag(stack[num]), out);
}

// The operator takes the gradient first, the kernel last.
template <int function>
void boxed_backward(StableIValue* stack, uint64_t, uint64_t) {
    const int num = function_is_gate[function] ? 2 : 1;
    Owned in[3], out[2];
    for (int i = 0; i <= num; ++i) in[i] = take(stack[(i + 1) % (num + 1)]);
    run(function, backward, function_names[function], in, num + 1, flag(stack[num + 1]), out, num);
    for (int i = 0; i < num; ++i) stack[i] = give(out[i]);
}

constexpr Boxed boxed[num_functions][3] = {
#define SCALAR(name, formula) {boxed_forward<name>, boxed_out<name>, boxed_backward<name>},
#define GATE(name, formula, clamp) {boxed_forward<name>, boxed_out<name>, boxed_backward<name>},
#include "functions.def"
#undef SCALAR
#undef GATE
};

}  // namespace
}  // namespace gatewise

#define GATEWISE_EXPORT extern "C" __attribute__((visibility("default")))

// The functions of torch that are needed, in the order in which `gatewise_register` wants their addresses. They are
// handed in instead of looked up here: dlsym would tie the library to a newer libc, and linking torch to one torch.
GATEWISE_EXPORT const char* gatewise_shim_name(int i) {
    static const char* const names[] = {
#define X(result, name, arguments) #name,
        GATEWISE_SHIMS(X)
#undef X
    };
    return i >= 0 && i < static_cast<int>(sizeof names / sizeof names[0]) ? names[i] : nullptr;
}

// Registers the CPU implementations of the operators `gatewise::...`. Returns null, or what went wrong.
GATEWISE_EXPORT const char* gatewise_register(void* const* addresses) {
    using namespace gatewise;
#define X(result, name, arguments) shim.name = reinterpret_cast<result(*) arguments>(*addresses++);
    GATEWISE_SHIMS(X)
#undef X
    type_float32 = shim.aoti_torch_dtype_float32();
    type_bfloat16 = shim.aoti_torch_dtype_bfloat16();
    device_cpu = shim.aoti_torch_device_type_cpu();
    Library library;  // never deleted: deleting it would take the implementations away
    if (shim.aoti_torch_library_init_impl("gatewise", "CPU", __FILE__, __LINE__, &library)) return "no library";
    static const char* const suffixes[3] = {"", "_out", "_backward"};
    static char name[64];
    for (int f = 0; f < num_functions; ++f) {
        for (int kind = 0; kind < 3; ++kind) {
            snprintf(name, sizeof name, "%s%s", function_names[f], suffixes[kind]);
            if (shim.torch_library_impl(library, name, boxed[f][kind], abi_version)) return name;
        }
    }
    return nullptr;
}
