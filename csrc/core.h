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

// y = x W^T + b by panels (panels.h), x in tiles; y in tiles as well or, `y_stride` elements apart, in rows.
struct PanelProduct {
    int64_t rows, cols, outputs;
    const void *x, *panels;
    void* y;
    int64_t y_stride;
    // For amx_split.h only:
    bool add;             // to y's rows
    uint32_t* most;       // raised to the bits of the largest |hidden number|
    float* beside[3];     // rows of what is kept for a gradient, or null (split_hidden, split_slopes)
    int64_t beside_stride;
};
using PanelKernel = void (*)(const PanelProduct&, int64_t begin, int64_t end);  // panels begin to end

// A matrix and its tiles.
struct PanelRows {
    int64_t rows, cols, stride;
    const void* x;
    void* tiles;
    bool turned;     // the matrix lies column by column
    uint32_t* most;  // raised to the bits of the largest |number|; these two for amx_split.h only
};
// One or, of a gate, two weights of `outputs` rows, each with a bias or null, and their panels.
struct PanelWeights {
    int64_t outputs, cols, stride[2];
    const void *w[2], *bias[2];
    int num;
    void* panels;
    bool turned;     // as of PanelRows
    uint32_t* most;
};
struct PanelKernels {
    PanelKernel rows;
    int64_t (*size)(int64_t cols);  // of a panel, in numbers
    void (*to_tiles)(const PanelRows&, int64_t begin, int64_t end);
    void (*to_panels)(const PanelWeights&, int64_t begin, int64_t end);
    int64_t outputs, group, tile, tiles;  // of a panel; inputs in a group; rows in a tile, at most; tiles in a block of rows
    int64_t parts;                        // numbers that one number of a tile is kept as
};

// Elements begin to end, counted along the rows.
using Kernel = void (*)(const Call&, int64_t begin, int64_t end);

enum Precision { bfloat16, float32, float32_high, num_precisions };
// Of panels alone: float32 in three parts of bfloat16 each (amx_split.h).
enum SplitPrecision { float32_split = num_precisions, float32_split_high };
enum Direction { forward, backward, num_directions };

enum Function {
#define SCALAR(name, formula) name,
#define GATE(name, formula, clamp) name,
#include "functions.def"
#undef SCALAR
#undef GATE
    num_functions
};

struct FunctionKernels {
    Kernel kernel[num_directions][num_precisions];
    PanelKernel hidden[2];  // default and high
};
struct Kernels {
    FunctionKernels of[num_functions];
    ProductKernel few_rows[2];  // bfloat16, float32
    PanelKernels panels;
};

// Tiles begin to end of a product by all panels, made of x's rows in `space` for `near` of them.
using RowsKernel = void (*)(const PanelProduct&, const PanelRows& x, uint16_t* space, int64_t near, int64_t begin, int64_t end);

// Where there is AMX, beside the kernels for AVX-512: for bfloat16, and for float32 in parts, default and high.
struct TilePanels {
    PanelKernels panels, split;
    void (*most)(const PanelRows&);   // raises `most` and does nothing else
    RowsKernel split_rows;
    PanelKernel hidden[num_functions], split_hidden[num_functions][2];
    RowsKernel split_slopes[num_functions][2];
};

extern const Kernels kernels_plain;
#if defined(__x86_64__)
extern const Kernels kernels_avx2, kernels_avx512;
#if defined(GATEWISE_AMX)
extern const TilePanels panels_amx;
#endif
#endif

}  // namespace gatewise
