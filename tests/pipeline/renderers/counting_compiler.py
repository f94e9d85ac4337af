"""The compiler, which adds an x to a file each time that it is run."""

import os
import sys
from pathlib import Path

from dicom_pipeline.imaging.kernels.loops import compile_loops

if __name__ == "__main__":
    with Path(os.environ["COUNT_COMPILATIONS_IN"]).open("a") as count:
        count.write("x")
    Path(sys.argv[1]).write_bytes(compile_loops())
