"""What `benchmarks/judge.py` is made of: seeded streams, our judge on them, its rivals, and the table."""
