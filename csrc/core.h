// What the kernels of one instruction set offer to the rest.
#pragma once
#include <stdint.h>

namespace gatewise {

// Rows of `cols` numbers: element j of row i of operand p is at in[p] + i * in_stride[p] + j, in elements.
// forward: in = (x) or (gate, up), out = (y). backward: in = (x, grad) or (gate, up, grad), out = (by x) or
// (by gate, by up). An output may be one of the inputs; any other overlap is the caller's mistake.
struct Call {
    int64_t cols;
    const void* in[3];
    int64_t in_stride[3];
    void* out[2];
    int64_t out_stride[2];
    bool stream;  // write around the caches
};

// y = x W^T, x of `rows` by `cols` numbers, rows of each operand `stride` elements apart.
struct Product {
    int64_t rows, cols;
    const void *x, *w;
    void* y;
    int64_t x_stride, w_stride, y_stride;
};

// Columns begin to end of y.
using ProductKernel = void (*)(const Product&, int64_t begin, int64_t end);

// Elements begin to end, counted along the rows.
using Kernel = void (*)(const Call&, int64_t begin, int64_t end);

enum Precision { bfloat16, float32, float32_high, num_precisions };
enum Direction { forward, backward, num_directions };

enum Function {
#define SCALAR(name, formula) name,
#define GATE(name, formula, clamp) name,
#include "functions.def"
#undef SCALAR
#undef GATE
    num_functions
};

struct Kernels {
    Kernel kernel[num_functions][num_directions][num_precisions];
    ProductKernel few_rows[2];  // bfloat16, float32
};

extern const Kernels kernels_plain;
#if defined(__x86_64__)
extern const Kernels kernels_avx2, kernels_avx512;
#endif

}  // namespace gatewise
