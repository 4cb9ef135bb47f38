"""Measured speed: ``python -m benchmarks`` compares this library with plain PyTorch, scikit-learn and pythae."""
