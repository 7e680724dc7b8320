"""What an engine is to us, in plain Python: no module in here imports PySys."""
