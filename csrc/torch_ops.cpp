// The kernels as implementations of torch operators, through libtorch's stable C interface. The operators themselves are
// defined in Python, from the same table (gatewise_function_name); this file gives them their CPU implementation:
//   f(Tensor x, bool high) -> Tensor                         f_backward(Tensor grad, Tensor x, bool high) -> Tensor
//   f(Tensor gate, Tensor up, bool high) -> Tensor           f_backward(Tensor grad, Tensor gate, Tensor up, bool high)
//                                                              -> (Tensor, Tensor)
//   f.no_grad, f_backward.no_grad                      the same, which autograd passes by
//   f_high(Tensor x), f_high(Tensor gate, Tensor up)   f.no_grad(..., high=True), with an argument less to hand over
//   f_out(the same, Tensor(a!) out) -> ()
//   f_backward_out(the same as f_backward, Tensor(a!) by_x), or by_gate and by_up -> ()
// and those of torch_few.h, torch_panels.h, torch_split.h and torch_split_block.h.
#include <stdio.h>

#include <string>

#include "dispatch.h"
#include "torch_few.h"
#include "torch_panels.h"
#include "torch_split_block.h"
#include "torch_tensors.h"
#include "views.h"

namespace gatewise {
namespace {

constexpr int64_t stream_bytes = int64_t{1} << 24;  // an output from this size on is written around the caches

void make_contiguous(const Owned* in, int num, Owned* copies, View* v) {
    for (int i = 0; i < num; ++i) {
        copies[i] = contiguous(in[i].handle);
        v[i] = view(copies[i].handle);
    }
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
    Task task{current().kernels->of[function].kernel[direction][precision], {}};
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
    const std::string who = std::string("gatewise::") + name;
    const int32_t type = dtype(in[0]);
    for (int i = 0; i < num; ++i) {
        if (!on_cpu(in[i])) fail(who + ": every tensor has to be on the CPU");
        bool equal = v[i].dims == v[0].dims;
        for (int64_t d = 0; equal && d < v[0].dims; ++d) equal = v[i].sizes[d] == v[0].sizes[d];
        if (!equal) fail(who + ": shapes " + shape(v[0]) + " and " + shape(v[i]) + " differ");
        if (dtype(in[i]) != type) fail(who + ": the dtypes of the tensors differ");
    }
    if (type != type_float32 && type != type_bfloat16) fail(who + ": float32 or bfloat16 expected");
    if (v[0].dims > max_dims) fail(who + ": more than 16 dimensions");
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
    const int32_t type = dtype(in[0].handle);
    int64_t strides[max_dims];
    new_strides(v, num_in, strides);
    for (int i = 0; i < num_out; ++i) {
        out[i] = empty(v[0], strides, type);
        v[num_in + i] = view(out[i].handle);
    }
    if (numel(v[0]) == 0) return;
    Rows r;
    Owned copies[max_tensors];
    if (!rows(v, num_in + num_out, r)) {
        make_contiguous(in, num_in, copies, v);
        if (!rows(v, num_in + num_out, r)) fail(std::string("gatewise::") + name + ": no rows");
    }
    compute(function, direction, high, type, v, num_in, num_out, r);
}

void run_out(int function, int direction, const char* name, Owned* in, int num_in, bool high, Owned* out, int num_out) {
    const std::string who = std::string("gatewise::") + name;
    Tensor handles[max_tensors];
    View v[max_tensors];
    for (int i = 0; i < num_in; ++i) v[i] = view(handles[i] = in[i].handle);
    for (int i = 0; i < num_out; ++i) v[num_in + i] = view(handles[num_in + i] = out[i].handle);
    const int num = num_in + num_out;
    same(name, handles, v, num);
    if (numel(v[0]) == 0) return;
    const int32_t type = dtype(handles[0]);
    const int64_t size = type == type_bfloat16 ? 2 : 4;
    for (int o = num_in; o < num; ++o)
        if (!apart(v[o])) fail(who + ": an output " + shape(v[o]) + " overlaps itself");
    Rows r;
    Owned copies[max_tensors], kept[2];
    bool together = rows(v, num, r);
    if (!together) {
        make_contiguous(in, num_in, copies, v);
        together = rows(v, num, r);
    }
    if (!together) {  // computed beside, then copied
        if (num_out == 2 && ranges_touch(v[num_in], v[num_in + 1], size))
            fail(who + ": both outputs " + shape(v[num_in]) + " interleave, and not in rows");
        int64_t strides[max_dims];
        new_strides(v, num_in, strides);
        for (int i = 0; i < num_out; ++i) {
            kept[i] = empty(v[0], strides, type);
            v[num_in + i] = view(kept[i].handle);
        }
        if (!rows(v, num, r)) fail(who + ": no rows");
    }
    for (int o = num_in; o < num; ++o) {
        for (int i = 0; i < o; ++i) {
            const bool in_place = i < num_in && v[i].data == v[o].data && (r.stride[i] == r.stride[o] || r.count == 1);
            if (!in_place && overlap(v[i], r.stride[i], v[o], r.stride[o], r, size))
                fail(who + ": an output " + shape(v[o]) + " overlaps " +
                     (i < num_in ? "an input " + shape(v[i]) + " without being it" : "the other"));
        }
    }
    compute(function, direction, high, type, v, num_in, num_out, r);
    for (int i = 0; i < num_out; ++i)
        if (kept[i].handle) copy(out[i].handle, kept[i].handle);
}

enum Kind { plain, no_grad, no_grad_high, into, gradient, gradient_no_grad, gradient_into, num_kinds };
constexpr const char* suffixes[num_kinds] = {"", ".no_grad", "_high", "_out", "_backward", "_backward.no_grad", "_backward_out"};

// The name of an operator, made once.
const char* operator_name(int function, int kind) {
    struct Names {
        char of[num_functions][num_kinds][64];
        Names() {
            for (int f = 0; f < num_functions; ++f)
                for (int k = 0; k < num_kinds; ++k)
                    snprintf(of[f][k], sizeof of[f][k], "%s%s", function_names[f], suffixes[k]);
        }
    };
    static const Names names;
    return names.of[function][kind];
}

// The operator takes the gradient first, the kernel last.
template <int function, int kind>
void boxed(StableIValue* stack, uint64_t, uint64_t) {
    constexpr bool slope = kind >= gradient, given = kind == into || kind == gradient_into;
    const int num_inputs = function_is_gate[function] ? 2 : 1;
    const int num_in = num_inputs + slope, num_out = slope ? num_inputs : 1;
    Owned in[3], out[2];
    for (int i = 0; i < num_in; ++i) in[i] = take(stack[slope ? (i + 1) % num_in : i]);
    const bool high = kind == no_grad_high || flag(stack[num_in]);
    if (given)
        for (int i = 0; i < num_out; ++i) out[i] = take(stack[num_in + 1 + i]);
    (given ? run_out : run)(function, slope ? backward : forward, operator_name(function, kind), in, num_in, high, out,
                            num_out);
    if (!given)
        for (int i = 0; i < num_out; ++i) stack[i] = give(out[i]);
}

constexpr Boxed operators[num_functions][num_kinds] = {
#define ALL(name) {boxed<name, plain>, boxed<name, no_grad>, boxed<name, no_grad_high>, boxed<name, into>, boxed<name, gradient>, boxed<name, gradient_no_grad>, boxed<name, gradient_into>},
#define SCALAR(name, formula) ALL(name)
#define GATE(name, formula, clamp) ALL(name)
#include "functions.def"
#undef SCALAR
#undef GATE
#undef ALL
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
    for (int f = 0; f < num_functions; ++f) {
        for (int kind = 0; kind < num_kinds; ++kind) {
            const char* name = operator_name(f, kind);
            if (shim.torch_library_impl(library, name, operators[f][kind], abi_version)) return name;
        }
    }
    const struct {
        const char* name;
        Boxed run;
    } others[] = {{"few_rows", boxed_few_rows},
                  {"few_block", boxed_few_block},
                  {"panels", boxed_panels_of_one},
                  {"panels_of_gate", boxed_panels_of_gate},
                  {"split_panels", boxed_split_panels},
                  {"split_panels_of_gate", boxed_split_panels_of_gate},
                  {"panel_block", boxed_panel_block},
                  {"split_product", boxed_split_product},
                  {"split_product_out", boxed_split_product_out},
                  {"split_by_weights", boxed_split_by_weights},
                  {"split_forward", boxed_split_forward},
                  {"split_slopes", boxed_split_slopes}};
    for (const auto& each : others)
        if (shim.torch_library_impl(library, each.name, each.run, abi_version)) return each.name;
    return nullptr;
}
