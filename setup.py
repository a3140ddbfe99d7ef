"""Builds the compiled core, engine._core, from ext/.

Switches, read from the environment:
  SANITIZE=1  AddressSanitizer and UndefinedBehaviorSanitizer (see `make sanitize`)
  DEBUG=1     no optimisation, debug information, assertions on
"""

import os
from glob import glob

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

SANITIZE = os.environ.get("SANITIZE") == "1"
DEBUG = os.environ.get("DEBUG") == "1"

# The same result on every CPU: no contraction into fused multiply-adds, and never -ffast-math or -march=native.
compile_args = ["-std=c11", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
# Vectors pass only between functions that are inlined, so how the ABI would pass them is of no concern.
compile_args += ["-Wno-psabi"]
link_args: list[str] = []

if SANITIZE:
    sanitizers = ["-fsanitize=address,undefined", "-fsanitize=float-cast-overflow", "-fno-sanitize-recover=all"]
    # Python's own flags ask for -fwrapv, which would hide signed overflow, and may ask for _FORTIFY_SOURCE.
    compile_args += [*sanitizers, "-fno-wrapv", "-U_FORTIFY_SOURCE", "-fno-omit-frame-pointer", "-g", "-O1"]
    link_args += sanitizers
elif DEBUG:
    compile_args += ["-UNDEBUG", "-U_FORTIFY_SOURCE", "-g3", "-O0"]
else:
    compile_args += ["-O3"]

core = Extension(
    "engine._core",
    sources=["ext/_core.pyx"],
    include_dirs=["ext", numpy.get_include()],
    depends=["setup.py", *sorted(glob("ext/*.h") + glob("ext/*.pxd") + glob("ext/*.pxi"))],
    define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
    extra_compile_args=compile_args,
    extra_link_args=link_args,
)

setup(
    ext_modules=cythonize(
        [core], include_path=["ext"], build_dir="build/cython", compiler_directives={"language_level": 3}
    )
)
