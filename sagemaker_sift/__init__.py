"""Train sifted image classifiers on Amazon SageMaker and on this machine."""

__version__ = "0.1.0"
