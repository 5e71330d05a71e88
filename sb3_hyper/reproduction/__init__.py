"""What ``python -m sb3_hyper.reproduce`` is made of: figures, the runs they need, their training, their report."""
