// Three operators for blocks by weights in panels (panels.h, amx_panels.h), which know no gradient:
//   panels(Tensor weight, Tensor bias) -> Tensor, panels_of_gate(Tensor gate, Tensor gate_bias, Tensor up, Tensor up_bias)
//     -> Tensor: the panels, a row each, for the instruction set in use. A bias may have no numbers.
//   panel_block(Tensor x, Tensor first, Tensor down, int hidden, int outputs, int function, bool high) -> Tensor:
//     f(x W^T + b) D^T + c of panels, or for a gate f(x G^T + b, x U^T + c) D^T + d; `function`: its place in functions.def.
//     A block of rows at a time, so that no more of the hidden numbers is ever there.
// and, where there is AMX, split_panels and split_panels_of_gate: those of float32 in three parts each (amx_split.h), tensors
// of bfloat16, which panel_block takes with an x of float32. They raise where numbers are not in the range of parts.
#pragma once
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <vector>

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

// Of what parts cannot do, in words that Python tells from a mistake (`_split.REFUSED`).
[[noreturn]] void refuse(const std::string& who, const char* why) { fail(who + ": no product in parts: " + why); }
constexpr const char* out_of_range = "numbers that are not finite, huge or all but 0";

// May parts stand for numbers whose largest has these bits? None may be infinite or no number, their products may not
// overflow, and unless all are 0 some have to be so large that subnormal parts, which are lost, matter to none of them.
bool in_range(uint32_t most, int least) {
    const int exponent = static_cast<int>(most >> 23) - 127;
    return most == 0 || (exponent >= least && exponent <= 50);
}
constexpr int least_weight = -30, least_input = -50;  // of weights in panels, and of what is multiplied by them

// A tensor of a call or a new one, and what it is in memory.
struct Array {
    Owned tensor;
    View v;
    explicit Array(Owned t) : tensor(std::move(t)), v(view(tensor.handle)) {}
    int64_t size(int64_t dim) const { return v.sizes[dim]; }
};
Array gapless(const Array& x) { return Array(contiguous(x.tensor.handle)); }
Array new_array(const int64_t* sizes, int64_t dims, int32_t type) {
    int64_t strides[2], step = 1;
    for (int64_t d = dims; d-- > 0; step *= sizes[d] > 1 ? sizes[d] : 1) strides[d] = step;
    View like;
    like.dims = dims, like.sizes = sizes;
    return Array(empty(like, strides, type));
}

// A new matrix that begins where a large page may and asks for such: with panels on them a block of d = 768 and 2 to 8 tokens
// takes .85 to .89 of the time where it reads its weights from memory. The system may say no, and memory used before stays as
// it is.
Array on_large_pages(const int64_t* sizes, int32_t type, int64_t bytes) {
    constexpr int64_t page = int64_t{2} << 20;
    const int64_t total = sizes[0] * sizes[1] * bytes, more = (total + page) / bytes;
    if (total < page) return new_array(sizes, 2, type);
    const Array whole = new_array(&more, 1, type);
    const int64_t skip = -reinterpret_cast<int64_t>(whole.v.data) & (page - 1), strides[2] = {sizes[1], 1};
#if defined(__linux__)
    madvise(whole.v.data + skip, total & -page, MADV_HUGEPAGE);
#endif
    Tensor found;
    check(shim.aoti_torch__reinterpret_tensor(whole.tensor.handle, 2, sizes, strides, skip / bytes, &found), "reinterpret");
    return Array(Owned(found));
}

// The panels of a dtype, and what checks the tensors of a call to an operator.
struct PanelCall {
    const std::string who;
    const int32_t type;
    const bool split;
    const int32_t panel_type;
    const int64_t bytes, panel_bytes;  // of a number
    const PanelKernels* const kernels;

