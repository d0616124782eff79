"""What numba compiles; imported only where the machine code is not at hand yet.

:mod:`jit` turns an entry point of :mod:`forward_kernel`, :mod:`backward_kernel`,
:mod:`amplitude_kernels`, :mod:`mesh_kernels` or :mod:`tables` into machine code. They are made of
:mod:`mesh`, :mod:`propagation`, :mod:`recursion` and :mod:`blocks`, in the vectors of :mod:`lanes`
and :mod:`arithmetic`; :mod:`fields` reads plans.
"""
