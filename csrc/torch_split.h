// Products of matrices of float32 in three parts each (amx_split.h), where there is AMX; they know no gradient:
//   split_product(Tensor a, Tensor b, Tensor bias) -> Tensor: a b + bias, a bias without numbers being none.
//   split_product_out(Tensor a, Tensor b, Tensor c, Tensor d, Tensor(a!) out) -> (): a b + c d, c without numbers being none.
//   split_by_weights(Tensor a, Tensor b, Tensor x) -> (Tensor, Tensor): a^T x and b^T x.
// Factors may lie row by row or column by column, `out` row by row. They raise where numbers are not in the range of parts;
// `out` may have been written to then.
#pragma once
#include <stdlib.h>

#include "dispatch.h"
#include "torch_panels.h"
#include "torch_tensors.h"

namespace gatewise {
namespace {

// Memory that a thread keeps between its products, on large pages where the system gives them: 9 MB are 2,300 pages else, and
// getting those takes a tenth of a product's time.
class Workspace {
    void* at = nullptr;
    size_t size = 0;

   public:
    Workspace() = default;
    Workspace(const Workspace&) = delete;
    Workspace& operator=(const Workspace&) = delete;
    ~Workspace() { free(at); }
    uint16_t* get(int64_t numbers) {
        constexpr size_t page = size_t{2} << 20;
        const size_t wanted = (static_cast<size_t>(numbers) * sizeof(uint16_t) + page - 1) & -page;
        if (wanted > size) {
            free(at);
            size = 0, at = aligned_alloc(page, wanted);
            if (!at) fail("gatewise::split_product: out of memory");
            size = wanted;
#if defined(__linux__)
            madvise(at, size, MADV_HUGEPAGE);
#endif
        }
        return static_cast<uint16_t*>(at);
    }
};

Workspace& workspace(int i) {
    static thread_local Workspace all[3];
    return all[i];
}

// Inputs of a part of a product, about so many; the tiles that stay in the second cache, and their numbers, at most; and the
// numbers of the panels that are kept at a time.
constexpr int64_t split_inputs = 768, near_tiles = 8, near_numbers = 450'000, far_numbers = int64_t{1} << 23;

// Panels of one or two weights.
void fill_panels(const PanelKernels& kernels, const PanelWeights& p) {
    parallel(parts(p.outputs * p.num, kernels.outputs), least_of(kernels.outputs * p.cols),
             [&](int64_t begin, int64_t end) { kernels.to_panels(p, begin, end); });
}

// What multiplies tiles that it makes of rows, of so many inputs, some at a time.
struct Near {
    const PanelKernels& kernels;
    int64_t tile_size, count;

    Near(const PanelKernels& k, int64_t cols)
        : kernels(k), tile_size(k.tile * k.parts * parts(cols > 0 ? cols : 1, k.group) * k.group) {
        count = near_numbers / tile_size;
        count = count < 1 ? 1 : count < near_tiles ? count : near_tiles;
    }
    void run(RowsKernel kernel, const PanelProduct& p, const PanelRows& x) const {
        parallel(parts(p.rows, kernels.tile), least_of(kernels.tile * p.outputs * p.cols), [&](int64_t begin, int64_t end) {
            kernel(p, x, workspace(1).get(count * tile_size), count, begin, end);
        });
    }
};

// One side of a product, summed over one of its dimensions; it is copied where neither of its strides is 1.
struct SplitFactor {
    Array array;
    int64_t rows, cols, stride;  // cols: what is summed over
    bool turned;

