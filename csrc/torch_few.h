// Two operators for few rows, which know no gradient:
//   few_rows(Tensor x, Tensor weight) -> Tensor: x W^T of two matrices of one dtype.
//   few_block(Tensor x, Tensor gate, Tensor up, Tensor down, int function, bool high) -> Tensor: f(x G^T, x U^T) D^T, with
//     the bits of three of the former and the gate between, whose place in functions.def `function` is.
#pragma once
#include "dispatch.h"
#include "torch_tensors.h"

namespace gatewise {
namespace {

struct Factors {
    const char* name;
    int32_t type;
    Owned in[4];
    View v[4];

    Factors(const char* who, StableIValue* stack, int num) : name(who) {
        for (int i = 0; i < num; ++i) in[i] = take(stack[i]);
        type = dtype(in[0].handle);
        for (int i = 0; i < num; ++i) {
            if (!on_cpu(in[i].handle)) fail(name + std::string(": every tensor has to be on the CPU"));
            if ((type != type_float32 && type != type_bfloat16) || dtype(in[i].handle) != type)
                fail(name + std::string(": tensors of float32 or of bfloat16 expected"));
            v[i] = view(in[i].handle);
            if (v[i].dims != 2 || v[i].sizes[1] < 2 || v[i].strides[1] == 1) continue;
            in[i] = contiguous(in[i].handle);
            v[i] = view(in[i].handle);
        }
    }
    void match(const View& a, const View& b, bool match) const {
        if (!match) fail(name + std::string(": shapes ") + shape(a) + " and " + shape(b) + " do not match");
    }
    Owned matrix(int64_t rows, int64_t cols) const {
        const int64_t sizes[2] = {rows, cols}, strides[2] = {cols > 1 ? cols : 1, 1};
        View like;
        like.dims = 2, like.sizes = sizes;
        return empty(like, strides, type);
    }
    // y = x W^T
    Product product(const View& x, const View& w, void* y) const {
        match(x, w, x.dims == 2 && w.dims == 2 && x.sizes[1] == w.sizes[1]);
        return {x.sizes[0], x.sizes[1], x.data, w.data, y, x.strides[0], w.strides[0], w.sizes[0]};
    }
};

struct FewTask {
    ProductKernel product;
    int num;
    Product of[2];
    Kernel gate;
    int64_t size;  // of a number in bytes

    void run(int64_t columns) {
        const int64_t least = grain / (of[0].cols > 0 ? of[0].cols : 1) + 1;
        if (columns <= least) return work(0, columns, this);
        check(shim.torch_parallel_for(0, columns, least, work, this), "parallel_for");
    }
    static void work(int64_t begin, int64_t end, void* context) {
        const FewTask& task = *static_cast<FewTask*>(context);
        Call call{end - begin, {}, {}, {}, {}, false};
        for (int i = 0; i < task.num; ++i) {
            task.product(task.of[i], begin, end);
            call.in[i] = static_cast<char*>(task.of[i].y) + begin * task.size;
            call.in_stride[i] = task.of[i].y_stride;
        }
        if (!task.gate) return;
        call.out[0] = const_cast<void*>(call.in[0]), call.out_stride[0] = call.in_stride[0];
        task.gate(call, 0, task.of[0].rows * call.cols);
    }
};

void boxed_few_rows(StableIValue* stack, uint64_t, uint64_t) {
    const Factors f("gatewise::few_rows", stack, 2);
    Product p = f.product(f.v[0], f.v[1], nullptr);
    Owned y = f.matrix(p.rows, p.y_stride);
    p.y = view(y.handle).data;
    FewTask{current().kernels->few_rows[f.type == type_float32], 1, {p}, nullptr, 0}.run(p.y_stride);
    stack[0] = give(y);
}

void boxed_few_block(StableIValue* stack, uint64_t, uint64_t) {
    const Factors f("gatewise::few_block", stack, 4);
    const int64_t function = static_cast<int64_t>(stack[4]);
    if (function < 0 || function >= num_functions || !function_is_gate[function])
        fail("gatewise::few_block: no gate at place " + std::to_string(function));
    const Kernels& kernels = *current().kernels;
    const ProductKernel kernel = kernels.few_rows[f.type == type_float32];
    const int precision = f.type == type_bfloat16 ? bfloat16 : flag(stack[5]) ? float32_high : float32;
    FewTask first{kernel, 2, {f.product(f.v[0], f.v[1], nullptr), f.product(f.v[0], f.v[2], nullptr)},
                  kernels.of[function].kernel[forward][precision], f.type == type_bfloat16 ? 2 : 4};
    f.match(f.v[1], f.v[2], f.v[1].sizes[0] == f.v[2].sizes[0]);
    const int64_t rows = first.of[0].rows, hidden = first.of[0].y_stride;
    const Owned gate = f.matrix(rows, hidden), up = f.matrix(rows, hidden);
    const View between = view(gate.handle);
    first.of[0].y = between.data, first.of[1].y = view(up.handle).data;
    Product p = f.product(between, f.v[3], nullptr);
    Owned y = f.matrix(rows, p.y_stride);
    p.y = view(y.handle).data;
    first.run(hidden);
    FewTask{kernel, 1, {p}, nullptr, 0}.run(p.y_stride);
    stack[0] = give(y);
}

}  // namespace
}  // namespace gatewise
