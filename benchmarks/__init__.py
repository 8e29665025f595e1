"""Figures and where they come from: `python -m benchmarks NAME`. Never imported by the product."""
