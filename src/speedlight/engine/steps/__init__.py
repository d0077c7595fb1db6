"""One call: its kernels priced, summed over its phase, with intervals and memory."""
