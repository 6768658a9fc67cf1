// Compiled with the flags of one instruction set. Everything it includes has internal linkage, so that no function
// compiled for this machine can be chosen by the linker for another.
#include "simd_avx2.h"
#include "loops.h"
#include "few_rows.h"

namespace gatewise {

const Kernels kernels_avx2 = {{
#include "functions.def"
}, GATEWISE_FEW_ROWS};

}  // namespace gatewise
