// A training step's two products that something is made of where their sums are, in three parts each (amx_split.h):
//   split_forward(Tensor x, Tensor gate, Tensor gate_bias, Tensor up, Tensor up_bias, Tensor down, Tensor down_bias,
//       int function, bool high) -> (Tensor, Tensor, Tensor): the block's output, and the projections by gate and by up, which
//       its gradient needs. Of a function that is no gate, `gate` is the only first weight, and up has no numbers.
//   split_slopes(Tensor grad, Tensor down, Tensor(a!) gate, Tensor(b!) up, int function, bool high) -> Tensor: the hidden
//       numbers; gate and up, the projections, become the gradients by them.
// They know no gradient, and raise where numbers are not in the range of parts, before anything is written to.
#pragma once
#include "torch_split.h"

namespace gatewise {
namespace {

int checked_function(const PanelCall& call, StableIValue value) {
    const int64_t function = static_cast<int64_t>(value);
    if (function < 0 || function >= num_functions) fail(call.who + ": no function at place " + std::to_string(function));
    return static_cast<int>(function);
}

float* numbers(const Array& x) { return reinterpret_cast<float*>(x.v.data); }

void boxed_split_forward(StableIValue* stack, uint64_t, uint64_t) {
    Owned in[7];
    for (int i = 0; i < 7; ++i) in[i] = take(stack[i]);
    const PanelCall call("gatewise::split_forward", in[0], true);
    call.need_parts();
    const PanelKernels& kernels = *call.kernels;
    const int function = checked_function(call, stack[7]), num = function_is_gate[function] ? 2 : 1;
    const bool high = flag(stack[8]);
    Array x = call.checked(std::move(in[0]), 2);
    if (x.size(1) > 1 && x.v.strides[1] != 1) x = gapless(x);
    std::vector<Array> weights, biases;
    for (int i = 1; i < 7; i += 2) {
        weights.push_back(gapless(call.checked(std::move(in[i]), 2)));
        biases.push_back(gapless(call.checked(std::move(in[i + 1]), 1)));
    }
    const Array &gate = weights[0], &up = weights[1], &down = weights[2];
    const int64_t rows = x.size(0), cols = x.size(1), hidden = gate.size(0), outputs = down.size(0);
    call.match(gate.size(1) == cols, x, gate);
    call.match(num == 1 || (up.size(0) == hidden && up.size(1) == cols), gate, up);
    call.match(down.size(1) == hidden, gate, down);
    for (int i = 0; i < 3; ++i) {
        const int64_t count = biases[i].size(0);
        call.match(!count || count == weights[i].size(0), weights[i], biases[i]);
    }
    const auto bias = [&](int i) { return biases[i].size(0) ? biases[i].v.data : nullptr; };
    const int64_t y_sizes[2] = {rows, outputs}, kept_sizes[2] = {rows, hidden};
    Array y = new_array(y_sizes, 2, call.type);
    const int64_t none[2] = {0, 0};
    Array kept[2] = {on_large_pages(kept_sizes, call.type, call.bytes),
                     on_large_pages(num == 2 ? kept_sizes : none, call.type, call.bytes)};
    if (rows > 0 && hidden > 0 && outputs > 0) {
        uint32_t most[3] = {0, 0, 0};  // of the weights, of x, of what is hidden
        const int64_t first_size = parts(hidden * num, kernels.outputs) * kernels.size(cols);
        uint16_t* const first = workspace(0).get(first_size + parts(outputs, kernels.outputs) * kernels.size(hidden));
        uint16_t* const last = first + first_size;
        const PanelWeights w{hidden, cols, {cols, cols}, {gate.v.data, up.v.data}, {bias(0), bias(1)}, num, first, false, most};
        fill_panels(kernels, w);
        fill_panels(kernels, {outputs, hidden, {hidden}, {down.v.data}, {bias(2)}, 1, last, false, most});
        const int64_t block = 2 * Near(kernels, cols).count * kernels.tile, some = rows < block ? rows : block;
        const auto tiles = [&](int64_t n) {
            return parts(some, kernels.tile) * kernels.tile * kernels.parts * parts(n, kernels.group) * kernels.group;
        };
        uint16_t* const x_tiles = workspace(1).get(tiles(cols));
        uint16_t* const h_tiles = workspace(2).get(tiles(hidden));
        float* const beside[2] = {numbers(kept[0]), num == 2 ? numbers(kept[1]) : nullptr};
        const PanelBlock run{
            kernels, tile_panels()->split_hidden[function][high], num,
            {0, cols, x.v.strides[0], x.v.data, x_tiles, false, most + 1},
            {0, cols, hidden, x_tiles, first, h_tiles, 0, false, most + 2, {beside[0], beside[1], nullptr}, hidden},
            {0, hidden, outputs, h_tiles, last, y.v.data, outputs, false, nullptr, {}, 0}};
        for (int64_t start = 0; start < rows; start += block)
            run.run(start, rows - start < block ? rows - start : block, call.bytes);
        if (!in_range(most[0], least_weight) || !in_range(most[1], least_input) || !in_range(most[2], least_input))
            refuse(call.who, out_of_range);
    }
    stack[0] = give(y.tensor), stack[1] = give(kept[0].tensor), stack[2] = give(kept[1].tensor);
}

void boxed_split_slopes(StableIValue* stack, uint64_t, uint64_t) {
    Owned in[4];
    for (int i = 0; i < 4; ++i) in[i] = take(stack[i]);
    const PanelCall call("gatewise::split_slopes", in[0], true);
    call.need_parts();
    const PanelKernels& kernels = *call.kernels;
    const int function = checked_function(call, stack[4]), num = function_is_gate[function] ? 2 : 1;
    const bool high = flag(stack[5]);
    Array grad = call.checked(std::move(in[0]), 2);
    if (grad.size(1) > 1 && grad.v.strides[1] != 1) grad = gapless(grad);
    const SplitFactor down(call.checked(std::move(in[1]), 2), 0);
    const Array gate = call.checked(std::move(in[2]), 2);
    const Array up = num == 2 ? call.checked(std::move(in[3]), 2) : Array(Owned(std::move(in[3])));
    const int64_t rows = grad.size(0), cols = grad.size(1), hidden = gate.size(1);
    call.match(down.cols == cols && down.rows == hidden, grad, down.array);
    call.match(gate.size(0) == rows, grad, gate);
    call.match(num == 1 || (up.size(0) == rows && up.size(1) == hidden), gate, up);
    for (const Array* each : {&gate, num == 2 ? &up : &gate})
        if (each->v.strides[1] != 1 || each->v.strides[0] != hidden) fail(call.who + ": projections have to be contiguous");
    const int64_t sizes[2] = {rows, hidden};
    Array found = on_large_pages(sizes, call.type, call.bytes);
    if (rows > 0 && hidden > 0) {
        uint32_t most[2] = {0, 0};
        tile_panels()->most({rows, cols, grad.v.strides[0], grad.v.data, nullptr, false, most});
        uint16_t* const panels = workspace(0).get(parts(hidden, kernels.outputs) * kernels.size(cols));
        fill_panels(kernels, {hidden, cols, {down.stride}, {down.at(0, 0)}, {}, 1, panels, down.turned, most + 1});
        check_range(call, most);
        const PanelRows x{rows, cols, grad.v.strides[0], grad.v.data, nullptr, false, most};
        const PanelProduct p{rows, cols, hidden, nullptr, panels, nullptr, 0, false, nullptr,
                             {numbers(gate), num == 2 ? numbers(up) : nullptr, numbers(found)}, hidden};
        Near(kernels, cols).run(tile_panels()->split_slopes[function][high], p, x);
    }
    stack[0] = give(found.tensor);
}

}  // namespace
}  // namespace gatewise