    SplitFactor(Array x, int64_t summed) : array(std::move(x)), rows(array.size(1 - summed)), cols(array.size(summed)) {
        const auto close = [](const View& v, int64_t d) { return v.sizes[d] < 2 || v.strides[d] == 1; };
        if (!close(array.v, 0) && !close(array.v, 1)) array = gapless(array);
        turned = !close(array.v, summed);
        stride = array.v.strides[turned ? summed : 1 - summed];
    }
    const void* at(int64_t row, int64_t k) const {
        return reinterpret_cast<const float*>(array.v.data) + (turned ? row + k * stride : row * stride + k);
    }
};

void check_range(const PanelCall& call, const uint32_t* most) {
    const auto exponent = [most](int i) { return static_cast<int>(most[i] >> 23); };
    const bool lost = most[0] && most[1] && exponent(0) + exponent(1) < 2 * 127 - 80;
    if (!in_range(most[0], -60) || !in_range(most[1], -60) || lost) refuse(call.who, out_of_range);
}

// ys = as b + bias, or += where it is to add; `as` of one size. b is brought into panels, some inputs at a time, and `as` into
// tiles, some rows at a time.
void split_products(const PanelCall& call, std::initializer_list<const SplitFactor*> as, const SplitFactor& b,
                    const float* bias, bool add, std::initializer_list<const Array*> ys, uint32_t* most) {
    const PanelKernels& kernels = *call.kernels;
    const int64_t rows = (*as.begin())->rows, cols = b.cols, outputs = b.rows;
    const int64_t group = kernels.group, width = kernels.outputs, least = cols > 0 ? cols : 1;
    const int64_t part = parts(parts(least, parts(least, split_inputs)), group) * group;
    const int64_t size = kernels.size(part), fit = far_numbers / size, some = (fit < 1 ? 1 : fit) * width;
    const Near near(kernels, part);
    uint16_t* const panels = workspace(0).get(parts(outputs < some ? outputs : some, width) * size);
    for (int64_t k = 0; k == 0 || k < cols; k += part) {
        const int64_t depth = cols - k < part ? cols - k : part;
        for (int64_t column = 0; column < outputs; column += some) {
            const int64_t num = outputs - column < some ? outputs - column : some;
            const float* const own = k == 0 && bias ? bias + column : nullptr;
            fill_panels(kernels, {num, depth, {b.stride}, {b.at(column, k)}, {own}, 1, panels, b.turned, most + 1});
            for (size_t i = 0; i < as.size(); ++i) {
                const SplitFactor& a = *as.begin()[i];
                const View& y = ys.begin()[i]->v;
                const int64_t stride = y.strides[0];
                const PanelRows x{rows, depth, a.stride, a.at(0, k), nullptr, a.turned, most};
                const PanelProduct p{rows, depth, num, nullptr, panels, reinterpret_cast<float*>(y.data) + column, stride,
                                     add || k > 0, nullptr, {}, 0};
                near.run(tile_panels()->split_rows, p, x);
            }
        }
    }
}

void boxed_split_product(StableIValue* stack, uint64_t, uint64_t) {
    Owned in[3];
    for (int i = 0; i < 3; ++i) in[i] = take(stack[i]);
    const PanelCall call("gatewise::split_product", in[0], true);
    call.need_parts();
    const SplitFactor a(call.checked(std::move(in[0]), 2), 1), b(call.checked(std::move(in[1]), 2), 0);
    const Array bias = gapless(call.checked(std::move(in[2]), 1));
    call.match(b.cols == a.cols, a.array, b.array);
    call.match(!bias.size(0) || bias.size(0) == b.rows, b.array, bias);
    const int64_t sizes[2] = {a.rows, b.rows};
    Array y = new_array(sizes, 2, call.type);
    uint32_t most[2] = {0, 0};
    split_products(call, {&a}, b, bias.size(0) ? reinterpret_cast<const float*>(bias.v.data) : nullptr, false, {&y}, most);
    check_range(call, most);
    stack[0] = give(y.tensor);
}

void boxed_split_product_out(StableIValue* stack, uint64_t, uint64_t) {
    Owned in[5];
    for (int i = 0; i < 5; ++i) in[i] = take(stack[i]);
    const PanelCall call("gatewise::split_product_out", in[0], true);
    call.need_parts();
    const Array out = call.checked(std::move(in[4]), 2);
    if (out.size(1) > 1 && out.v.strides[1] != 1) fail(call.who + ": out " + shape(out.v) + " has to lie row by row");
    uint32_t most[2] = {0, 0};
    for (int i = 0; i < 4; i += 2) {
        const SplitFactor a(call.checked(std::move(in[i]), 2), 1), b(call.checked(std::move(in[i + 1]), 2), 0);
        if (i > 0 && !a.rows) break;
        call.match(b.cols == a.cols, a.array, b.array);
        call.match(out.size(0) == a.rows && out.size(1) == b.rows, a.array, out);
        split_products(call, {&a}, b, nullptr, i > 0, {&out}, most);
    }
    check_range(call, most);
}

void boxed_split_by_weights(StableIValue* stack, uint64_t, uint64_t) {
    Owned in[3];
    for (int i = 0; i < 3; ++i) in[i] = take(stack[i]);
    const PanelCall call("gatewise::split_by_weights", in[0], true);
    call.need_parts();
    // transposed: summed over the first dimension
    const SplitFactor a(call.checked(std::move(in[0]), 2), 0), b(call.checked(std::move(in[1]), 2), 0);
    const SplitFactor x(call.checked(std::move(in[2]), 2), 0);
    call.match(a.array.size(0) == b.array.size(0) && a.array.size(1) == b.array.size(1), a.array, b.array);
    call.match(a.array.size(0) == x.array.size(0), a.array, x.array);
    const int64_t sizes[2] = {a.array.size(1), x.array.size(1)};
    Array by_a = new_array(sizes, 2, call.type), by_b = new_array(sizes, 2, call.type);
    uint32_t most[2] = {0, 0};
    split_products(call, {&a, &b}, x, nullptr, false, {&by_a, &by_b}, most);
    check_range(call, most);
    stack[0] = give(by_a.tensor), stack[1] = give(by_b.tensor);
}

}  // namespace
}  // namespace gatewise
