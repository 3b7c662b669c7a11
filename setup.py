"""Packaging of tf_savae: metadata, dependencies with their tested ranges, scripts of bin/."""

from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

# Ranges hold the versions the tests pass with; TensorFlow and Keras are kept to one minor version
# because exact derivatives through loops depend on how that version traces and compiles them.
REQUIREMENTS = [
    "tensorflow>=2.21,<2.22",
    "keras>=3.15,<3.16",
    "tensorflow-probability[tf]>=0.25,<0.26",
    "importlib_resources",  # tensorflow-datasets 4.9 imports it without declaring it.
    "tensorflow-datasets>=4.9.10,<5",
    "tensorboard>=2.20,<3",  # TensorFlow no longer brings it, and tf.summary does not work without
    "numpy>=2.0,<3",
    "scipy>=1.13,<2",  # Reads .mat files.
    "absl-py>=2.1,<3",
    "matplotlib>=3.10,<4",
]

# Clients of a served model, and the tests of what is written for servers.
SERVING = ["tensorflow-serving-api>=2.21,<2.22"]

# Hugging Face datasets as a source, hf:NAME.
HF = ["datasets>=3,<6", "pillow>=10"]

# Makes the site of docs/ and the API reference; theme and hooks are written for mkdocs 1.
DOCS = ["mkdocs>=1.6,<2", "mkdocs-material>=9.6,<10", "pdoc>=16,<17"]

# MLflow's Keras callback, and its local store.
MLFLOW = ["mlflow>=3,<4"]

# Pipelines and searches with presets.VAETransformer.
SKLEARN = ["scikit-learn>=1.7,<2"]

# `tf-savae completion bash`.
COMPLETION = ["shtab>=1.7,<2"]

TEST = [
    "pytest>=9,<10",
    "pytest-xdist>=3.8,<4",
    "hypothesis>=6.150,<7",
    "ruff>=0.17,<0.18",
    "mypy>=2.4,<3",
    "psutil>=7,<8",
    "nbclient>=0.11,<1",  # Runs the notebook,
    "ipykernel>=7,<8",  # in this kernel.
    *COMPLETION,
    *DOCS,
    *HF,
    *MLFLOW,
    *SERVING,
    *SKLEARN,
]

# Peers to measure against; the package itself never imports them.
BENCH = ["psutil>=7,<8", "torch==2.13.*", "jax==0.10.*"]

# Compiles train steps for TPUs without one (benchmarks/lower.py); these three fit one another.
TPU = ["jax==0.10.2", "jaxlib==0.10.2", "libtpu==0.0.42.1"]

setup(
    name="tf_savae",
    version="0.1.0",
    description="Semi-amortized variational autoencoders for Keras, with exact derivatives.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="The tf_savae authors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    packages=find_packages(include=["tf_savae", "tf_savae.*"]),
    package_data={
        "tf_savae": [
            "py.typed",
            "data/builtin/*.npz",
            "data/builtin/*.xz",
            "presets/shipped/*.keras",
        ]
    },
    py_modules=["tf_savae_command"],
    scripts=sorted(glob("bin/*.py")),
    entry_points={"console_scripts": ["tf-savae=tf_savae_command:main"]},
    python_requires=">=3.11,<3.13",
    install_requires=REQUIREMENTS,
    extras_require={
        "serving": SERVING,
        "completion": COMPLETION,
        "mlflow": MLFLOW,
        "sklearn": SKLEARN,
        "docs": DOCS,
        "hf": HF,
        "test": TEST,
        "bench": BENCH,
        "tpu": TPU,
    },
    classifiers=[
        "Development Status :: 3 - Alpha",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    keywords=["variational autoencoder", "variational inference", "keras", "tensorflow"],
)
