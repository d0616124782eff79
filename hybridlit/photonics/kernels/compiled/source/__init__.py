"""What numba compiles; imported only where the machine code is not at hand yet.

`jit` turns an entry point of `forward_kernel`, `backward_kernel`, `jets_kernel`,
`amplitude_kernels`, `mesh` or `tables` into machine code. They are made of `propagation`,
`recursion` and `blocks`, in the vectors of `lanes` and `arithmetic`.
"""
