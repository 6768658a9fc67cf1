// Three operators for blocks of float32 by weights in panels (panels.h), which know no gradient:
//   panels(Tensor weight, Tensor bias) -> Tensor, panels_of_gate(Tensor gate, Tensor gate_bias, Tensor up, Tensor up_bias)
//     -> Tensor: the panels [panels, inputs + 1, a panel's outputs] of the instruction set in use. A bias may have no numbers.
//   panel_block(Tensor x, Tensor first, Tensor down, int outputs, int function, bool high) -> Tensor: f(x W^T + b) D^T + c of
//     panels, or for a gate f(x G^T + b, x U^T + c) D^T + d; `function` is its place in functions.def. A block of rows at a
//     time, so that no more of the hidden numbers is ever there.
#pragma once
#include "dispatch.h"
#include "torch_tensors.h"

namespace gatewise {
namespace {

template <class Share>
void parallel(int64_t count, int64_t least, Share share) {
    if (count <= least) return share(0, count);
    const Work call = [](int64_t begin, int64_t end, void* all) { (*static_cast<Share*>(all))(begin, end); };
    check(shim.torch_parallel_for(0, count, least, call, &share), "parallel_for");
}
int64_t parts(int64_t count, int64_t size) { return (count + size - 1) / size; }
int64_t least_of(int64_t work) { return grain / (work > 0 ? work : 1) + 1; }

struct Floats32 {
    Owned tensor;
    View v;
    float* data() const { return reinterpret_cast<float*>(v.data); }
    int64_t size(int64_t dim) const { return v.sizes[dim]; }
};

// A tensor of a call: float32, on the CPU, of `dims` dimensions, its rows without gaps.
Floats32 taken(const std::string& who, StableIValue value, int64_t dims) {
    Floats32 found{take(value), {}};
    found.v = view(found.tensor.handle);
    if (!on_cpu(found.tensor.handle)) fail(who + ": every tensor has to be on the CPU");
    if (dtype(found.tensor.handle) != type_float32) fail(who + ": tensors of float32 expected");
    if (found.v.dims != dims) fail(who + ": " + std::to_string(dims) + " dimensions expected, got " + shape(found.v));
    return found;
}
Floats32 gapless(Floats32 x) {
    Floats32 copy{contiguous(x.tensor.handle), {}};
    copy.v = view(copy.tensor.handle);
    return copy;
}
Floats32 made(const int64_t* sizes, int64_t dims) {
    int64_t strides[3], step = 1;
    for (int64_t d = dims; d-- > 0; step *= sizes[d] > 1 ? sizes[d] : 1) strides[d] = step;
    View like;
    like.dims = dims, like.sizes = sizes;
    Floats32 found{empty(like, strides, type_float32), {}};
    found.v = view(found.tensor.handle);
    return found;
}

void boxed_panels(StableIValue* stack, int num, const std::string& who) {
    const PanelKernels& kernels = current().kernels->panels;
    Floats32 w[2], bias[2];
    PanelWeights p{};
    p.num = num;
    for (int i = 0; i < num; ++i) {
        w[i] = gapless(taken(who, stack[2 * i], 2)), bias[i] = gapless(taken(who, stack[2 * i + 1], 1));
        p.w[i] = w[i].data(), p.stride[i] = w[i].size(1);
        if (bias[i].size(0)) p.bias[i] = bias[i].data();
        const bool fits = !bias[i].size(0) || bias[i].size(0) == w[i].size(0);
        const View& other = fits ? w[0].v : bias[i].v;
        if (!fits || w[i].size(0) != w[0].size(0) || w[i].size(1) != w[0].size(1))
            fail(who + ": shapes " + shape(w[i].v) + " and " + shape(other) + " do not match");
    }
    p.outputs = w[0].size(0), p.cols = w[0].size(1);
    const int64_t sizes[3] = {parts(p.outputs * num, kernels.outputs), p.cols + 1, kernels.outputs};
    Floats32 made_panels = made(sizes, 3);
    p.panels = made_panels.data();
    parallel(sizes[0], least_of(sizes[1] * sizes[2]), [&](int64_t begin, int64_t end) { kernels.to_panels(p, begin, end); });
    stack[0] = give(made_panels.tensor);
}
void boxed_panels_of_one(StableIValue* stack, uint64_t, uint64_t) { boxed_panels(stack, 1, "gatewise::panels"); }
void boxed_panels_of_gate(StableIValue* stack, uint64_t, uint64_t) { boxed_panels(stack, 2, "gatewise::panels_of_gate"); }

// Some rows of a block, and what is kept meanwhile.
struct PanelBlock {
    const PanelKernels& kernels;
    PanelKernel hidden;
    PanelRows rows;
    PanelProduct first, last;
    bool gate;

