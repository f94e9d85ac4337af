"""KERNELS: look stored values up and bring them to 448 x 448, in one step; all give the same bytes.

kernel (what one is, and numpy's), loops (the same as loops that numba compiles to object code), compiled (that code, loaded).
"""

from dicom_pipeline.imaging.kernels.kernel import Kernel, KernelError, NumpyKernel, Table

__all__ = ["Kernel", "KernelError", "NumpyKernel", "Table"]