    PanelCall(const char* name, const Owned& first, bool in_parts)
        : who(name), type(dtype(first.handle)), split(in_parts && type == type_float32),
          panel_type(split ? type_bfloat16 : type), bytes(type == type_bfloat16 ? 2 : 4),
          panel_bytes(panel_type == type_bfloat16 ? 2 : 4),
          kernels(type == type_bfloat16 ? panels_of(bfloat16)
                  : type != type_float32 ? nullptr : panels_of(split ? int{float32_split} : int{float32})) {
        if (!kernels && split) refuse(who, "the processor has no AMX, or may not use it");
        if (!kernels) fail(who + ": tensors of float32 expected, or of bfloat16 where the processor has AMX");
    }
    void need_parts() const {
        if (!split) fail(who + ": tensors of float32 expected");
    }
    Array checked(Owned tensor, int64_t dims) const { return checked(std::move(tensor), dims, type); }
    Array checked(Owned tensor, int64_t dims, int32_t expected) const {
        Array found(std::move(tensor));
        if (!on_cpu(found.tensor.handle)) fail(who + ": every tensor has to be on the CPU");
        if (dtype(found.tensor.handle) != expected) fail(who + ": the dtypes of the tensors differ");
        if (found.v.dims != dims) fail(who + ": " + std::to_string(dims) + " dimensions expected, got " + shape(found.v));
        return found;
    }
    void match(bool match, const Array& a, const Array& b) const {
        if (!match) fail(who + ": shapes " + shape(a.v) + " and " + shape(b.v) + " do not match");
    }
    // Are these the panels of `num` weights of so many inputs and outputs?
    void check_panels(const Array& panels, int64_t num, int64_t cols, int64_t outputs) const {
        constexpr int64_t most = int64_t{1} << 40;  // so that nothing below overflows
        const bool sane = cols >= 0 && cols < most && outputs >= 0 && outputs < most;
        const int64_t count = sane ? parts(outputs * num, kernels->outputs) : 0, size = sane ? kernels->size(cols) : 0;
        if (!sane || panels.size(0) != count || panels.size(1) != size)
            fail(who + ": panels " + shape(panels.v) + " are not those of " + std::to_string(cols) + " inputs and " +
                 std::to_string(outputs) + " outputs here, (" + std::to_string(count) + ", " + std::to_string(size) + ")");
    }
};

void boxed_panels(StableIValue* stack, int num, bool split, const char* name) {
    Owned in[4];
    for (int i = 0; i < 2 * num; ++i) in[i] = take(stack[i]);
    const PanelCall call(name, in[0], split);
    if (split) call.need_parts();
    const PanelKernels& kernels = *call.kernels;
    std::vector<Array> arrays;
    for (int i = 0; i < 2 * num; ++i) arrays.push_back(gapless(call.checked(std::move(in[i]), i % 2 ? 1 : 2)));
    const Array& first = arrays[0];
    uint32_t most = 0;
    PanelWeights p{first.size(0), first.size(1), {}, {}, {}, num, nullptr, false, &most};
    for (int i = 0; i < num; ++i) {
        const Array &w = arrays[2 * i], &bias = arrays[2 * i + 1];
        call.match(w.size(0) == first.size(0) && w.size(1) == first.size(1), first, w);
        call.match(!bias.size(0) || bias.size(0) == w.size(0), w, bias);
        p.w[i] = w.v.data, p.stride[i] = w.size(1);
        if (bias.size(0)) p.bias[i] = bias.v.data;
    }
    const int64_t sizes[2] = {parts(p.outputs * num, kernels.outputs), kernels.size(p.cols)};
    Array panels = on_large_pages(sizes, call.panel_type, call.panel_bytes);
    p.panels = panels.v.data;
    parallel(sizes[0], least_of(sizes[1]), [&](int64_t begin, int64_t end) { kernels.to_panels(p, begin, end); });
    if (call.split && !in_range(most, least_weight)) refuse(call.who, out_of_range);
    stack[0] = give(panels.tensor);
}
void boxed_panels_of_one(StableIValue* stack, uint64_t, uint64_t) { boxed_panels(stack, 1, false, "gatewise::panels"); }
void boxed_panels_of_gate(StableIValue* stack, uint64_t, uint64_t) {
    boxed_panels(stack, 2, false, "gatewise::panels_of_gate");
}
void boxed_split_panels(StableIValue* stack, uint64_t, uint64_t) { boxed_panels(stack, 1, true, "gatewise::split_panels"); }
void boxed_split_panels_of_gate(StableIValue* stack, uint64_t, uint64_t) {
    boxed_panels(stack, 2, true, "gatewise::split_panels_of_gate");
}

