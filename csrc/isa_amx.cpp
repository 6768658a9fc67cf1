// Compiled with the flags of AVX-512 and AMX; see isa_avx512.cpp.
#include "simd_avx512.h"
#include "amx_panels.h"

namespace gatewise {

const BrainPanels panels_amx = {{amx_rows, amx_panel_size, amx_tiles, amx_weights, PAIR, PAIR, PAIR, TILES}, {
#define SCALAR(name, formula) amx_hidden<ScalarForward<formula, Level::standard>>,
#define GATE(name, formula, clamp) amx_hidden<GateForward<formula, clamp, Level::standard>>,
#include "functions.def"
}};

}  // namespace gatewise
