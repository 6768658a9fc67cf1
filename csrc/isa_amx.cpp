// Compiled with the flags of AVX-512, its conversions to bfloat16 and AMX; see isa_avx512.cpp.
#include "simd_avx512.h"
#include "amx_panels.h"
#include "amx_split.h"

namespace gatewise {

#define SPLIT(forward, ...) \
    { split_hidden<forward<__VA_ARGS__, Level::standard>>, split_hidden<forward<__VA_ARGS__, Level::high>> }
#define SLOPES(kind, ...)                                                                                      \
    {                                                                                                          \
        split_slopes<kind##Forward<__VA_ARGS__, Level::standard>, kind##Backward<__VA_ARGS__, Level::standard>>, \
            split_slopes<kind##Forward<__VA_ARGS__, Level::high>, kind##Backward<__VA_ARGS__, Level::high>>      \
    }

const TilePanels panels_amx = {{amx_rows, amx_panel_size, amx_tiles, amx_weights, PAIR, PAIR, PAIR, TILES, 1},
                               {split_rows, split_panel_size, split_tiles, split_weights, PAIR, PAIR, PAIR, TILES, PARTS},
                               split_most, split_rows_from, {
#define SCALAR(name, formula) amx_hidden<ScalarForward<formula, Level::standard>>,
#define GATE(name, formula, clamp) amx_hidden<GateForward<formula, clamp, Level::standard>>,
#include "functions.def"
#undef SCALAR
#undef GATE
}, {
#define SCALAR(name, formula) SPLIT(ScalarForward, formula),
#define GATE(name, formula, clamp) SPLIT(GateForward, formula, clamp),
#include "functions.def"
#undef SCALAR
#undef GATE
}, {
#define SCALAR(name, formula) SLOPES(Scalar, formula),
#define GATE(name, formula, clamp) SLOPES(Gate, formula, clamp),
#include "functions.def"
}};

}  // namespace gatewise