// A block of rows from `start` on, a row at a time being so many bytes.
struct PanelBlock {
    const PanelKernels& kernels;
    PanelKernel hidden;
    int num;  // of first weights
    PanelRows rows;
    PanelProduct first, last;

    void run(int64_t start, int64_t count, int64_t bytes) const {
        PanelRows in = rows;
        PanelProduct up = first, down = last;
        in.x = static_cast<const char*>(in.x) + start * in.stride * bytes;
        down.y = static_cast<char*>(down.y) + start * down.y_stride * bytes;
        in.rows = up.rows = down.rows = count;
        for (float*& each : up.beside)
            if (each) each += start * up.beside_stride;
        const int64_t outputs = kernels.outputs;
        parallel(parts(count, kernels.tile), least_of(in.cols * kernels.tile),
                 [&](int64_t begin, int64_t end) { kernels.to_tiles(in, begin, end); });
        parallel(parts(up.outputs * num, outputs), least_of(count * up.cols),
                 [&](int64_t begin, int64_t end) { hidden(up, begin, end); });
        parallel(parts(down.outputs, outputs), least_of(count * down.cols),
                 [&](int64_t begin, int64_t end) { kernels.rows(down, begin, end); });
    }
};

void boxed_panel_block(StableIValue* stack, uint64_t, uint64_t) {
    Owned in[3];
    for (int i = 0; i < 3; ++i) in[i] = take(stack[i]);
    const PanelCall call("gatewise::panel_block", in[0], dtype(in[1].handle) == type_bfloat16);
    const PanelKernels& kernels = *call.kernels;
    Array x = call.checked(std::move(in[0]), 2);
    const Array up = gapless(call.checked(std::move(in[1]), 2, call.panel_type));
    const Array down = gapless(call.checked(std::move(in[2]), 2, call.panel_type));
    const int64_t hidden = static_cast<int64_t>(stack[3]), outputs = static_cast<int64_t>(stack[4]);
    const int64_t function = static_cast<int64_t>(stack[5]);
    if (function < 0 || function >= num_functions) fail(call.who + ": no function at place " + std::to_string(function));
    const bool high = flag(stack[6]);
    const int precision = call.type == type_bfloat16 ? bfloat16
                          : call.split ? (high ? int{float32_split_high} : int{float32_split}) : high ? float32_high : float32;
    const int num = function_is_gate[function] ? 2 : 1;
    const int64_t rows = x.size(0), cols = x.size(1);
    call.check_panels(up, num, cols, hidden);
    call.check_panels(down, 1, hidden, outputs);
    if (cols > 1 && x.v.strides[1] != 1) x = gapless(x);
    const int64_t y_sizes[2] = {rows, outputs}, tile = kernels.tile, blocks = parts(rows, tile * kernels.tiles);
    Array y = new_array(y_sizes, 2, call.type);
    if (rows > 0 && outputs > 0) {
        const int64_t least = parts(parts(rows, blocks), tile) * tile * kernels.parts, group = kernels.group;
        const int64_t x_size = least * parts(cols, group) * group, h_size = least * parts(hidden, group) * group;
        const Array x_tiles = new_array(&x_size, 1, call.panel_type), h_tiles = new_array(&h_size, 1, call.panel_type);
        uint32_t most[2] = {0, 0};
        const PanelBlock block{kernels, hidden_kernel(function, precision), num,
                               {0, cols, x.v.strides[0], x.v.data, x_tiles.v.data, false, most},
                               {0, cols, hidden, x_tiles.v.data, up.v.data, h_tiles.v.data, 0, false, most + 1, {}, 0},
                               {0, hidden, outputs, h_tiles.v.data, down.v.data, y.v.data, outputs, false, nullptr, {}, 0}};
        for (int64_t i = 0, start = 0; i < blocks; ++i) {
            const int64_t count = rows / blocks + (i < rows % blocks);
            block.run(start, count, call.bytes);
            if (call.split && !(in_range(most[0], least_input) && in_range(most[1], least_input)))
                refuse(call.who, out_of_range);
            start += count;
        }
    }
    stack[0] = give(y.tensor);
}

}  // namespace
}  // namespace gatewise