    void run(int64_t start, int64_t count) {
        PanelRows in = rows;
        PanelProduct up = first, down = last;
        in.x += start * in.stride, down.y += start * down.y_stride;
        in.rows = up.rows = down.rows = count;
        const int64_t outputs = kernels.outputs, tiles = parts(count, kernels.tile);
        parallel(tiles, least_of(in.cols), [&](int64_t begin, int64_t end) { kernels.to_tiles(in, begin, end); });
        parallel(parts(up.outputs * (gate ? 2 : 1), outputs), least_of(count * up.cols),
                 [&](int64_t begin, int64_t end) { hidden(up, begin, end); });
        parallel(parts(down.outputs, outputs), least_of(count * down.cols),
                 [&](int64_t begin, int64_t end) { kernels.rows(down, begin, end); });
    }
};

void boxed_panel_block(StableIValue* stack, uint64_t, uint64_t) {
    const std::string who = "gatewise::panel_block";
    const PanelKernels& kernels = current().kernels->panels;
    Floats32 x = taken(who, stack[0], 2);
    const Floats32 first = gapless(taken(who, stack[1], 3)), down = gapless(taken(who, stack[2], 3));
    const int64_t outputs = static_cast<int64_t>(stack[3]), function = static_cast<int64_t>(stack[4]);
    if (function < 0 || function >= num_functions) fail(who + ": no function at place " + std::to_string(function));
    const bool gate = function_is_gate[function];
    if (x.size(1) > 1 && x.v.strides[1] != 1) x = gapless(std::move(x));
    const int64_t rows = x.size(0), cols = x.size(1), hidden = down.size(1) - 1;
    if (first.size(1) != cols + 1)
        fail(who + ": shapes " + shape(x.v) + " and " + shape(first.v) + " do not match");
    if (first.size(0) != parts(hidden * (gate ? 2 : 1), kernels.outputs) || first.size(2) != kernels.outputs)
        fail(who + ": panels " + shape(first.v) + " and " + shape(down.v) + " do not match");
    if (outputs < 0 || down.size(0) != parts(outputs, kernels.outputs) || down.size(2) != kernels.outputs)
        fail(who + ": panels " + shape(down.v) + " are not of " + std::to_string(outputs) + " outputs");
    const int64_t y_sizes[2] = {rows, outputs}, blocks = parts(rows, kernels.tile * kernels.tiles);
    Floats32 y = made(y_sizes, 2);
    if (rows > 0 && outputs > 0) {
        const int64_t most = parts(rows, blocks), group = kernels.group;
        const int64_t x_size = most * parts(cols, group) * group, h_size = most * parts(hidden, group) * group;
        const Floats32 x_tiles = made(&x_size, 1), h_tiles = made(&h_size, 1);
        PanelBlock block{kernels, current().kernels->of[function].hidden[flag(stack[5])],
                         {0, cols, x.v.strides[0], x.data(), x_tiles.data()},
                         {0, cols, hidden, x_tiles.data(), first.data(), h_tiles.data(), 0},
                         {0, hidden, outputs, h_tiles.data(), down.data(), y.data(), outputs}, gate};
        for (int64_t i = 0, start = 0; i < blocks; ++i) {
            const int64_t count = rows / blocks + (i < rows % blocks);
            block.run(start, count);
            start += count;
        }
    }
    stack[0] = give(y.tensor);
}

}  // namespace
}  // namespace gatewise
