// Tensors as memory: shapes, strides, and the rows that a kernel walks.
#pragma once
#include <stdint.h>

#include <string>

namespace gatewise {
namespace {

constexpr int max_dims = 16;
constexpr int max_tensors = 5;  // three inputs, two outputs

struct View {
    int64_t dims = 0;
    const int64_t *sizes = nullptr, *strides = nullptr;
    char* data = nullptr;
};

std::string shape(const View& v) {
    std::string s = "(";
    for (int64_t i = 0; i < v.dims; ++i) s += (i ? ", " : "") + std::to_string(v.sizes[i]);
    return s + ")";
}

int64_t numel(const View& v) {
    int64_t n = 1;
    for (int64_t i = 0; i < v.dims; ++i) n *= v.sizes[i];
    return n;
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

// Is every number of v in a place of its own? A view that steps back into itself may be refused although it is.
bool apart(const View& v) {
    bool seen[max_dims] = {};
    int64_t reach = 0;  // of the dimensions seen, from the first number to the last
    for (int64_t n = 0; n < v.dims; ++n) {
        int64_t next = -1;
        for (int64_t d = 0; d < v.dims; ++d)
            if (!seen[d] && (next < 0 || v.strides[d] < v.strides[next])) next = d;
        seen[next] = true;
        if (v.sizes[next] <= 1) continue;
        if (v.strides[next] <= reach) return false;
        reach += v.strides[next] * (v.sizes[next] - 1);
    }
    return true;
}

// Two outputs in layouts that are no rows together: kept simple, their ranges of memory must not touch.
bool ranges_touch(const View& a, const View& b, int64_t size) {
    int64_t last_a = 0, last_b = 0;
    for (int64_t d = 0; d < a.dims; ++d) {
        last_a += (a.sizes[d] - 1) * a.strides[d];
        last_b += (b.sizes[d] - 1) * b.strides[d];
    }
    return a.data < b.data + (last_b + 1) * size && b.data < a.data + (last_a + 1) * size;
}

}  // namespace
}  // namespace gatewise
