"""A GPU without one: CUDA source translated to C++, run by fibers, under TVM's own runtime or alone, and watched while it runs."""
