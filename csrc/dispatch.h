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

// Null where the instruction set in use has none.
const BrainPanels* brain_panels();

extern const char* const function_names[num_functions];
extern const bool function_is_gate[num_functions];

}  // namespace gatewise
