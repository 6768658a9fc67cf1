"""What `benchmarks/kernels.py` measures, how it is judged and how it is shown; one file a part."""
