"""quantize_compute_scale, quantize_scale_matrix."""
