// Compiled with the flags of one instruction set. Everything it includes has internal linkage, so that no function
// compiled for this machine can be chosen by the linker for another.
#include "simd_avx2.h"
#include "kernels.h"

namespace gatewise {

const Kernels kernels_avx2 = {{
#include "functions.def"
}, GATEWISE_OTHERS};

}  // namespace gatewise
