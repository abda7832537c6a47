"""What a GPU does: equality with the CPU and with steps one by one, and rates (`python -m experiments.studies.gpu`)."""
