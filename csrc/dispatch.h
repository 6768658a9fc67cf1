// The instruction set in use.
#pragma once
#include "core.h"

namespace gatewise {

struct InstructionSet {
    const char* name;
    const Kernels* kernels;
};

// The best one of this machine, or the one named by the environment variable GATEWISE_ISA where the machine has it.
const InstructionSet& current();

// What multiplies by panels, by `Precision`: null where the instruction set in use has none of it. And of such a precision what
// finishes the hidden numbers of a function.
const PanelKernels* panels_of(int precision);
PanelKernel hidden_kernel(int function, int precision);
const TilePanels* tile_panels();  // where there are panels of float32_split, else null

extern const char* const function_names[num_functions];
extern const bool function_is_gate[num_functions];

}  // namespace gatewise
